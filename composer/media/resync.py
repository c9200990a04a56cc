"""A damaged JPEG scan put together again: runs of units that can be read, put where they belong.

Past damage a Huffman decoder soon falls into step again, but no longer knows how many units it has missed,
nor how bright they are, since brightness is coded as differences. Both are told by the units above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend import dct
from composer.media.entropy import Frame, Part, Reader, Units, parts_of

Array = NDArray[Any]

__all__ = ["Recovered", "recover"]

SURVIVES = 32  # units that can be read one after another, where reading is in step
BACK = 16  # units before the one that cannot be read in which the damage may lie
REACH = 96  # units at a run's damaged end that may be garbage
ROWS_UP = 4  # of units, how far up a lost part may reach for what is behind it to be compared with
REPEATED = 40  # levels that a unit is held to be off if it repeats the one before it
FEW = 6  # units that must be known to compare with
LONG = 200  # units that tell by their range how bright they may be
BEYOND = 1.0  # % of them that may exceed it
CHROMA = 1.772, 1.402  # of blue and red difference in blue and red
PADDING = 16  # bits that may be left over at the end of a part
OUT_OF_STEP = 1024  # units more than there should be, at most
SEARCHED = 1 << 17  # bits behind damage, in all, in which reading may fall into step; then it is given up


def _zigzag() -> Array:
    """Return for each place in the file, of 64, where its coefficient lies in the block."""
    y, x = np.mgrid[:8, :8]
    return np.lexsort((np.where((x + y) % 2, y, x).ravel(), (x + y).ravel()))


ZIGZAG = _zigzag()


@dataclass(frozen=True)
class Run:
    """Units read one after another.

    Attributes
    ----------
    tiles : for each component (n, h, w) float32
        Pixels of each unit, 0 being mid-grey, but for a constant.
    first : int or None
        The unit of the picture that the run begins with, where that is certain.
    begins, ends : bool
        Whether it begins or ends at damage.
    gap : float
        Units that are likely to be lost before it.
    """

    tiles: tuple[Array, ...] = field(repr=False)
    first: int | None
    begins: bool = False
    ends: bool = False
    gap: float = 0.0

    def __len__(self) -> int:
        return len(self.tiles[0])

    def cut(self, start: int, stop: int) -> Run:
        """Return units `start` to `stop` - 1."""
        first = None if self.first is None else self.first + start
        return replace(self, tiles=tuple(t[start:stop] for t in self.tiles), first=first)

    def means(self, row: int) -> Array:
        """Return the mean of the uppermost (0) or lowermost (-1) pixels of each unit, (n, channels)."""
        return np.stack([t[:, row].mean(1) for t in self.tiles], 1)


class Canvas:
    """The units of a picture, laid run by run.

    Parameters
    ----------
    frame : Frame
    """

    def __init__(self, frame: Frame) -> None:
        self.down, self.across = frame.grid
        self.tiles = tuple(
            np.zeros((self.down * self.across, 8 * c.down, 8 * c.across), np.float32)
            for c in frame.components
        )
        self.lost = np.ones(self.down * self.across, bool)
        self.end = 0
        self.sound = True

    def lay(self, run: Run, part: Part) -> None:
        """Lay a run where it belongs, as bright as what is above it, less what is garbage at its ends."""
        for piece in self._in_step(run, part):
            self._put(piece, part)

    def _in_step(self, run: Run, part: Part) -> list[Run]:
        """Return a run read from a part's beginning to its end, cut in two where it is out of step."""
        n, missed = len(run), part.last - part.first - len(run) if part.whole else 0
        if run.begins or run.ends:
            return [run]
        at = self._split(run, missed) if missed and n < 3 * self.across else _slip(run, self.across, missed)
        if not missed and at == 0:
            return [run]
        later = replace(run.cut(at, n), first=part.first + at + missed, begins=True)
        return [replace(run.cut(0, at), ends=True), later]

    def _split(self, run: Run, missed: int) -> int:
        """Return the unit of a short run from which on it goes better with what is above when moved."""
        cells = np.arange(len(run)) + (run.first or 0)
        off = []
        for moved in (0, missed):
            steps, known = self._steps(run.tiles, np.clip(cells + moved, 0, len(self.lost) - 1))
            found = np.zeros((len(run), len(steps)))
            found[known] = np.stack([s.mean(1) for s in steps], 1)
            off.append(found)
        as_is = np.concatenate([[0.0], np.cumsum(np.abs(off[0]).sum(1))])
        costs = [as_is[b] + np.abs(off[1][b:] - np.median(off[1][b:], 0)).sum() for b in range(len(run))]
        return int(np.argmin([*costs, as_is[-1]]))

    def _put(self, run: Run, part: Part) -> None:
        self.sound = self.sound and not (run.begins or run.ends)
        first = self._place(run, part) if run.first is None else run.first
        skip = max(part.first - first, 0)
        run, first = run.cut(skip, skip + part.last - max(first, part.first)), first + skip
        if len(run) == 0:
            return
        stop = first + len(run)
        offsets = np.zeros(len(run.tiles))
        if run.begins:
            offsets = _within_range([t[REACH:] for t in run.tiles], self._offsets(run, first))
        for own, tiles, offset in zip(self.tiles, run.tiles, offsets, strict=True):
            own[first:stop] = tiles + np.float32(offset)
        self.lost[first:stop] = False
        if run.begins:
            self._forget(first, first + self._garbage(np.arange(first, min(first + REACH, stop))))
        if run.ends or not part.whole:
            shown = ~self._repeated(np.arange(first, stop))  # a file's end may be zeros
            stop = first + int(np.flatnonzero(shown)[-1]) + 1 if shown.any() else first
            self._forget(stop, first + len(run))
        if run.ends and stop > first:
            self._forget(stop - self._garbage(np.arange(stop - 1, max(stop - REACH, first) - 1, -1)), stop)
        self.end = stop

    def _forget(self, start: int, stop: int) -> None:
        self.lost[start:stop] = True
        for own in self.tiles:
            own[start:stop] = 0

    def _steps(self, tiles: Sequence[Array], cells: Array) -> tuple[list[Array], Array]:
        """Return what units add to the next known pixels above, for each channel, where there are any."""
        above, rows = cells - self.across, 1
        while rows < ROWS_UP and (hidden := (above >= 0) & self.lost[np.maximum(above, 0)]).any():
            above, rows = np.where(hidden, above - self.across, above), rows + 1
        known = (above >= 0) & ~self.lost[np.maximum(above, 0)]
        pairs = zip(tiles, self.tiles, strict=True)
        return [t[known, 0] - own[above[known], -1] for t, own in pairs], known

    def _offsets(self, run: Run, first: int) -> Array:
        """Return what has to be added to each channel so that a run goes with what is above it.

        Where nothing is, a long one is made grey in the mean.
        """
        n = min(len(run), self.across)
        steps, known = self._steps([t[:n] for t in run.tiles], np.arange(first, first + n))
        if known.sum() >= FEW:
            return np.array([-np.median(s.mean(1)) for s in steps])
        if len(run) >= LONG + REACH:
            return np.array([-np.median(t[REACH:]) for t in run.tiles])
        before = np.flatnonzero(~self.lost[:first])[-1:]
        if not len(before):
            return np.zeros(len(run.tiles))
        pairs = zip(run.tiles, self.tiles, strict=True)
        return np.array([own[before[0]].mean() - t[0].mean() for t, own in pairs])

    def _place(self, run: Run, part: Part) -> int:
        """Return the unit that a run is likeliest to begin with, by what is above it."""
        start = max(self.end - BACK, part.first)
        top = int(min(self.end + 3 * run.gap + BACK, part.last - min(len(run), FEW)))
        n, best, least = min(len(run), self.across), int(self.end + run.gap), np.inf
        tiles = [t[:n] for t in run.tiles]
        for first in range(start, top + 1):
            steps, known = self._steps(tiles, np.arange(first, first + n))
            if known.sum() < min(n, FEW):
                continue
            off = sum(np.abs(s - np.median(s.mean(1))).mean() for s in steps)
            if off < least:
                best, least = first, float(off)
        return best

    def _mismatch(self, cells: Array) -> Array:
        """Return by how much units differ from those above and to the left, and leave the range."""
        found, count = np.zeros(len(cells)), np.zeros(len(cells))
        left = cells - 1
        for other, known, mine, theirs in (
            (cells - self.across, cells >= self.across, np.s_[:, 0], np.s_[:, -1]),
            (left, cells % self.across > 0, np.s_[:, :, 0], np.s_[:, :, -1]),
        ):
            known = known & ~self.lost[cells] & ~self.lost[np.maximum(other, 0)]
            for own in self.tiles:
                gap = np.abs(own[cells[known]][mine] - own[other[known]][theirs]).mean(1)
                found[known] += gap
            count[known] += 1
        beyond = sum(np.maximum(np.abs(own[cells]) - 140, 0).mean((1, 2)) for own in self.tiles)
        return (
            np.where(count > 0, found / np.maximum(count, 1), 0) + beyond + REPEATED * self._repeated(cells)
        )

    def _repeated(self, cells: Array) -> Array:
        """Tell which units show the very detail of those before them, as a constant read as units does."""
        same, flat = np.ones(len(cells), bool), np.ones(len(cells), bool)
        for own in self.tiles:
            here, before = (
                own[k] - own[k].mean((1, 2), keepdims=True) for k in (cells, np.maximum(cells - 1, 0))
            )
            same &= (np.abs(here - before) < 0.01).all((1, 2))
            flat &= (np.abs(here) < 0.01).all((1, 2))
        return same & ~flat & ~self.lost[np.maximum(cells - 1, 0)]

    def _garbage(self, cells: Array) -> int:
        """Return how many units, the first of those given, are garbage."""
        around = np.arange(
            max(cells.min() - 4 * self.across, 0), min(cells.max() + self.across, len(self.lost))
        )
        around = around[~self.lost[around] & ~np.isin(around, cells)]
        usual = float(np.median(self._mismatch(around))) if len(around) >= FEW else 4.0
        excess = self._mismatch(cells) - 2.5 * usual - 4
        return int(np.argmax(np.concatenate([[0.0], np.cumsum(excess)])))


