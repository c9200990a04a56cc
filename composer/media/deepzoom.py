"""Deep Zoom pyramids (Microsoft, 2008), written while rows come in: no level is ever held whole.

A chain of generators, one pair a level: one cuts the rows that pass through it into tiles, the next
halves them for the level above.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

__all__ = ["descriptor", "write_tiles"]

TILE = 254  # with an overlap of 1 on each side, 256
OVERLAP = 1
JPEG_QUALITY = 90


def descriptor(size: tuple[int, int]) -> bytes:
    """Return the .dzi file of a picture of (width, height) pixels."""
    width, height = size
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" '
        f'Format="jpg" Overlap="{OVERLAP}" TileSize="{TILE}">'
        f'<Size Width="{width}" Height="{height}"/></Image>\n'
    ).encode()


def write_tiles(folder: Path, rows: Iterator[Array], size: tuple[int, int], icc: bytes | None) -> None:
    """Write the tiles of every level as JPEG, folder/LEVEL/COLUMN_ROW.jpg; level 0 is one pixel.

    Parameters
    ----------
    folder : Path
        An empty folder.
    rows : iterator of (h, width, C) uint8
        From the top, any number of rows at a time.
    size : (width, height)
    icc : bytes or None
        Colour profile for each tile.
    """
    width, height = size
    for level in range((max(width, height) - 1).bit_length(), -1, -1):
        (folder / str(level)).mkdir()
        rows = _tiled(rows, folder / str(level), height, icc)
        if level > 0:
            rows, height = _halved(rows), -(-height // 2)
    for _ in rows:
        pass


def _tiled(rows: Iterator[Array], folder: Path, height: int, icc: bytes | None) -> Iterator[Array]:
    """Pass rows on, and write each row of tiles as soon as its last pixel row is there."""
    held: list[Array] = []
    top, end, row = 0, 0, 0
    for part in rows:
        held, end = [*held, part], end + len(part)
        while row * TILE < height and end >= min((row + 1) * TILE + OVERLAP, height):
            block = np.concatenate(held)
            start, stop = max(row * TILE - OVERLAP, 0), min((row + 1) * TILE + OVERLAP, height)
            _write_row(folder, row, block[start - top : stop - top], icc)
            row += 1
            held, top = [block[row * TILE - OVERLAP - top :]], row * TILE - OVERLAP
        yield part


def _write_row(folder: Path, row: int, block: Array, icc: bytes | None) -> None:
    """Cut a row of tiles out of its pixel rows and write them."""
    for column, x in enumerate(range(0, block.shape[1], TILE)):
        tile = block[:, max(x - OVERLAP, 0) : x + TILE + OVERLAP]
        picture = Image.fromarray(tile[:, :, 0] if tile.shape[2] == 1 else tile)
        picture.save(folder / f"{column}_{row}.jpg", quality=JPEG_QUALITY, icc_profile=icc)


def _halved(rows: Iterator[Array]) -> Iterator[Array]:
    """Average blocks of 2 x 2 pixels; an odd last row or column stands for itself."""
    odd: Array | None = None
    for part in rows:
        joined = part if odd is None else np.concatenate([odd, part])
        even = len(joined) // 2 * 2
        odd = joined[even:] if even < len(joined) else None
        if even:
            yield _half(joined[:even])
    if odd is not None:
        yield _half(np.repeat(odd, 2, 0))


def _half(block: Array) -> Array:
    """Average an even number of rows, two by two, and their columns."""
    if block.shape[1] % 2:
        block = np.concatenate([block, block[:, -1:]], 1)
    size = block.shape[1] // 2, len(block) // 2
    small: Array = cv2.resize(block, size, interpolation=cv2.INTER_AREA)
    return small if small.ndim == 3 else small[:, :, None]
