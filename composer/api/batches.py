"""Verbs over many folders or photos: each a job of its own, in processes beside each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

from composer.api.editing import edited
from composer.api.jobs import allowed
from composer.api.repairing import check_fill, kinds_of, repair
from composer.api.stitching import stitch
from composer.backend.memory import cores
from composer.batch import Batch, common_folder, files_below, folders_below, run_batch
from composer.errors import OptionError, OutputError, PhotoError
from composer.media.encode import FORMATS, check_suffix
from composer.media.naming import named_like
from composer.mending.noise import GRAIN
from composer.pipeline import Pipeline
from composer.records import Event

__all__ = ["edit_file", "mend_file", "repair_each", "run_each", "stitch_each", "stitch_folder"]

FILES = ("pipeline", "points", "pairs", "template", "include", "exclude")  # options that may name them
ONE_ONLY = {"photos", "output", "load", "save", "cube", "patches", "layers"}
OWN = {"pipeline", "report", "workers", "max_memory", "observe", "cancelled"}  # of the batch as a whole


def stitch_each(
    folders: Iterable[str | Path] | str | Path,
    output: str | Path,
    options: Mapping[str, Any] | None = None,
    *,
    pipeline: str | Path | None = None,
    format: str | None = None,
    workers: int | None = None,
    max_memory: int | None = None,
    scheduler: str | None = None,
    report: str | Path | None = None,
    observe: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Batch:
    """Stitch every folder of photographs below those given by itself, into a folder of panoramas.

    It can be stopped at any time, in any way: what is done is kept, and calling it again goes on. What
    cannot be stitched is set aside, with the reason.

    Parameters
    ----------
    folders : paths
        FOLDER/x and FOLDER/y/z become OUTPUT/x.jpg and OUTPUT/y/z.jpg.
    output : path
        A folder for the panoramas, a journal, summary.csv and summary.json; made if it is missing.
    options : mapping or None
        Options of `stitch`, for all folders.
    pipeline : path or None
        A TOML file with another chain of stages, as for `run`.
    format : "jpg", "png", "tif", "webp", "dzi" or None
        None is "jpg".
    workers : int or None
        Processes; None uses every core.
    max_memory : int or None
        Bytes that all of them together may take for photos and canvases.
    scheduler : str or None
        Address of a Dask scheduler whose workers see the same files; needs the package `distributed`.
    report : path or None
        Write a page that shows the panoramas.
    observe : callable or None
        Called with an `Event` after each folder; its message has rate and time left.
    cancelled : callable or None
        Asked between steps; returning True stops with `Cancelled`.

    Returns
    -------
    Batch

    Raises
    ------
    PhotoError, OutputError, OptionError, PipelineError, DeviceError, BatchError, Cancelled
    """
    plain = {k: v for k, v in (options or {}).items() if v is not None}
    own: tuple[Path, ...] = ()
    _check_folder(output)
    for name in plain:
        if name not in signature(stitch).parameters.keys() - ONE_ONLY - OWN:
            raise OptionError(f"{name} is no option for many folders; it is one of one panorama, or unknown")
    if pipeline is not None:
        chain = Pipeline.from_toml(pipeline).with_options(plain.get("settings", {}))
        if chain.single:
            raise OptionError(f"{pipeline}: changes photos one by one and stitches nothing; use run_each")
        plain["pipeline"], own = pipeline, chain.own_files
    paths = {
        name: str(Path(plain.pop(name)).absolute()) for name in FILES if os.path.exists(plain.get(name, ""))
    }
    further = tuple(file for path in paths.values() for file in _files_of(Path(path)))
    kind = check_suffix(f".{(format or 'jpg').lower().removeprefix('.')}")
    sources = [folders] if isinstance(folders, (str, Path)) else folders
    items = [replace(i, files=(*i.files, *further, *own)) for i in folders_below(sources, output, kind)]
    return run_batch(
        items,
        "composer.api.batches:stitch_folder",
        {"options": plain, "files": list(paths)},
        Path(output),
        means={"paths": paths, "max_memory": _share(max_memory, workers)},
        stage="stitch",
        workers=workers,
        scheduler=scheduler,
        report=report,
        observe=observe,
        cancelled=cancelled,
    )


def stitch_folder(source: str, output: str, options: dict[str, Any]) -> dict[str, Any]:
    """Stitch one folder, as a job of a batch.

    Raises
    ------
    ComposerError
        As `stitch` does.
    """
    given = {**options["options"], **options["paths"]}
    pipeline = given.pop("pipeline", None)
    if pipeline is not None:
        given["pipeline"] = Pipeline.from_toml(pipeline)
    result = stitch(source, output, workers=1, max_memory=options["max_memory"], **given)
    panoramas = [{k: v for k, v in p.items() if k != "output"} for p in result.summary()["panoramas"]]
    largest = max(panoramas, key=lambda p: p["width"] * p["height"])
    return {
        "panoramas": len(panoramas),
        "photos": sum(len(p["photos"]) for p in panoramas),
        "left_out": len(result.unused),
        **{k: largest[k] for k in ("width", "height", "projection", "rms_px")},
        "each": panoramas,
        "notes": [note for p in panoramas for note in p["notes"]],
        "unused": [{"photo": u.photo, "reason": u.reason} for u in result.unused],
    }


def run_each(
    pipeline: str | Path,
    photos: Iterable[str | Path] | str | Path,
    output: str | Path,
    *,
    settings: Mapping[str, str] | None = None,
    format: str | None = None,
    device: str = "auto",
    workers: int | None = None,
    max_memory: int | None = None,
    scheduler: str | None = None,
    report: str | Path | None = None,
    observe: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Batch:
    """Run a pipeline on many: on every folder of photographs if it stitches, else on every photograph.

    It can be stopped at any time, in any way: what is done is kept, and calling it again goes on. What
    fails is set aside, with the reason.

    Parameters
    ----------
    pipeline : path
        A TOML file.
    photos : paths or patterns
        Folders, as for `stitch_each`, for a pipeline that takes photos together; else as for `repair_each`.
    output : path
        A folder for the results, a journal, summary.csv and summary.json; made if it is missing.
    settings : mapping or None
        Options of stages by "stage.option", as text.
    format : "jpg", "png", "tif" or "webp", or None
        What results are written as. None: panoramas as "jpg", photographs as what they were.
    device, workers, max_memory, scheduler, report, observe, cancelled
        As for `stitch_each`.

    Returns
    -------
    Batch

    Raises
    ------
    PhotoError, OutputError, OptionError, PipelineError, DeviceError, BatchError, Cancelled
    """
    further: Any = {
        "workers": workers, "max_memory": max_memory, "scheduler": scheduler, "report": report,
        "observe": observe, "cancelled": cancelled,
    }  # fmt: skip
    chosen: dict[str, Any] = {"settings": dict(settings or {}), "device": device}
    chain = Pipeline.from_toml(pipeline).with_options(chosen["settings"])
    if not chain.single:
        return stitch_each(photos, output, chosen, pipeline=pipeline, format=format, **further)
    file = Path(pipeline).absolute()
    sources = [photos] if isinstance(photos, (str, Path)) else list(photos)
    if not sources:
        raise PhotoError("no photographs are given; name files, folders or patterns")
    _check_folder(output)
    made_of = file, *chain.own_files
    items = [replace(i, files=(*i.files, *made_of)) for i in files_below(sources, output)]
    if format is not None:
        kind = check_suffix(f".{format.lower().removeprefix('.')}")
        items = [replace(i, output=i.output.with_suffix(kind)) for i in items]
    return run_batch(
        items, "composer.api.batches:edit_file", chosen, Path(output), stage="run",
        means={"pipeline": str(file), "max_memory": _share(max_memory, workers)},
        **{k: v for k, v in further.items() if k != "max_memory"},
    )  # fmt: skip


def edit_file(source: str, output: str, options: dict[str, Any]) -> dict[str, Any]:
    """Put one photo through a pipeline, as a job of a batch.

    Raises
    ------
    ComposerError
        As the stages do.
    """
    given = {k: v for k, v in options.items() if k != "pipeline"}
    result = edited(Pipeline.from_toml(options["pipeline"]), source, output, workers=1, **given)
    told = result.summary()
    return {"changed": "yes" if result.touched else "no", "each": told["told"], "notes": told["notes"]}


def repair_each(
    photos: Iterable[str | Path] | str | Path,
    output: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    suffix: str = "",
    workers: int | None = None,
    max_memory: int | None = None,
    scheduler: str | None = None,
    report: str | Path | None = None,
    observe: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Batch:
    """Repair every photograph among and below files, folders and patterns.

    It can be stopped at any time, in any way: what is done is kept, and calling it again goes on. What
    cannot be repaired is set aside, with the reason.

    Parameters
    ----------
    photos : paths or patterns
        FOLDER/a.jpg and FOLDER/b/c.png become OUTPUT/a.jpg and OUTPUT/b/c.png.
    output : path or None
        A folder for the results, a journal, summary.csv and summary.json; made if it is missing. None puts
        results beside the photographs, and the rest into the folder that holds all.
    options : mapping or None
        Options of `repair`, for all photos. `mask` may be a folder of masks called like their photos, also in
        the same sub-folders, else one mask is for all; with `find_only` masks are written so, as PNG.
    suffix : str
        Put behind each name; needed where `output` is None.
    workers : int or None
        Processes; None uses every core.
    max_memory : int or None
        Bytes that all of them together may take for photos.
    scheduler, report, observe, cancelled
        As for `stitch_each`.

    Returns
    -------
    Batch

    Raises
    ------
    PhotoError, OutputError, OptionError, DeviceError, BatchError, Cancelled
    """
    plain = _checked(options or {})
    _check_folder(output)
    sources = [photos] if isinstance(photos, (str, Path)) else photos
    items = files_below(sources, output, suffix)
    if plain.get("find_only"):
        items = [replace(i, output=i.output.with_suffix(".png")) for i in items]
    paths = {n: _absolute(plain.pop(n)) for n in ("mask", "source", "donors") if n in plain}
    further = [*map(Path, paths.get("donors", ())), *([Path(paths["source"])] if "source" in paths else [])]
    items = [replace(i, files=(i.source, *_masks(paths.get("mask"), i.source), *further)) for i in items]
    return run_batch(
        items,
        "composer.api.batches:mend_file",
        {"options": plain, "files": list(paths)},
        Path(output) if output is not None else common_folder(items),
        means={"paths": paths, "max_memory": _share(max_memory, workers)},
        stage="repair",
        workers=workers,
        scheduler=scheduler,
        report=report,
        observe=observe,
        cancelled=cancelled,
    )


def _check_folder(output: str | Path | None) -> None:
    """Check that the name of a batch's results is none of a picture."""
    if output is not None and Path(output).suffix.lower() in FORMATS and not Path(output).is_dir():
        raise OutputError(f"{output}: many results go into a folder; give its name")


