"""What every verb's job begins with: its context, a stopwatch, threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from composer.backend import resolve_device
from composer.backend.cores import usable_cores
from composer.backend.memory import allowance
from composer.errors import OptionError
from composer.records import Context, Event

__all__ = ["Stopwatch", "allowed", "begun", "one_thread_each"]


def begun(
    device: str,
    workers: int | None,
    max_memory: int | None,
    observe: Callable[[Event], None] | None,
    cancelled: Callable[[], bool] | None,
) -> tuple[Context, Stopwatch]:
    """Return a job's context, from the options that every verb has, and the stopwatch that it reports to.

    Raises
    ------
    OptionError, DeviceError
    """
    if workers is not None and workers < 1:
        raise OptionError(f"workers is {workers}; give 1 or more")
    watch = Stopwatch(observe)
    context = Context(
        resolve_device(device),
        workers or usable_cores(),
        max_memory=allowed(max_memory),
        observe=watch,
        cancelled=cancelled or (lambda: False),
    )
    return context, watch


def allowed(max_memory: int | None) -> int:
    """Return the bytes that a job may take.

    Raises
    ------
    OptionError
    """
    if max_memory is not None and max_memory < 1:
        raise OptionError(f"max_memory is {max_memory / 2**20:g} MB; give more than nothing")
    return max_memory or allowance()


class Stopwatch:
    """Passes events on and adds up the seconds of each stage."""

    def __init__(self, observe: Callable[[Event], None] | None) -> None:
        self.stages: dict[str, float] = {}
        self._observe = observe

    def __call__(self, event: Event) -> None:
        """Take note of an event and pass it on."""
        if event.seconds is not None:
            self.stages[event.stage] = self.stages.get(event.stage, 0.0) + event.seconds
        if self._observe is not None:
            self._observe(event)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Keep OpenCV and NumPy's BLAS single-threaded: the parallel work is over photos and tiles.

    BLAS threads wait by spinning: on a busy machine cameras took five times as long with two.
    """
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with _one_blas_thread():
            yield
    finally:
        cv2.setNumThreads(before)


def _one_blas_thread() -> AbstractContextManager[object]:
    """Return what holds BLAS to one thread; the commands have done so from the start."""
    if os.environ.get("OPENBLAS_NUM_THREADS") == "1":
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits
