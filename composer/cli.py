"""The verbs as commands; the only module that prints.

Exit status: 0 done (also when photos were left out, which is said), 1 the job failed, 2 wrong usage,
130 stopped with Ctrl-C.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: threads go over photos and tiles

import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from composer.api import Stitched
    from composer.records import Event

    Work = Callable[[Callable[[Event], None], Callable[[], bool]], Stitched]

__all__ = ["app", "main"]

GRACE_S = 0.4  # for a job to stop by itself

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Stitch photographs and render the result, tile by tile, on CPU or GPU.",
)


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
    multiband = "multiband"
    feather = "feather"
    none = "none"


class Ghosts(StrEnum):
    keep = "keep"
    remove = "remove"


class Lens(StrEnum):
    rectilinear = "rectilinear"
    equidistant = "equidistant"
    equisolid = "equisolid"
    circular = "circular"
    lensfun = "lensfun"


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


PhotoArguments = Annotated[
    list[str] | None, typer.Argument(metavar="PHOTOS...", help="Photographs, folders, or patterns.")
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Where to write: .jpg, .png, .tif, .webp or .dzi.")
]
Summary = Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write what was done as JSON.")]
ReportPage = Annotated[
    Path | None, typer.Option("--report", metavar="FILE.html", help="Write a page that shows what was done.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="STAGE.OPTION=VALUE", help="Set a stage's option.")
]
DeviceOption = Annotated[Device, typer.Option(help="Where pixels are computed.")]
Workers = Annotated[int | None, typer.Option(help="Threads; all cores by default.")]
MaxMemory = Annotated[
    int | None,
    typer.Option(metavar="MB", help="Memory for photos and canvas [half of what is free, up to 4096]."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


@app.command()
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
    blend: Annotated[Blend, typer.Option(help="How photos pass into each other.")] = Blend.multiband,
    pairs: Annotated[
        str,
        typer.Option(metavar="HOW|FILE", help="Photos to match: auto, all, sequence, gps, or from a file."),
    ] = "auto",
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
    settings: Set = None,
    device: DeviceOption = Device.auto,
    workers: Workers = None,
    max_memory: MaxMemory = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Stitch overlapping photographs into panoramas."""
    if bool(photos) == bool(load):
        _usage("give photographs to stitch, or --load FILE to render saved compositions")

    def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> Stitched:
        from composer import api

        _check_summary(summary)
        return api.stitch(
            photos or [], output, projection=projection.value, crop=crop.value, width=width,
            preview=preview, yaw=yaw, pitch=pitch, roll=roll, fov=_fov(fov), points=points,
            lens=lens.value, lens_fov=lens_fov, anchor=anchor, include=include, exclude=exclude,
            ghosts=ghosts.value, pairs=pairs, blend=blend.value, load=load, template=template, save=save,
            cube=cube, patches=_patches(patch or []), layers=layers, report=report,
            settings=_settings(settings or []), device=device.value, workers=workers,
            max_memory=_bytes(max_memory), observe=observe, cancelled=cancelled,
        )  # fmt: skip

    _report(_guarded(work, debug, quiet, summary), summary, save, quiet, report)


