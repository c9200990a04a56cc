"""What a batch came to, as JSON and as a table, and as a page with pictures before and after."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from composer.batch.outcomes import Batch, Outcome
from composer.errors import ComposerError
from composer.media.decode import coarse, decode
from composer.media.encode import replacing
from composer.media.header import read_photo
from composer.media.metadata import icc_profile
from composer.report import Pair, thumbnail, write_pairs

__all__ = ["as_plain", "write_batch_report", "write_summaries"]

COLUMNS = ("name", "state", "reason", "kept", "seconds", "output")
SHOWN = 100  # pairs of pictures on a page
SIDE = 720


def as_plain(batch: Batch, job: str, version: str) -> dict[str, Any]:
    """Return a batch as plain values, as summary.json has them."""
    return {
        "job": job,
        "version": version,
        "items": len(batch.outcomes),
        "done": len(batch.done),
        "kept": sum(o.kept for o in batch.outcomes),
        "set_aside": len(batch.set_aside),
        "seconds": round(batch.seconds, 2),
        "outcomes": [{**_row(o), "told": o.told, "files": [str(f) for f in o.files]} for o in batch.outcomes],
    }


def write_summaries(batch: Batch, job: str, version: str) -> None:
    """Write summary.json and summary.csv into the batch's folder.

    The table has a column for each plain value that the job told of any item.

    Raises
    ------
    OutputError
    """
    with replacing(batch.folder / "summary.json") as file:
        file.write((json.dumps(as_plain(batch, job, version), indent=1) + "\n").encode())
    told = [{k: v for k, v in o.told.items() if isinstance(v, (str, int, float))} for o in batch.outcomes]
    further = [k for k in dict.fromkeys(k for values in told for k in values) if k not in COLUMNS]
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, [*COLUMNS, *further], extrasaction="ignore")
    table.writeheader()
    table.writerows({**values, **_row(o)} for o, values in zip(batch.outcomes, told, strict=True))
    with replacing(batch.folder / "summary.csv") as file:
        file.write(text.getvalue().encode("utf-8", "backslashreplace"))


def _row(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.item.name,
        "state": "set aside" if outcome.reason else "done",
        "reason": outcome.reason,
        "kept": outcome.kept,
        "seconds": round(outcome.seconds, 3),
        "output": str(outcome.item.output),
    }


def write_batch_report(path: Path, batch: Batch, title: str) -> None:
    """Write a page that shows what was done; of many items an even choice is shown.

    Raises
    ------
    OutputError
    """
    shown = _spread(batch.done, SHOWN)
    facts = [f"{len(batch.done)} done", f"{batch.seconds:.1f} s"]
    if len(shown) < len(batch.done):
        facts.insert(1, f"{len(shown)} of them shown")
    aside = [(o.item.name, o.reason) for o in batch.set_aside]
    with replacing(path) as file:
        for part in write_pairs(title, facts, _pairs(shown), len(shown), aside):
            file.write(part.encode("utf-8", "backslashreplace"))


def _spread(outcomes: Sequence[Outcome], most: int) -> list[Outcome]:
    count = min(len(outcomes), most)
    return [outcomes[k * len(outcomes) // count] for k in range(count)]


def _pairs(outcomes: Sequence[Outcome]) -> Iterator[Pair]:
    for o in outcomes:
        plain = ((k, v) for k, v in o.told.items() if v and isinstance(v, (str, int, float)))
        notes = o.told.get("notes")
        told = [
            *(f"{k.replace('_', ' ')} {v}" for k, v in plain),
            *(map(str, notes) if isinstance(notes, list) else ()),
        ]
        before = _small(o.item.source) if o.item.source.is_file() else None
        yield Pair(o.item.name, before, _small(o.files[0]), [*told, f"{o.seconds:.2f} s"])


def _small(path: Path) -> tuple[Any, bytes | None] | None:
    """Return a picture small, with its profile; None where it cannot be shown, as tiles cannot."""
    try:
        photo = read_photo(path)
        pixels = decode(photo, None, coarse(photo))
    except ComposerError:
        return None
    return thumbnail(pixels, photo.channels, SIDE), icc_profile(photo)