def _within_range(tiles: Sequence[Array], offsets: Array) -> Array:
    """Return offsets of brightness and colours, changed so that nearly all of a long run is in the range.

    What is above may be too little to tell them by.
    """
    if len(tiles[0]) < LONG:
        return offsets
    luma = tiles[0].mean((1, 2)) + 128
    least, most = np.percentile(luma, (BEYOND, 100 - BEYOND))
    found = offsets.copy()
    found[0] = _between(offsets[0], -least, 255 - most)
    luma = luma + found[0]
    for k, by in enumerate(CHROMA[: len(tiles) - 1], 1):
        own = tiles[k].mean((1, 2))
        lowest = np.percentile(-luma / by - own, 100 - BEYOND)
        highest = np.percentile((255 - luma) / by - own, BEYOND)
        found[k] = _between(offsets[k], lowest, highest)
    return found


def _between(value: float, low: float, high: float) -> float:
    """Return a value moved into a range; where that is empty, its middle."""
    return float((low + high) / 2 if low > high else min(max(value, low), high))


@dataclass(frozen=True)
class Recovered:
    """What could be read.

    Attributes
    ----------
    planes : for each component (H, W) float32, 0..255, whole units, mid-grey where they are lost
    lost : (rows, columns) bool
        Units that are lost.
    sound : bool
        Whether all could be read in step.
    """

    planes: tuple[Array, ...] = field(repr=False)
    lost: Array = field(repr=False)
    sound: bool


