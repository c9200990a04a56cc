"""How long a job will still take, from what its stages took so far."""

from __future__ import annotations

import time
from collections.abc import Callable

from composer.records import Event, Photos, Plan

__all__ = ["Outlook", "spoken"]

# seconds on one machine: for a photo, a megapixel of photos, a megapixel of canvas; only ratios matter
COSTS = {
    "find-features": (0.035, 0.008, 0.0),
    "match": (0.015, 0.0, 0.0),
    "cameras": (0.012, 0.0, 0.0),
    "exposure": (0.01, 0.001, 0.0),
    "local-warp": (0.02, 0.001, 0.0),
    "seams": (0.02, 0.001, 0.0),
    "low-bands": (0.007, 0.0, 0.0),
    "render": (0.02, 0.0, 0.065),
    "write": (0.0, 0.0, 0.02),
}
RUNNING = {
    "features": "find-features",
    "low bands": "low-bands",
}  # what stages call their progress
TRUST_S = 1.0  # expected seconds that must be over before this machine's speed counts as much as the table
CANVAS_SHARE = 0.5  # of the photos' megapixels, until the canvas is known
STEADY_S = 2.0  # time in which an estimate takes on most of a change


class Outlook:
    """Estimates a job's time left: feed it events, ask `seconds_left` at any time.

    What is expected of each stage comes from COSTS; the speed of this machine from the stages that are
    over. The answer falls with the clock and moves to a new estimate gradually.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expected: dict[str, float] = {}
        self._over: dict[str, float] = {}
        self._sizes = (0, 0.0)
        self._started = clock()
        self._shown: tuple[float, float] | None = None

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        stage = RUNNING.get(event.stage, event.stage)
        self._over[stage] = 1.0 if event.seconds is not None else event.fraction
        if isinstance(event.value, Photos):
            items = event.value.items
            self._sizes = len(items), sum(p.width * p.height for p in items) / 1e6
            self._expect(CANVAS_SHARE * self._sizes[1])
        elif isinstance(event.value, Plan):
            self._expect(sum(c.width * c.height for c in event.value.compositions) / 1e6)

    def _expect(self, canvas_mp: float) -> None:
        count, photos_mp = self._sizes
        self._expected = {s: a * count + b * photos_mp + c * canvas_mp for s, (a, b, c) in COSTS.items()}

    def seconds_left(self) -> float | None:
        """Return the estimate, None before the photos are known."""
        if not self._expected:
            return None
        now = self._clock()
        done = sum(seconds * self._over.get(stage, 0.0) for stage, seconds in self._expected.items())
        speed = (now - self._started + TRUST_S) / (done + TRUST_S)
        left = speed * (sum(self._expected.values()) - done)
        if self._shown is not None:
            before, then = self._shown
            weight = min(1.0, (now - then) / STEADY_S)
            left = (1 - weight) * max(0.0, before - (now - then)) + weight * left
        self._shown = left, now
        return left


def spoken(seconds: float) -> str:
    """Return a duration as roughly as it is known: 3 s, 40 s, 5 min, 2.5 h."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 100:
        return f"{round(seconds / 5) * 5} s"
    return f"{round(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
