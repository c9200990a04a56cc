"""Work on several threads comes to what it would come to one by one."""

from __future__ import annotations

import threading
import time

import pytest

from composer.backend.parallel import in_turn
from composer.errors import Cancelled
from composer.records import Context


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_what_shares_something_is_done_in_turn(workers: int) -> None:
    pairs = [(i % 7, (i * 3 + 1) % 7) for i in range(60)]
    done: dict[int, list[int]] = {k: [] for k in range(7)}
    held = [threading.Lock() for _ in range(7)]

    def work(n: int) -> None:
        for k in set(pairs[n]):
            assert held[k].acquire(blocking=False)
        time.sleep(0.0005 * (n % 3))
        for k in set(pairs[n]):
            done[k].append(n)
            held[k].release()

    in_turn(Context(workers=workers), work, range(60), lambda n: pairs[n])
    for k, order in done.items():
        assert order == [n for n in range(60) if k in pairs[n]]


def test_an_error_is_told_and_what_has_not_begun_is_left() -> None:
    begun = []

    def work(n: int) -> None:
        begun.append(n)
        if n == 1:
            raise ValueError("one")

    with pytest.raises(ValueError, match="one"):
        in_turn(Context(workers=2), work, range(500), lambda n: ("all",))
    assert begun == [0, 1]


def test_it_stops_when_asked() -> None:
    with pytest.raises(Cancelled):
        in_turn(Context(workers=2, cancelled=lambda: True), time.sleep, [0.01] * 4, lambda n: (n,))
