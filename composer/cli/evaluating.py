"""The command `evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from composer.cli.options import Debug, Quiet, ReportPage, Summary
from composer.cli.running import check_summary, guarded, write_json

if TYPE_CHECKING:
    from composer.records import Event
    from composer.results import Evaluation

__all__ = ["evaluate"]


def evaluate(
    results: Annotated[list[str], typer.Argument(metavar="RESULTS...", help="Pictures, or folders of them.")],
    reference: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|FOLDER", help="What they should be; of several, and in a folder, by stem."
        ),
    ] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|FOLDER", help="Where to measure; its outline is taken for a seam."),
    ] = None,
    other: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|FOLDER", help="What another photo shows in the same place; for seams."),
    ] = None,
    figure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Measure this alone: psnr_db, ssim, ms_ssim, delta_e, gradient_error, st_lpips, "
            "seam_visibility, seam_step, niqe; may be repeated. All that can be is measured by default.",
        ),
    ] = None,
    sets: Annotated[
        bool, typer.Option("--sets", help="Compare results with references as sets: KID, coverage, ...")
    ] = False,
    report: ReportPage = None,
    summary: Summary = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure how good results are; what cannot be measured is set aside (exit status 3)."""

    def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> Evaluation:
        from composer.api.evaluating import evaluate

        check_summary(summary)
        return evaluate(
            results, reference=_one_or_many(reference), mask=_one_or_many(mask), other=_one_or_many(other),
            figures=figure or (), sets=sets, report=report, observe=observe, cancelled=cancelled,
        )  # fmt: skip

    found = guarded(work, debug, quiet)
    if summary is not None:
        write_json(summary, found.summary())
    if not quiet:
        for line in [*_table(found.figures), *(f"{name:<10} {v:.4f}" for name, v in found.sets.items())]:
            typer.echo(line)
        for note in found.notes:
            typer.echo(f"note      {note}")
    for reason in found.set_aside.values():
        typer.echo(f"set aside  {reason}", err=True)
    if found.set_aside:
        raise typer.Exit(3)


def _one_or_many(given: list[str] | None) -> list[str] | str | None:
    """Return a single name as itself: a folder's pictures go by stem even if there is but one."""
    return given[0] if given and len(given) == 1 else given


def _table(figures: dict[str, dict[str, float]]) -> list[str]:
    """Return lines: names of figures, a line for each result, and their mean."""
    if not figures:
        return []
    names = list(dict.fromkeys(name for one in figures.values() for name in one))
    rows = dict(figures)
    if len(rows) > 1:
        values = {n: [one[n] for one in figures.values() if n in one] for n in names}
        rows["mean"] = {n: sum(v) / len(v) for n, v in values.items()}
    widths = [max(len(name), 8) for name in names]
    lines = ["  ".join(f"{name:>{w}}" for name, w in zip(names, widths, strict=True))]
    for title, one in rows.items():
        cells = [f"{one[n]:.3f}" if n in one else "-" for n in names]
        lines.append("  ".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)) + f"  {title}")
    return lines
