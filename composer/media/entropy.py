"""The entropy-coded data of a JPEG file, read from any bit on: what a decoder of whole files does not offer.

Sequential files with Huffman codes and one scan (ITU T.81, annexes B and F), which is what cameras write.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Codes = tuple[list[int], list[int]]  # of a block's first coefficient, and of the others
Lists = tuple[list[int], list[int]]

__all__ = ["Component", "Frame", "Part", "Reader", "Units", "parts_of", "read_frame"]

END = 100  # steps past the last coefficient


@dataclass(frozen=True)
class Component:
    """One channel: blocks across and down in a unit of the scan, steps (64,) zigzag, and its two codes."""

    across: int
    down: int
    steps: Array = field(repr=False)
    codes: Codes = field(repr=False)


@dataclass(frozen=True)
class Frame:
    """What the headers of a JPEG file say.

    Attributes
    ----------
    width, height : int
    components : tuple of Component
    interval : int
        Units between restart markers; 0 where there are none.
    begin : int
        Where in the file the scan's data begin.
    """

    width: int
    height: int
    components: tuple[Component, ...]
    interval: int
    begin: int

    @property
    def unit(self) -> tuple[int, int]:
        """Height and width of a unit (MCU) in pixels."""
        return 8 * max(c.down for c in self.components), 8 * max(c.across for c in self.components)

    @property
    def grid(self) -> tuple[int, int]:
        """Units down and across."""
        (y, x) = self.unit
        return -(-self.height // y), -(-self.width // x)


@dataclass(frozen=True)
class Part:
    """Data between two restart markers: units `first` to `last` - 1; whether they are all there."""

    first: int
    last: int
    data: bytes = field(repr=False)
    whole: bool = True


def read_frame(data: bytes) -> Frame | None:
    """Read the headers of a JPEG file; None where it is none, progressive, or has several scans.

    Raises
    ------
    IndexError, KeyError, ValueError
        Headers that are damaged.
    """
    steps: dict[int, Array] = {}
    codes: dict[int, list[int]] = {}
    size, layers, interval, at = (0, 0), {}, 0, 2
    while at < len(data) - 4:
        if data[at] != 0xFF:
            return None
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body, at = data[at + 4 : at + 2 + length], at + 2 + length
        if kind == 0xDB:
            steps |= _steps(body)
        elif kind == 0xC4:
            codes |= _codes(body)
        elif kind == 0xDD:
            interval = int.from_bytes(body[:2], "big")
        elif kind in (0xC0, 0xC1) and body[0] == 8:
            size = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            layers = {body[k]: (body[k + 1], body[k + 2]) for k in range(6, 6 + 3 * body[5], 3)}
        elif kind == 0xDA:
            if len(layers) not in (1, 3) or body[0] != len(layers) or min(size) < 1:
                return None
            chosen = [(layers[body[k]], body[k + 1]) for k in range(1, 1 + 2 * body[0], 2)]
            parts = tuple(_component(lay, c, steps, codes, len(layers) == 1) for lay, c in chosen)
            return Frame(size[1], size[0], parts, interval, at)
        elif 0xC2 <= kind <= 0xCF and kind != 0xC8 and kind != 0xCC:
            return None
    return None


def _component(
    layer: tuple[int, int], chosen: int, steps: dict[int, Array], codes: dict[int, list[int]], alone: bool
) -> Component:
    sampling, table = layer
    across, down = (1, 1) if alone else (sampling >> 4, sampling & 15)
    return Component(across, down, steps[table], (codes[chosen >> 4], codes[16 + (chosen & 15)]))


def _steps(body: bytes) -> dict[int, Array]:
    """Read tables of steps, zigzag."""
    found, at = {}, 0
    while at < len(body):
        wide = 1 + (body[at] >> 4)
        values = np.frombuffer(body, ">u2" if wide == 2 else np.uint8, 64, at + 1)
        found[body[at] & 15] = values.astype(np.float32)
        at += 1 + 64 * wide
    return found


def _codes(body: bytes) -> dict[int, list[int]]:
    """Read Huffman codes, as tables by the next 16 bits; those of AC coefficients under 16 and more."""
    found, at = {}, 0
    while at < len(body):
        lengths = np.frombuffer(body, np.uint8, 16, at + 1)
        count = int(lengths.sum())
        symbols = np.frombuffer(body, np.uint8, count, at + 17)
        found[body[at]] = _table(lengths, symbols, body[at] >> 4 == 1)
        at += 17 + count
    return found


def _table(lengths: Array, symbols: Array, alternating: bool) -> list[int]:
    """Return for each 16 bits what they begin with, or 0 where that is no code.

    An entry is bits taken + 32 * coefficients gone on + 4096 * (2048 + value), where the value's bits are
    among the 16; else minus (bits of the code + 32 * coefficients + 4096 * bits of the value).
    """
    table, at = np.zeros(1 << 16, np.int64), 0
    each = np.repeat(np.arange(1, 17), lengths)
    for length, symbol in zip(each.tolist(), symbols.tolist(), strict=True):
        many, size = 1 << (16 - length), symbol & 15 if alternating else symbol
        if at + many > 1 << 16 or size > 11:
            raise ValueError("a Huffman table has too many codes")
        on = (END if symbol == 0 else 1 + (symbol >> 4)) if alternating else 0
        if length + size <= 16:
            bits = np.arange(many) >> (16 - length - size)
            value = np.where(bits >> max(size - 1, 0), bits, bits - (1 << size) + 1) if size else 0 * bits
            table[at : at + many] = length + size + 32 * on + 4096 * (2048 + value)
        else:
            table[at : at + many] = -(length + 32 * on + 4096 * size)
        at += many
    return list(table.tolist())


def parts_of(frame: Frame, data: bytes) -> list[Part]:
    """Take the scan's data apart at its restart markers; a marker that is out of order is none."""
    raw = np.frombuffer(data, np.uint8)[frame.begin :]
    marks = np.flatnonzero((raw[:-1] == 0xFF) & (raw[1:] != 0)) if len(raw) > 1 else np.zeros(0, int)
    kinds = raw[marks + 1]
    ends = marks[(kinds == 0xD9) & (marks >= 0.5 * len(raw))]
    end, whole = (int(ends[-1]), True) if len(ends) else (len(raw), False)
    units, each = frame.grid[0] * frame.grid[1], frame.interval
    cuts = [(0, 0)]  # units before, and where their data begin
    for mark, kind in zip(marks.tolist(), kinds.tolist(), strict=True) if each else ():
        skipped = (kind - 0xD0 - cuts[-1][0] // each) % 8
        if 0xD0 <= kind <= 0xD7 and skipped < 4 and mark < end:
            cuts.append((cuts[-1][0] + (skipped + 1) * each, mark + 2))
    cuts = [c for c in cuts if c[0] < units]
    last = (units, end + 2)
    return [
        Part(first, before, _plain(raw[begin : stop - 2]), whole or before < units)
        for (first, begin), (before, stop) in pairwise([*cuts, last])
    ]


def _plain(raw: Array) -> bytes:
    """Return data without the zeros that follow every 255."""
    stuffed = np.zeros(len(raw), bool)
    stuffed[1:] = (raw[:-1] == 0xFF) & (raw[1:] == 0)
    return raw[~stuffed].tobytes()


class Units(NamedTuple):
    """Where units begin and the last one ends, places of coefficients (64 a block) and their values.

    `ran_out` says that the next one could not be read for lack of data.
    """

    starts: list[int]
    places: Array
    values: Array
    ran_out: bool


class Reader:
    """Reads units of a part's data from any bit on.

    Parameters
    ----------
    frame : Frame
    data : bytes
        Without stuffing.
    """

    def __init__(self, frame: Frame, data: bytes) -> None:
        padded = np.frombuffer(data + b"\xff" * 8, np.uint8).astype(np.uint64)
        words = np.zeros(len(data) + 1, np.uint64)
        for k in range(7):  # 56 bits from each byte on; the topmost byte stays free
            words |= padded[k : k + len(words)] << np.uint64(48 - 8 * k)
        self.bits = 8 * len(data)
        self._words = memoryview(words.data)
        self._blocks = [c.codes for c in frame.components for _ in range(c.across * c.down)]
        self._after: dict[int, int] = {}

    def read(self, at: int, most: int) -> Units:
        """Read up to `most` units from bit `at` on, until one cannot be read."""
        starts: list[int] = [at]
        places: list[int] = []
        values: list[int] = []
        base, ran_out = 0, False
        while len(starts) <= most:
            kept = len(places)
            for codes in self._blocks:
                at = self._block(at, codes, base, (places, values))
                base += 64
                if not 0 <= at <= self.bits:
                    break
            else:
                starts.append(at)
                continue
            del places[kept:], values[kept:]
            ran_out = at > 0
            break
        return Units(starts, np.array(places, np.int64), np.array(values, np.int16), ran_out)

    def after(self, at: int) -> int:
        """Return where a unit that begins at bit `at` ends; -1 if none can."""
        if at not in self._after:
            starts = self.read(at, 1).starts
            self._after[at] = starts[-1] if len(starts) == 2 else -1
        return self._after[at]

    def _block(self, at: int, codes: Codes, base: int, found: Lists) -> int:
        """Read one block; return the bit behind it, past the last where data end, -1 where they are wrong."""
        (code, further), (places, values) = codes, found
        words, k, last = self._words, 0, self.bits
        while k < 63:
            if at >= last:
                return last + 1
            entry = code[(words[at >> 3] >> (40 - (at & 7))) & 65535]
            if entry > 0:
                at += entry & 31
                k += (entry >> 5) & 127
                value = (entry >> 12) - 2048
            elif entry:
                size = -entry >> 12
                k += (-entry >> 5) & 127
                at += (-entry & 31) + size
                bits = (words[(at - size) >> 3] >> (56 - ((at - size) & 7) - size)) & ((1 << size) - 1)
                value = bits if bits >> (size - 1) else bits - (1 << size) + 1
            else:
                return -1
            if value:
                if k > 63:
                    return -1
                places.append(base + k)
                values.append(value)
            elif code is further and 63 < k < END:
                return -1
            code = further
        return at
