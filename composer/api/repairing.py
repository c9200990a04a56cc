"""`repair`: faults of a photograph found and mended, or holes that are pointed at."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from composer.api.jobs import begun, one_thread_each
from composer.backend.channels import finite_pixels
from composer.backend.memory import peak_mb
from composer.errors import OptionError, OutputError
from composer.media.encode import write_image
from composer.media.jpeg import coding_of
from composer.media.masks import TOP
from composer.media.naming import own_mask
from composer.media.picture import (
    Picture,
    check_target,
    keep_picture,
    read_mask,
    read_picture,
    write_picture,
)
from composer.media.salvage import read_salvaged
from composer.mending.choosing import Fills, choose, operators, regions_of
from composer.mending.donor import Donor, landmarks, registered
from composer.mending.faults import AUTO, KINDS
from composer.mending.filling import fill_holes, reachable
from composer.mending.holes import clipped, grown
from composer.mending.marking import DOUBLE, DRAWN, Marked, find_marked, mark_lost, operated, point_at
from composer.mending.noise import GRAIN
from composer.mending.restoring import RESTORERS, Setting, restore_faults
from composer.mending.variants import Variant
from composer.records import Context, Event, Fault, Rect
from composer.report import check_page, write_painting
from composer.results import Repaired

Array = NDArray[Any]
Source = str | Path | Array

__all__ = ["check_fill", "kinds_of", "repair"]

SPECK_FILL = "biharmonic"  # of what is a pixel wide: no worse there than "mixed", at a third of the cost


def repair(
    photo: Source,
    mask: Source | None = None,
    *,
    faults: str | Sequence[str] = "auto",
    without: str | Sequence[str] = (),
    find_only: bool = False,
    salvage: bool = False,
    fill: str = "auto",
    box: Sequence[int] | Sequence[Sequence[int]] | None = None,
    grow: int = 0,
    grain: float = GRAIN,
    sensitivity: float = 0.0,
    source: Source | None = None,
    donors: Sequence[Source] = (),
    variants: Sequence[str] = (),
    output: str | Path | None = None,
    page: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    max_memory: int | None = None,
    observe: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Repaired:
    """Mend a photograph: the faults that are found in it, or what a mask or a box marks.

    Parameters
    ----------
    photo : path, or array (H, W[, C]) uint8, uint16 or float32, alpha last
        What alpha hides is not looked at, nor is what is not finite.
    mask : path or array (H, W), or None
        White (above one half) is what to fill; of a folder of masks it is the one called like the photo. With
        a mask or a box no faults are looked for, and alpha stays.
    faults : "auto", or one or several kinds
        What to look for: "hole", "impulse", "pixel" and "line", which are filled; then, restored in this
        order, "blocking", "banding", "noise", "fringe" (red and blue larger or smaller than green), "fading"
        and "seam"; "ghost" (a double image), which only a donor mends; and what lies over a scan: "scratch"
        (long and thin: hairs, cracks and creases too) and "dust" (specks). "auto" is all but the last six:
        nothing tells fading from a sunset or from fog, for seams, ghosts, scratches and dust a scene's own
        edges, patterns, wires and lights are taken now and then, and undoing fringes resamples the photo. A
        hole is what alpha hides, what is not finite, or exactly black and ends suddenly; mending it makes it
        opaque. What somebody may have meant so is left by "auto", and named in the notes: what alpha hides,
        black bars, frames and rectangles, all that is black where it is more than a tenth of the photo; and
        in what looks drawn (text, screenshots, pixel art) nothing is looked for. Name kinds to mend these.
        With donors holes count as named.
    without : one or several kinds
        What not to look for.
    find_only : bool
        Change nothing; write the mask of the faults, white, to `output` as PNG.
    salvage : bool
        Read what is left of a damaged JPEG file. What is lost is marked as "lost blocks"; small parts are
        filled, larger ones stay grey. Nothing else is then looked for; sound files are repaired as ever.
    fill : "auto", "harmonic", "biharmonic", "telea", "navier-stokes", "edges", "mixed", "patches" or "donor"
        What fills holes: "auto" chooses for each by its width and the texture around it. "mixed" is the
        mean of biharmonic and edges. Impulses, pixels and lines are always filled by biharmonic.
    box : (x, y, width, height) or several of them, or None
        Rectangles to fill, beside the mask or in its place.
    grow : int
        Pixels by which what is filled is made wider on all sides.
    grain : float
        Standard deviation, of 255, up to which noise is a photo's grain and stays. Noise is estimated.
    sensitivity : float
        By how much scratches and dust may be less sure, in log-odds. At 0 photos without damage are nearly
        always left alone; 3 finds part of the cracks of old prints, with wires, spectacles and twigs now and
        then.
    source : path or array (H, W), or None
        White is where patches are taken from; None lets them come from anywhere near.
    donors : paths or arrays
        Other photos of the same scene. "auto" and "donor" take what the first of them that covers a hole
        shows there; holes that none covers are filled as by "auto".
    variants : some of "mirrored", "turned", "scaled"
        What patches may also be: mirrored, turned by quarters, three quarters or four thirds as large. For
        arches, symmetric fronts, floors that recede; each kind takes its time.
    output : path or None
        Where to write; None keeps the picture in memory only. A photo without faults is copied.
    page : path or None
        With `find_only`: write a page on which a person paints and erases the mask over the photo, and
        saves it for `mask`.
    seed : int
        For the random search of "patches".
    device, workers, max_memory, observe, cancelled
        As for `stitch`. The result does not depend on `workers`.

    Returns
    -------
    Repaired
        Equal to the photo outside the faults, bit for bit.

    Raises
    ------
    OptionError
        A mask of another size, or one that leaves nothing to fill from.
    PhotoError, OutputError, DeviceError, Cancelled

    Examples
    --------
    >>> import composer
    >>> from composer.samples import picture
    >>> result = composer.repair(picture("coffee.png"), box=(300, 100, 4, 80))
    >>> [(f.kind, f.operator) for f in result.faults]
    [('box', 'mixed')]
    """
    check_fill(fill, len(donors), grow, grain, variants, sensitivity=sensitivity)
    if isinstance(mask, (str, Path)) and isinstance(photo, (str, Path)):
        mask = own_mask(Path(photo), Path(mask))
    kinds = kinds_of(faults, without, mask is not None or box is not None, find_only)
    target = Path(output) if output is not None else None
    context, watch = begun(device, workers, max_memory, observe, cancelled)
    picture, lost = _read(photo, salvage, mask is not None or box is not None, context.max_memory)
    _check_target(target, (photo, mask, source, *donors), find_only)
    _check_page(page, find_only)
    setting = Setting(grain, sensitivity, coding_of(picture.photo), context)
    allowed = None if source is None else _mask(source, "source mask", picture)
    boxes, valid = _boxes(box), _valid(picture)
    notes = _cut_off(boxes, picture)
    with one_thread_each():
        started = time.perf_counter()
        if lost is not None:
            marked = mark_lost(lost)
            valid = valid & ~lost
        elif kinds:
            marked = find_marked(
                picture.pixels,
                valid,
                kinds,
                grow=grow,
                setting=setting,
                donors=bool(donors),
                missing=_shown(picture) & ~valid if faults == "auto" and not donors else None,
            )
            notes += marked.notes
            watch(Event("find", 1.0, time.perf_counter() - started))
        else:
            marked = _pointed_at(picture, valid, mask, boxes, grow)
            notes += () if marked.holes else ("the mask is black: nothing was marked to be filled",)
        names, mended = [""] * len(marked.holes), picture
        if marked.holes and not find_only:
            names, told, mended = _mended(
                picture,
                marked,
                valid,
                context,
                fill=fill,
                donors=donors,
                source=allowed,
                seed=seed,
                variants=variants,
            )
            notes += told
        met = operated(marked, names)
        if not find_only:
            mended, met, told = _restored(mended, valid | _filled(marked, names), met, setting)
            notes += told
    notes += (
        _said_of(lost, met, find_only)
        if lost is not None
        else _remarks(met, bool(kinds) and DRAWN not in notes, find_only)
    )
    if page is not None:
        write_painting(
            Path(page),
            picture.photo.name,
            picture.pixels,
            marked.mask if lost is not None else marked.labels > 0,
            met,
            profile=picture.profile,
        )
    if target is not None:
        kept = picture if lost is None else None
        notes += _written(target, mended, kept, marked if find_only else None, context.workers)
    pixels = mended.pixels if mended.alpha is None else np.dstack([mended.pixels, mended.alpha])
    return Repaired(
        mask=marked.mask, faults=met, output=target, notes=notes, stages=tuple(watch.stages.items()),
        pixels=pixels if target is None or find_only else None, peak_mb=peak_mb(),
    )  # fmt: skip


def check_fill(
    fill: str, donors: int, grow: int, grain: float, variants: Sequence[str], *, sensitivity: float = 0.0
) -> None:
    """Check the options of filling and restoring.

    Raises
    ------
    OptionError
    """
    if fill not in ("auto", *get_args(Fills)):
        raise OptionError(f'fill is "{fill}"; give one of auto, {", ".join(get_args(Fills))}')
    if (fill == "donor") > bool(donors) or (donors and fill not in ("auto", "donor")):
        raise OptionError(f'fill is "{fill}" with {donors} donors; give donors to auto or donor only')
    if grow < 0:
        raise OptionError(f"grow is {grow}; give 0 or more pixels")
    if not 0 <= grain < 255:
        raise OptionError(f"grain is {grain}; give a deviation of 0 to 255")
    if not -10 <= sensitivity <= 10:
        raise OptionError(f"sensitivity is {sensitivity}; give log-odds of -10 to 10")
    for variant in variants:
        if variant not in get_args(Variant):
            raise OptionError(f'variants has "{variant}"; give some of {", ".join(get_args(Variant))}')


def kinds_of(
    faults: str | Sequence[str], without: str | Sequence[str], pointed: bool, find_only: bool
) -> tuple[str, ...]:
    """Return the kinds of faults to look for: none where a mask or a box points at what to fill.

    Raises
    ------
    OptionError
    """
    wanted = AUTO if faults == "auto" else _several(faults)
    unwanted = _several(without)
    for kind in (*wanted, *unwanted):
        if kind not in KINDS:
            raise OptionError(f'there is no kind of fault "{kind}"; give some of {", ".join(KINDS)}')
    if not pointed:
        kinds = tuple(k for k in wanted if k not in unwanted)
        if not kinds:
            raise OptionError("no kind of fault is left to look for; leave out fewer")
        return kinds
    if faults != "auto" or unwanted or find_only:
        raise OptionError("faults are looked for where neither mask nor box is given; leave these out")
    return ()


def _several(kinds: str | Sequence[str]) -> tuple[str, ...]:
    return (kinds,) if isinstance(kinds, str) else tuple(kinds)


def _read(photo: Source, salvage: bool, pointed: bool, max_memory: int) -> tuple[Picture, Array | None]:
    """Read the photo, and which of its pixels are lost (H, W) bool; None where none are."""
    if not salvage or not isinstance(photo, (str, Path)):
        if salvage:
            raise OptionError("salvage is for damaged files; give the photo's path")
        return read_picture(photo, "photo", max_memory), None
    if pointed:
        raise OptionError("salvage finds what is lost by itself; leave out mask and box")
    return read_salvaged(photo, max_memory)


def _said_of(lost: Array, faults: Sequence[Fault], find_only: bool) -> tuple[str, ...]:
    """Return sentences on what of a damaged file is lost, and what is left so."""
    if not lost.any():
        return (
            "the file is damaged; every part of the photo could be read, though maybe not in full detail",
        )
    notes = [f"the file is damaged; {100 * lost.mean():.2f} % of the photo could not be read"]
    left = sum(int(f.mask.sum()) for f in faults if not f.operator and f.mask is not None)
    if left and not find_only:
        notes.append(f"{left} lost pixels were left grey; too large a part to be made up without being asked")
    return tuple(notes)


def _check_target(target: Path | None, inputs: tuple[object, ...], find_only: bool) -> None:
    """Check that the result, or the mask, can be written."""
    if target is None:
        return
    check_target(target, inputs)
    if find_only and target.suffix.lower() != ".png":
        raise OutputError(f"{target}: the mask is written as PNG; give a name that ends in .png")


def _check_page(page: str | Path | None, find_only: bool) -> None:
    """Check that a page to paint on is wanted where it makes sense, and can be written."""
    if page is None:
        return
    if not find_only:
        raise OptionError("a page to paint on shows what was found; give find_only with it")
    check_page(Path(page))


def _mended(
    picture: Picture,
    marked: Marked,
    valid: Array,
    context: Context,
    *,
    fill: str,
    donors: Sequence[Source],
    source: Array | None,
    seed: int,
    variants: Sequence[str],
) -> tuple[list[str], tuple[str, ...], Picture]:
    """Fill what is marked; return what filled each hole, a sentence on each donor not used, the picture."""
    started, labels, holes = time.perf_counter(), marked.labels, marked.holes
    givers, notes = _givers(donors, picture, valid & (labels == 0))
    able = reachable(labels, len(holes), valid)
    wide = len(holes) - marked.specks
    names = choose(
        holes[:wide], able[: wide + 1], fill, pixels=picture.pixels, labels=labels, valid=valid, donors=givers
    )
    names += [SPECK_FILL if able[-1] else ""] * marked.specks
    if not any(names):
        return names, notes, picture
    regions = regions_of(names, labels, holes, source)
    fills = operators(source, givers, context.device, seed=seed, variants=variants)
    pixels = fill_holes(picture.pixels, labels, valid, regions, fills, context)
    context.observe(Event("fill", 1.0, time.perf_counter() - started))
    return names, notes, replace(picture, pixels=pixels, alpha=_opened(picture, marked, names))


def _opened(picture: Picture, marked: Marked, names: Sequence[str]) -> Array | None:
    """Return alpha, opaque where a fault was mended that it hid; what a person pointed at stays hidden."""
    if picture.alpha is None or not any(f.kind == "hole" for f in marked.faults):
        return picture.alpha
    return np.where(
        _filled(marked, names), picture.alpha.dtype.type(TOP[picture.alpha.dtype.name]), picture.alpha
    )


def _filled(marked: Marked, names: Sequence[str]) -> Array:
    """Return which pixels are filled (H, W) bool, by the operators' names."""
    return np.asarray(np.array([False, *map(bool, names)])[marked.labels])


