"""`stitch`, and `run` for other chains of stages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from composer.api.editing import edited
from composer.api.jobs import begun, one_thread_each
from composer.backend.memory import peak_mb
from composer.cube import check_faces, with_face, write_faces
from composer.errors import OptionError
from composer.media.archive import check_saving, save_plan
from composer.media.encode import check_apart, check_folder, check_layers, check_output
from composer.media.lens import LENSES
from composer.media.mask_files import with_masks
from composer.media.picture import check_target
from composer.pipeline import Pipeline, stitching
from composer.planning import Source, applied_plan, loaded_plan, made_plan, read_photos
from composer.records import FLAT, Composition, Event, Plan, Projection
from composer.report import check_page, write_report
from composer.results import Changed, Stitched
from composer.stitching.candidates import check_pairs
from composer.writing import check_canvases, output_names, rendered, report_job, write_layers

__all__ = ["run", "stitch"]


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
    points: str | Path | None = None,
    lens: str = "rectilinear",
    lens_fov: float = 0.0,
    anchor: str = "",
    include: str | Path | None = None,
    exclude: str | Path | None = None,
    ghosts: str = "keep",
    brackets: str = "auto",
    blend: str = "auto",
    refine: bool = False,
    pairs: str | Path = "auto",
    features: str | Path | None = None,
    matcher: str | Path | None = None,
    load: str | Path | None = None,
    template: str | Path | None = None,
    save: str | Path | None = None,
    cube: str | Path | None = None,
    patches: Mapping[str, str | Path] | None = None,
    layers: str | Path | None = None,
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
    points : path or None
        A file of control points between photos, and of lines that are vertical or horizontal
        (see `composer.stitching.points`).
    lens : "rectilinear", "equidistant", "equisolid", "circular" or "lensfun"
        How the photos' lens draws: straight, a fisheye of either kind, one whose picture is a circle, or
        as its profile in the lensfun database says.
    lens_fov : float
        Degrees that a photo's longer side (or the circle) shows; 0 where EXIF says or matches can tell.
    anchor : str
        Name or stem of the photo that keeps its exposure and white balance; "" keeps the median exposure.
    include, exclude : path or None
        Folders of masks, each named by its photo's stem and of its shape; white must be kept, or must
        not be used. What is excluded everywhere stays empty.
    ghosts : "keep" or "remove"
        Whether things that moved are shown whole, or left out where other photos show what is behind.
    brackets : "auto" or "none"
        Whether views that look the same way at exposures 0.7 stops or more apart are recognised and fused.
    blend : "auto", "multiband", "gradient", "feather" or "none"
        "auto" blends gradients where photos exposed apart meet with a step, else by multiband.
    refine : bool
        Mend what is wrong along the seams by the learned refiner (see `composer.refine`).
    pairs : "auto", "all", "sequence", "gps", or path
        Which photos are matched: those that seem to share something, all with all, neighbours in the
        order given (the last with the first), nearest by EXIF, or those that a text file names, two
        photos a line.
    features, matcher : path or None
        ONNX files of a network that finds features instead of SIFT (DISK, ALIKED, SuperPoint), and of one
        that matches them (LightGlue); see `composer.align.learned`.
    load : path or None
        Render the compositions saved in this file or Hugin project (.pto); no photos are given then. Another
        projection, view or crop lays them out anew, without solving for anything again.
    template : path or None
        Put the photos, in this order, where those of this saved file or Hugin project are: cameras, seams,
        gains and canvas are taken over.
    save : path or None
        Save the compositions to this file; as Hugin projects (.pto) where the suffix says so.
    cube : path or None
        A folder for the six faces of the cube around the panorama, to be retouched.
    patches : mapping or None
        Retouched faces ("front", "right", "back", "left", "up", "down") and their files, to be put back.
    layers : path or None
        Write every warped photo and its seam mask as the pages of this TIFF, to retouch elsewhere.
    report : path or None
        Write what was done as one HTML page: the panoramas, their seams and matches, photos, time.
    pipeline : Pipeline or None
        Another chain of stages; the options above that it contains are then its own.
    settings : mapping or None
        Options of stages by "stage.option", as text.
    device : "auto", "cpu" or "cuda"
        Where pixels are computed; "auto" is the CPU.
    workers : int or None
        Threads; None uses every core. The result does not depend on it.
    max_memory : int or None
        Bytes that decoded photos and a canvas held in memory may take together; an eighth of them is for
        photos, and what exceeds it goes to scratch files. Only WebP and results in memory hold a canvas.
        None: half of what the machine has available, at most 4 GiB. The result does not depend
        on it.
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
    WeightsError
        Refining needs onnxruntime or torch; said before photos are read.
    PhotoError, OutputError, OptionError, DeviceError, Cancelled

    Examples
    --------
    >>> import composer
    >>> from composer.samples import room
    >>> result = composer.stitch(room())
    >>> len(result.panoramas[0].photos), len(result.unused)
    (3, 0)
    """
    target = Path(output) if output is not None else None
    across, down = fov if isinstance(fov, tuple) else (fov, 0.0)
    _check_options(projection, crop, width, preview, blend, workers, lens)
    if not all(map(math.isfinite, (yaw, pitch or 0.0, roll, across, down, lens_fov))):
        raise OptionError("yaw, pitch, roll, fov and lens_fov are degrees; give finite numbers")
    check_pairs(str(pairs))
    if matcher is not None and features is None:
        raise OptionError("a matcher goes with the features that it was trained for; give features too")
    if load is not None and template is not None:
        raise OptionError("load and template were both given; load renders a plan's own photos, so drop one")
    faces = None if cube is None or Path(cube).is_dir() else cube
    for wanted in (target, faces):
        if wanted is not None:
            check_folder(Path(wanted))
    if save is not None:
        check_apart(Path(save), "a saved plan")
    if report is not None:
        check_page(Path(report))
    if target is not None:
        check_output(target)
    if layers is not None:
        check_layers(Path(layers), target)
    wide = preview or width
    if pipeline is None:
        options: dict[str, dict[str, Any]] = {
            "find-features": {"network": str(features or "")},
            "cameras": {"model": projection if projection in ("auto", *FLAT) else "rotation"},
            "lay-out": {
                "projection": projection, "crop": crop, "width": wide or 0, "yaw": yaw, "pitch": pitch,
                "roll": roll, "fov": across, "fov_down": down,
            },
            "match": {"points": str(points or ""), "pairs": str(pairs), "network": str(matcher or "")},
            "level": {"points": str(points or "")},
            "exposure": {"anchor": anchor, "brackets": brackets},
            "seams": {"ghosts": ghosts},
        }  # fmt: skip
        pipeline = stitching(blend, options, refine)
    if refine:
        from composer.learn.runtime import load_refiner

        load_refiner("")  # to fail before photos are read
    if pipeline.single:
        raise OptionError("this pipeline changes photos one by one and stitches nothing; use run")
    pipeline = pipeline.with_options(settings or {})
    context, watch = begun(device, workers, max_memory, observe, cancelled)
    with one_thread_each():
        if load is not None:
            if include or exclude or ghosts != "keep":
                raise OptionError("masks and ghosts shape a plan, and a loaded one is made; stitch anew")
            plan, context = loaded_plan(Path(load), pipeline, context)
            if cube is not None:
                shown = (la.photo.path for c in plan.compositions for la in c.layers)
                check_faces(Path(cube), [*shown, *(patches or {}).values()])
        else:
            found = with_masks(read_photos(photos, context, lens, lens_fov), include, exclude)
            given = [*(p.path for p in found.items), *(u.photo for u in found.unused)]
            if target is not None:
                check_target(target, given)
            if cube is not None:
                check_faces(Path(cube), [*given, *(patches or {}).values()])
            if save is not None:
                check_saving(Path(save), found.items)
            if template is not None:
                plan, context = applied_plan(Path(template), found, pipeline, context)
            else:
                plan, context = made_plan(found, pipeline, context)
        for face, file in (patches or {}).items():
            (only,) = _single(plan, "a retouched face")
            plan = replace(plan, compositions=(with_face(only, face, Path(file), pipeline.blend, context),))
        lost = save_plan(Path(save), plan) if save is not None else ()
        outputs = output_names(target, plan)
        check_canvases(plan, outputs, context.max_memory)
        if layers is not None:
            write_layers(plan, output_names(Path(layers), plan), context)
        if cube is not None:
            write_faces(*_single(plan, "--cube"), Path(cube), pipeline.blend, context)
        jobs = zip(plan.compositions, outputs, strict=True)
        made = tuple(rendered(c, o, pipeline, context, preview=report is not None) for c, o in jobs)
        made = (*(replace(p, notes=(*p.notes, *lost)) for p in made[:1]), *made[1:])
        result = Stitched(made, plan.unused, tuple(watch.stages.items()), peak_mb())
        if report is not None:
            write_report(Path(report), report_job(result, pipeline, context))
    return result


