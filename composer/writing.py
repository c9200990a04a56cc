"""From a plan to files: their names, what fits, and writing them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np

from composer.errors import OutputError
from composer.layers import layer_pages
from composer.media.decode import coarse
from composer.media.encode import STREAMED, check_output, replacing, write_bands
from composer.media.gpano import with_sphere
from composer.media.metadata import Metadata, carried, icc_profile, shared_metadata
from composer.media.profiles import profile_name
from composer.media.tiff_write import write_pages
from composer.pipeline import Pipeline
from composer.planning import PHOTO_SHARE
from composer.records import Composition, Context, Event, Plan
from composer.render import canvas_channels, output_dtype, render, render_bands
from composer.report import Job, Shown, reduced_size, reducing, thumbnail
from composer.results import Panorama, Stitched
from composer.stitching.crop import has_holes

__all__ = ["check_canvases", "output_names", "rendered", "report_job", "write_layers"]


def output_names(target: Path | None, plan: Plan) -> list[Path | None]:
    """Name the panoramas OUT, OUT-2, OUT-3, and check that no photo is overwritten and all fit."""
    names: list[Path | None] = []
    inputs = {la.photo.path.resolve() for c in plan.compositions for la in c.layers if la.photo.path}
    inputs |= {Path(u.photo).resolve() for u in plan.unused}
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


def check_canvases(plan: Plan, outputs: list[Path | None], memory: int) -> None:
    """Refuse canvases that would have to be held in memory and do not fit beside the photos."""
    for composition, output in zip(plan.compositions, outputs, strict=True):
        if output is not None and check_output(output) in STREAMED:
            continue
        planes = canvas_channels(composition) * np.dtype(output_dtype(composition)).itemsize + 1
        need = composition.width * composition.height * planes
        if need > memory - memory // PHOTO_SHARE:
            raise OutputError(
                f"{output or 'result'}: {composition.width} x {composition.height} pixels need "
                f"{need >> 20} MB at once, more than --max-memory leaves; write .tif, .png, .jpg or .dzi, or "
                "make it smaller with --width"
            )


def write_layers(plan: Plan, names: list[Path | None], context: Context) -> None:
    """Write the warped photos and seam masks of each panorama."""
    started = time.perf_counter()
    for composition, name in zip(plan.compositions, names, strict=True):
        assert name is not None
        with replacing(name) as file:
            size = composition.width, composition.height
            profile = _metadata(composition, context).icc
            write_pages(file, layer_pages(composition, context), size, profile, context.workers)
    context.observe(Event("layers", 1.0, time.perf_counter() - started))


def _metadata(composition: Composition, context: Context) -> Metadata:
    """Return what the result keeps of its photos' metadata."""
    found = shared_metadata([la.photo for la in composition.layers])
    metadata = carried(found, composition.width, composition.height)
    if context.photos.profile is not None:
        metadata = replace(metadata, icc=context.photos.profile)
    return replace(metadata, xmp=with_sphere(metadata.xmp, composition))


def _unlike(composition: Composition, context: Context) -> tuple[str, ...]:
    """Say which photos do not fit in with the others by nature: grey ones, and other colour profiles."""
    photos = [la.photo for la in composition.layers]
    colour = [p for p in photos if p.channels == 3]
    grey = [p.name for p in photos if p.channels == 1] if colour else []
    notes = []
    if grey:
        named = ", ".join(grey[:3]) + (f" and {len(grey) - 3} more" if len(grey) > 3 else "")
        notes.append(f"{named}: greyscale among colour photos, shown as that; leave out what must not be")
    if context.photos.profile is not None:
        names = dict.fromkeys(profile_name(icc_profile(p)) for p in colour)
        if len(names) > 1:
            target = profile_name(context.photos.profile)
            notes.append(f"colour profiles differ ({', '.join(names)}): all were converted to {target}")
    return tuple(notes)


def rendered(
    composition: Composition, output: Path | None, pipeline: Pipeline, context: Context, *, preview: bool
) -> Panorama:
    """Render one panorama to memory or to its file; `preview` keeps a small one beside it, for a report."""
    started, before = time.perf_counter(), context.observe
    seconds = 0.0

    def observe(event: Event) -> None:
        nonlocal seconds
        seconds += event.seconds or 0.0
        before(event)

    context = replace(context, observe=observe)
    small = np.zeros((*reduced_size(composition), 4), np.uint8) if preview else None
    unlike = _unlike(composition, context)
    if output is None:
        image, valid = render(composition, pipeline.blend, context, pipeline.tile_stages)
        if small is not None:
            rows = ((y, image[y : y + 256], valid[y : y + 256]) for y in range(0, len(image), 256))
            deque(reducing(rows, composition.height, small), 0)
        return Panorama(composition, None, image, valid, unlike, small)
    bands = render_bands(composition, pipeline.blend, context, pipeline.tile_stages)
    if small is not None:
        bands = reducing(bands, composition.height, small)
    shape = (composition.height, composition.width, canvas_channels(composition))
    holes = check_output(output) in ("TIFF", "PNG") and has_holes(composition)
    metadata = _metadata(composition, context)
    notes = write_bands(output, bands, shape, output_dtype(composition), holes, metadata, context.workers)
    before(Event("write", 1.0, time.perf_counter() - started - seconds))
    return Panorama(composition, output, notes=(*unlike, *notes), preview=small)


def report_job(result: Stitched, pipeline: Pipeline, context: Context) -> Job:
    """Gather what a report shows."""
    shown = []
    for k, panorama in enumerate(result.panoramas, 1):
        assert panorama.preview is not None
        photos = [la.photo for la in panorama.composition.layers]
        thumbnails = tuple(thumbnail(context.photos.pixels(p, coarse(p)), p.channels) for p in photos)
        profile = context.photos.profile or icc_profile(photos[0])
        title = panorama.output.name if panorama.output else f"Panorama {k}"
        shown.append(
            Shown(panorama.composition, title, panorama.preview, thumbnails, profile, panorama.notes)
        )
    settings = (("device", context.device), ("threads", str(context.workers)))
    return Job(tuple(shown), result.unused, result.stages, result.peak_mb, settings, pipeline.to_toml())
