"""Small pictures for a page: the panorama as it is rendered, thumbnails, and who owns which place."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from composer.media.profiles import convert, srgb
from composer.records import Composition

Array = NDArray[Any]

__all__ = [
    "jpeg_uri",
    "label_places",
    "labels",
    "labels_uri",
    "mask_uri",
    "reduced_size",
    "reducing",
    "thumbnail",
]

WIDEST = 2400
MOST_PIXELS = 3_500_000
LABELS_ACROSS = 1200
NOBODY = 0xFFFF
MARKED = 255, 0, 212  # colour of a mask over a photo; painting.js has it too
QUALITIES = (85, 75, 60, 45)


def reduced_size(composition: Composition) -> tuple[int, int]:
    """Return height and width at which a page shows a canvas."""
    height, width = composition.height, composition.width
    factor = min(1.0, WIDEST / max(width, height), math.sqrt(MOST_PIXELS / (width * height)))
    return max(1, round(height * factor)), max(1, round(width * factor))


def reducing(
    bands: Iterator[tuple[int, Array, Array]], height: int, small: Array
) -> Iterator[tuple[int, Array, Array]]:
    """Pass a picture's rows of tiles on, averaging areas of them on the way.

    Parameters
    ----------
    bands : iterator of (top, image (h, W, C), valid (h, W))
    height : int
        Rows of the whole picture.
    small : (h, w, 4) uint8
        Filled as the rows go by: RGB, and where the picture is valid.
    """
    step = len(small) / height
    begun = np.zeros((small.shape[1], 4), np.float32)  # of the small row that the last band ended in
    for top, rows, covered in bands:
        narrow = _narrow(rows, covered, small.shape[1])
        edges = (top + np.arange(len(rows) + 1)) * step
        edges[-1] = min(edges[-1], len(small))
        first, last = int(edges[0]), math.ceil(edges[-1] - 1e-9)
        lines = np.arange(first, last)[:, None]
        shares = np.minimum(edges[1:], lines + 1) - np.maximum(edges[:-1], lines)
        sums = np.tensordot(np.maximum(shares, 0).astype(np.float32), narrow, 1)
        sums[0] += begun
        small[first:last] = np.clip(sums * 255 + 0.5, 0, 255)
        begun = sums[-1] if edges[-1] < last - 1e-9 else np.zeros_like(begun)
        yield top, rows, covered


def _narrow(rows: Array, covered: Array, width: int) -> Array:
    """Return rows at another width, RGB and validity, float32 in 0..1."""
    full = 1.0 if rows.dtype.kind == "f" else float(np.iinfo(rows.dtype).max)
    size = (width, len(rows))
    colours = np.atleast_3d(cv2.resize(rows, size, interpolation=cv2.INTER_AREA)).astype(np.float32) / full
    colours = np.clip(np.nan_to_num(colours), 0, 1)
    valid = cv2.resize(covered.astype(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA)
    if colours.shape[2] == 1:
        colours = np.repeat(colours, 3, 2)
    return np.concatenate([colours, valid[:, :, None].astype(np.float32) / 255], 2)


def thumbnail(pixels: Array, channels: int, side: int = 200) -> Array:
    """Return a photo (H, W, C) as (h, w, 3) uint8, at most `side` pixels long, from a grid of its pixels."""
    longest = max(pixels.shape[:2])
    coarse = pixels[:: max(1, longest // (4 * side)), :: max(1, longest // (4 * side)), :channels]
    factor = min(1.0, side / max(coarse.shape[:2]))
    size = max(1, round(coarse.shape[1] * factor)), max(1, round(coarse.shape[0] * factor))
    colours = _narrow(coarse, np.ones(coarse.shape[:2], bool), size[0])[:, :, :3]
    small = cv2.resize(colours, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small * 255 + 0.5).astype(np.uint8)


def jpeg_uri(pixels: Array, profile: bytes | None, budget: int) -> str:
    """Return (h, w, 3) uint8 as the data URI of an sRGB JPEG of at most `budget` bytes where that can be."""
    pixels = convert(np.ascontiguousarray(pixels), profile, srgb())
    while True:
        for quality in QUALITIES:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "JPEG", quality=quality, optimize=True)
            if len(file.getvalue()) <= budget or max(pixels.shape) < 16:
                return _uri("jpeg", file.getvalue())
        size = (pixels.shape[1] + 1) // 2, (pixels.shape[0] + 1) // 2
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def labels(composition: Composition, valid: Array) -> Array:
    """Return who owns which place, (h, w) uint16 of at most 1200 columns; NOBODY where nothing is valid."""
    height, width = valid.shape
    factor = min(1.0, LABELS_ACROSS / max(width, height))
    height, width = max(1, round(height * factor)), max(1, round(width * factor))
    seen = cv2.resize(valid, (width, height), interpolation=cv2.INTER_NEAREST) > 127
    if composition.seams is None:
        owner = np.zeros((height, width), np.uint16)
    else:
        rows, columns = (
            np.minimum(((np.arange(n) + 0.5) * (full / n / composition.seam_step)).astype(int), cells - 1)
            for n, full, cells in zip(
                (height, width), (composition.height, composition.width), composition.seams.shape, strict=True
            )
        )
        owner = composition.seams[np.ix_(rows, columns)].astype(np.uint16)
    return np.where(seen, owner, np.uint16(NOBODY))


def labels_uri(owner: Array) -> str:
    """Return owners (h, w) as the data URI of a PNG whose red is the low byte and green the high one."""
    planes = np.stack([owner & 255, owner >> 8, np.zeros_like(owner)], 2).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(planes).save(file, "PNG", optimize=True)
    return _uri("png", file.getvalue())


def mask_uri(mask: Array) -> str:
    """Return a mask (H, W) bool as the data URI of a PNG that is clear where it marks nothing."""
    picture = Image.fromarray(mask.astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, *MARKED])
    file = io.BytesIO()
    picture.save(file, "PNG", bits=1, transparency=0, optimize=True)
    return _uri("png", file.getvalue())


def label_places(owner: Array, count: int) -> list[tuple[float, float] | None]:
    """Return for each owner the place (x, y), in 0..1, that lies deepest in its region."""
    height, width = owner.shape
    found: list[tuple[float, float] | None] = []
    for k in range(count):
        mine = owner == k
        rows, columns = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
        if not len(rows):
            found.append(None)
            continue
        top, left = rows[0], columns[0]
        region = np.pad(mine[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.uint8), 1)
        depth = cv2.distanceTransform(region, cv2.DIST_L2, 3)[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        found.append((float(left + x + 0.5) / width, float(top + y + 0.5) / height))
    return found


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
