"""The verbs as commands; the only room that prints.

Exit status: 0 done (also when photos were left out, which is said), 1 the job failed, 2 wrong usage,
3 a batch is over and items of it were set aside, 130 stopped with Ctrl-C, 143 with SIGTERM.
"""

from __future__ import annotations

import gc
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: threads go over photos and tiles
gc.set_threshold(20_000)  # else a tenth of the start goes into looking for cycles among modules

from typing import Annotated

import typer

from composer.cli import (
    cloning,
    evaluating,
    fusing,
    harmonizing,
    pipelines,
    refining,
    repairing,
    stitching,
    training,
)
from composer.errors import ComposerError

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Stitch, fuse, clone, repair and refine photographs; nothing is lost, and it says what it did.",
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from composer import __version__

        typer.echo(f"composer {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Say which version it is.")
    ] = False,
) -> None: ...


for verb in (
    stitching.stitch,
    fusing.fuse,
    cloning.clone,
    harmonizing.harmonize,
    repairing.repair,
    refining.refine,
    pipelines.run,
    training.train,
    evaluating.evaluate,
):
    app.command()(verb)


@app.command()
def doctor() -> None:
    """Say what is installed, what is missing, and what this machine has."""
    from composer.doctor import examine

    findings = examine()
    wide = max(len(f.what) for f in findings)
    for finding in findings:
        mark = {True: "ok  ", False: "BAD ", None: "--  "}[finding.good]
        typer.echo(f"{mark} {finding.what:<{wide}} {finding.said}")
    if any(f.good is False for f in findings):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; what cannot be said or noted when the job is over is one line too."""
    try:
        app()
    except (ComposerError, OSError) as error:
        message = str(error)
        if isinstance(error, OSError):
            message = f"{error.filename or 'standard output'}: {error.strerror or error}"
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else it is tried again at the very end
        typer.echo(f"composer: {message}", err=True)
        sys.exit(1)
