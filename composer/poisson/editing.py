"""Poisson image editing of one rectangle, in all its modes: the patch operator behind `composer.clone`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend.channels import finite_pixels
from composer.errors import OptionError, PhotoError
from composer.media.masks import TOP
from composer.poisson.fields import edges_of, flatten, illumination, mixed
from composer.poisson.solving import CROSS, Problem, Solved, solve

Array = NDArray[Any]

__all__ = ["DEFAULTS", "LUMA", "MODES", "Options", "check_numbers", "poisson", "seamless"]

MODES = "normal", "mixed", "monochrome", "flatten", "illumination", "color"
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601


@dataclass(frozen=True)
class Options:
    """What can be chosen beside the mode.

    Attributes
    ----------
    factors : (R, G, B)
        For "color": what the source's channels are multiplied by.
    low, high : float
        For "flatten": Canny's thresholds, in grey levels of 255.
    strength, exponent : float
        For "illumination": Pérez's 0.2 and beta.
    tolerance : float
        How far pixels may lie from the solution, as the solver estimates it, in grey levels of 255.
    workers : int
        Threads. The result does not depend on it.
    """

    factors: tuple[float, float, float] = (1.0, 1.0, 1.0)
    low: float = 30.0
    high: float = 45.0
    strength: float = 0.2
    exponent: float = 0.2
    tolerance: float = 0.02
    workers: int = 1


DEFAULTS = Options()


def poisson(
    source: Array,
    target: Array,
    mask: Array,
    mode: str = "normal",
    *,
    options: Options = DEFAULTS,
    valid: Array | None = None,
    known: Array | None = None,
) -> Solved:
    """Put the masked part of a source into a target so that no border shows (Pérez et al., 2003).

    Parameters
    ----------
    source, target : (H, W, C), both uint8, uint16 or float32 in 0..1
    mask : (H, W) bool
        Pixels to solve for. Pixels beside it are kept to (Dirichlet); at the picture's edge the result
        follows the source (Neumann). A part that nothing bounds keeps the target's mean.
    mode : one of `MODES`
    valid : (H, W) bool or None
        Where the source has pixels; beyond its end its last ones are repeated. None is wherever it is finite.
    known : (H, W) bool or None
        Where the target has pixels. None is wherever it is finite.

    Returns
    -------
    Solved
        `pixels` are of the target's type, outside the mask bit for bit; `residual` in grey levels of 255.

    Raises
    ------
    SolverError, OptionError
    PhotoError
        A value that the mode needs is not a number.

    Examples
    --------
    >>> target, mask = np.full((5, 5, 1), 0.5, np.float32), np.zeros((5, 5), bool)
    >>> mask[1:4, 1:4] = True
    >>> float(poisson(target + 0.2, target, mask).pixels[2, 2, 0])
    0.5
    """
    if mode not in MODES:
        raise OptionError(f'mode is "{mode}"; give one of {", ".join(MODES)}')
    inside = mask if valid is None else mask & valid
    there = finite_pixels(source) if valid is None else valid & finite_pixels(source)
    check_numbers(inside, there, "source")
    seen = finite_pixels(target) if known is None else known & finite_pixels(target)
    if mode == "mixed":
        check_numbers(inside if known is None else inside & known, seen, "target")
    base = _continued(_base(source, mode, options), inside, there)
    problem = Problem(base, target, inside, seen & ~inside)
    if mode == "illumination":
        return _in_logarithms(problem, options)
    if mode == "mixed":
        problem = replace(problem, target=_numbers(target, inside & ~seen), field=mixed(seen))
    elif mode == "flatten":
        unit = base * np.float32(1 / TOP[target.dtype.name])
        problem = replace(problem, field=flatten(edges_of(unit, options.low, options.high)))
    level = TOP[target.dtype.name] / 255
    solved = solve(problem, options.tolerance * level, options.workers)
    return replace(solved, residual=solved.residual / level)


def seamless(picture: Array) -> tuple[Array, Array]:
    """Return a picture whose edge pixels are the mean of opposite ones, and a mask of all others."""
    around = picture.copy()
    for edge in (around, around.swapaxes(0, 1)):
        mean = (edge[0].astype(np.float64) + edge[-1]) / 2
        edge[0] = edge[-1] = mean if picture.dtype == np.float32 else np.rint(mean)
    inside = np.zeros(picture.shape[:2], bool)
    inside[1:-1, 1:-1] = True
    return around, inside


def _base(source: Array, mode: str, options: Options) -> Array:
    """Return the picture whose differences a mode starts from."""
    if mode == "monochrome" and source.shape[2] == 3:
        return np.repeat((source.astype(np.float32) @ LUMA)[:, :, None], 3, 2)
    if mode == "color":
        return source * np.array(options.factors[: source.shape[2]], np.float32)
    return source


def _in_logarithms(problem: Problem, options: Options) -> Solved:
    """Change the illumination, in logarithms of one plus the grey level."""
    target = problem.target
    white = TOP[target.dtype.name]
    scale = np.float32(255 / white)
    base, around = (np.log1p(np.maximum(p * scale, 0)) for p in (problem.base, target))
    field = illumination(base, problem.inside, options.strength, options.exponent)
    logarithms = replace(problem, base=base, target=around, field=field)
    solved = solve(logarithms, options.tolerance / 256, options.workers)
    found = np.expm1(solved.pixels) / scale
    if target.dtype != np.float32:
        found = np.clip(np.rint(found), 0, white).astype(target.dtype)
    pixels = np.where(problem.inside[:, :, None], found, target)
    return Solved(pixels, solved.residual * 256)


def _numbers(target: Array, unknown: Array) -> Array:
    """Return the target with zeros where it is not known: nothing may come of what is no number."""
    if target.dtype != np.float32 or not unknown.any():
        return target
    return np.where(unknown[:, :, None], np.float32(0), target)


def check_numbers(inside: Array, there: Array, what: str, corner: tuple[int, int] = (0, 0)) -> None:
    """Check that a picture has numbers in the mask; `corner` is where (0, 0) lies in the user's picture.

    Raises
    ------
    PhotoError
    """
    missing = inside & ~there
    if missing.any():
        y, x = (int(i[0]) for i in np.nonzero(missing))
        place = f"x {x + corner[0]}, y {y + corner[1]}"
        raise PhotoError(f"{what} is not a number at {place}, inside the mask; mend it, or mask it out")


def _continued(base: Array, inside: Array, there: Array) -> Array:
    """Repeat the base beyond its end: beside the mask, the mean of the masked neighbours."""
    ring = (cv2.dilate(inside.view(np.uint8), CROSS) > 0) & ~inside & ~there
    if not ring.any():
        return base
    y, x = np.nonzero(ring)
    total, count = np.zeros((len(y), base.shape[2])), np.zeros((len(y), 1))
    padded = np.pad(inside, 1)
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        used = np.flatnonzero(padded[y + down + 1, x + right + 1])
        total[used] += base[y[used] + down, x[used] + right]
        count[used] += 1
    base = base.astype(np.float32)
    base[y, x] = total / count
    return base
