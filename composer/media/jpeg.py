"""How a JPEG file is coded: steps, sampling, and where its blocks lie in the upright picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.errors import PhotoError
from composer.media.opening import DAMAGE, is_jpeg, opened, reason
from composer.records import Photo

Array = NDArray[Any]

__all__ = ["Coding", "coding_of"]


@dataclass(frozen=True)
class Coding:
    """How the blocks of a picture are coded.

    Attributes
    ----------
    steps : (8, 8) float32 for each channel, brightness first
        Between values of the cosine transform of 0..255.
    sampling : (rows, columns) for each channel
        Pixels that share a sample.
    origin : (y, x)
        Where a block begins, for the channels that have the fewest samples.
    """

    steps: tuple[Array, ...] = field(repr=False)
    sampling: tuple[tuple[int, int], ...]
    origin: tuple[int, int] = (0, 0)


def coding_of(photo: Photo) -> Coding | None:
    """Return how a JPEG file is coded; None for other files, and for other colours than brightness and two.

    Raises
    ------
    PhotoError
    """
    if photo.path is None or not is_jpeg(photo.path):
        return None
    try:
        with opened(photo.path) as image:
            tables: dict[int, list[int]] = getattr(image, "quantization", {})
            layers: list[tuple[int, int, int, int]] = getattr(image, "layer", [])
            turned = image.info.get("adobe_transform", 1) != 1  # colours are stored as they are
    except DAMAGE as error:
        raise PhotoError(f"{photo.path}: cannot be read ({reason(error)}); copy it again") from error
    if len(layers) not in (1, 3) or (turned and len(layers) == 3) or any(t not in tables for *_, t in layers):
        return None
    steps = [np.array(tables[t], np.float32).reshape(8, 8) for *_, t in layers]
    most = max(v for _, _, v, _ in layers), max(h for _, h, _, _ in layers)
    if any(most[0] % v or most[1] % h for _, h, v, _ in layers):
        return None
    sampling = [(most[0] // v, most[1] // h) for _, h, v, _ in layers]
    return _upright(photo, steps, sampling)


def _upright(photo: Photo, steps: list[Array], sampling: list[tuple[int, int]]) -> Coding:
    """Turn a coding as the photo is turned: where an axis is reversed, blocks begin at its end."""
    if photo.orientation >= 5:
        steps, sampling = [s.T for s in steps], [(x, y) for y, x in sampling]
    y = photo.height if photo.orientation in (3, 4, 7, 8) else 0
    x = photo.width if photo.orientation in (2, 3, 6, 7) else 0
    return Coding(tuple(steps), tuple(sampling), (y, x))
