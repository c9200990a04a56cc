"""EXIF's camera and GPS directories for TIFF files: tifffile writes none, so they are added at the end.

A directory is a list of entries (TIFF 6.0, 1992; BigTIFF's are wider): tag, type, count, and the value or
where it lies. The page's own directory is written anew with two entries more; what it points to stays.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

__all__ = ["add_directories"]

_POINTERS = 0x8769, 0x8825  # camera, GPS
_WORDS = {
    1: (1, 1),
    2: (1, 1),
    3: (1, 2),
    4: (1, 4),
    5: (2, 4),
    6: (1, 1),
    7: (1, 1),
    8: (1, 2),
    9: (1, 4),
    10: (2, 4),
    11: (1, 4),
    12: (1, 8),
}  # by type: how many words a value has, of how many bytes
_LONG, _LONG8 = 4, 16


@dataclass(frozen=True)
class _Format:
    """How little-endian TIFF or BigTIFF lays directories out."""

    count: str
    entry: str
    pointer: str

    def directory(self, entries: list[tuple[int, int, int, bytes]], at: int) -> bytes:
        """Return a directory to lie at an offset, and behind it the values that do not fit into entries."""
        room = struct.calcsize(self.pointer)
        behind = at + struct.calcsize(self.count) + len(entries) * struct.calcsize(self.entry) + room
        head, tail = struct.pack(self.count, len(entries)), b""
        for tag, kind, count, value in sorted(entries):
            field = value
            if len(value) > room:
                field = struct.pack(self.pointer, behind + len(tail))
                tail += value + b"\0" * (len(value) % 2)
            head += struct.pack(self.entry, tag, kind, count, field)
        return head + struct.pack(self.pointer, 0) + tail


_CLASSIC = _Format("<H", "<HHI4s", "<I")
_BIG = _Format("<Q", "<HHQ8s", "<Q")


def add_directories(file: BinaryIO, exif: bytes) -> None:
    """Add the camera's and the GPS directory of an EXIF block to a TIFF of one page.

    Parameters
    ----------
    file : binary file
        Little-endian, complete, open to be read and written.
    exif : bytes
        A block as in JPEG files, of either byte order.
    """
    block = exif.removeprefix(b"Exif\0\0")
    order = "<" if block[:2] == b"II" else ">"
    main = _entries(block, order, struct.unpack_from(f"{order}I", block, 4)[0])
    found = [(tag, struct.unpack("<I", value)[0]) for tag, _, _, value in main if tag in _POINTERS]
    if not found:
        return
    file.seek(0)
    head = file.read(16)
    form, where, pointer = (_BIG, 8, _LONG8) if head[2] == 43 else (_CLASSIC, 4, _LONG)
    own = _own_entries(file, form, struct.unpack_from(form.pointer, head, where)[0])
    for tag, offset in found:
        at = _end(file)
        file.write(form.directory(_entries(block, order, offset), at))
        own.append((tag, pointer, 1, struct.pack(form.pointer, at)))
    at = _end(file)
    file.write(form.directory(own, at))
    file.seek(where)
    file.write(struct.pack(form.pointer, at))
    file.seek(0, 2)


def _end(file: BinaryIO) -> int:
    """Go to the file's end, made even, and return where that is."""
    end = file.seek(0, 2)
    file.write(b"\0" * (end % 2))
    return end + end % 2


def _own_entries(file: BinaryIO, form: _Format, offset: int) -> list[tuple[int, int, int, bytes]]:
    """Return the entries of a file's directory, with what their fields hold: values or where these lie."""
    file.seek(offset)
    (count,) = struct.unpack(form.count, file.read(struct.calcsize(form.count)))
    data = file.read(count * struct.calcsize(form.entry))
    return list(struct.iter_unpack(form.entry, data))


def _entries(block: bytes, order: str, offset: int) -> list[tuple[int, int, int, bytes]]:
    """Return the entries of a directory in an EXIF block, with their values, little-endian."""
    (count,) = struct.unpack_from(f"{order}H", block, offset)
    found = []
    for k in range(count):
        tag, kind, number, field = struct.unpack_from(f"{order}HHI4s", block, offset + 2 + 12 * k)
        if kind not in _WORDS:
            continue
        words, size = number * _WORDS[kind][0], _WORDS[kind][1]
        start = 0 if words * size <= 4 else struct.unpack(f"{order}I", field)[0]
        value = (block if start else field)[start : start + words * size]
        value = np.frombuffer(value, f"{order}u{size}").astype(f"<u{size}").tobytes()
        found.append((tag, kind, number, value))
    return found