def recover(frame: Frame, data: bytes) -> Recovered:
    """Read what can be read of a scan."""
    (down, across), canvas = frame.grid, Canvas(frame)
    for part in parts_of(frame, data):
        for run in _runs(frame, part):
            canvas.lay(run, part)
    planes = []
    for tiles in canvas.tiles:
        _, high, wide = tiles.shape
        whole = tiles.reshape(down, across, high, wide).swapaxes(1, 2)
        planes.append(np.clip(whole.reshape(down * high, across * wide) + 128, 0, 255))
    return Recovered(tuple(planes), canvas.lost.reshape(down, across), canvas.sound)


def _runs(frame: Frame, part: Part) -> list[Run]:
    """Read a part's data, past what cannot be read."""
    reader, count = Reader(frame, part.data), part.last - part.first
    units = reader.read(0, count + OUT_OF_STEP)
    ended = units.ran_out or reader.bits - units.starts[-1] < PADDING
    runs = [Run(_tiles(frame, units), part.first, ends=not ended)]
    left = SEARCHED
    while runs[-1].ends and left > 0:
        begin = _synchronised(reader, units.starts, left)
        if begin < 0:
            break
        left -= max(begin - units.starts[-1], SURVIVES)
        each = max(1.0, units.starts[-1] / max(1, len(units.starts) - 1))
        gap = (begin - units.starts[-1]) / each if len(runs) == 1 else 0.0
        units = reader.read(begin, count)
        n = len(units.starts) - 1
        ended = units.ran_out or reader.bits - units.starts[-1] < PADDING
        first = part.last - n if ended and part.whole else None
        runs.append(Run(_tiles(frame, units), first, begins=True, ends=not ended, gap=gap))
    return runs


