"""One function a verb: what the commands do, for scripts."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from composer.backend import resolve_device
from composer.errors import (
    ImageTooLarge,
    NothingToStitch,
    OptionError,
    OutputError,
    PhotoError,
)
from composer.media.archive import load_plan, save_plan
from composer.media.decode import PhotoStore
from composer.media.encode import check_folder, check_output, write_bands
from composer.media.header import photo_from_array, read_photo
from composer.media.inputs import expand
from composer.media.metadata import Metadata, carried, icc_profile, read_metadata
from composer.pipeline import Pipeline, stitching
from composer.records import Composition, Context, Event, Photo, Photos, Plan, Projection, Unused
from composer.render import canvas_channels, output_dtype, render, render_bands
from composer.report import Job, Shown, reduced_size, reducing, thumbnail, write_report
from composer.stitching.crop import has_holes
from composer.stitching.layout import rescaled
from composer.stitching.stages import too_few

Array = NDArray[Any]
Source = str | Path | Array

__all__ = ["Panorama", "Stitched", "run", "stitch"]

DEFAULT_MEMORY = 4 << 30


@dataclass(frozen=True)
class Panorama:
    """One panorama: its composition, and the picture in memory or the file it was written to.

    Attributes
    ----------
    composition : Composition
    output : Path or None
    notes : tuple of str
        What the output's format could not keep.
    preview : (h, w, 4) uint8 or None
        The picture, small, and where it is valid; made for a report.
    """

    composition: Composition
    output: Path | None = None
    pixels: Array | None = field(default=None, repr=False, compare=False)
    valid: Array | None = field(default=None, repr=False, compare=False)
    notes: tuple[str, ...] = ()
    preview: Array | None = field(default=None, repr=False, compare=False)

    @property
    def image(self) -> Array:
        """The picture (H, W, C), of the photos' type; read back from the file if it was written."""
        if self.pixels is not None:
            return self.pixels
        assert self.output is not None
        from composer.media.decode import decode

        photo = read_photo(self.output, max_memory=sys.maxsize)
        return decode(photo)[:, :, : photo.channels]

    @property
    def photos(self) -> tuple[str, ...]:
        """Names of the photos in it."""
        return tuple(la.photo.name for la in self.composition.layers)

    @property
    def rms_px(self) -> float:
        """Root mean square distance of matched points, in pixels of the photos."""
        return self.composition.rms_px


