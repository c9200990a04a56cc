"""Masks painted over photos, in pixels: what is excluded limits validity, as alpha does."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from composer.records import Photo

Array = NDArray[Any]

__all__ = ["TOP", "mask_of", "without_excluded"]

REACH = 2  # pixels on either side that cubic interpolation reads
TOP = {"uint8": 255, "uint16": 65535, "float32": 1}  # the value of white


def mask_of(png: bytes, height: int, width: int, grow: int = 0) -> Array:
    """Return a mask (height, width) bool; where it is reduced, a pixel counts that is white in any part.

    `grow` says by how many pixels it is made wider on all sides.
    """
    with Image.open(io.BytesIO(png)) as image:
        mask = np.asarray(image.convert("L"))
    if mask.shape != (height, width):
        how = cv2.INTER_AREA if height < mask.shape[0] else cv2.INTER_NEAREST
        mask = np.asarray(cv2.resize(mask.astype(np.float32), (width, height), interpolation=how))
    size = 2 * grow + 1
    grown = cv2.dilate((mask > 0).astype(np.uint8), np.ones((size, size), np.uint8))
    return np.asarray(grown) > 0


def without_excluded(pixels: Array, photo: Photo) -> Array:
    """Return a photo's pixels (h, w, C + 1), their alpha zero at and just beside what is excluded.

    Interpolation thus never reads an excluded pixel where alpha is above one half. Pixels of a photo
    without such a mask come back as they are.
    """
    if photo.exclude is None:
        return pixels
    height, width = pixels.shape[:2]
    hidden = mask_of(photo.exclude, height, width, REACH)
    alpha = np.full((height, width), TOP[photo.dtype], pixels.dtype)
    if pixels.shape[2] > photo.channels:
        alpha = pixels[:, :, -1]
    alpha = np.where(hidden, pixels.dtype.type(0), alpha)
    return np.concatenate([pixels[:, :, : photo.channels], alpha[:, :, None]], 2)
