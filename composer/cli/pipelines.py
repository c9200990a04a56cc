"""The command `run`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from composer.cli.batches import are_many, check_each, run_photos, stitch_folders
from composer.cli.options import (
    Debug,
    Device,
    DeviceOption,
    Each,
    Format,
    MaxMemory,
    Output,
    PhotoArguments,
    Quiet,
    ReportPage,
    Scheduler,
    Set,
    Summary,
    Workers,
    as_bytes,
    as_settings,
)
from composer.cli.running import check_summary, guarded, usage, write_json
from composer.cli.stitching import say_nothing_made, say_stitched

if TYPE_CHECKING:
    from composer.records import Event
    from composer.results import Changed, Stitched

__all__ = ["run"]


def run(
    pipeline: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The pipeline.")],
    output: Output,
    photos: PhotoArguments = None,
    summary: Summary = None,
    report: ReportPage = None,
    each: Each = False,
    format: Format = None,
    scheduler: Scheduler = None,
    settings: Set = None,
    device: DeviceOption = Device.auto,
    workers: Workers = None,
    max_memory: MaxMemory = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run a pipeline from a TOML file: one that stitches on photographs together, else on each by itself."""

    def options() -> dict[str, Any]:
        return {"settings": as_settings(settings or []), "device": device.value}

    how: dict[str, Any] = {"workers": workers, "max_memory": as_bytes(max_memory)}
    batch = {"report": report, "format": format, "scheduler": scheduler, **how}
    if guarded(lambda observe, cancelled: _single(pipeline), debug, quiet=True):
        if each:
            usage("--each is for pipelines that take photos together; this one works photo by photo anyway")
        if are_many(photos or [], output):
            if summary is not None:
                usage("--summary is for one photo; the folder of many gets summary.json and summary.csv")
            run_photos(pipeline, photos or [], output, options, batch, debug, quiet)
            return
        if report or format or scheduler:
            usage("--report, --format and --scheduler are for several photos or a folder")
    elif check_each(each, format, scheduler, (summary,)):
        stitch_folders(photos, output, options, {"pipeline": pipeline, **batch}, debug, quiet)
        return
    else:
        how["report"] = report

    def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> Stitched | Changed:
        from composer.api.stitching import run

        check_summary(summary)
        return run(pipeline, photos or [], output, observe=observe, cancelled=cancelled, **options(), **how)

    result = guarded(work, debug, quiet, lambda error: say_nothing_made(error, summary))
    _say(result, summary, report, quiet)


def _single(pipeline: Path) -> bool:
    """Return whether a pipeline changes pictures one by one."""
    from composer.pipeline import Pipeline

    return Pipeline.from_toml(pipeline).single


def _say(result: Stitched | Changed, summary: Path | None, report: Path | None, quiet: bool) -> None:
    """Say what was made, and write the summary."""
    from composer.results import Stitched

    if isinstance(result, Stitched):
        say_stitched(result, summary, None, quiet, report)
        return
    if summary is not None:
        write_json(summary, result.summary())
    if not quiet:
        typer.echo(f"{result.output}  {'changed' if result.touched else 'unchanged'}")
        for note in result.notes:
            typer.echo(f"note      {note}")