@dataclass(frozen=True)
class Stitched:
    """What `stitch` returns: panoramas, the photos left out and why, and seconds by stage."""

    panoramas: tuple[Panorama, ...]
    unused: tuple[Unused, ...] = ()
    stages: tuple[tuple[str, float], ...] = ()
    peak_mb: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Return the result as plain values, as `--summary` writes them."""
        return {
            "panoramas": [
                {
                    "output": str(p.output) if p.output else None,
                    "photos": list(p.photos),
                    "width": p.composition.width,
                    "height": p.composition.height,
                    "projection": p.composition.projection,
                    "fov_deg": [round(a, 2) for a in p.composition.fov_deg],
                    "rms_px": round(p.rms_px, 3),
                }
                for p in self.panoramas
            ],
            "unused": [{"photo": u.photo, "reason": u.reason} for u in self.unused],
            "stages": [{"name": n, "seconds": round(s, 3)} for n, s in self.stages],
            "peak_mb": round(self.peak_mb, 1),
        }


def stitch(
    photos: Sequence[Source] | Source = (),
    output: str | Path | None = None,
    *,
    projection: str = "auto",
    crop: str = "none",
    width: int | None = None,
    preview: int | None = None,
    yaw: float = 0.0,
    pitch: float | None = None,
    roll: float = 0.0,
    fov: float | tuple[float, float] = 0.0,
    blend: str = "multiband",
    load: str | Path | None = None,
    save: str | Path | None = None,
    report: str | Path | None = None,
    pipeline: Pipeline | None = None,
    settings: Mapping[str, str] | None = None,
    device: str = "auto",
    workers: int | None = None,
    max_memory: int | None = None,
    observe: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Stitched:
    """Stitch photographs of one or several scenes into panoramas.

    Parameters
    ----------
    photos : paths, folders, glob patterns, or arrays (H, W[, C]) in RGB
    output : path or None
        Where to write; several panoramas are written as OUT, OUT-2, OUT-3. None keeps them in memory.
    projection : "auto" or one of `records.Projection`
    crop : "none" or "rectangle"
    width : int or None
        Canvas width in pixels; None keeps the photos' resolution.
    preview : int or None
        Like `width`, and quicker: cameras are found at a lower resolution.
    yaw, pitch, roll : float
        Where the canvas looks, in degrees: right of the photos' middle, above the horizon (None: the
        horizon, on a plane the photos' middle), turned clockwise.
    fov : float or (float, float)
        Degrees to show, across or across and down; 0 is all that was photographed.
    blend : "multiband", "feather" or "none"
    load : path or None
        Render the compositions saved in this file; no photos are given then.
    save : path or None
        Save the compositions to this file.
    report : path or None
        Write what was done as one HTML page: the panoramas, their seams and matches, photos, time.
    pipeline : Pipeline or None
        Another chain of stages; the options above that it contains are then its own.
    settings : mapping or None
        Options of stages by "stage.option", as text.
    device : "auto", "cpu" or "cuda"
    workers : int or None
        Threads; None uses every core. The result does not depend on it.
    max_memory : int or None
        Bytes for decoded photos; what exceeds them is kept in scratch files. None: 4 GiB.
    observe : callable or None
        Called with an `Event` after each step.
    cancelled : callable or None
        Asked between steps; returning True stops with `Cancelled`.

    Returns
    -------
    Stitched

    Raises
    ------
    NothingToStitch
        No two photos overlap; its `unused` says why for each.
    PhotoError, OutputError, OptionError, DeviceError, Cancelled

    Examples
    --------
    >>> import composer
    >>> from composer.samples import room
    >>> result = composer.stitch(room())
    >>> len(result.panoramas[0].photos), len(result.unused)
    (3, 0)
    """
    started = time.perf_counter()
    target = Path(output) if output is not None else None
    across, down = fov if isinstance(fov, tuple) else (fov, 0.0)
    _check_options(projection, crop, width, preview, blend, workers)
    for wanted in (target, save, report):
        if wanted is not None:
            check_folder(Path(wanted))
    if report is not None and Path(report).suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{report}: a report is a web page; give a name that ends in .html")
    if target is not None:
        check_output(target)
    wide = preview or width
    if pipeline is None:
        options: dict[str, dict[str, Any]] = {
            "find-features": {"megapixels": 0.15 if preview else 0.25},
            "cameras": {"model": {"auto": "auto", "affine": "affine"}.get(projection, "rotation")},
            "lay-out": {
                "projection": projection, "crop": crop, "width": wide or 0, "yaw": yaw, "pitch": pitch,
                "roll": roll, "fov": across, "fov_down": down,
            },
        }  # fmt: skip
        pipeline = stitching(blend, options)
    pipeline = pipeline.with_options(settings or {})
    memory = max_memory or DEFAULT_MEMORY
    watch = _Stopwatch(observe)
    context = Context(
        resolve_device(device),
        workers or len(os.sched_getaffinity(0)),
        max_memory=memory,
        observe=watch,
        cancelled=cancelled or (lambda: False),
    )
    with _one_thread_each():
        if load is not None:
            plan = load_plan(Path(load))
            if wide:
                plan = replace(plan, compositions=tuple(rescaled(c, wide) for c in plan.compositions))
            used = tuple(la.photo for c in plan.compositions for la in c.layers)
            context = replace(context, photos=PhotoStore.for_photos(used, memory))
        else:
            found = _photos(photos, memory)
            if len(found.items) < 2:
                raise NothingToStitch(_too_few(found), found.unused)
            context = replace(context, photos=PhotoStore.for_photos(found.items, memory))
            watch(Event("read headers", 1.0, time.perf_counter() - started, value=found))
            plan = pipeline.plan(found, context)
        if save is not None:
            save_plan(Path(save), plan)
        outputs = _output_names(target, plan)
        planned = time.perf_counter()
        made = tuple(
            _made(c, o, pipeline, context, preview=report is not None)
            for c, o in zip(plan.compositions, outputs, strict=True)
        )
        watch(Event("write", 1.0, time.perf_counter() - planned - watch.stages.get("render", 0.0)))
        result = Stitched(made, plan.unused, tuple(watch.stages.items()), _peak_mb())
        if report is not None:
            write_report(Path(report), _job(result, pipeline, context))
    return result


def run(
    pipeline: Pipeline | str | Path,
    photos: Sequence[Source] | Source,
    output: str | Path | None = None,
    **options: Any,
) -> Stitched:
    """Run a pipeline, given or read from a TOML file, on photographs; options as for `stitch`.

    Raises
    ------
    PipelineError
        The pipeline does not fit together; no pixel has been read then.
    """
    if not isinstance(pipeline, Pipeline):
        pipeline = Pipeline.from_toml(pipeline)
    return stitch(photos, output, pipeline=pipeline, **options)


class _Stopwatch:
    """Passes events on and adds up the seconds of each stage."""

    def __init__(self, observe: Callable[[Event], None] | None) -> None:
        self.stages: dict[str, float] = {}
        self._observe = observe

    def __call__(self, event: Event) -> None:
        if event.seconds is not None:
            self.stages[event.stage] = self.stages.get(event.stage, 0.0) + event.seconds
        if self._observe is not None:
            self._observe(event)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keep OpenCV single-threaded: the parallel work is over photos and tiles."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _check_options(
    projection: str, crop: str, width: int | None, preview: int | None, blend: str, workers: int | None
) -> None:
    choices = {
        "projection": (projection, ("auto", *get_args(Projection))),
        "crop": (crop, ("none", "rectangle")),
        "blend": (blend, ("multiband", "feather", "none")),
    }
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise OptionError(f'{name} is "{value}"; give one of {", ".join(allowed)}')
    for name, number in (("width", width), ("preview", preview), ("workers", workers)):
        if number is not None and number < 1:
            raise OptionError(f"{name} is {number}; give 1 or more")


def _photos(sources: Sequence[Source] | Source, memory: int) -> Photos:
    """Read every photo's header; damaged ones and repeats are set aside with the reason."""
    if isinstance(sources, (str, Path, np.ndarray)):
        sources = [sources]
    items: list[Photo] = []
    unused: list[Unused] = []
    arrays = 0
    seen: dict[str, str] = {}
    for source in expand(sources):
        if isinstance(source, Path):
            try:
                photo = read_photo(source, memory)
            except ImageTooLarge:
                raise
            except PhotoError as error:
                if not source.exists():
                    raise
                unused.append(Unused(str(source), str(error).removeprefix(f"{source}: ")))
                continue
        else:
            arrays += 1
            photo = photo_from_array(source, f"photo {arrays}")
        twin = seen.setdefault(photo.sha256, photo.name)
        if twin != photo.name or any(p.name == photo.name for p in items):
            unused.append(Unused(photo.name, f"the same file as {twin}"))
        else:
            items.append(photo)
    return Photos(tuple(items), tuple(unused))


