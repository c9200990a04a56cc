"""Verbs over many folders: each a job of its own, in processes beside each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

from composer.api.stitching import stitch
from composer.backend.memory import allowance
from composer.batch import Batch, folders_below, run_batch
from composer.errors import OptionError
from composer.media.encode import check_suffix
from composer.pipeline import Pipeline
from composer.records import Event

__all__ = ["stitch_each", "stitch_folder"]

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
    for name in plain:
        if name not in signature(stitch).parameters.keys() - ONE_ONLY - OWN:
            raise OptionError(f"{name} is no option for many folders; it is one of one panorama, or unknown")
    if pipeline is not None:
        Pipeline.from_toml(pipeline).with_options(plain.get("settings", {}))
        plain["pipeline"] = pipeline
    paths = {
        name: str(Path(plain.pop(name)).absolute()) for name in FILES if os.path.exists(plain.get(name, ""))
    }
    further = tuple(file for path in paths.values() for file in _files_of(Path(path)))
    kind = check_suffix(f".{(format or 'jpg').lower().removeprefix('.')}")
    sources = [folders] if isinstance(folders, (str, Path)) else folders
    items = [replace(i, files=(*i.files, *further)) for i in folders_below(sources, output, kind)]
    count = workers or len(os.sched_getaffinity(0))
    return run_batch(
        items,
        "composer.api.batches:stitch_folder",
        {"options": plain, "files": list(paths)},
        Path(output),
        means={"paths": paths, "max_memory": (max_memory or allowance()) // max(1, count)},
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
        "unused": [{"photo": u.photo, "reason": u.reason} for u in result.unused],
    }


def _files_of(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
