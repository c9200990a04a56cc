"""The command `repair`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from composer.cli.options import (
    Debug,
    Device,
    DeviceOption,
    MaxMemory,
    Output,
    Quiet,
    Summary,
    Workers,
    as_bytes,
)
from composer.cli.running import check_summary, guarded, usage, write_json

if TYPE_CHECKING:
    from composer.records import Event
    from composer.results import Repaired

__all__ = ["repair"]


class Fill(StrEnum):
    auto = "auto"
    harmonic = "harmonic"
    biharmonic = "biharmonic"
    telea = "telea"
    navier_stokes = "navier-stokes"
    edges = "edges"
    mixed = "mixed"
    patches = "patches"
    donor = "donor"


def repair(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photograph.")],
    output: Output,
    mask: Annotated[
        Path | None, typer.Option(metavar="MASK", help="What to fill, white; as large as the photo.")
    ] = None,
    box: Annotated[
        list[str] | None, typer.Option(metavar="X,Y,W,H", help="A rectangle to fill; may be repeated.")
    ] = None,
    fill: Annotated[Fill, typer.Option(help="What fills the holes.")] = Fill.auto,
    grow: Annotated[int, typer.Option(metavar="N", help="Make holes wider by N pixels.")] = 0,
    source: Annotated[
        Path | None, typer.Option(metavar="MASK", help="Where patches are taken from, white.")
    ] = None,
    donor: Annotated[
        list[Path] | None, typer.Option(metavar="PHOTO", help="Another photo of the scene; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="For the random search of patches.")] = 0,
    summary: Summary = None,
    device: DeviceOption = Device.auto,
    workers: Workers = None,
    max_memory: MaxMemory = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fill holes in a photograph: what a mask or a box marks."""
    if mask is None and not box:
        usage("there is nothing to fill; give --mask or --box")

    def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> Repaired:
        from composer.api.repairing import repair

        check_summary(summary)
        return repair(
            photo, mask, output=output, fill=fill.value, box=[_box(b) for b in box or []] or None,
            grow=grow, source=source, donors=donor or [], seed=seed, device=device.value, workers=workers,
            max_memory=as_bytes(max_memory), observe=observe, cancelled=cancelled,
        )  # fmt: skip

    result = guarded(work, debug, quiet)
    if summary is not None:
        write_json(summary, result.summary())
    if not quiet:
        _report(result)


def _box(text: str) -> tuple[int, ...]:
    """Read X,Y,W,H."""
    from composer.errors import OptionError

    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"--box {text}: write X,Y,WIDTH,HEIGHT in pixels, as 40,30,200,16") from None
    return x, y, width, height


def _report(result: Repaired) -> None:
    """Say how many holes were filled, and with what."""
    operators = [f.operator for f in result.faults if f.operator]
    by = ", ".join(f"{operators.count(name)} by {name}" for name in dict.fromkeys(operators))
    typer.echo(f"{result.output}  {int(result.mask.sum())} pixels in {len(operators)} holes filled"
               f"{': ' + by if by else ''}")  # fmt: skip
    for note in result.notes:
        typer.echo(f"note      {note}")
