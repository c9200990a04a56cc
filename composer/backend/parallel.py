"""Work on many photos or tiles at once, in order, with progress."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from composer.errors import Cancelled
from composer.records import Context, Event

A = TypeVar("A")
B = TypeVar("B")

AHEAD = 32  # finished items that may wait for a slow reader

__all__ = ["AHEAD", "in_order", "in_turn", "over", "together"]


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


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[A], B], items: Iterable[A], ahead: int = AHEAD
) -> Iterator[B]:
    """Run `work` on the pool and yield results in order, up to `ahead` begun or waiting."""
    waiting: deque[Future[B]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def in_turn(
    context: Context, work: Callable[[A], object], items: Iterable[A], of: Callable[[A], Iterable[Hashable]]
) -> None:
    """Apply `work` to items on the context's threads: those that share what they are `of` in order.

    What all come to is what they would come to one by one.
    """
    everything = list(items)
    if context.workers == 1 or len(everything) < 2:
        for item in everything:
            work(item)
        return
    last: dict[Hashable, Future[object]] = {}
    with ThreadPoolExecutor(context.workers) as pool:

        def after(before: list[Future[object]], item: A) -> object:
            for future in before:  # each began before this one: none waits for ever
                future.result()
            return work(item)

        futures = []
        for item in everything:
            shared = list(of(item))
            futures.append(pool.submit(after, [last[k] for k in shared if k in last], item))
            last.update(dict.fromkeys(shared, futures[-1]))
        try:
            for future in futures:
                if context.cancelled():
                    raise Cancelled("stopped on request; nothing was written")
                future.result()
        finally:
            for future in futures:
                future.cancel()
