"""Commands that work on many files or folders: what they say at the end, and their exit status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from composer.cli.running import guarded, usage

if TYPE_CHECKING:
    from composer.batch import Batch
    from composer.records import Event

__all__ = ["check_each", "say_batch", "stitch_folders"]

SAID = 20  # items set aside that are printed; the summary has all


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
