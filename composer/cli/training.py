"""The command `train`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from composer.cli.options import Debug, Device, DeviceOption, Quiet, Workers
from composer.cli.running import guarded, on_terminate

if TYPE_CHECKING:
    from composer.records import Event

__all__ = ["train"]


class Model(StrEnum):
    """What can be trained."""

    refiner = "refiner"


def train(
    model: Annotated[Model, typer.Argument(help="What to train.")],
    data: Annotated[Path, typer.Option(metavar="FOLDER", help="Photographs to learn from.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where weights, log and card are written.")],
    minutes: Annotated[float, typer.Option(help="How long, all sessions together.")] = 20.0,
    steps: Annotated[int, typer.Option(help="So many steps instead of minutes.")] = 0,
    batch: Annotated[int, typer.Option(help="Samples a step.")] = 8,
    size: Annotated[int, typer.Option(help="Their side in pixels, a multiple of 16.")] = 128,
    width: Annotated[int, typer.Option(help="Channels of the network.")] = 48,
    seed: Annotated[int, typer.Option(help="For every draw.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overfit: Annotated[
        bool,
        typer.Option("--overfit-batch", help="Only learn one small batch by heart, as a check."),
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Log for TensorBoard too.")] = False,
    device: DeviceOption = Device.auto,
    workers: Workers = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a learned stage on photographs of your own; SIGTERM saves the run, and --resume goes on."""
    with on_terminate() as stopped:

        def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> dict[str, float]:
            from composer.api.training import train_refiner

            return train_refiner(
                data, out, minutes=minutes, steps=steps, batch=batch, size=size, width=width, seed=seed,
                resume=resume, overfit=overfit, tensorboard=tensorboard, device=device.value, workers=workers,
                observe=observe, cancelled=cancelled, stopped=stopped,
            )  # fmt: skip

        found = guarded(work, debug, quiet)
    if quiet:
        return
    for name, value in found.items():
        typer.echo(f"{name:<28} {value:8.3f}")
    if overfit:
        typer.echo("one batch was learnt by heart; train without --overfit-batch to get weights")
    elif found:
        typer.echo(f"{out / 'refiner.safetensors'}  weights; use them with composer refine --weights")
    else:
        typer.echo(f"stopped; {out} holds the run, go on with --resume")
