"""Run one job over many items: what is done is kept, what fails is set aside, the rest goes on."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from composer import __version__
from composer.backend.cores import usable_cores
from composer.batch.items import Item, check_items
from composer.batch.journal import Journal, journal, settings_key
from composer.batch.lock import locked
from composer.batch.outcomes import Batch, Outcome
from composer.batch.pace import Pace
from composer.batch.pool import Pool, Processes
from composer.batch.summary import write_batch_report, write_summaries
from composer.batch.tasks import Answer, Made, Recorded, Task, find_job
from composer.errors import Cancelled, OptionError, OutputError
from composer.records import Event
from composer.report import check_page

__all__ = ["run_batch"]

SCRATCH = ".composer-batch-"  # and ".part": folders of results that are not complete
POLL_S = 0.1


def run_batch(
    items: Sequence[Item],
    job: str,
    settings: Mapping[str, Any],
    folder: Path,
    *,
    means: Mapping[str, Any] | None = None,
    stage: str = "batch",
    workers: int | None = None,
    scheduler: str | None = None,
    report: str | Path | None = None,
    observe: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Batch:
    """Run a job on each item, in worker processes, and keep a journal that any later run goes on from.

    A result is made in a scratch folder and moved into place when it is complete and noted; one that is
    there, unaltered, and made from the same content with the same job, settings and version is kept.

    Parameters
    ----------
    items : sequence of Item
    job : str
        "package.module:function". It is called with the source, the file to write and the options; what
        it writes beside that file is part of the result. It returns what the summary shall say of it, as
        plain values. What it raises sets the item aside.
    settings : mapping
        The options that decide the result.
    folder : Path
        For the journal, the summaries and the lock; made if it is missing.
    means : mapping or None
        Options that do not change the result, such as memory.
    stage : str
        What events call the work.
    workers : int or None
        Processes; None uses every core.
    scheduler : str or None
        Address of a Dask scheduler whose workers see the same files; None works on this machine.
    report : path or None
        Write a page with pictures before and after; at most a hundred, some megabytes.
    observe : callable or None
        Called with an `Event` after each item; its message has rate and time left.
    cancelled : callable or None
        Asked ten times a second; returning True stops, and a later run goes on.

    Raises
    ------
    BatchError
        Another run works on the folder, or no worker can be started.
    OptionError, OutputError, DeviceError, Cancelled
    """
    if workers is not None and workers < 1:
        raise OptionError(f"workers is {workers}; give 1 or more")
    find_job(job)
    check_items(list(items))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from None
    if report is not None:
        check_page(Path(report))
    started = time.monotonic()
    key = settings_key(job, settings, __version__)
    place = folder.resolve()
    names = [os.path.relpath(item.output.resolve(), place) for item in items]  # what the journal calls them
    with (
        locked(folder),
        journal(folder, key) as book,
        _scratch(place, book, dict(zip(names, items, strict=True))) as scratch,
    ):
        known = [book.recorded(name) for name in names]
        options = {**settings, **(means or {})}
        tasks = [
            Task(k, item.source, item.output, scratch / str(k), item.files, job, options, known[k])
            for k, item in enumerate(items)
        ]
        with closing(_pool(scheduler, workers, len(items))) as pool:
            run = _Run(items, names, book, Pace(stage, len(items), observe))
            run.through(pool, tasks, cancelled or (lambda: False))
        outcomes = tuple(run.outcomes[k] for k in range(len(items)))
        batch = Batch(outcomes, folder, time.monotonic() - started)
        write_summaries(batch, job, __version__)
        if report is not None:
            write_batch_report(Path(report), batch, stage.capitalize())
    return batch


class _Run:
    """The tasks of one run on their way through a pool, and what became of them."""

    def __init__(self, items: Sequence[Item], names: Sequence[str], book: Journal, pace: Pace) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self._items = items
        self._names = names
        self._book = book
        self._pace = pace
        self._claimed = {p.resolve() for item in items for p in (item.output, *item.files)}

    def through(self, pool: Pool, tasks: Sequence[Task], cancelled: Callable[[], bool]) -> None:
        """Put tasks through a pool. One whose worker dies comes last, once more."""
        waiting, running = deque(tasks), dict[int, Task]()
        deaths: dict[int, int] = {}
        while waiting or running:
            if cancelled():
                raise Cancelled("stopped on request; run it again to go on")
            while waiting and len(running) < pool.slots:
                task = waiting.popleft()
                if task.recorded is None:
                    self._book.begin(self._names[task.number], task.source)
                running[task.number] = task
                pool.submit(task)
            for answer in pool.wait(POLL_S):
                task = running.pop(answer.number)
                if answer.state == "died":
                    deaths[task.number] = deaths.get(task.number, 0) + 1
                    if deaths[task.number] < pool.chances:
                        waiting.append(task)
                        continue
                self._conclude(task, answer)

    def _conclude(self, task: Task, answer: Answer) -> None:
        item, name = self._items[task.number], self._names[task.number]
        reason = {"failed": answer.reason, "died": f"a worker died on it ({answer.reason})"}.get(
            answer.state, ""
        )
        if answer.state == "made":
            scratch = f"{task.scratch.parent.name}/{task.scratch.name}"
            found = Recorded(answer.content, answer.files, answer.told, answer.seconds, scratch)
            reason = self._unsafe(task, found)
            if not reason:
                self._book.write(name, found)
                reason = _moved(found.files, task.scratch, task.output.parent)
        if reason:
            self._book.finish(name, "set aside", reason)
            shutil.rmtree(task.scratch, ignore_errors=True)
        elif answer.state == "made" or (task.recorded is not None and task.recorded.scratch):
            self._book.finish(name)
        files = sorted((task.output.parent / f.name for f in answer.files), key=lambda f: f != task.output)
        self.outcomes[task.number] = Outcome(
            item, reason, answer.state == "kept", answer.seconds, () if reason else tuple(files), answer.told
        )
        self._pace(answer.state == "kept", bool(reason))

    def _unsafe(self, task: Task, found: Recorded) -> str:
        """Return why a result must not be moved: the further files of one item may be another's."""
        for made in found.files:
            place = (task.output.parent / made.name).resolve()
            if made.name != task.output.name and place in self._claimed:
                return f"it would replace {place}; rename {task.source.name}"
        return ""


def _pool(scheduler: str | None, workers: int | None, count: int) -> Any:
    if scheduler is not None:
        from composer.batch.cluster import Cluster

        return Cluster(scheduler)
    return Processes(max(1, min(workers or usable_cores(), count)))


def _moved(files: tuple[Made, ...], scratch: Path, folder: Path) -> str:
    """Move the files of a result into place; return why that fails, or nothing."""
    try:
        for made in files:
            place = folder / made.name
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(scratch / made.name, place)
    except OSError as error:
        return f"{error.filename2 or error.filename}: cannot be written ({error.strerror})"
    shutil.rmtree(scratch, ignore_errors=True)
    return ""


@contextmanager
def _scratch(folder: Path, book: Journal, items: Mapping[str, Item]) -> Iterator[Path]:
    """Make a scratch folder for a run, after what dead ones left has been put in place or removed."""
    for name, item in items.items():
        known = book.recorded(name)
        if known is not None and known.scratch:
            left = folder / known.scratch
            _moved(tuple(f for f in known.files if (left / f.name).exists()), left, item.output.parent)
    for left in folder.glob(f"{SCRATCH}*.part"):
        shutil.rmtree(left, ignore_errors=True)
    try:
        scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, suffix=".part", dir=folder))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