@app.command()
def run(
    pipeline: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The pipeline.")],
    output: Output,
    photos: PhotoArguments = None,
    summary: Summary = None,
    report: ReportPage = None,
    settings: Set = None,
    device: DeviceOption = Device.auto,
    workers: Workers = None,
    max_memory: MaxMemory = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run a pipeline from a TOML file on photographs."""

    def work(observe: Callable[[Event], None], cancelled: Callable[[], bool]) -> Stitched:
        from composer import api
        from composer.pipeline import Pipeline

        _check_summary(summary)
        return api.run(
            Pipeline.from_toml(pipeline), photos or [], output, report=report,
            settings=_settings(settings or []), device=device.value, workers=workers,
            max_memory=_bytes(max_memory), observe=observe, cancelled=cancelled,
        )  # fmt: skip

    _report(_guarded(work, debug, quiet, summary), summary, None, quiet, report)


@app.command()
def doctor() -> None:
    """Say what is installed, what is missing, and what this machine has."""
    from composer.doctor import examine

    findings = examine()
    for finding in findings:
        mark = {True: "ok  ", False: "BAD ", None: "--  "}[finding.good]
        typer.echo(f"{mark} {finding.what:<12} {finding.said}")
    if any(f.good is False for f in findings):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    app()


def _usage(message: str) -> None:
    typer.echo(f"composer: {message}", err=True)
    raise typer.Exit(2)


def _bytes(megabytes: int | None) -> int | None:
    return None if megabytes is None else megabytes << 20


def _fov(text: str | None) -> tuple[float, float]:
    """Read degrees across, or across x down."""
    from composer.errors import OptionError

    across, _, down = (text or "0").lower().partition("x")
    try:
        found = float(across), float(down or 0)
    except ValueError:
        found = -1.0, 0.0
    if min(found) < 0:
        raise OptionError(f"--fov {text}: write degrees across, or across and down, as 120 or 360x180")
    return found


def _patches(texts: list[str]) -> dict[str, str]:
    from composer.errors import OptionError

    pairs = [text.partition("=") for text in texts]
    for face, equals, file in pairs:
        if not equals or not file:
            raise OptionError(f"--patch {face}: write FACE=FILE, such as down=down.png")
    return {face: file for face, _, file in pairs}


def _settings(texts: list[str]) -> dict[str, str]:
    from composer.errors import OptionError

    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or "." not in key:
            raise OptionError(f"--set {text}: write STAGE.OPTION=VALUE")
        pairs[key] = value
    return pairs


def _check_summary(summary: Path | None) -> None:
    if summary is not None:
        from composer.media.encode import check_folder

        check_folder(summary)


def _guarded(work: Work, debug: bool, quiet: bool, summary: Path | None) -> Stitched:
    """Run a job with progress; turn errors into one line and an exit status."""
    from composer.errors import ComposerError, NothingToStitch

    try:
        with _progress(quiet) as observe:
            return _interruptible(work, observe)
    except NothingToStitch as error:
        if debug:
            raise
        for photo in error.unused:
            typer.echo(f"left out  {_of(photo)}", err=True)
        typer.echo(f"composer: {error}", err=True)
        if summary is not None:
            unused = [vars(u) for u in error.unused]
            _write_json(summary, {"panoramas": [], "unused": unused, "stages": [], "peak_mb": 0.0})
    except ComposerError as error:
        if debug:
            raise
        typer.echo(f"composer: {error}", err=True)
    except MemoryError:
        if debug:
            raise
        typer.echo("composer: out of memory; use --width or fewer photos", err=True)
    except KeyboardInterrupt:
        _end_now()
    raise typer.Exit(1)


def _interruptible(work: Work, observe: Callable[[Event], None]) -> Stitched:
    """Run a job on a thread of its own, so that Ctrl-C need not wait until a native call returns.

    Raises
    ------
    KeyboardInterrupt
        The job had a moment to stop by itself, but may still be running: end the process.
    """
    stop, done = threading.Event(), Future[Any]()

    def job() -> None:
        try:
            done.set_result(work(observe, stop.is_set))
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, whatever it is
            done.set_exception(error)

    threading.Thread(target=job, daemon=True).start()
    try:
        return done.result()
    except KeyboardInterrupt:
        stop.set()
        wait([done], GRACE_S)
        raise


def _end_now() -> NoReturn:
    """End the process with status 130, whatever its threads are doing."""
    from composer.media.encode import discard_unfinished

    discard_unfinished()
    with suppress(OSError, KeyboardInterrupt):
        typer.echo("composer: stopped; no file is left half-written", err=True)
        sys.stdout.flush()
    os._exit(130)


def _of(unused: Any) -> str:
    return f"{unused.photo}: {unused.reason}"


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Event], None]]:
    """Show a bar a stage and the time left on a terminal; one line a finished stage elsewhere."""
    if quiet:
        yield lambda event: None
        return
    if not sys.stderr.isatty():
        yield _say_finished
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeElapsedColumn
    from rich.text import Text

    from composer.progress import Outlook

    outlook = Outlook()

    class TimeLeft(TextColumn):
        """Says how long the job will still take, beside the stage that runs."""

        def render(self, task: Task) -> Text:
            left = None if task.finished else outlook.seconds_left()
            return Text("" if left is None else f"about {_spoken(left)} left")

    columns = TextColumn("{task.description:<14}"), BarColumn(), TimeElapsedColumn(), TimeLeft("")
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def observe(event: Event) -> None:
            outlook(event)
            if event.seconds is not None and event.stage not in tasks:
                return
            if event.stage not in tasks:
                tasks[event.stage] = bars.add_task(event.stage, total=1.0)
            bars.update(tasks[event.stage], completed=event.fraction)

        yield observe


def _spoken(seconds: float) -> str:
    """Return a duration as roughly as it is known: 3 s, 40 s, 5 min."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 5) * 5} s" if seconds < 100 else f"{round(seconds / 60)} min"


def _say_finished(event: Event) -> None:
    if event.seconds is not None:
        typer.echo(f"{event.stage:<14} {event.seconds:6.2f} s", err=True)


def _report(
    result: Stitched, summary: Path | None, save: Path | None, quiet: bool, page: Path | None
) -> None:
    """Say what was made of the photos, and write the summary."""
    if summary is not None:
        _write_json(summary, result.summary())
    if quiet:
        return
    for unused in result.unused:
        typer.echo(f"left out  {_of(unused)}")
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


def _write_json(path: Path, value: dict[str, Any]) -> None:
    from composer.media.encode import replacing

    with replacing(path) as file:
        file.write((json.dumps(value, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
