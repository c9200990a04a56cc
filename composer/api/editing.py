"""`run` on one picture: a pipeline whose stages each change it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.api.jobs import begun, one_thread_each
from composer.backend.memory import peak_mb
from composer.errors import Cancelled, OptionError
from composer.media.picture import Picture, check_target, keep_picture, read_picture, write_picture
from composer.pipeline import Pipeline
from composer.records import Context, Event
from composer.results import Changed

Array = NDArray[Any]
Source = str | Path | Array

__all__ = ["edited"]


def edited(
    pipeline: Pipeline,
    photo: Source | Sequence[Source],
    output: str | Path | None = None,
    *,
    settings: Mapping[str, str] | None = None,
    device: str = "auto",
    workers: int | None = None,
    max_memory: int | None = None,
    observe: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Changed:
    """Put one picture through the stages of a pipeline that changes pictures one by one.

    Parameters
    ----------
    pipeline : Pipeline
        One that is `single`.
    photo : path, or array (H, W[, C]), uint8, uint16 or float32, alpha last
        Or a sequence of one.
    output : path or None
        Where to write; None keeps the picture in memory. A photo that no stage changes is copied.
    settings : mapping or None
        Options of stages by "stage.option", as text.
    device, workers, max_memory, observe, cancelled
        As for `stitch`.

    Returns
    -------
    Changed

    Raises
    ------
    OptionError
        Several photos are given.
    PhotoError, OutputError, PipelineError, DeviceError, Cancelled
        And what the stages raise.
    """
    pipeline = pipeline.with_options(settings or {})
    source = _only(photo)
    target = Path(output) if output is not None else None
    context, watch = begun(device, workers, max_memory, observe, cancelled)
    picture = read_picture(source, "photo", context.max_memory)
    if target is not None:
        check_target(target, (source,))
    given = _whole(picture)
    with one_thread_each():
        made, told = _through(pipeline, given, context)
    touched = made.shape != given.shape or not np.array_equal(made, given, equal_nan=made.dtype.kind == "f")
    notes = tuple(f"{name}: {note}" for name, summary in told for note in summary["notes"])
    if target is not None:
        workers = context.workers
        notes += tuple(_written(target, made, picture, workers) if touched else keep_picture(target, picture))
    return Changed(
        output=target, pixels=made if target is None else None, notes=notes, touched=touched,
        told=tuple((name, _facts(summary)) for name, summary in told), stages=tuple(watch.stages.items()),
        peak_mb=peak_mb(),
    )  # fmt: skip


def _only(photo: Source | Sequence[Source]) -> Source:
    if isinstance(photo, (list, tuple)):
        if len(photo) != 1:
            raise OptionError(f"{len(photo)} photos for a pipeline that takes one; use run_each")
        return photo[0]
    return photo  # type: ignore[return-value]


def _through(
    pipeline: Pipeline, pixels: Array, context: Context
) -> tuple[Array, list[tuple[str, dict[str, Any]]]]:
    """Return the picture after all stages, and each stage's name and summary."""
    told = []
    for (name, _), stage in zip(pipeline.described(), pipeline.stages, strict=True):
        if context.cancelled():
            raise Cancelled("stopped on request; nothing was written")
        started = time.perf_counter()
        result = stage.edit(pixels, context)
        pixels = np.asarray(result.image)
        told.append((name, result.summary()))
        context.observe(Event(name, 1.0, time.perf_counter() - started))
    return pixels, told


def _whole(picture: Picture) -> Array:
    return picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])


def _written(target: Path, made: Array, picture: Picture, workers: int) -> list[str]:
    """Write a picture whose last of two or four channels is alpha."""
    opaque = made.shape[2] in (1, 3)
    pixels, alpha = (made, None) if opaque else (made[:, :, :-1], made[:, :, -1])
    return write_picture(target, pixels, alpha, picture, workers)


def _facts(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a stage said of the picture, without what it said of its run."""
    return {k: v for k, v in summary.items() if k not in ("output", "stages", "peak_mb")}