def _share(max_memory: int | None, workers: int | None) -> int:
    """Return a worker's part of the bytes that all of them may take."""
    return allowed(max_memory) // max(1, workers or cores())


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `repair` that are given, checked before any work is done."""
    plain = {k: v for k, v in options.items() if v is not None}
    for name in plain:
        if name not in signature(repair).parameters.keys() - {"photo", "output", "page"} - OWN:
            raise OptionError(f"{name} is no option for many photos; it is one of one photo, or unknown")
    fill, donors = plain.get("fill", "auto"), plain.get("donors", ())
    check_fill(
        fill, len(donors), plain.get("grow", 0), plain.get("grain", GRAIN), plain.get("variants", ()),
        sensitivity=plain.get("sensitivity", 0.0),
    )  # fmt: skip
    pointed = "mask" in plain or "box" in plain
    kinds_of(plain.get("faults", "auto"), plain.get("without", ()), pointed, plain.get("find_only", False))
    return plain


def _absolute(given: Any) -> Any:
    """Return a path, or each of several, as a worker finds it."""
    if isinstance(given, (list, tuple)):
        return [_absolute(g) for g in given]
    if not isinstance(given, (str, Path)):
        raise OptionError("many photos take masks and donors from files; write arrays to some first")
    if not Path(given).exists():
        raise PhotoError(f"{given}: does not exist; check the name")
    return str(Path(given).absolute())


def _masks(mask: str | None, photo: Path) -> list[Path]:
    """Return the mask that is for all photos, or those of a folder that are called like a photo."""
    if mask is None:
        return []
    return named_like(photo, Path(mask)) if Path(mask).is_dir() else [Path(mask)]


def mend_file(source: str, output: str, options: dict[str, Any]) -> dict[str, Any]:
    """Repair one photo, as a job of a batch.

    Raises
    ------
    ComposerError
        As `repair` does; no mask, or several, where masks are in a folder.
    """
    given = {**options["options"], **options["paths"]}
    result = repair(source, output=output, workers=1, max_memory=options["max_memory"], **given)
    told = result.summary()
    return {
        "faults": len(result.faults),
        "kinds": " ".join(dict.fromkeys(f.kind for f in result.faults)),
        "marked_px": told["marked_px"],
        "each": told["faults"],
        "notes": told["notes"],
    }


def _files_of(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
