"""PNG by its chunks (PNG 3rd edition): checked as a whole, and written while rows come."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend.parallel import in_order

Array = NDArray[Any]

__all__ = ["png_chunks", "read_chunks"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
ROWS = 64  # compressed at a time
LEVEL = 3


def read_chunks(path: Path, wanted: frozenset[bytes] | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and data of chunks, their checksums compared; those not wanted are passed over.

    Raises
    ------
    OSError
        A checksum is wrong, or the file ends before its last chunk.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(len(SIGNATURE))
        kind = b""
        while kind != b"IEND":
            head = file.read(8)
            length, kind = struct.unpack(">I4s", head) if len(head) == 8 else (size, b"")
            if file.tell() + length + 4 > size:
                raise OSError("PNG is cut short")
            if wanted is not None and kind not in wanted:
                file.seek(length + 4, 1)
                continue
            data = file.read(length)
            if zlib.crc32(data, zlib.crc32(kind)) != int.from_bytes(file.read(4), "big"):
                raise OSError(f"checksum of PNG chunk {kind.decode('latin-1')} is wrong")
            yield kind, data


def png_chunks(
    rows: Iterator[Array], shape: tuple[int, int, int], dtype: str, icc: bytes | None, exif: bytes | None,
    xmp: bytes | None, workers: int = 1,
) -> Iterator[bytes]:  # fmt: skip
    """Yield a PNG of rows (h, W, 1 to 4) of uint8 or uint16 as they come, any number at a time.

    Pillow and OpenCV hold the whole picture; the one knows no 16-bit colour, the other no grey with alpha.
    Strips of rows are compressed on `workers` threads, each to whole bytes (RFC 1951, an empty block at its
    end), so that the stream is the same for any number.
    """
    height, width, planes = shape
    colour, bits = {1: 0, 2: 4, 3: 2, 4: 6}[planes], 8 * np.dtype(dtype).itemsize
    yield SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    if icc:
        yield _chunk(b"iCCP", b"icc\0\0" + zlib.compress(icc))
    if exif:
        yield _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    if xmp:
        yield _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    checksum = 1
    yield _chunk(b"IDAT", b"\x78\x5e")  # zlib's header (RFC 1950)
    with ThreadPoolExecutor(workers) as pool:
        for filtered, data in in_order(pool, _compressed, _blocks(rows, width, planes, dtype), workers):
            checksum = zlib.adler32(filtered, checksum)
            yield _chunk(b"IDAT", data)
    yield _chunk(b"IDAT", b"\x03\x00" + struct.pack(">I", checksum)) + _chunk(b"IEND", b"")


def _blocks(rows: Iterator[Array], width: int, planes: int, dtype: str) -> Iterator[Array]:
    """Yield rows again, ROWS or fewer at a time, each time behind the row above them."""
    above = np.zeros((1, width, planes), dtype)
    for part in rows:
        for top in range(0, len(part), ROWS):
            block = np.concatenate([above, part[top : top + ROWS]])
            above = block[-1:]
            yield block


def _compressed(block: Array) -> tuple[bytes, bytes]:
    """Return rows filtered, and these compressed."""
    filtered = _filtered(block)
    deflate = zlib.compressobj(LEVEL, wbits=-zlib.MAX_WBITS)
    return filtered, deflate.compress(filtered) + deflate.flush(zlib.Z_SYNC_FLUSH)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _filtered(block: Array) -> bytes:
    """Return rows but the first as bytes less their left neighbours or those above, whichever is smaller."""
    raw = block.astype(block.dtype.newbyteorder(">")).view(np.uint8).reshape(len(block), -1)
    step = block.dtype.itemsize * block.shape[2]
    left = raw[1:].copy()
    left[:, step:] -= raw[1:, :-step]
    up = raw[1:] - raw[:-1]
    cost = [np.abs(f.view(np.int8).astype(np.int16)).sum(1) for f in (left, up)]
    choice = (cost[1] < cost[0])[:, None]
    kinds = np.where(choice, 2, 1).astype(np.uint8)  # filter types Up and Sub
    return np.concatenate([kinds, np.where(choice, up, left)], 1).tobytes()
