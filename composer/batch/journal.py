"""The journal of a batch: which result was made from what, so that a run can go on where it was cut off."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from composer.batch.tasks import Made, Recorded
from composer.errors import OutputError

__all__ = ["NAME", "Journal", "journal", "settings_key"]

NAME = ".composer-batch.sqlite"
VERSION = 1
SCHEMA = """
CREATE TABLE items (
    name TEXT PRIMARY KEY,          -- of the result, below the folder
    source TEXT NOT NULL,
    state TEXT NOT NULL,            -- running, written (but perhaps not in place), done, set aside
    content TEXT,                   -- SHA-256 of the files that it was made from
    settings TEXT NOT NULL,         -- hash of job, settings and version
    files TEXT,                     -- JSON: name, size and SHA-256 of each file made
    scratch TEXT,                   -- where they were written before they were moved
    told TEXT,                      -- JSON: what the job returned
    reason TEXT,
    seconds REAL,
    begun INTEGER NOT NULL,         -- how often work on it began, with these settings
    made INTEGER NOT NULL,          -- how often it was made from this content, with these settings
    changed TEXT NOT NULL
)
"""


def settings_key(job: str, settings: Mapping[str, Any], version: str) -> str:
    """Return the hash under which results of a job with these settings are known."""
    text = json.dumps([job, settings, version], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def journal(folder: Path, settings: str) -> Iterator[Journal]:
    """Open a folder's journal, made if there is none.

    Raises
    ------
    OutputError
        What lies there is no journal, or that of another version.
    """
    path = folder / NAME
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                connection.executescript(f"BEGIN; {SCHEMA}; PRAGMA user_version={VERSION}; COMMIT")
            elif version != VERSION:
                raise OutputError(f"{path}: is of version {version}, not {VERSION}; choose another folder")
            yield Journal(connection, settings)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OutputError(f"{path}: {error}; free some space, or move it away to begin anew") from error


class Journal:
    """Reads and writes rows; every call is one transaction, so a row is never half-written.

    A row is that of one result; it counts for a run only if it was made with the run's settings.
    """

    def __init__(self, connection: sqlite3.Connection, settings: str) -> None:
        self._connection = connection
        self._settings = settings

    def recorded(self, name: str) -> Recorded | None:
        """Return what is known of a result made with these settings, None if it was not."""
        row = self._connection.execute(
            "SELECT state, content, files, scratch, told, seconds FROM items "
            "WHERE name = ? AND settings = ? AND state IN ('written', 'done')",
            (_text(name), self._settings),
        ).fetchone()
        if row is None:
            return None
        state, content, files, scratch, told, seconds = row
        made = tuple(Made(**file) for file in json.loads(files))
        return Recorded(content, made, json.loads(told), seconds, scratch if state == "written" else None)

    def begin(self, name: str, source: Path) -> None:
        """Note that work on a result begins that is not known to be there with these settings."""
        self._connection.execute(
            "INSERT INTO items (name, source, state, settings, begun, made, changed) "
            "VALUES (:name, :source, 'running', :settings, 1, 0, :now) ON CONFLICT (name) DO UPDATE SET "
            "source = :source, state = 'running', changed = :now, "
            "begun = CASE WHEN settings = :settings THEN begun ELSE 0 END + 1, "
            "made = CASE WHEN settings = :settings THEN made ELSE 0 END, settings = :settings",
            {"name": _text(name), "source": _text(str(source)), "settings": self._settings, "now": _now()},
        )

    def write(self, name: str, found: Recorded) -> None:
        """Note that a result is complete under a temporary name, before it is moved into place."""
        self._connection.execute(
            "UPDATE items SET state = 'written', files = :files, scratch = :scratch, told = :told, "
            "made = CASE WHEN content IS :content THEN made ELSE 0 END + 1, content = :content, "
            "reason = NULL, seconds = :seconds, changed = :now WHERE name = :name",
            {
                "name": _text(name),
                "files": json.dumps([asdict(f) for f in found.files]),
                "scratch": _text(found.scratch or ""),
                "told": json.dumps(found.told),
                "content": found.content,
                "seconds": found.seconds,
                "now": _now(),
            },
        )

    def finish(self, name: str, state: str = "done", reason: str | None = None) -> None:
        """Note that a result is in place, or why it was set aside."""
        self._connection.execute(
            "UPDATE items SET state = ?, reason = ?, changed = ? WHERE name = ?",
            (state, reason if reason is None else _text(reason), _now(), _text(name)),
        )


def _text(name: str) -> str:
    """Return a name as text that SQLite takes: file names may hold bytes that are none."""
    return name.encode("utf-8", "backslashreplace").decode()


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
