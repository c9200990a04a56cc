"""The command `repair`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from composer.cli.batches import are_many, say_batch
from composer.cli.options import (
    Debug,
    Device,
    DeviceOption,
    MaxMemory,
    Quiet,
    ReportPage,
    Summary,
    as_bytes,
)
from composer.cli.running import check_summary, guarded, usage, write_json

if TYPE_CHECKING:
    from composer.batch import Batch
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
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTOS...", help="A photograph; or several, folders, patterns.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write; for several photos or a folder, a folder."),
    ] = None,
    faults: Annotated[
        str,
        typer.Option(
            metavar="KINDS",
            help="hole,impulse,pixel,line,blocking,banding,noise (drawings, and as holes transparent parts, "
            "bars and frames, only if these are named); only if named fringe,fading,seam, "
            "ghost (mended from --donor), and scratch,dust, which are suggestions: look at them with "
            "--find-only --page first.",
        ),
    ] = "auto",
    without: Annotated[
        list[str] | None, typer.Option(metavar="KINDS", help="What not to look for; may be repeated.")
    ] = None,
    find_only: Annotated[
        bool, typer.Option("--find-only", help="Change nothing; write the faults' mask, white, as PNG.")
    ] = False,
    salvage: Annotated[
        bool,
        typer.Option("--salvage", help="Of damaged JPEG files, read what is left and mark what is lost."),
    ] = False,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="With --find-only: a page to paint and erase the mask on."),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(metavar="MASK", help="What to fill instead, white; a folder of masks for many photos."),
    ] = None,
    box: Annotated[
        list[str] | None, typer.Option(metavar="X,Y,W,H", help="A rectangle to fill; may be repeated.")
    ] = None,
    fill: Annotated[Fill, typer.Option(help="What fills the holes.")] = Fill.auto,
    grow: Annotated[int, typer.Option(metavar="N", help="Make faults wider by N pixels.")] = 0,
    grain: Annotated[
        float,
        typer.Option(metavar="SIGMA", help="Noise of this deviation (of 255) is grain and stays."),
    ] = 5.0,
    sensitivity: Annotated[
        float,
        typer.Option(metavar="X", help="Scratches and dust may be less sure; 3 for prints full of cracks."),
    ] = 0.0,
    source: Annotated[
        Path | None, typer.Option(metavar="MASK", help="Where patches are taken from, white.")
    ] = None,
    donor: Annotated[
        list[Path] | None, typer.Option(metavar="PHOTO", help="Another photo of the scene; may be repeated.")
    ] = None,
    variants: Annotated[
        str, typer.Option(metavar="KINDS", help="Patches may also be mirrored,turned,scaled.")
    ] = "",
    seed: Annotated[int, typer.Option(help="For the random search of patches.")] = 0,
    suffix: Annotated[
        str, typer.Option(metavar="_TEXT", help="Put behind each name; beside the photos without -o.")
    ] = "",
    summary: Summary = None,
    report: ReportPage = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="tcp://HOST:PORT", help="Many photos: work on a Dask cluster.")
    ] = None,
    device: DeviceOption = Device.auto,
    workers: Annotated[
        int | None, typer.Option(help="Threads, or processes for many photos; all cores by default.")
    ] = None,
    max_memory: MaxMemory = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Mend photographs: the faults that are found, or what a mask or a box marks."""

    def options() -> dict[str, Any]:
        return {
            "mask": mask, "box": [_box(b) for b in box or []] or None, "fill": fill.value, "grow": grow,
            "grain": grain, "sensitivity": sensitivity,
            "faults": faults if faults == "auto" else _listed(faults),
            "without": [kind for kinds in without or [] for kind in _listed(kinds)],
            "find_only": find_only, "salvage": salvage, "source": source, "donors": donor or [], "seed": seed,
            "variants": _listed(variants) if variants else [],
            "device": device.value,
        }  # fmt: skip

    how: dict[str, Any] = {"workers": workers, "max_memory": as_bytes(max_memory)}
    if are_many(photos, output, suffix):
        if summary is not None:
            usage("--summary is for one photo; the folder of many gets summary.json and summary.csv")
        if page is not None:
            usage("--page is for one photo; look at photos one by one")
        how |= {"suffix": suffix, "scheduler": scheduler, "report": report}
        _repair_each(photos, output, options, how, debug, quiet)
        return
    if output is None and page is None:
        usage("say where to write: -o OUT, or --suffix _TEXT")
    if scheduler or report:
        usage("--scheduler and --report are for several photos or a folder")

    def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> Repaired:
        from composer.api.repairing import repair
        from composer.backend.memory import keep_freed

        check_summary(summary)
        keep_freed(
            16 << 20
        )  # here arrays are as large as the photo: a quarter of the time went into clearing them
        return repair(
            photos[0], output=output, page=page, observe=observe, cancelled=cancelled, **options(), **how
        )  # fmt: skip

    result = guarded(work, debug, quiet)
    if summary is not None:
        write_json(summary, result.summary())
    if not quiet:
        _say(result, photos[0], find_only)
        if page is not None:
            typer.echo(f"{page}  open it in a browser, to paint and erase the mask and to save it")


def _repair_each(
    photos: list[str],
    output: Path | None,
    options: Callable[[], Mapping[str, Any]],
    how: Mapping[str, Any],
    debug: bool,
    quiet: bool,
) -> None:
    """Repair photos one by one; `options` are those of `repair`, `how` those of `repair_each`."""

    def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> Batch:
        from composer.api.batches import repair_each

        return repair_each(photos, output, options(), observe=observe, cancelled=cancelled, **how)

    say_batch(guarded(work, debug, quiet), quiet)


def _listed(text: str) -> list[str]:
    """Read words with commas between them."""
    return [word.strip() for word in text.split(",")]


def _box(text: str) -> tuple[int, ...]:
    """Read X,Y,W,H."""
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        usage(f"--box {text}: write X,Y,WIDTH,HEIGHT in pixels, as 40,30,200,16")
    return x, y, width, height


def _say(result: Repaired, photo: str, find_only: bool) -> None:
    """Say what was found, and what mended it."""
    faults = [f for f in result.faults if find_only or f.operator]
    counts = Counter(f"{f.kind} by {f.operator}" if f.operator else f.kind for f in faults)
    by = ", ".join(f"{count} {what}" for what, count in counts.items())
    did = "found" if find_only else "mended"
    marked = int(result.mask.sum()) if faults else 0
    pixels = f"{marked} pixels " if marked else ""  # none are marked where it is the whole photo
    typer.echo(f"{result.output or photo}  {f'{pixels}{did}: {by}' if by else f'nothing {did}'}")
    for note in result.notes:
        typer.echo(f"note      {note}")