def _too_few(found: Photos) -> str:
    if not found.items and not found.unused:
        return "no photos given; name at least two that overlap by a third"
    return too_few(found.unused)


def _output_names(target: Path | None, plan: Plan) -> list[Path | None]:
    """Name the panoramas OUT, OUT-2, OUT-3, and check that no photo is overwritten and all fit."""
    names: list[Path | None] = []
    inputs = {la.photo.path.resolve() for c in plan.compositions for la in c.layers if la.photo.path}
    for k, composition in enumerate(plan.compositions, 1):
        if target is None:
            names.append(None)
            continue
        name = target if k == 1 else target.with_stem(f"{target.stem}-{k}")
        if name.resolve() in inputs:
            raise OutputError(f"{name}: is one of the photos; choose another name for the panorama")
        check_output(name, composition.width, composition.height)
        names.append(name)
    return names


def _made(
    composition: Composition, output: Path | None, pipeline: Pipeline, context: Context, *, preview: bool
) -> Panorama:
    """Render one panorama to memory or to its file."""
    small = np.zeros((*reduced_size(composition), 4), np.uint8) if preview else None
    if output is None:
        image, valid = render(composition, pipeline.blend, context, pipeline.tile_stages)
        if small is not None:
            rows = ((y, image[y : y + 256], valid[y : y + 256]) for y in range(0, len(image), 256))
            deque(reducing(rows, composition.height, small), 0)
        return Panorama(composition, None, image, valid, preview=small)
    first = composition.layers[0].photo
    metadata = carried(read_metadata(first), composition.width, composition.height)
    if context.photos.profile is not None:
        metadata = Metadata(metadata.exif, context.photos.profile, metadata.xmp)
    bands = render_bands(composition, pipeline.blend, context, pipeline.tile_stages)
    if small is not None:
        bands = reducing(bands, composition.height, small)
    shape = (composition.height, composition.width, canvas_channels(composition))
    streamed = output.suffix.lower() in (".tif", ".tiff")
    holes = streamed and has_holes(composition)
    notes = write_bands(output, bands, shape, output_dtype(composition), holes, metadata)
    return Panorama(composition, output, notes=tuple(notes), preview=small)


def _job(result: Stitched, pipeline: Pipeline, context: Context) -> Job:
    """Gather what a report shows."""
    shown = []
    for k, panorama in enumerate(result.panoramas, 1):
        assert panorama.preview is not None
        photos = [la.photo for la in panorama.composition.layers]
        thumbnails = tuple(thumbnail(context.photos.pixels(p), p.channels) for p in photos)
        profile = context.photos.profile or icc_profile(photos[0])
        title = panorama.output.name if panorama.output else f"Panorama {k}"
        shown.append(
            Shown(panorama.composition, title, panorama.preview, thumbnails, profile, panorama.notes)
        )
    settings = (("device", context.device), ("threads", str(context.workers)))
    return Job(tuple(shown), result.unused, result.stages, result.peak_mb, settings, pipeline.to_toml())


def _peak_mb() -> float:
    """Return the process's peak resident memory in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
