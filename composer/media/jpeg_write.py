"""Write JPEG while rows come: strips coded on all threads, joined by restart markers (ITU-T T.81, E.1.4)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend.parallel import in_order
from composer.media.metadata import Metadata

Array = NDArray[Any]

__all__ = ["within_segments", "write_jpeg"]

QUALITY = 95
BLOCK = 8  # without subsampling
STRIP = 256  # rows; a multiple of 8 rows of blocks: restart markers count to 8
SEGMENT = 65000  # bytes; a marker's 64 kB less what readers put in front


def write_jpeg(
    file: BinaryIO, rows: Iterator[Array], shape: tuple[int, int, int], metadata: Metadata, workers: int = 1
) -> None:
    """Write a picture at quality 95 without subsampling, from rows of it as they come.

    Each row of blocks is a restart interval, so that strips can be coded apart: pixels are those of a file
    coded in one piece, which is 0.3 % shorter.

    Parameters
    ----------
    file : binary file
    rows : iterator of (h, W, C) uint8
        From the top, any number at a time.
    shape : (H, W, C)
        C is 1 or 3.
    metadata : Metadata
        Put behind the header.
    workers : int
        Threads that code strips.
    """
    height, width, _ = shape
    interval = -(-width // BLOCK)
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_RST_INTERVAL, interval,
               cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]  # fmt: skip

    def coded(strip: Array) -> memoryview:
        ordered = cv2.cvtColor(strip, cv2.COLOR_RGB2BGR) if strip.shape[2] == 3 else strip
        return memoryview(cv2.imencode(".jpg", ordered, options)[1])

    with ThreadPoolExecutor(workers) as pool:
        for k, data in enumerate(in_order(pool, coded, _strips(rows), workers)):
            header, frame, scan = _parts(data)
            if k == 0:
                file.write(data[:header])
                file.writelines(_segments(metadata))
                file.writelines((data[header : frame + 5], height.to_bytes(2, "big"), data[frame + 7 : scan]))
            else:  # strips hold eights of intervals, so that the eighth marker is next
                file.write(b"\xff\xd7")
            file.write(data[scan:-2])
    file.write(b"\xff\xd9")


def _strips(rows: Iterator[Array]) -> Iterator[Array]:
    """Yield rows again, STRIP at a time; the last ones are as many as are left."""
    left: Array | None = None
    for part in rows:
        whole = part if left is None else np.concatenate([left, part])
        end = len(whole) // STRIP * STRIP
        for top in range(0, end, STRIP):
            yield whole[top : top + STRIP]
        left = whole[end:] if end < len(whole) else None
    if left is not None:
        yield left


def _parts(data: memoryview) -> tuple[int, int, int]:
    """Return where a file's first segment ends, where its frame header begins, and where its scan does."""
    at, header, frame = 2, 0, 0
    while True:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        header = header or end
        if marker == 0xC0:
            frame = at
        if marker == 0xDA:
            return header, frame, end
        at = end


def within_segments(path: Path, metadata: Metadata, notes: list[str]) -> Metadata:
    """Leave out metadata that a JPEG's segment of 64 kB cannot hold, with a note."""
    exif, xmp = (
        data if data is None or len(data) < SEGMENT else None for data in (metadata.exif, metadata.xmp)
    )
    for name, before, after in (("EXIF", metadata.exif, exif), ("XMP", metadata.xmp, xmp)):
        if before is not None and after is None:
            size = len(before) // 1000
            notes.append(f"{path}: {size} kB of {name} left out, JPEG holds 65 (use .tif or .png to keep it)")
    return replace(metadata, exif=exif, xmp=xmp)


def _segments(metadata: Metadata) -> Iterator[bytes]:
    """Yield a JPEG's segments of EXIF, XMP and ICC profile (in parts of 64 kB)."""
    found = [(0xE1, metadata.exif)] if metadata.exif else []
    if metadata.xmp:
        found.append((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + metadata.xmp))
    icc = metadata.icc or b""
    parts = [icc[k : k + SEGMENT] for k in range(0, len(icc), SEGMENT)]
    for k, part in enumerate(parts, 1):
        found.append((0xE2, b"ICC_PROFILE\0" + bytes((k, len(parts))) + part))
    for marker, data in found:
        yield bytes((0xFF, marker)) + (len(data) + 2).to_bytes(2, "big") + data
