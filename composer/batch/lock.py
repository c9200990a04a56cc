"""One run at a time on a folder: a lock that ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from composer.errors import BatchError, OutputError

__all__ = ["locked"]

NAME = ".composer-batch.lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock. The system lets go of it when the process dies, so no lock is ever stale.

    Raises
    ------
    BatchError
        Another run holds it; the message says which.
    OutputError
    """
    path = folder / NAME
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another folder") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BatchError(f"{folder}: {_holder(path)}; wait for it, or choose another folder") from None
        except OSError as error:
            raise OutputError(f"{path}: cannot be locked ({error.strerror}); use another disk") from None
        about = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        file.truncate(0)
        file.write(json.dumps(about))
        file.flush()
        yield


def _holder(path: Path) -> str:
    try:
        about = json.loads(path.read_text("utf-8"))
        return f"process {about['pid']} on {about['host']} works on it since {about['since']}"
    except (OSError, ValueError, KeyError):  # it has just taken the lock and not yet said who it is
        return "another process works on it"
