"""Write TIFF files in tiles, as rows or pages come: one picture, or the layers that it is made of."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Rational
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from composer.media.metadata import EXIF_IFD, GPS_IFD, Exif, Metadata, exif_directory, parse_exif
from composer.records import Rect

Array = NDArray[Any]

__all__ = ["TIFF_TILE", "Page", "alpha_plane", "write_pages", "write_tiff"]

TIFF_TILE = 256
TIFF_BUFFER = 16 << 20  # bytes compressed at a time
CLASSIC_TIFF = 4_000_000_000
DPI = 150  # in which positions of pages are told


@dataclass(frozen=True)
class Page:
    """One page of a TIFF of layers: its name, its place on the canvas, and its pixels.

    `tiles` are (256, 256, planes) arrays row by row, those at right and bottom edges smaller; `planes` is
    1 (a mask), 2 (grey and alpha) or 4.
    """

    name: str
    rect: Rect
    planes: int
    dtype: str
    tiles: Iterator[Array]

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels."""
        return self.rect.width * self.rect.height * self.planes * np.dtype(self.dtype).itemsize


def alpha_plane(valid: Array, dtype: Any) -> Array:
    """Return (h, w, 1): white where pixels are valid, or alpha (h, w) of that type as it is."""
    if valid.dtype != bool:
        return valid[:, :, None]
    full = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return (valid[:, :, None] * full).astype(dtype)


def write_tiff(
    file: BinaryIO,
    bands: Iterator[tuple[int, Array, Array]],
    shape: tuple[int, int, int],
    dtype: str,
    holes: bool,
    metadata: Metadata,
    workers: int = 1,
) -> None:
    """Write a tiled, deflated TIFF, BigTIFF where the pixels exceed 4 GB, holding one row of tiles."""
    import tifffile

    height, width, channels = shape
    planes = channels + holes
    size = height * width * planes * np.dtype(dtype).itemsize
    tags = [(700, 1, len(metadata.xmp), metadata.xmp, True)] if metadata.xmp else []
    big, exif = size > CLASSIC_TIFF, parse_exif(metadata.exif)
    with tifffile.TiffWriter(file, bigtiff=big, byteorder="<") as writer:
        writer.write(
            _tiff_tiles(bands, planes),
            **_layout((height, width, planes), dtype, workers),
            **_resolution(exif),
            iccprofile=metadata.icc,
            extratags=[*tags, *_exif_tags(exif)],
        )
    _add_directories(file, exif, big)


def write_pages(
    file: BinaryIO, pages: Sequence[Page], size: tuple[int, int], icc: bytes | None, workers: int = 1
) -> None:
    """Write layers as the pages of one TIFF, BigTIFF where their pixels exceed 4 GB.

    Each page is cut to its rectangle and says where that lies (XPosition, YPosition) and how large the
    canvas is (the tags 33300 and 33301), as Hugin's multi-layer TIFF does.

    Parameters
    ----------
    file : binary file
    pages : sequence of Page
    size : (width, height) of the canvas
    icc : bytes or None
    workers : int
        Threads that compress tiles.
    """
    import tifffile

    with tifffile.TiffWriter(file, bigtiff=sum(p.nbytes for p in pages) > CLASSIC_TIFF) as writer:
        for page in pages:
            name = page.name.encode("utf-8", "replace") + b"\0"
            writer.write(
                page.tiles,
                **_layout((page.rect.height, page.rect.width, page.planes), page.dtype, workers),
                resolution=(DPI, DPI),
                resolutionunit="inch",
                iccprofile=icc if page.planes == 4 else None,
                extratags=[
                    (285, 2, len(name), name, False),
                    (286, 5, 1, (page.rect.x0, DPI), False),
                    (287, 5, 1, (page.rect.y0, DPI), False),
                    (33300, 4, 1, size[0], False),
                    (33301, 4, 1, size[1], False),
                ],
            )


def _layout(shape: tuple[int, int, int], dtype: str, workers: int) -> dict[str, Any]:
    """Return tifffile's options for one page of (height, width, planes): tiled, deflated, alpha straight."""
    import tifffile

    planes = shape[2]
    extra = [tifffile.EXTRASAMPLE.UNASSALPHA] if planes in (2, 4) else None
    return {
        "shape": shape if planes > 1 else shape[:2],
        "dtype": dtype,
        "tile": (TIFF_TILE, TIFF_TILE),
        "photometric": "rgb" if planes >= 3 else "minisblack",
        "compression": "zlib",
        "compressionargs": {"level": 2},
        "buffersize": TIFF_BUFFER,
        "maxworkers": workers,
        "predictor": dtype != "float32",
        "planarconfig": "contig" if planes > 1 else None,
        "extrasamples": extra,
        "software": "composer",
        "metadata": None,
    }


