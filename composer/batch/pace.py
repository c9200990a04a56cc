"""How fast a batch goes, and how long it will still take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from composer.progress import spoken
from composer.records import Event

__all__ = ["Pace"]

WINDOW = 200  # items that the rate is taken over


class Pace:
    """Tells an observer of every item that is over: how many, at what rate, and the time left."""

    def __init__(
        self,
        stage: str,
        count: int,
        observe: Callable[[Event], None] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stage = stage
        self._count = count
        self._observe = observe
        self._clock = clock
        self._started = clock()
        self._made_at = deque([self._started], WINDOW)
        self._over = self._aside = 0
        if observe is not None:
            observe(Event(stage, 0.0, message=f"0 of {count}"))

    def __call__(self, kept: bool, aside: bool) -> None:
        """Count an item that was kept, made or set aside."""
        now = self._clock()
        self._over += 1
        self._aside += aside
        if kept and len(self._made_at) == 1:
            self._made_at[0] = now  # checking is quicker than making, and says nothing about it
        elif not kept:
            self._made_at.append(now)
        if self._observe is None:
            return
        message = f"{self._over} of {self._count}"
        took = now - self._made_at[0]
        if len(self._made_at) > 1 and took > 0:
            rate = (len(self._made_at) - 1) / took
            message += f", {rate:.1f}/s" if rate >= 1 else f", {60 * rate:.1f}/min"
            if self._over < self._count:
                message += f", about {spoken((self._count - self._over) / rate)} left"
        message += f", {self._aside} set aside" if self._aside else ""
        finished = now - self._started if self._over == self._count else None
        self._observe(Event(self._stage, self._over / self._count, finished, message))
