"""The command `refine`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from composer.cli.options import Debug, MaxMemory, Output, Quiet, Summary, Workers, as_bytes
from composer.cli.running import check_summary, guarded, write_json

if TYPE_CHECKING:
    from composer.records import Event
    from composer.results import Refined

__all__ = ["refine"]


def refine(
    composite: Annotated[Path, typer.Argument(metavar="COMPOSITE", help="The picture to mend.")],
    output: Output,
    mask: Annotated[
        Path | None, typer.Option(metavar="FILE", help="White where to look: along seams, in fills.")
    ] = None,
    other: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What another photo shows in the same place.")
    ] = None,
    strength: Annotated[float, typer.Option(help="Share of each change that is made, 0 to 1.")] = 1.0,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights of your own (.safetensors).")
    ] = None,
    detector: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A detector of your own, which proposes the mask.")
    ] = None,
    summary: Summary = None,
    workers: Workers = None,
    max_memory: MaxMemory = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Mend a composite with the learned refiner."""

    def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> Refined:
        from composer.api.refining import refine

        check_summary(summary)
        return refine(
            composite, mask, output, other=other, strength=strength, weights=weights or "",
            detector=detector or "", device="cpu", workers=workers, max_memory=as_bytes(max_memory),
            observe=observe, cancelled=cancelled,
        )  # fmt: skip

    result = guarded(work, debug, quiet)
    if summary is not None:
        write_json(summary, result.summary())
    if quiet:
        return
    typer.echo(f"{output}  {result.changed:.0%} of the mask changed")
    for refusal in result.refusals:
        typer.echo(f"left as it was  {tuple(refusal.rect)}: {refusal.reason}")
    for note in result.notes:
        typer.echo(f"note      {note}")
