"""The command `stitch`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from composer.cli.batches import check_each, stitch_folders
from composer.cli.options import (
    Debug,
    Device,
    DeviceOption,
    Each,
    Format,
    MaxMemory,
    Output,
    PhotoArguments,
    Quiet,
    ReportPage,
    Scheduler,
    Set,
    Summary,
    Workers,
    as_bytes,
    as_settings,
)
from composer.cli.running import check_summary, guarded, usage, write_json

if TYPE_CHECKING:
    from composer.errors import ComposerError
    from composer.records import Event
    from composer.results import Stitched

__all__ = ["say_nothing_made", "say_stitched", "stitch"]


class Projection(StrEnum):
    auto = "auto"
    plane = "plane"
    cylinder = "cylinder"
    sphere = "sphere"
    mercator = "mercator"
    stereographic = "stereographic"
    pannini = "pannini"
    affine = "affine"
    homography = "homography"


class Crop(StrEnum):
    none = "none"
    rectangle = "rectangle"


class Blend(StrEnum):
    auto = "auto"
    multiband = "multiband"
    gradient = "gradient"
    feather = "feather"
    none = "none"


class Ghosts(StrEnum):
    keep = "keep"
    remove = "remove"


class Brackets(StrEnum):
    auto = "auto"
    none = "none"


class Lens(StrEnum):
    rectilinear = "rectilinear"
    equidistant = "equidistant"
    equisolid = "equisolid"
    circular = "circular"
    lensfun = "lensfun"


def stitch(
    output: Output,
    photos: PhotoArguments = None,
    projection: Annotated[Projection, typer.Option(help="How the view is unrolled.")] = Projection.auto,
    crop: Annotated[Crop, typer.Option(help="Keep everything, or the largest full rectangle.")] = Crop.none,
    width: Annotated[int | None, typer.Option(help="Width in pixels; the photos' own by default.")] = None,
    preview: Annotated[int | None, typer.Option(metavar="N", help="A quick look, N pixels wide.")] = None,
    fov: Annotated[
        str | None, typer.Option(metavar="DEGREES", help="How much to show: 120, or 360x180.")
    ] = None,
    yaw: Annotated[float, typer.Option(help="Look so many degrees to the right.")] = 0.0,
    pitch: Annotated[float | None, typer.Option(help="Look so many degrees above the horizon.")] = None,
    roll: Annotated[float, typer.Option(help="Turn the view clockwise, in degrees.")] = 0.0,
    points: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Control points; lines that are level or upright.")
    ] = None,
    lens: Annotated[Lens, typer.Option(help="How the photos' lens draws.")] = Lens.rectilinear,
    lens_fov: Annotated[float, typer.Option(metavar="DEGREES", help="What a photo's longer side shows.")] = 0,
    anchor: Annotated[
        str, typer.Option(metavar="PHOTO", help="Keep this photo's exposure and white balance.")
    ] = "",
    include: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Masks of what must be kept, one a photo.")
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Masks of what must not be used, one a photo.")
    ] = None,
    ghosts: Annotated[
        Ghosts, typer.Option(help="Show things that moved whole, or leave them out.")
    ] = Ghosts.keep,
    brackets: Annotated[
        Brackets, typer.Option(help="Fuse views that look the same way, stops apart.")
    ] = Brackets.auto,
    blend: Annotated[Blend, typer.Option(help="How photos pass into each other.")] = Blend.auto,
    refine: Annotated[
        bool, typer.Option("--refine", help="Mend what is wrong along seams by the learned refiner.")
    ] = False,
    pairs: Annotated[
        str,
        typer.Option(metavar="HOW|FILE", help="Photos to match: auto, all, sequence, gps, or from a file."),
    ] = "auto",
    features: Annotated[
        Path | None, typer.Option(metavar="ONNX", help="A network that finds features, instead of SIFT.")
    ] = None,
    matcher: Annotated[
        Path | None, typer.Option(metavar="ONNX", help="A network that matches those features.")
    ] = None,
    summary: Summary = None,
    report: ReportPage = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the compositions; .pto for Hugin.")
    ] = None,
    load: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Render saved compositions; give no photos.")
    ] = None,
    cube: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the faces of the cube around the panorama.")
    ] = None,
    patch: Annotated[
        list[str] | None, typer.Option(metavar="FACE=FILE", help="Put a retouched face of the cube back.")
    ] = None,
    template: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Put the photos where a saved plan's are.")
    ] = None,
    layers: Annotated[
        Path | None, typer.Option(metavar="FILE.tif", help="Write warped photos and seam masks as pages.")
    ] = None,
    each: Each = False,
    format: Format = None,
    scheduler: Scheduler = None,
    settings: Set = None,
    device: DeviceOption = Device.auto,
    workers: Workers = None,
    max_memory: MaxMemory = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Stitch overlapping photographs into panoramas."""
    if bool(photos) == bool(load):
        usage("give photographs to stitch, or --load FILE to render saved compositions")

    def options() -> dict[str, Any]:
        return {
            "projection": projection.value, "crop": crop.value, "width": width, "preview": preview,
            "yaw": yaw, "pitch": pitch, "roll": roll, "fov": _fov(fov), "points": points,
            "lens": lens.value, "lens_fov": lens_fov, "anchor": anchor, "include": include,
            "exclude": exclude, "ghosts": ghosts.value, "brackets": brackets.value, "pairs": pairs,
            "features": features, "matcher": matcher, "blend": blend.value, "refine": refine,
            "template": template, "device": device.value, "settings": as_settings(settings or []),
        }  # fmt: skip

    how: dict[str, Any] = {"report": report, "workers": workers, "max_memory": as_bytes(max_memory)}
    if check_each(each, format, scheduler, (load, save, cube, patch, layers, summary)):
        stitch_folders(
            photos, output, options, {"format": format, "scheduler": scheduler, **how}, debug, quiet
        )
        return

    def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> Stitched:
        from composer.api.stitching import stitch

        check_summary(summary)
        return stitch(
            photos or [], output, load=load, save=save, cube=cube, patches=_patches(patch or []),
            layers=layers, observe=observe, cancelled=cancelled, **options(), **how,
        )  # fmt: skip

    result = guarded(work, debug, quiet, lambda error: say_nothing_made(error, summary))
    say_stitched(result, summary, save, quiet, report)


