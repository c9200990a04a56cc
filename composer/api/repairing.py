"""`repair`: holes in a photograph, filled."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from composer.api.jobs import begun, one_thread_each
from composer.backend.memory import peak_mb
from composer.errors import OptionError
from composer.media.picture import Picture, check_target, read_mask, read_picture, write_picture
from composer.mending.choosing import Fills, choose, operators, regions_of
from composer.mending.donor import Donor, landmarks, registered
from composer.mending.filling import fill_holes, reachable
from composer.mending.holes import clipped, find_holes, grown
from composer.records import Event, Fault, Rect
from composer.results import Repaired

Array = NDArray[Any]
Source = str | Path | Array

__all__ = ["repair"]


def repair(
    photo: Source,
    mask: Source | None = None,
    *,
    fill: str = "auto",
    box: Sequence[int] | Sequence[Sequence[int]] | None = None,
    grow: int = 0,
    source: Source | None = None,
    donors: Sequence[Source] = (),
    output: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    max_memory: int | None = None,
    observe: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Repaired:
    """Fill holes in a photograph from what surrounds them.

    Parameters
    ----------
    photo : path, or array (H, W[, C]) uint8, uint16 or float32, alpha last
        What alpha hides is not looked at, nor is what is not finite; alpha itself stays.
    mask : path or array (H, W), or None
        White (above one half) is what to fill.
    fill : "auto", "harmonic", "biharmonic", "telea", "navier-stokes", "edges", "mixed", "patches" or "donor"
        What fills: "auto" chooses for each hole by its width and the texture around it. "mixed" is the
        mean of biharmonic and edges.
    box : (x, y, width, height) or several of them, or None
        Rectangles to fill, beside the mask or in its place.
    grow : int
        Pixels by which holes are made wider on all sides.
    source : path or array (H, W), or None
        White is where patches are taken from; None lets them come from anywhere near.
    donors : paths or arrays
        Other photos of the same scene. "auto" and "donor" take what the first of them that covers a hole
        shows there; holes that none covers are filled as by "auto".
    output : path or None
        Where to write; None keeps the picture in memory only.
    seed : int
        For the random search of "patches".
    device, workers, max_memory, observe, cancelled
        As for `stitch`. The result does not depend on `workers`.

    Returns
    -------
    Repaired
        Equal to the photo outside the holes, bit for bit.

    Raises
    ------
    OptionError
        Neither mask nor box, a mask of another size, nothing left to fill from.
    PhotoError, OutputError, DeviceError, Cancelled

    Examples
    --------
    >>> import composer
    >>> from composer.samples import picture
    >>> result = composer.repair(picture("coffee.png"), box=(300, 100, 4, 80))
    >>> [(f.kind, f.operator) for f in result.faults]
    [('box', 'mixed')]
    """
    _check_options(fill, len(donors), grow, mask is None and box is None)
    target = Path(output) if output is not None else None
    context, watch = begun(device, workers, max_memory, observe, cancelled)
    picture = read_picture(photo, "photo", context.max_memory)
    if target is not None:
        check_target(target, (picture.photo,))
    painted, marked = _marked(picture, mask, _boxes(box))
    marked = grown(marked, grow)
    labels, found = find_holes(marked)
    allowed = None if source is None else _mask(source, "source mask", picture)
    valid = _valid(picture)
    if found and not (valid & ~marked).any():
        raise OptionError("the holes leave nothing of the photo to fill from; mark less")
    able = reachable(labels, len(found), valid)
    with one_thread_each():
        started = time.perf_counter()
        givers, notes = _givers(donors, picture, valid & ~marked) if found else ([], ())
        names = choose(found, able, fill, pixels=picture.pixels, labels=labels, valid=valid, donors=givers)
        regions = regions_of(names, labels, found, allowed)
        fills = operators(allowed, seed, givers, context.device)
        pixels = fill_holes(picture.pixels, labels, valid, regions, fills, context)
        watch(Event("fill", 1.0, time.perf_counter() - started))
    by_mask = np.isin(np.arange(1, len(found) + 1), labels[painted])
    faults = tuple(
        Fault("mask" if painted_on else "box", hole.rect, operator=name)
        for painted_on, hole, name in zip(by_mask, found, names, strict=True)
    )
    notes += _left(faults)
    if target is not None:
        notes += tuple(write_picture(target, pixels, picture.alpha, picture))
    elif picture.alpha is not None:
        pixels = np.dstack([pixels, picture.alpha])
    return Repaired(
        mask=marked, faults=faults, output=target, pixels=pixels if target is None else None, notes=notes,
        stages=tuple(watch.stages.items()), peak_mb=peak_mb(),
    )  # fmt: skip


def _check_options(fill: str, donors: int, grow: int, nothing: bool) -> None:
    if fill not in ("auto", *get_args(Fills)):
        raise OptionError(f'fill is "{fill}"; give one of auto, {", ".join(get_args(Fills))}')
    if (fill == "donor") > bool(donors) or (donors and fill not in ("auto", "donor")):
        raise OptionError(f'fill is "{fill}" with {donors} donors; give donors to auto or donor only')
    if grow < 0:
        raise OptionError(f"grow is {grow}; give 0 or more pixels")
    if nothing:
        raise OptionError("there is nothing to fill; give a mask or a box")


def _boxes(box: Any) -> list[Rect]:
    """Return the rectangles asked for."""
    boxes = [] if box is None else [box] if np.ndim(box) == 1 else list(box)
    for b in boxes:
        if len(b) != 4 or min(b[2:]) < 1:
            raise OptionError(f"box is {tuple(b)}; give x, y, width and height in pixels")
    return [Rect(int(x), int(y), int(x + w), int(y + h)) for x, y, w, h in boxes]


def _marked(picture: Picture, mask: Source | None, boxes: list[Rect]) -> tuple[Array, Array]:
    """Return what the mask marks, and what mask and boxes do (H, W) bool."""
    height, width = picture.pixels.shape[:2]
    painted = np.zeros((height, width), bool) if mask is None else _mask(mask, "mask", picture)
    marked = painted.copy()
    for rect in boxes:
        inside = clipped(rect, width, height)
        if inside.width < 1 or inside.height < 1:
            raise OptionError(f"the box at {rect.x0}, {rect.y0} lies outside the photo of {width} x {height}")
        marked[inside.y0 : inside.y1, inside.x0 : inside.x1] = True
    return painted, marked


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
    valid = np.asarray(np.isfinite(picture.pixels).all(2))
    if picture.alpha is not None:
        shown = np.float32(1) if picture.alpha.dtype == np.float32 else np.iinfo(picture.alpha.dtype).max
        valid = valid & (picture.alpha > shown / 2)
    return valid


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


def _left(faults: Sequence[Fault]) -> tuple[str, ...]:
    """Return a sentence on holes that nothing visible touches."""
    left = [f.rect for f in faults if not f.operator]
    if not left:
        return ()
    which = "1 hole touches" if len(left) == 1 else f"{len(left)} holes touch"
    return (f"{which} nothing visible, at {left[0].x0}, {left[0].y0}, left unchanged",)