def run(
    pipeline: Pipeline | str | Path,
    photos: Sequence[Source] | Source,
    output: str | Path | None = None,
    **options: Any,
) -> Stitched | Changed:
    """Run a pipeline, given or read from a TOML file, on photographs.

    One that stitches takes the options of `stitch`. One whose stages change single pictures takes one photo
    and the options settings, device, workers, max_memory, observe and cancelled (many photos: `run_each`).

    Raises
    ------
    PipelineError
        The pipeline does not fit together; no pixel has been read then.
    """
    if not isinstance(pipeline, Pipeline):
        pipeline = Pipeline.from_toml(pipeline)
    if pipeline.single:
        return edited(pipeline, photos, output, **options)
    return stitch(photos, output, pipeline=pipeline, **options)


def _check_options(
    projection: str,
    crop: str,
    width: int | None,
    preview: int | None,
    blend: str,
    workers: int | None,
    lens: str,
) -> None:
    choices = {
        "projection": (projection, ("auto", *get_args(Projection))),
        "crop": (crop, ("none", "rectangle")),
        "blend": (blend, ("auto", "multiband", "gradient", "feather", "none")),
        "lens": (lens, LENSES),
    }
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise OptionError(f'{name} is "{value}"; give one of {", ".join(allowed)}')
    for name, number in (("width", width), ("preview", preview), ("workers", workers)):
        if number is not None and number < 1:
            raise OptionError(f"{name} is {number}; give 1 or more")


def _single(plan: Plan, what: str) -> tuple[Composition]:
    """Return the only panorama."""
    if len(plan.compositions) != 1:
        raise OptionError(
            f"there are {len(plan.compositions)} panoramas; {what} needs one, stitch them apart"
        )
    return (plan.compositions[0],)
