"""A worker process: takes tasks from standard input and answers on standard output until either is closed."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import sys
import threading
from pathlib import Path
from typing import BinaryIO

from composer.batch.tasks import Task, perform

__all__ = ["main"]

EXPENDABLE = "500"  # of 1000: when memory runs out, a worker shall go and not the run


def main() -> None:
    """Serve until the run ends, or dies: then this process does too, in the middle of a task."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a job prints must not mix with answers
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(EXPENDABLE)
    import cv2

    from composer.backend.imports import postpone_f2py
    from composer.backend.memory import keep_freed

    cv2.setNumThreads(1)
    keep_freed()
    postpone_f2py()
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, tasks), daemon=True).start()
    pickle.dump("ready", answers)
    answers.flush()
    while True:
        pickle.dump(perform(tasks.get()), answers)
        answers.flush()


def _receive(file: BinaryIO, tasks: queue.SimpleQueue[Task]) -> None:
    try:
        while True:
            tasks.put(pickle.load(file))
    except EOFError:
        os._exit(0)


if __name__ == "__main__":
    main()