def _restored(
    picture: Picture, valid: Array, faults: tuple[Fault, ...], setting: Setting
) -> tuple[Picture, tuple[Fault, ...], tuple[str, ...]]:
    """Mend what restorers mend; return the picture, itself where they did nothing, the faults, and notes."""
    started = time.perf_counter()
    pixels, met, notes = restore_faults(picture.pixels, valid, faults, setting)
    if pixels is picture.pixels:
        return picture, met, notes
    setting.context.observe(Event("restore", 1.0, time.perf_counter() - started))
    return replace(picture, pixels=pixels), met, notes


def _written(
    target: Path, mended: Picture, picture: Picture | None, found: Marked | None, workers: int
) -> tuple[str, ...]:
    """Write the mask of what was found, the picture, or the photo's own file where nothing has changed."""
    if found is not None:
        return tuple(write_image(target, np.where(found.mask, 255, 0).astype(np.uint8)[:, :, None]))
    if mended is picture:
        return tuple(keep_picture(target, picture))
    return tuple(write_picture(target, mended.pixels, mended.alpha, mended, workers))


def _boxes(box: Any) -> list[Rect]:
    """Return the rectangles asked for."""
    boxes = [] if box is None else [box] if np.ndim(box) == 1 else list(box)
    for b in boxes:
        if len(b) != 4 or min(b[2:]) < 1:
            raise OptionError(f"box is {tuple(b)}; give x, y, width and height in pixels")
    return [Rect(int(x), int(y), int(x + w), int(y + h)) for x, y, w, h in boxes]


def _pointed_at(picture: Picture, valid: Array, mask: Source | None, boxes: list[Rect], grow: int) -> Marked:
    """Return the holes that mask and boxes mark."""
    height, width = picture.pixels.shape[:2]
    painted = np.zeros((height, width), bool) if mask is None else _mask(mask, "mask", picture)
    marked = painted.copy()
    for rect in boxes:
        inside = clipped(rect, width, height)
        if inside.width < 1 or inside.height < 1:
            raise OptionError(f"the box at {rect.x0}, {rect.y0} lies outside the photo of {width} x {height}")
        marked[inside.y0 : inside.y1, inside.x0 : inside.x1] = True
    marked = grown(marked, grow)
    if marked.any() and not (valid & ~marked).any():
        raise OptionError("the holes leave nothing of the photo to fill from; mark less")
    return point_at(marked, painted)


def _cut_off(boxes: Sequence[Rect], picture: Picture) -> tuple[str, ...]:
    """Return sentences on boxes that reach beyond the photo."""
    height, width = picture.pixels.shape[:2]
    return tuple(
        f"the box at {b.x0}, {b.y0} reaches beyond the photo; {i.width} x {i.height} pixels of it lie inside"
        for b in boxes
        if (i := clipped(b, width, height)) != b
    )


def _mask(mask: Source, name: str, picture: Picture) -> Array:
    """Return what a mask of the picture's size marks (H, W) bool."""
    white, (height, width) = read_mask(mask, name), picture.pixels.shape[:2]
    if white.shape != (height, width):
        raise OptionError(
            f"the {name} has {white.shape[1]} x {white.shape[0]} pixels, the photo {width} x {height}; "
            "they must match"
        )
    return np.asarray(white > 0.5)


