"""The command `train`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from composer.cli.options import Debug, Device, Quiet, Workers
from composer.cli.running import guarded, on_terminate, usage

if TYPE_CHECKING:
    from composer.records import Event

__all__ = ["train"]


NOTHING = 0.05  # decibels gained that are none
USES = {"detector": "refine --detector", "burst": "fuse --method burst --weights"}


class What(StrEnum):
    """What can be trained."""

    refiner = "refiner"
    detector = "detector"
    burst = "burst"


class Model(StrEnum):
    """Which refiner."""

    residual = "residual"
    pix2pix = "pix2pix"


def train(
    what: Annotated[What, typer.Argument(help="What to train.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where weights, log and card are written.")],
    data: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Photographs to learn from.")] = None,
    model: Annotated[
        Model, typer.Option(help="Of refiners: ours, or pix2pix as published in 2017.")
    ] = Model.residual,
    pairs: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="For pix2pix: pictures in A/ and B/, or side by side."),
    ] = None,
    minutes: Annotated[float, typer.Option(help="How long, all sessions together.")] = 20.0,
    steps: Annotated[int, typer.Option(help="So many steps instead of minutes.")] = 0,
    batch: Annotated[int | None, typer.Option(help="Samples a step [8; pix2pix 1].")] = None,
    size: Annotated[
        int | None, typer.Option(help="Their side in pixels [128; pix2pix 256, burst 64].")
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Channels [48; pix2pix 64, detector 24, burst 32].")
    ] = None,
    seed: Annotated[int, typer.Option(help="For every draw.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overfit: Annotated[
        bool, typer.Option("--overfit-batch", help="Only learn one small batch by heart, as a check.")
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Log for TensorBoard too.")] = False,
    device: Annotated[
        Device, typer.Option(help="Where to train; auto is a GPU where PyTorch finds one.")
    ] = Device.auto,
    workers: Workers = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a learned stage on photographs of your own; Ctrl-C saves the run, and --resume goes on."""
    if what is not What.refiner and (data is None or pairs is not None or model is not Model.residual):
        usage(f"{what.value} learns from photographs alone; give --data, and neither --model nor --pairs")
    quiet = quiet or os.environ.get("RANK", "0") != "0"  # of torchrun's processes the first one speaks
    with on_terminate() as told:

        def stopped() -> bool:
            return told() > 0

        def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> dict[str, float]:
            from composer.api.training import train_burst, train_detector, train_refiner

            if what is not What.refiner:
                train = train_burst if what is What.burst else train_detector
                return train(
                    data or (), out, minutes=minutes, steps=steps, batch=batch, size=size, width=width,
                    seed=seed, resume=resume, overfit=overfit, tensorboard=tensorboard, device=device.value,
                    workers=workers, observe=observe, cancelled=cancelled, stopped=stopped,
                )  # fmt: skip
            return train_refiner(
                data, out, model=model.value, pairs=pairs, minutes=minutes, steps=steps, batch=batch,
                size=size, width=width, seed=seed, resume=resume, overfit=overfit, tensorboard=tensorboard,
                device=device.value, workers=workers, observe=observe, cancelled=cancelled, stopped=stopped,
            )  # fmt: skip

        found = guarded(work, debug, quiet)
    if not quiet:
        _tell(found, out, overfit)
    if told() == signal.SIGINT:
        raise typer.Exit(128 + signal.SIGINT)


def _tell(found: dict[str, float], out: Path, overfit: bool) -> None:
    """Say what was found, and what to do next."""
    wide = max(map(len, found), default=0)
    for name, value in found.items():
        typer.echo(f"{name:<{wide}} {value:8.3f}")
    if overfit:
        typer.echo("one batch was learnt by heart; train without --overfit-batch to get weights")
    elif found:
        weights = next(p for p in sorted(out.glob("*.safetensors")) if p.stem != "checkpoint")
        use = USES.get(weights.stem, "refine --weights")
        typer.echo(f"{weights}  weights; use them with composer {use}")
        if abs(found.get("gain_db", 1.0)) < NOTHING:
            typer.echo("note      it changes next to nothing yet; go on with --resume and more --minutes")
    else:
        typer.echo(f"stopped; {out} holds the run, go on with --resume")
