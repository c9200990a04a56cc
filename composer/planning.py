"""From what a verb is given to a plan: photos read, a plan made, or loaded and completed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.projection import placed
from composer.backend.parallel import together
from composer.blend.stages import BlendGradients
from composer.errors import ImageTooLarge, NothingToStitch, PhotoError
from composer.media.archive import load_plan
from composer.media.decode import PhotoStore
from composer.media.header import photo_from_array, read_photo
from composer.media.inputs import expand
from composer.media.lens import with_lens
from composer.pipeline import Pipeline
from composer.records import Context, Event, Photo, Photos, Plan, Unused
from composer.stitching.layout import rescaled, without_unseen
from composer.stitching.stages import LayOut, too_few
from composer.stitching.template import applied

Array = NDArray[Any]
Source = str | Path | Array

__all__ = ["PHOTO_SHARE", "Source", "applied_plan", "loaded_plan", "made_plan", "read_photos"]

_OF_PIXELS = "gradient", "low-bands"  # what stages make of the pixels along finished seams
PHOTO_SHARE = 8  # an eighth of the memory allowed is for decoded photos: scratch files are nearly as fast


def made_plan(found: Photos, pipeline: Pipeline, context: Context) -> tuple[Plan, Context]:
    """Run a pipeline's plan stages on photos.

    Returns
    -------
    plan, and the context with a store of the photos

    Raises
    ------
    NothingToStitch
        There are fewer than two photos, or no two overlap.
    """
    if len(found.items) < 2:
        raise NothingToStitch(_too_few(found), found.unused)
    context = _with_store(found.items, context)
    return pipeline.plan(found, context), context


def loaded_plan(path: Path, pipeline: Pipeline, context: Context) -> tuple[Plan, Context]:
    """Load a saved plan or Hugin project, laid out anew where the pipeline's layout says so.

    Returns
    -------
    plan, and the context with a store of its photos
    """
    plan = _laid_out(load_plan(path, context.max_memory), pipeline)
    context = _with_store(tuple(la.photo for c in plan.compositions for la in c.layers), context)
    return _completed(plan, pipeline, context), context


def applied_plan(path: Path, found: Photos, pipeline: Pipeline, context: Context) -> tuple[Plan, Context]:
    """Put photos where those of a saved plan or Hugin project are; what depends on pixels is blended anew.

    Returns
    -------
    plan, and the context with a store of the photos
    """
    plan = applied(load_plan(path, context.max_memory, unchanged=False), found)
    context = _with_store(found.items, context)
    start = next((name for name, _ in pipeline.described() if name in _OF_PIXELS), None)
    return _completed(_laid_out(plan, pipeline), pipeline, context, start), context


def _with_store(photos: tuple[Photo, ...], context: Context) -> Context:
    return replace(context, photos=PhotoStore.for_photos(photos, context.max_memory // PHOTO_SHARE))


def _laid_out(plan: Plan, pipeline: Pipeline) -> Plan:
    """Lay a finished plan out as the pipeline says, where it says anything."""
    lay_out = next((s for s in pipeline.plan_stages if isinstance(s, LayOut)), LayOut())
    if replace(lay_out, width=0) != LayOut():
        return replace(plan, compositions=tuple(lay_out.again(c) for c in plan.compositions))
    if lay_out.width:
        return replace(plan, compositions=tuple(rescaled(c, lay_out.width) for c in plan.compositions))
    return plan


def _completed(plan: Plan, pipeline: Pipeline, context: Context, start: str | None = None) -> Plan:
    """Run the stages that a loaded plan lacks: from `start` on, and all after the layout without seams.

    A pipeline that is to blend gradients solves for their factors where the plan has none.
    """
    if all(c.seams is not None for c in plan.compositions):
        solved = any(la.factors is not None for c in plan.compositions for la in c.layers)
        if not solved and any(isinstance(s, BlendGradients) and not s.least for s in pipeline.plan_stages):
            start = start or "gradient"
        return pipeline.plan(plan, context, start) if start else plan
    shown = tuple(without_unseen(placed(c)) for c in plan.compositions)
    if not all(c.layers for c in shown):
        raise NothingToStitch("the project's canvas shows none of its photos; move it over them")
    return pipeline.plan(replace(plan, compositions=shown), context)


def read_photos(
    sources: Sequence[Source] | Source,
    context: Context,
    lens: str = "rectilinear",
    lens_fov: float = 0.0,
    *,
    repeats: bool = False,
) -> Photos:
    """Read every photo's header; damaged ones and repeats are set aside with the reason.

    With `repeats` photos of the same content count each, if their names differ.
    """
    if isinstance(sources, (str, Path, np.ndarray)):
        sources = [sources]
    started = time.perf_counter()
    items: list[Photo] = []
    unused: list[Unused] = []
    arrays = 0
    seen: dict[str, str] = {}
    given = expand(sources, unread=True)
    files = [source for source in given if isinstance(source, Path)]
    read = iter(together(context, lambda path: _header(path, context.max_memory), files))
    for source in given:
        if isinstance(source, Path):
            photo = next(read)
        else:
            arrays += 1
            photo = photo_from_array(source, f"photo {arrays}")
        if isinstance(photo, Unused):
            unused.append(photo)
            continue
        twin = seen.setdefault(photo.name if repeats else photo.sha256, photo.name)
        if twin != photo.name or any(p.name == photo.name for p in items):
            unused.append(
                Unused(photo.name, "given twice" if twin == photo.name else f"the same file as {twin}")
            )
        else:
            items.append(photo)
    if lens != "rectilinear" or lens_fov:
        items = [with_lens(photo, lens, lens_fov) for photo in items]
    context.observe(Event("read headers", 1.0, time.perf_counter() - started))
    return Photos(tuple(items), tuple(unused))


def _header(path: Path, max_memory: int) -> Photo | Unused:
    """Read a photo's header, or say why it cannot be used."""
    try:
        return read_photo(path, max_memory)
    except ImageTooLarge:
        raise
    except PhotoError as error:
        if not path.exists():
            raise
        return Unused(str(path), str(error).removeprefix(f"{path}: "))


def _too_few(found: Photos) -> str:
    if not found.items and not found.unused:
        return "no photos given; name at least two that overlap by a third"
    return too_few(found.unused)