def _valid(picture: Picture) -> Array:
    """Return which pixels may be looked at: those that alpha shows, and that are finite."""
    return np.asarray(finite_pixels(picture.pixels) & _shown(picture))


def _shown(picture: Picture) -> Array:
    """Return which pixels alpha shows."""
    if picture.alpha is None:
        return np.ones(picture.pixels.shape[:2], bool)
    return np.asarray(picture.alpha > TOP[picture.alpha.dtype.name] / 2)


def _givers(donors: Sequence[Source], picture: Picture, valid: Array) -> tuple[list[Donor], tuple[str, ...]]:
    """Return the donors laid over the picture, and a sentence on each that does not fit."""
    givers, notes = [], []
    features = landmarks(picture.pixels, valid) if len(donors) else None
    for k, source in enumerate(donors, 1):
        other = read_picture(source, f"donor {k}", like=picture)
        found = registered(features, other.pixels, _valid(other)) if features is not None else None
        if found is None:
            notes.append(f"{other.photo.name}: shares too little with the photo; not used")
        else:
            givers.append(found)
    return givers, tuple(notes)


def _remarks(faults: Sequence[Fault], looked: bool, find_only: bool) -> tuple[str, ...]:
    """Return sentences on what was not mended, and where nothing was found."""
    if looked and not faults:
        return ("no faults found; the photo is as it was",)
    if find_only:
        return ()
    notes, left = [], [f for f in faults if not f.operator and f.kind not in RESTORERS]
    double = [f.rect for f in left if f.kind == DOUBLE]
    if double:
        which = "a double image" if len(double) == 1 else f"{len(double)} double images"
        where = f"at {double[0].x0}, {double[0].y0}"
        notes.append(f"{which} found, {where}, and left; give another photo of the scene as a donor")
    rects = [f.rect for f in left if f.kind != DOUBLE]
    if rects:
        which = "1 hole touches" if len(rects) == 1 else f"{len(rects)} holes touch"
        notes.append(f"{which} nothing visible, at {rects[0].x0}, {rects[0].y0}, left unchanged")
    return tuple(notes)
