"""Work on many photos or tiles at once, in order, with progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from composer.errors import Cancelled
from composer.records import Context, Event

A = TypeVar("A")
B = TypeVar("B")

__all__ = ["over"]


def over(context: Context, stage: str, work: Callable[[A], B], items: Iterable[A]) -> list[B]:
    """Apply `work` to items on the context's threads, in order, telling progress and heeding cancel."""
    everything = list(items)
    results: list[B] = []
    with ThreadPoolExecutor(context.workers) as pool:
        futures = [pool.submit(work, item) for item in everything]
        try:
            for future in futures:
                if context.cancelled():
                    raise Cancelled("stopped on request; nothing was written")
                results.append(future.result())
                context.observe(Event(stage, len(results) / len(everything)))
        finally:
            for future in futures:
                future.cancel()
    return results
