"""What a worker is asked and answers, and how it does the work, on this machine or elsewhere."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from composer.errors import ComposerError, OptionError

__all__ = ["Answer", "Job", "Made", "Recorded", "Task", "content_of", "find_job", "intact", "perform"]

Job = Callable[[str, str, dict[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Made:
    """A file that a job made: its name beside the result, "/" between folders."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Recorded:
    """A result as the journal knows it; `scratch` is where below the folder it was written, until moved."""

    content: str
    files: tuple[Made, ...]
    told: dict[str, Any]
    seconds: float
    scratch: str | None = None


@dataclass(frozen=True)
class Task:
    """One item as it is given to a worker.

    Attributes
    ----------
    number : int
    source : Path
    output : Path
        Where the result shall be in the end.
    scratch : Path
        A folder of its own to write in.
    files : tuple of Path
        Whose content the result depends on.
    job : str
    options : dict
    recorded : Recorded or None
        The result of an earlier run, which is kept if it is intact and nothing has changed.
    """

    number: int
    source: Path
    output: Path
    scratch: Path
    files: tuple[Path, ...]
    job: str
    options: dict[str, Any]
    recorded: Recorded | None = None


@dataclass(frozen=True)
class Answer:
    """What became of a task: made anew, kept as it was, failed for a reason, or its worker died."""

    number: int
    state: Literal["made", "kept", "failed", "died"]
    content: str = ""
    files: tuple[Made, ...] = ()
    told: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""


def find_job(name: str) -> Job:
    """Return a job by its import path, "package.module:function".

    Raises
    ------
    OptionError
    """
    module, _, function = name.partition(":")
    try:
        job: Job = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise OptionError(
            f'job "{name}" cannot be imported ({error}); write package.module:function'
        ) from error
    return job


def perform(task: Task) -> Answer:
    """Do a task, or find that it is done; whatever its job raises becomes the answer."""
    started = time.monotonic()
    try:
        content = content_of(task.files)
        recorded = task.recorded
        if (
            recorded is not None
            and recorded.content == content
            and intact(recorded.files, task.output.parent)
        ):
            return Answer(task.number, "kept", content, recorded.files, recorded.told, recorded.seconds)
        shutil.rmtree(task.scratch, ignore_errors=True)  # what a worker left that died on it
        task.scratch.mkdir(parents=True)
        told = dict(find_job(task.job)(str(task.source), str(task.scratch / task.output.name), task.options))
        told = _in_place(told, task)
        files = _made_in(task.scratch)
        if not files:
            raise ComposerError(f"{task.source}: the job ended well and wrote nothing")
        return Answer(task.number, "made", content, files, told, time.monotonic() - started)
    except Exception as error:  # noqa: BLE001 - one bad photo, or a fault in the job, must not stop the rest
        return Answer(task.number, "failed", reason=_said(error, task), seconds=time.monotonic() - started)


def content_of(files: tuple[Path, ...]) -> str:
    """Return one SHA-256 for the content of files, in order.

    Raises
    ------
    OSError
    """
    if len(files) == 1:
        return _sha256(files[0])
    return hashlib.sha256("".join(_sha256(f) for f in files).encode()).hexdigest()


def intact(files: tuple[Made, ...], folder: Path) -> bool:
    """Tell whether all files are there with their recorded sizes and content."""
    try:
        return all((folder / f.name).stat().st_size == f.size for f in files) and all(
            _sha256(folder / f.name) == f.sha256 for f in files
        )
    except OSError:
        return False


def _made_in(scratch: Path) -> tuple[Made, ...]:
    files = sorted(p for p in scratch.rglob("*") if p.is_file())
    return tuple(Made(p.relative_to(scratch).as_posix(), p.stat().st_size, _sha256(p)) for p in files)


def _sha256(path: Path) -> str:
    if path.is_dir():
        os.listdir(path)  # says why it is set aside; a folder that could be listed is no item
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _in_place(told: dict[str, Any], task: Task) -> dict[str, Any]:
    """Return what a job told as the journal holds it, in terms of where the result will be."""
    written, meant = (json.dumps(str(p))[1:-1] for p in (task.scratch, task.output.parent))
    found: dict[str, Any] = json.loads(json.dumps(told).replace(written, meant))
    return found


def _said(error: Exception, task: Task) -> str:
    """Return an error's message, in terms of where the result was to be."""
    if isinstance(error, ComposerError):
        said = str(error)
    elif isinstance(error, OSError) and error.filename is not None:
        said = f"{error.filename}: {error.strerror}"
    else:
        said = f"{type(error).__name__}: {error}"
    said = said.removeprefix(f"{task.source}: ")  # the item's name is told anyway
    return " ".join(said.replace(str(task.scratch), str(task.output.parent)).split())
