"""What became of a batch and of each of its items."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from composer.batch.items import Item

__all__ = ["Batch", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    Attributes
    ----------
    item : Item
    reason : str
        Why it was set aside; "" where it is done.
    kept : bool
        It was made by an earlier run.
    seconds : float
        That making it took.
    files : tuple of Path
        What was written, the result first.
    told : dict
        What the job returned.
    """

    item: Item
    reason: str = ""
    kept: bool = False
    seconds: float = 0.0
    files: tuple[Path, ...] = ()
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """What a run came to, an outcome an item in their order; `folder` has the journal and summaries."""

    outcomes: tuple[Outcome, ...]
    folder: Path
    seconds: float

    @property
    def done(self) -> tuple[Outcome, ...]:
        """The items whose results are there."""
        return tuple(o for o in self.outcomes if not o.reason)

    @property
    def set_aside(self) -> tuple[Outcome, ...]:
        """The items that failed."""
        return tuple(o for o in self.outcomes if o.reason)