def _tiles(frame: Frame, units: Units) -> tuple[Array, ...]:
    """Return units' pixels (n, h, w), a tuple of channels; the first difference counts as brightness."""
    n, blocks = len(units.starts) - 1, sum(c.across * c.down for c in frame.components)
    found = np.zeros((n * blocks, 64), np.float32)
    found.reshape(-1)[units.places] = units.values
    units_of, at, tiles = found.reshape(n, blocks, 64), 0, []
    for c in frame.components:
        own = units_of[:, at : at + c.across * c.down].reshape(-1, 64)
        own[:, 0] = np.cumsum(own[:, 0], dtype=np.float64)
        square = np.zeros_like(own)
        square[:, ZIGZAG] = own * c.steps
        pixels = dct(dct(square.reshape(-1, 8, 8), 1, inverse=True), 2, inverse=True)
        grid = pixels.reshape(n, c.down, c.across, 8, 8).swapaxes(2, 3)
        tiles.append(grid.reshape(n, 8 * c.down, 8 * c.across))
        at += c.across * c.down
    return tuple(tiles)


def _slip(run: Run, across: int, missed: int) -> int:
    """Return the unit from which a run is out of step, or too bright or dark; 0 if there is none.

    `missed` says by how many units. For one row behind it, units do not go with those above.
    """
    n = len(run)
    tops, bottoms = run.means(0), run.means(-1)
    m = np.arange(across, n - across)
    m = m[(m + missed - across >= 0) & (m + missed - across < n)]
    if len(m) <= across:
        return 0
    as_is = np.abs(tops[m] - bottoms[m - across]).sum(1)
    moved = np.lib.stride_tricks.sliding_window_view(tops[m] - bottoms[m + missed - across], across, 0)
    before = np.convolve(as_is, np.ones(across, np.float32), "valid")
    step = max(1, (1 << 22) // (across * 4))
    after = np.concatenate(
        [
            np.abs(w - np.median(w, 2, keepdims=True)).sum((1, 2))
            for w in (moved[k : k + step] for k in range(0, len(moved), step))
        ]
    )
    best = int(np.argmax(before - after))
    if missed:
        return int(m[best])
    usual = float(np.median(before))
    sure = before[best] - after[best] > max(2 * usual, 3 * across) and after[best] < 0.4 * before[best]
    return int(m[best]) if sure and 1 < m[best] % across < across - 1 else 0


def _synchronised(reader: Reader, starts: Sequence[int], most: int) -> int:
    """Return the first bit, of `most` behind the damage, from which units can be read; -1 if none is."""
    at = starts[max(len(starts) - 1 - BACK, 0)] + 1
    for begin in range(at, min(at + most, reader.bits)):
        here, units = begin, 0
        while units < SURVIVES and 0 <= here < reader.bits - PADDING:
            here, units = reader.after(here), units + 1
        if here >= 0 and units >= 4:
            return begin
    return -1
