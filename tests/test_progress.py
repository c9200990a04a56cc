"""The time left: falls with the clock, learns the machine's speed, moves gradually."""

from __future__ import annotations

import itertools

import pytest

from composer.progress import COSTS, Outlook
from composer.records import Event, Photo, Photos

PHOTOS = Photos(tuple(Photo(f"{k}", None, 4000, 3000, 3, "uint8") for k in range(40)))


@pytest.mark.parametrize("slowness", [0.5, 1.0, 4.0])
def test_the_estimate_nears_the_truth_without_jumps(slowness: float) -> None:
    now = 0.0
    outlook = Outlook(lambda: now)
    assert outlook.seconds_left() is None
    outlook(Event("read headers", 1.0, 0.0, value=PHOTOS))
    spans = {s: slowness * (40 * a + 480 * b + 240 * c) for s, (a, b, c) in COSTS.items()}
    total, said = sum(spans.values()), []
    for stage, seconds in spans.items():
        for step in range(1, 101):
            now += seconds / 100
            outlook(Event(stage, step / 100, seconds if step == 100 else None))
            left = outlook.seconds_left()
            assert left is not None
            said.append((now, now + left))
    assert said[-1][1] == pytest.approx(total, rel=0.02)
    assert all(ends == pytest.approx(total, rel=0.25) for at, ends in said if at > total / 2)
    ends = [end for _, end in said]
    assert max(abs(b - a) for a, b in itertools.pairwise(ends)) < 0.1 * total