def _fov(text: str | None) -> tuple[float, float]:
    """Read degrees across, or across x down."""
    across, _, down = (text or "0").lower().partition("x")
    try:
        found = float(across), float(down or 0)
    except ValueError:
        found = -1.0, 0.0
    if not min(found) >= 0:
        usage(f"--fov {text}: write degrees across, or across and down, as 120 or 360x180")
    return found


def _patches(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for face, equals, file in pairs:
        if not equals or not file:
            usage(f"--patch {face}: write FACE=FILE, such as down=down.png")
    return {face: file for face, _, file in pairs}


def say_stitched(
    result: Stitched, summary: Path | None, save: Path | None, quiet: bool, page: Path | None
) -> None:
    """Say what was made of the photos, and write the summary."""
    if summary is not None:
        write_json(summary, result.summary())
    if quiet:
        return
    for unused in result.unused:
        typer.echo(f"left out  {_named(unused)}")
    for panorama in result.panoramas:
        c = panorama.composition
        wide, high = c.fov_deg
        view = f", {wide:.0f} x {high:.0f} degrees" if wide else ""
        fit = f", matches agree to {panorama.rms_px:.2f} px" if panorama.rms_px else ""
        typer.echo(
            f"{panorama.output}  {len(panorama.photos)} photos, {c.width} x {c.height} pixels, "
            f"{c.projection}{view}{fit}"
        )
        for note in panorama.notes:
            typer.echo(f"note      {note}")
    if page is not None:
        typer.echo(f"{page}  report; open it in a browser")
    if save is not None:
        typer.echo(f"{save}  compositions; render them again with composer stitch --load {save}")


def say_nothing_made(error: ComposerError, summary: Path | None) -> None:
    """Say which photos were left out and why, where there was nothing to stitch."""
    from composer.errors import NothingToStitch

    if not isinstance(error, NothingToStitch):
        return
    for photo in error.unused:
        typer.echo(f"left out  {_named(photo)}", err=True)
    if summary is not None:
        unused = [vars(u) for u in error.unused]
        write_json(summary, {"panoramas": [], "unused": unused, "stages": [], "peak_mb": 0.0})


def _named(unused: Any) -> str:
    return f"{unused.photo}: {unused.reason}"
