"""Verbs as stages of a pipeline that changes pictures one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from composer.api.cloning import clone
from composer.api.repairing import check_fill, kinds_of, repair
from composer.mending.noise import GRAIN
from composer.records import Context
from composer.results import Edited

Array = NDArray[Any]

__all__ = ["MakeTile", "Repair"]


@dataclass(frozen=True)
class Repair:
    """Mend the faults that are found.

    Options: `faults` and `without`, kinds with commas between them; `fill`, what fills holes; `grow`, by how
    many pixels faults are made wider; `grain`, the deviation up to which noise stays; `sensitivity`, by how
    much less sure scratches and dust may be; `seed`, for the random search of patches; `variants`, what
    patches may also be, with commas between them.
    """

    faults: str = "auto"
    without: str = ""
    fill: str = "auto"
    grow: int = 0
    grain: float = GRAIN
    sensitivity: float = 0.0
    seed: int = 0
    variants: str = ""

    def __post_init__(self) -> None:
        check_fill(self.fill, 0, self.grow, self.grain, self._variants(), sensitivity=self.sensitivity)
        kinds_of(*self._kinds(), pointed=False, find_only=False)

    def _kinds(self) -> tuple[str | list[str], list[str]]:
        wanted = self.faults if self.faults == "auto" else self.faults.split(",")
        return wanted, self.without.split(",") if self.without else []

    def _variants(self) -> list[str]:
        return self.variants.split(",") if self.variants else []

    def edit(self, picture: Array, context: Context) -> Edited:
        faults, without = self._kinds()
        return repair(
            picture, faults=faults, without=without, fill=self.fill, grow=self.grow, grain=self.grain,
            sensitivity=self.sensitivity, seed=self.seed, variants=self._variants(), device=context.device,
            workers=context.workers, max_memory=context.max_memory, cancelled=context.cancelled,
        )  # fmt: skip


@dataclass(frozen=True)
class MakeTile:
    """Make opposite edges meet, so that the picture can be repeated as a texture."""

    def edit(self, picture: Array, context: Context) -> Edited:
        return clone(
            picture, mode="tile", workers=context.workers, max_memory=context.max_memory,
            cancelled=context.cancelled,
        )  # fmt: skip
