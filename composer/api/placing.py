"""A source and its mask brought into a target's window: what `clone` does before any pixel is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend.channels import finite_pixels
from composer.errors import OptionError
from composer.media.masks import TOP
from composer.media.picture import Picture, as_float, read_mask, read_picture
from composer.poisson.editing import LUMA, check_numbers
from composer.records import Rect

Array = NDArray[Any]

__all__ = ["Placed", "place"]


@dataclass(frozen=True)
class Placed:
    """What meets in a window of the target.

    Attributes
    ----------
    rect : Rect
        The window in the target: the mask's bounding box, and `around` pixels more where the target has them.
    source, target : (h, w, C)
        In the target's units; the source is float32 where its type is another.
    cover : (h, w) float32 or bool
        The mask, as it is or cut at one half, times the source's alpha, as it is or cut at one half.
    valid : (h, w) bool
        Where the source has pixels.
    beyond : float
        The share of what the mask selects that lies outside the target.
    """

    rect: Rect
    source: Array
    target: Array
    cover: Array
    valid: Array
    beyond: float = 0.0


def place(
    above: Picture,
    below: Picture,
    mask: str | Path | Array,
    offset: tuple[int, int] | None,
    soft: bool = False,
    around: int = 1,
) -> Placed | None:
    """Cut source, target and mask to the mask's bounding box and some around; None if nothing is selected.

    Raises
    ------
    OptionError
        Source and mask differ in size, or source and target without an offset.
    PhotoError
    """
    white = read_mask(mask) if soft else _selected(mask)
    size, wanted = above.pixels.shape[:2], below.pixels.shape[:2]
    if white.shape != size:
        raise OptionError(f"mask is {_sized(white.shape)}, source is {_sized(size)}: they must match")
    if offset is None and size != wanted:
        raise OptionError(
            f"source is {_sized(size)}, target is {_sized(wanted)}: give an offset, where the source's "
            "top left corner lies in the target"
        )
    x, y = offset or (0, 0)
    window = _window(white, (x, y), wanted, around)
    if window is None:
        return None
    piece = Rect(window.x0 - x, window.y0 - y, window.x1 - x, window.y1 - y)
    valid = _cut(np.ones(size, bool), piece)
    cover = _cut(white, piece)
    beyond = 1 - np.count_nonzero(cover > 0) / np.count_nonzero(white > 0)
    if above.alpha is not None:
        opaque = _cut(as_float(above.alpha), piece)
        cover = cover * opaque if soft else cover & (opaque > 0.5)
        valid &= opaque > (0 if soft else 0.5)
    source = _fitted(_cut(above.pixels, piece), below)
    there = finite_pixels(source)
    check_numbers(cover > 0, there | ~valid, "source", (piece.x0, piece.y0))
    target = below.pixels[window.y0 : window.y1, window.x0 : window.x1]
    return Placed(window, source, target, cover, valid, beyond)


def _sized(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"


def _selected(mask: str | Path | Array) -> Array:
    """Return where a mask is above one half, (H, W) bool."""
    if isinstance(mask, np.ndarray) and mask.dtype == bool and mask.ndim == 2:
        return mask
    if isinstance(mask, np.ndarray) and mask.ndim == 2 and mask.dtype.kind == "u":
        codes = read_picture(mask, "mask").pixels[:, :, 0]
        half = 0.5 if codes.max() == 1 else TOP[codes.dtype.name] / 2
        return np.asarray(codes > np.float32(half))
    return read_mask(mask) > 0.5


def _window(white: Array, offset: tuple[int, int], wanted: tuple[int, ...], around: int) -> Rect | None:
    """Return the bounding box, in the target, of what is selected and within it, and pixels around."""
    x, y = offset
    rows = slice(max(0, -y), max(0, wanted[0] - y))
    columns = slice(max(0, -x), max(0, wanted[1] - x))
    part = white[rows, columns]
    if not part.size:
        return None
    left, top, width, height = cv2.boundingRect((part > 0).view(np.uint8))
    if not width:
        return None
    left, top = left + columns.start + x, top + rows.start + y
    x0, y0, x1, y1 = Rect(left, top, left + width, top + height).grown(around)
    return Rect(max(x0, 0), max(y0, 0), min(x1, wanted[1]), min(y1, wanted[0]))


def _cut(picture: Array, rect: Rect) -> Array:
    """Return a rectangle of a picture, zeros where it reaches beyond."""
    height, width = picture.shape[:2]
    inner = picture[max(rect.y0, 0) : min(rect.y1, height), max(rect.x0, 0) : min(rect.x1, width)]
    if inner.shape[:2] == (rect.height, rect.width):
        return inner
    whole = np.zeros((rect.height, rect.width, *picture.shape[2:]), picture.dtype)
    down, along = max(-rect.y0, 0), max(-rect.x0, 0)
    whole[down : down + inner.shape[0], along : along + inner.shape[1]] = inner
    return whole


def _fitted(pixels: Array, like: Picture) -> Array:
    """Return pixels with as many channels as another picture, in its units."""
    ours, theirs = TOP[pixels.dtype.name], TOP[like.photo.dtype]
    if pixels.dtype.name != like.photo.dtype:
        pixels = pixels * np.float32(theirs / ours)
    if pixels.shape[2] < like.photo.channels:
        return np.repeat(pixels, like.photo.channels, 2)
    if pixels.shape[2] > like.photo.channels:
        return (pixels.astype(np.float32) @ LUMA)[:, :, None]
    return pixels
