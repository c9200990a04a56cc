"""The border of what was cloned, mended by the refiner with both pictures at hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.api.placing import Placed
from composer.api.refining import changed_by, placed
from composer.backend.channels import finite_pixels
from composer.learn.band import seam_of
from composer.learn.joining import REACH, border, brought_to, same_scene
from composer.learn.refining import accepted, gated
from composer.learn.runtime import load_refiner
from composer.learn.simulator import planes_of
from composer.media.masks import TOP
from composer.media.picture import Picture, as_float
from composer.records import Context

Array = NDArray[Any]

__all__ = ["AROUND", "joined"]

AROUND = 48  # pixels around the mask that are looked at
ALIEN = "refine changed nothing: source and target do not show the same scene along the border"


def joined(
    made: Picture, wide: Placed, inwards: float, lit: bool, context: Context
) -> tuple[Array, tuple[str, ...]]:
    """Return the result's pixels with its border mended, and notes on what was left as it was.

    Parameters
    ----------
    made : Picture
        The target with what was cloned.
    wide : Placed
        Source, target and mask, with room around the mask.
    inwards : float
        How far inside the mask's border the seam runs.
    lit : bool
        Whether the source was brought to the target's light.

    Raises
    ------
    WeightsError, Cancelled
    """
    network = load_refiner()
    x0, y0, x1, y1 = wide.rect
    cut = slice(y0, y1), slice(x0, x1)
    unit = np.float32(1 / TOP[made.photo.dtype])
    (colours, valid), (target, _), (source, there) = (
        _colours(p) for p in (as_float(made.pixels[cut]), wide.target * unit, wide.source * unit)
    )
    there &= wide.valid
    if made.alpha is not None:
        valid &= as_float(made.alpha[cut]) > 0.5
    cover = np.asarray(wide.cover > 0.5)
    distance, mask = border(cover, inwards)
    mask = mask * valid
    if not same_scene(target, source, (mask > 0) & there):
        return made.pixels, (ALIEN,)
    if lit:
        source = brought_to(target, source, np.where(there & valid & ~cover, -distance, 0))
    inside = distance > 0
    other, seen = np.where(inside[:, :, None], target, source), np.where(inside, valid, there)
    planes = planes_of(colours, mask, seam_of(distance, REACH), valid, other, seen)
    wanted = gated(colours, mask, changed_by(network, planes, context))
    result, refusals = accepted(colours, wanted, mask, other, seen)
    pixels, _ = placed(made, cut, colours, result)
    return pixels, tuple(f"refine left {tuple(r.rect)} as it was: {r.reason}" for r in refusals)


def _colours(part: Array) -> tuple[Array, Array]:
    """Return a part of a picture as (h, w, 3) float32, and where it is finite."""
    finite = finite_pixels(part)
    whole = np.where(finite[:, :, None], part, 0)
    return np.broadcast_to(whole, (*finite.shape, 3)).astype(np.float32), finite
