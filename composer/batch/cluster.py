"""Workers on a Dask cluster, which must see the same files under the same names."""

from __future__ import annotations

import queue
import re
from dataclasses import replace
from typing import Any

from composer.batch.tasks import Answer, Task, perform
from composer.errors import BatchError, DeviceError

__all__ = ["Cluster"]

PATIENCE_S = 15.0  # for the scheduler to answer


class Cluster:
    """Workers of the Dask scheduler at an address such as "tcp://host:port".

    The scheduler itself repeats a task whose worker has died; after some deaths it gives up on it.

    Raises
    ------
    DeviceError
        The package `distributed` is not installed.
    BatchError
        That is no address, or the scheduler does not answer.
    """

    chances = 1

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise DeviceError(
                "a scheduler needs the package distributed; pip install 'composer-cv[dist]'"
            ) from None
        if not re.fullmatch(r"inproc://.+|(\w+://)?.+:\d+", address):
            raise BatchError(f"{address}: is no scheduler's address; write tcp://HOST:PORT")
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._futures: dict[int, Any] = {}
        try:
            self._client = Client(address, timeout=PATIENCE_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise BatchError(f"{address}: no scheduler answers ({error}); check the address") from error

    @property
    def slots(self) -> int:
        """How many tasks it should hold at a time, so that no worker waits for the next."""
        return max(2, 2 * sum(self._client.nthreads().values()))

    def submit(self, task: Task) -> None:
        """Take a task."""
        whole = replace(  # its workers are at home in other folders
            task,
            source=task.source.absolute(),
            output=task.output.absolute(),
            files=tuple(f.absolute() for f in task.files),
        )
        future = self._client.submit(_alone, whole, pure=False)
        self._futures[task.number] = future
        future.add_done_callback(lambda done: self._answers.put(_answer(done, task.number)))

    def wait(self, seconds: float) -> list[Answer]:
        """Return the answers that there are, waiting so long for one."""
        found: list[Answer] = []
        try:
            while True:
                found.append(self._answers.get(timeout=0 if found else seconds))
                self._futures.pop(found[-1].number)
        except queue.Empty:
            return found

    def close(self) -> None:
        """Give back what is not done."""
        self._client.cancel(list(self._futures.values()))
        self._client.close(timeout=1)


def _alone(task: Task) -> Answer:
    """Do a task with one thread."""
    import cv2

    cv2.setNumThreads(1)
    return perform(task)


def _answer(future: Any, number: int) -> Answer:
    if future.status == "finished":
        answer: Answer = future.result()
        return answer
    error = future.exception() if future.status == "error" else None
    known = {"KilledWorker": "the scheduler gave up after several", "NoneType": future.status}
    return Answer(
        number, "died", reason=known.get(type(error).__name__) or f"{type(error).__name__}: {error}"
    )
