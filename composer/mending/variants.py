"""Mirrored, turned and scaled copies of a picture beside it, so that patches can be taken from them too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from composer.backend import namespace, resize, to_numpy

Array = NDArray[Any]
Variant = Literal["mirrored", "turned", "scaled"]

__all__ = ["Variant", "with_variants"]

SCALES = 0.75, 4 / 3
GAP = 8  # pixels between copies


def with_variants(
    image: Any, hole: Array, source: Array, variants: Sequence[str]
) -> tuple[Any, Array, Array]:
    """Lay copies of what patches may be taken from to the right of a picture.

    Each kind multiplies what there is: "mirrored" by left and right, "turned" by quarter turns, "scaled" by
    three quarters and four thirds. All three make 24 copies, and the search takes so much longer.

    Parameters
    ----------
    image : (H, W, C) float32
    hole, source : (H, W) bool, NumPy
        What is to be filled, and where patches are taken from.

    Returns
    -------
    image (H', W', C), hole and source (H', W'); the picture is their upper left corner.
    """
    xp = namespace(image)
    clean = xp.where(xp.asarray(source[:, :, None]), image, xp.zeros_like(image))
    copies = [(clean, source)]
    if "scaled" in variants:
        copies += [_scaled(clean, source, scale) for scale in SCALES]
    if "turned" in variants:
        copies += [(_turned(i, k), np.rot90(s, k)) for k in (1, 2, 3) for i, s in copies]
    if "mirrored" in variants:
        copies += [(xp.flip(i, axis=1), s[:, ::-1]) for i, s in copies]
    copies[0] = image, source
    height = max(s.shape[0] for _, s in copies)
    sources = np.concatenate([np.pad(s, ((0, height - s.shape[0]), (0, GAP))) for _, s in copies], 1)
    holes = np.pad(hole, [(0, n - m) for n, m in zip(sources.shape, hole.shape, strict=True)])
    return xp.concat([_padded(i, height) for i, _ in copies], axis=1), holes, sources


def _turned(image: Any, quarters: int) -> Any:
    """Turn (H, W, C) anticlockwise, as numpy.rot90 does."""
    xp = namespace(image)
    if quarters == 2:
        return xp.flip(image, axis=(0, 1))
    across = xp.permute_dims(image, (1, 0, 2))
    return xp.flip(across, axis=0 if quarters == 1 else 1)


def _scaled(image: Any, source: Array, scale: float) -> tuple[Any, Array]:
    """Resize a picture and what of it patches may be taken from: cells that are so wholly."""
    xp = namespace(image)
    shape = max(1, round(source.shape[0] * scale)), max(1, round(source.shape[1] * scale))
    weight = resize(xp.asarray(source.astype(np.float32)[:, :, None]), shape)
    kept = np.asarray(to_numpy(weight)).reshape(shape) > 0.999
    return xp.where(xp.asarray(kept[:, :, None]), resize(image, shape), xp.zeros((), dtype=image.dtype)), kept


def _padded(image: Any, height: int) -> Any:
    """Add rows below up to a height, and the gap to the right."""
    xp = namespace(image)
    rows, columns, channels = image.shape
    below = xp.zeros((height - rows, columns, channels), dtype=image.dtype)
    beside = xp.zeros((height, GAP, channels), dtype=image.dtype)
    return xp.concat([xp.concat([image, below], axis=0), beside], axis=1)
