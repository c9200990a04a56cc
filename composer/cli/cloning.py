"""The command `clone`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from composer.cli.options import Debug, MaxMemory, Output, Quiet, Summary, Workers, as_bytes
from composer.cli.running import check_summary, guarded, usage, write_json

if TYPE_CHECKING:
    from composer.records import Event
    from composer.results import Cloned

__all__ = ["clone"]


class Mode(StrEnum):
    normal = "normal"
    mixed = "mixed"
    monochrome = "monochrome"
    flatten = "flatten"
    illumination = "illumination"
    color = "color"
    tile = "tile"
    multiband = "multiband"
    feather = "feather"
    alpha = "alpha"


def clone(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The picture to clone from.")],
    output: Output,
    target: Annotated[
        Path | None, typer.Argument(metavar="[TARGET]", help="The picture to clone into.")
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of the source's size; white is cloned; its alpha by default."),
    ] = None,
    offset: Annotated[
        str | None, typer.Option(metavar="X,Y", help="Where the source's top left corner lies in the target.")
    ] = None,
    mode: Annotated[Mode, typer.Option(help="What the result follows inside the mask.")] = Mode.normal,
    factors: Annotated[str, typer.Option(metavar="R,G,B", help="Of --mode color.")] = "1,1,1",
    low: Annotated[float, typer.Option(help="Lower threshold of --mode flatten's edges, 0 to 255.")] = 30.0,
    high: Annotated[float, typer.Option(help="Upper threshold of --mode flatten's edges.")] = 45.0,
    strength: Annotated[
        float, typer.Option(help="Of --mode illumination: what gradients are weakened to.")
    ] = 0.2,
    exponent: Annotated[float, typer.Option(help="Of --mode illumination: how much, 0 to 1.")] = 0.2,
    radius: Annotated[
        int, typer.Option(help="Pixels over which --mode feather and multiband fade from target to source.")
    ] = 32,
    refine: Annotated[
        bool,
        typer.Option("--refine", help="Mend the border by the learned refiner, where both show one scene."),
    ] = False,
    summary: Summary = None,
    workers: Workers = None,
    max_memory: MaxMemory = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Put the masked part of one picture into another so that no border shows."""

    def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> Cloned:
        from composer.api.cloning import clone

        check_summary(summary)
        place = None if offset is None else _numbers(offset, 2, int, "--offset", "120,-40")
        return clone(
            source, target, mask, output=output, offset=place, mode=mode.value,
            factors=_numbers(factors, 3, float, "--factors", "1.5,0.5,0.5"), low=low, high=high,
            strength=strength, exponent=exponent, radius=radius, refine=refine, workers=workers,
            max_memory=as_bytes(max_memory), observe=observe, cancelled=cancelled,
        )  # fmt: skip

    result = guarded(work, debug, quiet)
    if summary is not None:
        write_json(summary, result.summary())
    if quiet:
        return
    solved = "" if result.residual is None else f", solved to {result.residual:.3f} grey levels"
    typer.echo(f"{result.output}  {result.mode}{solved}")
    for note in result.notes:
        typer.echo(f"note      {note}")


def _numbers(text: str, count: int, kind: type, name: str, example: str) -> tuple[Any, ...]:
    """Read numbers with commas between them."""
    try:
        found = tuple(kind(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) != count:
        usage(f"{name} {text}: give {count} numbers, such as {example}")
    return found
