"""The command `evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from composer.cli.options import Debug, Summary
from composer.cli.running import check_summary, guarded, write_json

if TYPE_CHECKING:
    from composer.records import Event

__all__ = ["evaluate"]


def evaluate(
    results: Annotated[list[str], typer.Argument(metavar="RESULTS...", help="Pictures, or folders of them.")],
    reference: Annotated[
        Path | None, typer.Option(metavar="FILE|FOLDER", help="What they should be; in a folder by stem.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to measure; its outline is taken for a seam.")
    ] = None,
    summary: Summary = None,
    debug: Debug = False,
) -> None:
    """Measure how good results are."""

    def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> dict[str, dict[str, float]]:
        from composer.api.evaluating import evaluate

        check_summary(summary)
        return evaluate(results, reference=reference, mask=mask)

    found = guarded(work, debug, quiet=True)
    if summary is not None:
        write_json(summary, found)
    for name, figures in found.items():
        typer.echo(f"{name}  " + ", ".join(f"{what} {value:.3f}" for what, value in figures.items()))
