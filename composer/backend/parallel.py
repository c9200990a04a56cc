"""Work on many photos or tiles at once, in order, with progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from composer.errors import Cancelled
from composer.records import Context, Event

A = TypeVar("A")
B = TypeVar("B")

__all__ = ["over", "together"]


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


def together(context: Context, work: Callable[[A], B], items: Iterable[A]) -> list[B]:
    """Apply `work` as `over` does, but for moments that are not worth telling."""
    everything = list(items)
    if context.workers == 1 or len(everything) < 2:
        return [work(item) for item in everything]
    return over(replace(context, observe=lambda event: None), "", work, everything)
