"""Options that several verbs share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from composer.cli.running import usage

__all__ = [
    "Debug",
    "Device",
    "DeviceOption",
    "Each",
    "Format",
    "MaxMemory",
    "Output",
    "PhotoArguments",
    "Quiet",
    "ReportPage",
    "Scheduler",
    "Set",
    "Summary",
    "Workers",
    "as_bytes",
    "as_settings",
]


class Device(StrEnum):
    """Where pixels are computed."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


PhotoArguments = Annotated[
    list[str] | None, typer.Argument(metavar="PHOTOS...", help="Photographs, folders, or patterns.")
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Where to write: .jpg, .png, .tif, .webp, .dzi, .hdr, .exr.")
]
Summary = Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write what was done as JSON.")]
ReportPage = Annotated[
    Path | None, typer.Option("--report", metavar="FILE.html", help="Write a page that shows what was done.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="STAGE.OPTION=VALUE", help="Set a stage's option.")
]
DeviceOption = Annotated[Device, typer.Option(help="Where pixels are computed; auto is the CPU.")]
Workers = Annotated[int | None, typer.Option(help="Threads; all cores by default.")]
MaxMemory = Annotated[
    int | None,
    typer.Option(
        metavar="MB", help="Memory for photos and canvas; half of what is free by default, at most 4096."
    ),
]
Each = Annotated[
    bool,
    typer.Option("--each", help="Stitch every sub-folder by itself, a process each, into the folder OUTPUT."),
]
Format = Annotated[
    str | None,
    typer.Option(
        metavar="SUFFIX", help="Of many results: jpg (panoramas are, by default), png, tif, webp or dzi."
    ),
]
Scheduler = Annotated[
    str | None, typer.Option(metavar="tcp://HOST:PORT", help="Many at once: work on a Dask cluster.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


def as_bytes(megabytes: int | None) -> int | None:
    """Return megabytes as bytes."""
    return None if megabytes is None else megabytes << 20


def as_settings(texts: list[str]) -> dict[str, str]:
    """Read STAGE.OPTION=VALUE."""
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or "." not in key:
            usage(f"--set {text}: write STAGE.OPTION=VALUE")
        pairs[key] = value
    return pairs
