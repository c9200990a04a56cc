"""Read what can be read of a damaged JPEG file, and say which part is lost."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.errors import ImageTooLarge, PhotoError
from composer.media.decode import decode, upright
from composer.media.entropy import Frame, read_frame
from composer.media.header import read_photo
from composer.media.jpeg import coding_of
from composer.media.metadata import icc_profile
from composer.media.opening import DAMAGE, is_jpeg, opened, reason
from composer.media.picture import Picture, read_picture
from composer.media.resync import Recovered, recover
from composer.records import Photo

Array = NDArray[Any]

__all__ = ["read_salvaged"]

MEMORY_A_PIXEL = 48  # bytes that putting a scan together takes
SAME = 3  # levels by which two decoders may differ by rounding
SQUARE = 16  # pixels of a unit, where the file does not say
END = b"\xff\xd9"


def read_salvaged(path: str | Path, max_memory: int = 2 << 30) -> tuple[Picture, Array | None]:
    """Read a picture whole, or of a damaged JPEG file what can be read.

    A sequential file is read anew from behind every fault; what comes after is put where it goes with what
    is above. Of a progressive file all is taken that its decoder gives.

    Parameters
    ----------
    path : path
    max_memory : int
        Bytes that reading may take.

    Returns
    -------
    The picture, and what is lost (H, W) bool, mid-grey there; None where the file is sound.

    Raises
    ------
    PhotoError
        The header is damaged, or nothing can be read.
    ImageTooLarge
    """
    photo = read_photo(path, max_memory)
    if photo.path is None or not is_jpeg(photo.path):
        return read_picture(path, "photo", max_memory), None
    data = photo.path.read_bytes()
    frame = _frame(photo, data)
    if frame is None:
        return _by_decoder(photo, data)
    if MEMORY_A_PIXEL * photo.width * photo.height > max_memory:
        raise ImageTooLarge(f"{path}: is too large to salvage in {max_memory >> 20} MB; raise --max-memory")
    found = recover(frame, data)
    if found.sound and not found.lost.any():
        return Picture(photo, decode(photo), None, icc_profile(photo)), None
    if found.lost.all():
        raise PhotoError(f"{path}: nothing of its pixels can be read; look for another copy")
    return _picture(photo, *_drawn(frame, found, _decoded(photo, data)))


def _picture(photo: Photo, pixels: Array, lost: Array) -> tuple[Picture, Array]:
    """Return the picture and what is lost, upright."""
    pixels = np.ascontiguousarray(upright(pixels, photo.orientation))
    return Picture(photo, pixels, None, icc_profile(photo)), np.ascontiguousarray(
        upright(lost, photo.orientation)
    )


def _frame(photo: Photo, data: bytes) -> Frame | None:
    """Return the headers of a file whose scan can be put together; None for others."""
    try:
        return read_frame(data) if coding_of(photo) is not None else None
    except DAMAGE:
        return None


def _drawn(frame: Frame, found: Recovered, decoded: Array | None) -> tuple[Array, Array]:
    """Return pixels (H, W, C) and what is lost; where the decoder says the same, its rounding is taken."""
    (high, wide), (rows, columns) = frame.unit, frame.grid
    size = columns * wide, rows * high
    planes = [_enlarged(p, found.lost, size) for p in found.planes]
    lost = np.kron(found.lost, np.ones((high, wide), bool))[: frame.height, : frame.width]
    pixels = planes[0][:, :, None]
    if len(planes) == 3:
        y, blue, red = planes[0], planes[1] - 128, planes[2] - 128
        pixels = np.dstack([y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue])
    pixels = np.clip(np.rint(pixels[: frame.height, : frame.width]), 0, 255).astype(np.uint8)
    if decoded is not None and decoded.shape == pixels.shape:
        same = (cv2.absdiff(decoded, pixels).reshape(pixels.shape) <= SAME).all(2, keepdims=True)
        pixels = np.where(same, decoded, pixels)
    pixels[lost] = 128
    return pixels, lost


def _enlarged(plane: Array, lost: Array, size: tuple[int, int]) -> Array:
    """Return a channel at the picture's size (width, height), as decoders interpolate, from what is known."""
    if plane.shape == size[::-1]:
        return plane
    high, wide = plane.shape[0] // lost.shape[0], plane.shape[1] // lost.shape[1]
    known = np.kron(~lost, np.ones((high, wide), np.float32))
    weight = cv2.resize(known, size, interpolation=cv2.INTER_LINEAR)
    total = cv2.resize(plane * known, size, interpolation=cv2.INTER_LINEAR)
    return np.where(weight > 0, total / np.maximum(weight, np.float32(1e-3)), 128)


def _by_decoder(photo: Photo, data: bytes) -> tuple[Picture, Array | None]:
    """Return what the decoder makes of a file; lost is the flat grey that it ends with."""
    try:
        return Picture(photo, decode(photo), None, icc_profile(photo)), None
    except PhotoError as error:
        pixels = _decoded(photo, data)
        if pixels is None:
            raise PhotoError(f"{photo.path}: nothing of it can be read ({reason(error)})") from error
    height, width = pixels.shape[:2]
    framed = np.pad(pixels, ((0, -height % SQUARE), (0, -width % SQUARE), (0, 0)), "edge")
    rows, columns = framed.shape[0] // SQUARE, framed.shape[1] // SQUARE
    grey = np.abs(framed.astype(np.int16) - 128).max(2) <= 1
    flat = grey.reshape(rows, SQUARE, columns, SQUARE).all((1, 3)).ravel()
    seen = np.flatnonzero(~flat)
    if not len(seen):
        raise PhotoError(f"{photo.path}: nothing of its pixels can be read; look for another copy")
    behind = (np.arange(len(flat)) > seen[-1]).reshape(rows, columns)
    return _picture(photo, pixels, np.kron(behind, np.ones((SQUARE, SQUARE), bool))[:height, :width])


def _decoded(photo: Photo, data: bytes) -> Array | None:
    """Return what Pillow makes of a file as if it ended here; None where it gives up."""
    try:
        with opened(io.BytesIO(data + END)) as image:
            image.load()
            pixels = np.asarray(image.convert("L" if photo.channels == 1 else "RGB"))
    except DAMAGE:
        return None
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
