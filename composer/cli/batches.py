"""Commands that work on many files or folders: what they say at the end, and their exit status."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from composer.cli.running import guarded, usage

if TYPE_CHECKING:
    from composer.batch import Batch
    from composer.records import Event

__all__ = ["are_many", "check_each", "run_photos", "say_batch", "stitch_folders"]

SAID = 20  # items set aside that are printed; the summary has all


def are_many(photos: Sequence[str], output: Path | None, suffix: str = "") -> bool:
    """Return whether a batch is asked for: more than one photo, or a folder to write into.

    A name without an ending is that of a folder, as no picture can be called so.
    """
    pattern = bool(photos) and glob.has_magic(photos[0]) and not os.path.lexists(photos[0])
    into_folder = bool(suffix) or (output is not None and (os.path.isdir(output) or not output.suffix))
    return len(photos) != 1 or os.path.isdir(photos[0]) or pattern or into_folder


def check_each(each: bool, format: str | None, scheduler: str | None, single: tuple[object, ...]) -> bool:
    """Return whether folders are stitched one by one; options that do not go with that end the command."""
    if each and any(single):
        usage("--each makes many panoramas: leave out --load, --save, --cube, --patch, --layers, --summary")
    if not each and (format or scheduler):
        usage("--format and --scheduler are for many folders; give --each")
    return each


def stitch_folders(
    folders: list[str] | None,
    output: Path,
    options: Callable[[], Mapping[str, Any]],
    how: Mapping[str, Any],
    debug: bool,
    quiet: bool,
) -> None:
    """Stitch folders one by one; `options` are those of `stitch`, `how` those of `stitch_each`."""

    def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> Batch:
        from composer.api.batches import stitch_each

        return stitch_each(folders or [], output, options(), observe=observe, cancelled=cancelled, **how)

    say_batch(guarded(work, debug, quiet), quiet)


def run_photos(
    pipeline: Path,
    photos: list[str],
    output: Path,
    options: Callable[[], Mapping[str, Any]],
    how: Mapping[str, Any],
    debug: bool,
    quiet: bool,
) -> None:
    """Run a pipeline on photos one by one; `options` and `how` are those of `run_each`."""

    def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> Batch:
        from composer.api.batches import run_each

        return run_each(pipeline, photos, output, observe=observe, cancelled=cancelled, **options(), **how)

    say_batch(guarded(work, debug, quiet), quiet)


def say_batch(batch: Batch, quiet: bool) -> None:
    """Say what was done and what was set aside, and end with status 3 if anything was."""
    for outcome in batch.set_aside[:SAID]:
        typer.echo(f"set aside  {outcome.item.name}: {outcome.reason}", err=True)
    if len(batch.set_aside) > SAID:
        typer.echo(f"set aside  {len(batch.set_aside) - SAID} more", err=True)
    if not quiet:
        kept = sum(o.kept for o in batch.outcomes)
        before = f" ({kept} of them before)" if kept else ""
        aside = f", {len(batch.set_aside)} set aside" if batch.set_aside else ""
        typer.echo(f"{batch.folder}  {len(batch.done)} done{before}{aside}; see summary.csv there")
    if batch.set_aside:
        raise typer.Exit(3)
