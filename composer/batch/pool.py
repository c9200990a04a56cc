"""Worker processes on this machine, each with one thread inside; one that dies is replaced."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from typing import IO, Any, Protocol

from composer.batch.tasks import Answer, Task
from composer.errors import BatchError

__all__ = ["Pool", "Processes"]

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
STARTS = 10  # attempts at starting a worker, of which any may be killed for want of memory


class Pool(Protocol):
    """Something that does tasks: processes here, or a cluster."""

    @property
    def chances(self) -> int:
        """How often a task is to be submitted before it is given up, when workers die on it."""

    @property
    def slots(self) -> int:
        """How many tasks it should hold at a time, so that no worker waits for the next."""

    def submit(self, task: Task) -> None:
        """Take a task."""

    def wait(self, seconds: float) -> list[Answer]:
        """Return the answers that there are, waiting so long for one."""

    def close(self) -> None:
        """Stop at once, whatever is being done."""


class Processes:
    """A fixed number of worker processes, each fed by a thread of this one.

    They are started as commands, not forked: a child of a process with threads may hang, and one made by
    multiprocessing would import the user's script once more.
    """

    chances = 2

    def __init__(self, workers: int) -> None:
        self.slots = 2 * workers
        self._tasks: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer | BatchError] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._running: set[_Worker] = set()
        self._threads = [threading.Thread(target=self._feed, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    @property
    def pids(self) -> list[int]:
        """The processes that are alive."""
        return [worker.process.pid for worker in list(self._running)]

    def submit(self, task: Task) -> None:
        """Take a task."""
        self._tasks.put((task.number, pickle.dumps(task)))

    def wait(self, seconds: float) -> list[Answer]:
        """Return the answers that there are, waiting so long for one.

        Raises
        ------
        BatchError
            No worker can be started.
        """
        found: list[Answer] = []
        try:
            while True:
                answer = self._answers.get(timeout=0 if found else seconds)
                if isinstance(answer, BatchError):
                    raise answer
                found.append(answer)
        except queue.Empty:
            return found

    def close(self) -> None:
        """Stop at once, whatever is being done."""
        self._closing.set()
        for _ in self._threads:
            self._tasks.put(None)
        for worker in list(self._running):
            worker.process.kill()
        for thread in self._threads:
            thread.join(timeout=1.0)

    def _feed(self) -> None:
        """Hand tasks to one worker, and to another when it has died."""
        worker = None
        try:
            while (taken := self._tasks.get()) is not None and not self._closing.is_set():
                worker = worker or self._started()
                number, task = taken
                answer = worker.ask(task)
                if answer is None:
                    self._running.discard(worker)
                    answer, worker = Answer(number, "died", reason=worker.ended()), None
                self._answers.put(answer)
        except BatchError as error:
            self._answers.put(error)
        finally:
            if worker is not None:
                self._running.discard(worker)
                worker.process.kill()
                worker.ended()

    def _started(self) -> _Worker:
        reason = ""
        for _ in range(STARTS):
            try:
                worker = _Worker()
            except OSError as error:
                reason = str(error)
                continue
            self._running.add(worker)
            if self._closing.is_set():
                worker.process.kill()
            if worker.receive() == "ready":
                return worker
            self._running.discard(worker)
            reason = worker.ended()
            if self._closing.is_set():
                break
        raise BatchError(f"workers do not start ({reason}); run `composer doctor`")


class _Worker:
    """One process and the pipes to it; what it says of its troubles goes to a file without a name."""

    def __init__(self) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `ended`
        places = os.pathsep.join(p or os.getcwd() for p in sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "composer.batch.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": places},
            process_group=0,  # so that Ctrl-C reaches this process alone, which then ends them
        )

    def ask(self, task: bytes) -> Answer | None:
        """Return the answer to a pickled task, None if the process has died."""
        assert self.process.stdin is not None
        self._said.seek(0)
        self._said.truncate()  # what it said of earlier tasks
        try:
            self.process.stdin.write(task)
            self.process.stdin.flush()
        except OSError:
            return None
        answer: Answer | None = self.receive()
        return answer

    def receive(self) -> Any:
        """Return what the process sends next, None if it has died."""
        assert self.process.stdout is not None
        try:
            return pickle.load(self.process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            return None

    def ended(self) -> str:
        """Wait for the process to end, and return how it did."""
        status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:  # what was left to write to it
                continue
        with self._said as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 400))
            lines = file.read().decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        how = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
        if status == -signal.SIGKILL:
            how += ", perhaps for want of memory"
        return f"{how}: {last}" if last else how
