"""A stack: photographs of one view, and where each lies on the reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend import remap
from composer.media.decode import store_of
from composer.media.picture import as_float
from composer.records import Context, Photo, Rect

Array = NDArray[Any]

__all__ = ["Stack", "alpha_of", "as_stored", "blocks", "part", "reduced"]


@dataclass(frozen=True)
class Stack:
    """Photographs of one view.

    Attributes
    ----------
    photos : tuple of Photo
    matrices : tuple of (3, 3) float64 or None
        What takes points of the reference to each photo; None where the photo lies as it is.
    reference : int
        The photo that gives the frame, the type and the metadata.
    """

    photos: tuple[Photo, ...]
    matrices: tuple[Array | None, ...]
    reference: int = 0

    @property
    def frame(self) -> Photo:
        """The reference."""
        return self.photos[self.reference]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the result."""
        return self.frame.height, self.frame.width, self.frame.channels


def blocks(shape: tuple[int, ...], height: int, width: int) -> Iterator[Rect]:
    """Cut a picture into rectangles that start on multiples of a height and width."""
    for y in range(0, shape[0], height):
        for x in range(0, shape[1], width):
            yield Rect(x, y, min(x + width, shape[1]), min(y + height, shape[0]))


def part(stack: Stack, k: int, rect: Rect, context: Context) -> tuple[Array, Array | None]:
    """Return what photo k shows in a rectangle of the frame.

    Returns
    -------
    (h, w, C) of the reference's type, and (h, w) bool where the photo shows something, None for all.
    Beyond a photo's edge its edge is repeated.
    """
    photo, matrix = stack.photos[k], stack.matrices[k]
    pixels = store_of(context).pixels(photo)
    valid = None
    if matrix is None:
        pixels = pixels[rect.y0 : rect.y1, rect.x0 : rect.x1]
    else:
        u, v = _places(matrix, rect)
        valid = (u >= -0.5) & (u <= photo.width - 0.5) & (v >= -0.5) & (v <= photo.height - 0.5)
        pixels = remap(pixels, u, v)
    if photo.alpha:
        seen = pixels[:, :, -1] >= as_stored(np.float32(0.5), photo.dtype)
        valid = seen if valid is None else seen & valid
    if photo.dtype == "float32":
        finite = np.isfinite(pixels).all(2)
        if not finite.all():
            valid = finite if valid is None else finite & valid
            pixels = np.where(finite[:, :, None], pixels, np.float32(0))
    pixels = _with_channels(pixels[:, :, : photo.channels], stack.frame.channels)
    if photo.dtype != stack.frame.dtype:
        pixels = as_stored(as_float(pixels), stack.frame.dtype)
    return pixels, None if valid is None or valid.all() else valid


def as_stored(values: Any, dtype: str) -> Any:
    """Turn float32 0..1 into a stored type: rounded and clipped to integers, floats as they are."""
    if dtype == "float32":
        return values
    top = np.iinfo(dtype).max
    if dtype == "uint8" and values.ndim in (2, 3):
        found = cv2.convertScaleAbs(np.maximum(values, 0), alpha=float(top))  # a sixth of the time
        return found.reshape(values.shape)
    return np.rint(np.clip(values * np.float32(top), 0, top)).astype(dtype)


def _places(matrix: Array, rect: Rect) -> tuple[Array, Array]:
    """Return the columns and rows, float32, where a matrix takes a rectangle's pixels."""
    x, y = np.arange(rect.x0, rect.x1)[None, :], np.arange(rect.y0, rect.y1)[:, None]
    u, v, w = ((row[0] * x + row[2]) + row[1] * y for row in matrix)
    if matrix[2, 0] or matrix[2, 1]:
        u, v = u / w, v / w
    return u.astype(np.float32), v.astype(np.float32)


def _with_channels(pixels: Array, channels: int) -> Array:
    """Turn grey into colour or colour into grey."""
    if pixels.shape[2] == channels:
        return pixels
    pixels = np.ascontiguousarray(pixels)
    if channels == 3:
        return np.repeat(pixels, 3, 2)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))[:, :, None]


def reduced(stack: Stack, k: int, shrink: int, context: Context) -> tuple[Array, Array]:
    """Return what photo k shows of the frame, 1/shrink as large: (h, w, C) float32 0..1, and where.

    All photos that are not moved must have the reference's size.
    """
    photo, matrix, frame = stack.photos[k], stack.matrices[k], stack.frame
    small = store_of(context).pixels(photo, shrink)
    full = store_of(context).pixels(frame, shrink).shape[:2]
    pixels = as_float(_with_channels(small[:, :, : photo.channels], frame.channels))
    seen = np.ones(full, bool)
    if matrix is not None:
        scales = [_scaling(full, frame), _scaling(small.shape, photo)]
        there = scales[1] @ matrix @ np.linalg.inv(scales[0])
        u, v = _places(there / there[2, 2], Rect(0, 0, full[1], full[0]))
        seen = (u >= 0) & (u <= small.shape[1] - 1) & (v >= 0) & (v <= small.shape[0] - 1)
        pixels = np.clip(remap(pixels, u, v), 0, 1)
    return pixels, seen


def _scaling(shape: tuple[int, ...], photo: Photo) -> Array:
    """Return the matrix from a photo's pixels to those of its reduced version."""
    x, y = shape[1] / photo.width, shape[0] / photo.height
    return np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]])


def alpha_of(stack: Stack, rect: Rect, context: Context) -> Array:
    """Return the alpha plane of the result in a rectangle: white where any photo shows something."""
    seen = np.zeros((rect.height, rect.width), bool)
    for k in range(len(stack.photos)):
        _, valid = part(stack, k, rect, context)
        seen |= True if valid is None else valid
    return np.asarray(as_stored(seen.astype(np.float32), stack.frame.dtype))
