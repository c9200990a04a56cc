"""The command `fuse`."""

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
    PhotoArguments,
    Quiet,
    Summary,
    Workers,
    as_bytes,
)
from composer.cli.running import check_summary, guarded, usage, write_json

if TYPE_CHECKING:
    from composer.records import Event
    from composer.results import Fused

__all__ = ["fuse"]


class Method(StrEnum):
    exposure = "exposure"
    focus = "focus"
    hdr = "hdr"
    average = "average"
    median = "median"
    sigma_clip = "sigma-clip"
    max = "max"
    min = "min"
    burst = "burst"


class Align(StrEnum):
    auto = "auto"
    none = "none"
    translation = "translation"
    similarity = "similarity"
    homography = "homography"


class Ghosts(StrEnum):
    keep = "keep"
    remove = "remove"


class Response(StrEnum):
    debevec = "debevec"
    robertson = "robertson"
    srgb = "srgb"


class ToneMap(StrEnum):
    auto = "auto"
    none = "none"
    reinhard = "reinhard"
    drago = "drago"
    mantiuk = "mantiuk"
    durand = "durand"
    local_laplacian = "local-laplacian"


Share = Annotated[float, typer.Option(help="How much it counts among exposures; 0 leaves it out.")]


def fuse(
    output: Output,
    photos: PhotoArguments = None,
    method: Annotated[Method, typer.Option(help="What is taken of each photo.")] = Method.exposure,
    align: Annotated[
        Align, typer.Option(help="How hand-held photos are laid on the reference.")
    ] = Align.auto,
    reference: Annotated[
        str, typer.Option(metavar="PHOTO", help="The photo that stays in place; chosen by default.")
    ] = "",
    ghosts: Annotated[
        Ghosts, typer.Option(help="Exposures, HDR: take things that moved from the reference alone.")
    ] = Ghosts.keep,
    contrast: Share = 1.0,
    saturation: Share = 1.0,
    exposedness: Share = 1.0,
    sigmas: Annotated[float, typer.Option(help="Beyond so many deviations sigma-clip leaves out.")] = 3.0,
    response: Annotated[
        Response, typer.Option(help="HDR: how the camera's response is recovered.")
    ] = Response.debevec,
    tone_map: Annotated[
        ToneMap, typer.Option(help="HDR: how it is shown; none keeps it, for .hdr, .exr and .tif.")
    ] = ToneMap.auto,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Bursts: from composer train burst.")
    ] = None,
    summary: Summary = None,
    device: DeviceOption = Device.auto,
    workers: Workers = None,
    max_memory: MaxMemory = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fuse photographs of one view: exposures, focus stacks, HDR, averages, medians, trails, bursts."""
    if not photos:
        usage("give photographs to fuse")

    def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> Fused:
        from composer.api.fusing import fuse

        check_summary(summary)
        return fuse(
            photos, output, method=method.value, align=align.value, reference=reference,
            ghosts=ghosts.value, contrast=contrast, saturation=saturation, exposedness=exposedness,
            sigmas=sigmas, response=response.value, tone_map=tone_map.value, weights=weights,
            device=device.value, workers=workers, max_memory=as_bytes(max_memory),
            observe=observe, cancelled=cancelled,
        )  # fmt: skip

    result = guarded(work, debug, quiet)
    if summary is not None:
        write_json(summary, result.summary())
    if not quiet:
        _say(result)


def _say(result: Fused) -> None:
    """Say what was made of the photos."""
    for unused in result.unused:
        typer.echo(f"left out  {unused.photo}: {unused.reason}")
    moved = f", moved by up to {max(result.moved_px):.1f} pixels" if any(result.moved_px) else ""
    typer.echo(
        f"{result.output}  {len(result.photos)} photos, {result.method}, reference {result.reference}{moved}"
    )
    for note in result.notes:
        typer.echo(f"note      {note}")