def _exif_tags(exif: Exif) -> list[tuple[int, int, int, Any, bool]]:
    """Return the EXIF fields of a TIFF's first directory: maker, model, date, artist, copyright."""
    if exif == Exif():
        return []
    tags: list[tuple[int, int, int, Any, bool]] = [(0x0112, 3, 1, 1, True)]
    for tag in (0x010E, 0x010F, 0x0110, 0x0132, 0x013B, 0x8298):
        if exif.main.get(tag):
            text = str(exif.main[tag]).rstrip("\0").encode("latin-1", "replace")  # as Pillow decoded it
            tags.append((tag, 2, len(text) + 1, text + b"\0", True))
    return tags


def _resolution(exif: Exif) -> dict[str, Any]:
    """Return tifffile's options for the pixels an inch or centimetre that EXIF tells."""
    found = [float(k) for t in (0x011A, 0x011B) if isinstance(k := exif.main.get(t), int | float | Rational)]
    unit = exif.main.get(0x0128)
    if unit not in (2, 3) or len(found) < 2 or not min(found) > 0:
        return {}
    return {"resolution": tuple(found), "resolutionunit": unit}


def _add_directories(file: BinaryIO, exif: Exif, big: bool) -> None:
    """Write the camera's and the GPS directory behind the pixels, which tifffile does not.

    The first directory comes last then, as it has to name them.
    """
    found = [(tag, fields) for tag, fields in ((EXIF_IFD, exif.camera), (GPS_IFD, exif.gps)) if fields]
    if not found:
        return
    pointer, count, entry, kind = ("<Q", "<Q", "<HHQQ", 16) if big else ("<I", "<H", "<HHII", 4)
    file.seek(struct.calcsize(pointer))
    file.seek(struct.unpack(pointer, file.read(struct.calcsize(pointer)))[0])
    (known,) = struct.unpack(count, file.read(struct.calcsize(count)))
    entries = [file.read(struct.calcsize(entry)) for _ in range(known)]
    for tag, fields in found:
        offset = _even_end(file)
        file.write(exif_directory(fields, tag, offset, big))
        entries.append(struct.pack(entry, tag, kind, 1, offset))
    entries.sort(key=lambda e: struct.unpack("<H", e[:2]))
    offset = _even_end(file)
    file.write(struct.pack(count, len(entries)) + b"".join(entries) + struct.pack(pointer, 0))
    file.seek(struct.calcsize(pointer))
    file.write(struct.pack(pointer, offset))


def _even_end(file: BinaryIO) -> int:
    """Go to a file's end, on an even offset as TIFF wants them."""
    end = file.seek(0, os.SEEK_END)
    return end + file.write(bytes(end % 2))


def _tiff_tiles(bands: Iterator[tuple[int, Array, Array]], planes: int) -> Iterator[Array]:
    """Cut rows of pixels into TIFF tiles, row by row, whatever the height of the rows that come in."""
    waiting: tuple[Array, Array] | None = None
    for _, rows, covered in bands:
        if waiting is not None:
            rows, covered = np.concatenate([waiting[0], rows]), np.concatenate([waiting[1], covered])
        whole = len(rows) // TIFF_TILE * TIFF_TILE
        yield from _tiles_of(rows[:whole], covered[:whole], planes)
        waiting = (rows[whole:], covered[whole:]) if whole < len(rows) else None
    if waiting is not None:
        yield from _tiles_of(*waiting, planes)


def _tiles_of(rows: Array, covered: Array, planes: int) -> Iterator[Array]:
    for y in range(0, len(rows), TIFF_TILE):
        for x in range(0, rows.shape[1], TIFF_TILE):
            here = slice(y, y + TIFF_TILE), slice(x, x + TIFF_TILE)
            tile = rows[here]
            if planes > tile.shape[2]:
                tile = np.concatenate([tile, alpha_plane(covered[here], tile.dtype)], 2)
            yield tile if tile.shape[2] > 1 else tile[:, :, 0]
