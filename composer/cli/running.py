"""How a command runs its job: progress, errors as one line, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from composer.errors import ComposerError
    from composer.records import Event

__all__ = ["check_summary", "guarded", "on_terminate", "usage", "write_json"]

T = TypeVar("T")
GRACE_S = 0.4  # for a job to stop by itself
LINE_S = 5.0  # between lines about a long stage


def usage(message: str) -> NoReturn:
    """Say what is wrong with the command line, and end with status 2."""
    typer.echo(f"composer: {message}", err=True)
    raise typer.Exit(2)


def check_summary(summary: Path | None) -> None:
    """Check that the summary can be written, before any work is done."""
    if summary is not None:
        from composer.media.encode import check_apart

        check_apart(summary, "a summary")


def guarded(
    work: Callable[[Callable[[Event], None], Callable[[], bool]], T],
    debug: bool,
    quiet: bool,
    failed: Callable[[ComposerError], None] = lambda error: None,
) -> T:
    """Run a job with progress; turn errors into one line and an exit status, `failed` told before."""
    from composer.errors import ComposerError

    try:
        with _told_to_end(), _progress(quiet) as observe:
            return _interruptible(work, observe)
    except ComposerError as error:
        if debug:
            raise
        failed(error)
        typer.echo(f"composer: {error}", err=True)
    except MemoryError:
        if debug:
            raise
        typer.echo("composer: out of memory; use --width or fewer photos", err=True)
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename is not None else ""
        typer.echo(f"composer: {where}{error.strerror or error}", err=True)
    except KeyboardInterrupt as told:
        _end_now(told.args[0] if told.args else signal.SIGINT)
    raise typer.Exit(1)


def _interruptible(work: Callable[..., T], observe: Callable[[Event], None]) -> T:
    """Run a job on a thread of its own, so that Ctrl-C need not wait until a native call returns.

    Raises
    ------
    KeyboardInterrupt
        The job had a moment to stop by itself, but may still be running: end the process.
    """
    stop, done = threading.Event(), Future[Any]()

    def job() -> None:
        from composer.backend.imports import postpone_f2py
        from composer.backend.memory import keep_freed

        keep_freed()
        postpone_f2py()
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


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end a job as Ctrl-C does, where nothing else is made of them (nohup does)."""

    def end(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt(number)

    taken = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _end_now(number: int) -> NoReturn:
    """End the process with the status of a signal, 130 of Ctrl-C, whatever its threads are doing."""
    from composer.media.encode import discard_unfinished

    discard_unfinished()
    with suppress(OSError, KeyboardInterrupt):
        typer.echo("composer: stopped; no file is left half-written", err=True)
        sys.stdout.flush()
    os._exit(128 + number)


@contextmanager
def on_terminate() -> Iterator[Callable[[], int]]:
    """Yield what says which signal came, 0 for none: SIGTERM, SIGHUP, or Ctrl-C once.

    They then do not end the process: the job is to end itself. A second Ctrl-C ends it.
    """
    told = 0

    def take(number: int, frame: object) -> None:
        nonlocal told
        told = told or number
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)

    mine = {signal.SIG_DFL, signal.default_int_handler}  # nohup's, and a shell's for jobs behind it, stay
    before = {
        n: h for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT) if (h := signal.getsignal(n)) in mine
    }
    for number in before:
        signal.signal(number, take)
    try:
        yield lambda: told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Event], None]]:
    """Show a bar a stage and the time left on a terminal; one line a finished stage elsewhere."""
    if quiet or sys.stderr is None:
        yield lambda event: None
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeElapsedColumn
    from rich.text import Text

    from composer.progress import Outlook, spoken

    outlook = Outlook()

    class TimeLeft(TextColumn):
        """Says how long the job will still take, beside the stage that runs."""

        def render(self, task: Task) -> Text:
            if task.fields["message"]:
                return Text(task.fields["message"])
            left = None if task.finished else outlook.seconds_left()
            return Text("" if left is None else f"about {spoken(left)} left")

    columns = TextColumn("{task.description:<14}"), BarColumn(), TimeElapsedColumn(), TimeLeft("")
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def observe(event: Event) -> None:
            outlook(event)
            if event.seconds is not None and event.stage not in tasks:
                return
            if event.stage not in tasks:
                tasks[event.stage] = bars.add_task(event.stage, total=1.0, message="")
            bars.update(tasks[event.stage], completed=event.fraction, message=event.message)

        yield observe


class _Lines:
    """Says where there is no terminal which stages are over, and every few seconds how a long one goes."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Print a line if it is time for one."""
        now = time.monotonic()
        if event.seconds is not None:
            message = f"  {event.message}" if event.message else ""
            typer.echo(f"{event.stage:<14} {event.seconds:6.2f} s{message}", err=True)
        elif event.message and now - self._said >= LINE_S:
            self._said = now
            typer.echo(f"{event.stage:<14} {event.message}", err=True)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write plain values as JSON."""
    from composer.media.encode import replacing

    with replacing(path) as file:
        file.write((json.dumps(value, indent=1) + "\n").encode())
