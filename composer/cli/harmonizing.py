"""The command `harmonize`."""

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
    from composer.results import Harmonized

__all__ = ["harmonize"]


class Method(StrEnum):
    auto = "auto"
    reinhard = "reinhard"
    linear = "linear"
    histogram = "histogram"


def harmonize(
    output: Output,
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A composite, or a foreground.")],
    background: Annotated[
        Path | None, typer.Argument(metavar="[BACKGROUND]", help="Where to paste the foreground.")
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="White on what was pasted; a foreground's alpha by default."),
    ] = None,
    method: Annotated[
        Method, typer.Option(help="Undo the likely error, or match colours whole in one of three ways.")
    ] = Method.auto,
    strength: Annotated[float, typer.Option(metavar="0..1", help="How far colours go.")] = 1.0,
    offset: Annotated[
        str | None, typer.Option(metavar="X,Y", help="The foreground's top-left corner in the background.")
    ] = None,
    summary: Summary = None,
    device: DeviceOption = Device.auto,
    workers: Workers = None,
    max_memory: MaxMemory = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make a pasted region's colours fit its surroundings."""

    def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> Harmonized:
        from composer.api.harmonizing import harmonize

        check_summary(summary)
        return harmonize(
            photo, mask, background, method=method.value, strength=strength, offset=_offset(offset),
            output=output, device=device.value, workers=workers, max_memory=as_bytes(max_memory),
            observe=observe, cancelled=cancelled,
        )  # fmt: skip

    result = guarded(work, debug, quiet)
    if summary is not None:
        write_json(summary, result.summary())
    if quiet:
        return
    if result.before and result.after and result.around:
        named = (("was", result.before), ("is", result.after), ("around it", result.around))
        typer.echo(f"{result.output}  region " + ", ".join(f"{n} {_spoken(c)}" for n, c in named))
    for note in result.notes:
        typer.echo(f"note      {note}")


def _spoken(colour: tuple[float, float, float]) -> str:
    return " ".join(f"{255 * k:.0f}" for k in colour)


def _offset(text: str | None) -> tuple[int, int] | None:
    """Read X,Y."""
    if text is None:
        return None
    try:
        x, y = (int(k) for k in text.split(","))
    except ValueError:
        usage(f"--offset {text}: write whole pixels right and down, as 120,-40")
    return x, y
