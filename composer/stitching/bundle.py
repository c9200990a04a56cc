"""Bundle adjustment of rotating cameras: rotations, focal lengths and radial distortion together.

The residual of a match is where photo i's point lands in photo j, less where it was seen, and the
other way round (Brown and Lowe, IJCV 2007, sec. 4); its derivatives are analytic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from composer.align.homography import Pair
from composer.align.lens import drawn_at, pixel_to_plane, polynomial, ray_of
from composer.errors import ComposerError
from composer.records import Camera, Optics
from composer.stitching.least_squares import (
    Equations,
    Matches,
    assembled,
    in_parts,
    larger_of_both,
    minimise,
    weighted_blocks,
)

Array = NDArray[Any]

__all__ = [
    "Lens",
    "Transfer",
    "adjust",
    "cameras_of",
    "cross_matrices",
    "exp_rotation",
    "grown",
    "pair_errors",
    "priors",
    "transfer",
]

SHAPE_SPREAD = (0.05, 0.02, 0.02, 0.02, 0.02)  # of b, a, c, and the optical centre in `half_px`


@dataclass(frozen=True)
class Lens:
    """What photos of one lens setting share.

    Attributes
    ----------
    focal_px : float
    half_px : float
        Half the photo's shorter side.
    centre : (x, y)
        The photo's centre in pixels.
    shape : (5,)
        Hugin's b, a, c, then the optical centre's x and y less the photo's, in units of `half_px`.
    prior_px, prior_sigma : float
        Focal length believed beforehand and its relative spread.
    shape_prior, shape_sigma : (5,)
        The same for `shape`.
    optics : str
        See `records.Camera`.
    """

    focal_px: float
    half_px: float
    centre: tuple[float, float]
    shape: tuple[float, ...] = (0.0,) * 5
    prior_px: float | None = None
    prior_sigma: float = 0.1
    shape_prior: tuple[float, ...] = (0.0,) * 5
    shape_sigma: tuple[float, ...] = SHAPE_SPREAD
    optics: Optics = "rectilinear"

    @property
    def distortion(self) -> tuple[float, float, float]:
        """Hugin's a, b, c."""
        b, a, c, _, _ = self.shape
        return a, b, c


def exp_rotation(omega: Array) -> Array:
    """Return the rotation matrix of an axis-angle vector (Rodrigues)."""
    angle = float(np.linalg.norm(omega))
    k = cross_matrices(omega[None] / angle)[0] if angle > 1e-12 else cross_matrices(omega[None])[0]
    s, c = (np.sin(angle), 1 - np.cos(angle)) if angle > 1e-12 else (1.0, 0.0)
    return np.eye(3) + s * k + c * (k @ k)


def cross_matrices(v: Array) -> Array:
    """Return (N, 3, 3) matrices with cross_matrices(v) @ w = v x w."""
    zero = np.zeros(len(v))
    x, y, z = v.T
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)


def _optics(lenses: list[Lens], of: Array) -> tuple[Array, Array, Array, Array]:
    """Return for rows of matches their lens's focal_px, half_px (N,), (a, b, c) and centre, one a row."""
    found = np.array([(la.focal_px, la.half_px, *la.distortion, *_centre(la)) for la in lenses])[of].T
    return found[0], found[1], found[2:5], found[5:].T


def _centre(lens: Lens) -> tuple[float, float]:
    """Return the optical centre in pixels."""
    (x, y), (_, _, _, dx, dy) = lens.centre, lens.shape
    return x + dx * lens.half_px, y + dy * lens.half_px


def _check_fold(lenses: list[Lens]) -> None:
    """Refuse lenses whose polynomial folds back near the photo's corners.

    Raises
    ------
    ComposerError
    """
    for lens in lenses:
        r = np.linspace(0.1, 1.2 * np.hypot(*lens.centre) / lens.half_px, 12)
        g, slope = polynomial(r, lens.distortion)
        if (g + r * slope < 0.1).any():
            a, b, c = lens.distortion
            raise ComposerError(f"lens polynomial {a:.3f}, {b:.3f}, {c:.3f} folds back inside the photograph")


def _residuals(
    matches: Matches, rotations: list[Array], lenses: list[Lens], solved: int = 2
) -> tuple[Array, Array]:
    """Return where points land less where they were seen (N, 2), and the Jacobian (N, 2, 6 + 2 solved).

    Columns: omega (3) of source and of target, then those of `transfer`'s `by_lens`; rotations are
    perturbed from the left, R <- exp(omega) R.
    """
    turns = np.stack(rotations)
    between = turns[matches.target] @ turns[matches.source].transpose(0, 2, 1)
    moved = transfer(matches, between, lenses, solved)
    by_ray = moved.by_v @ between[matches.of]
    jacobian = [by_ray @ cross_matrices(moved.ray), -moved.by_v @ cross_matrices(moved.v), moved.by_lens]
    return moved.residual, np.concatenate(jacobian, 2)


class Transfer(NamedTuple):
    """Points taken from photo to photo.

    `residual` (N, 2) is where they land less where they were seen; `ray` and `v` (N, 3) are their directions
    in the source and in the target camera; `by_v` (N, 2, 3) is the residual's derivative by v, `by_lens`
    (N, 2, 2 solved) by log f and the first entries of `shape`, of the source's lens and of the target's.
    """

    residual: Array
    ray: Array
    v: Array
    by_v: Array
    by_lens: Array


def transfer(matches: Matches, between: Array, lenses: list[Lens], solved: int) -> Transfer:
    """Take points to where a matrix for each direction (2P, 3, 3) says that the other photo sees them."""
    turn = between[matches.of]
    f_i, half_i, abc_i, centre_i = _optics(lenses, matches.source[matches.of])
    f_j, half_j, abc_j, centre_j = _optics(lenses, matches.target[matches.of])
    plane = pixel_to_plane(matches.given - centre_i, tuple(abc_i), half_i)
    ray, ray_by_plane = ray_of(plane / f_i[:, None], lenses[0].optics)
    v = (turn @ ray[:, :, None])[:, :, 0]
    drawn, drawn_by_v = drawn_at(v, lenses[0].optics)
    u = drawn * f_j[:, None]
    g, slope, bend = _bend(u, abc_j, half_j)
    residual = u * g[:, None] + centre_j - matches.seen

    by_v = (bend @ drawn_by_v) * f_j[:, None, None]
    by_point = (by_v @ turn @ ray_by_plane) / f_i[:, None, None]
    g_i, slope_i, bend_i = _bend(plane, abc_i, half_i)
    by_lens = np.empty((len(u), 2, 2 * solved))
    by_lens[:, :, 0] = -(by_point @ plane[:, :, None])[:, :, 0]
    # r_seen = r g(r; a, b, c) is fixed: dr/db = -r (r^2 - 1) / (g + r g')
    r = np.hypot(*plane.T) / half_i
    shift = -plane / (g_i + r * slope_i)[:, None]
    centre = -half_i[:, None, None] * np.linalg.inv(bend_i) if solved > 4 else None
    by_lens[:, :, 1:solved] = by_point @ _by_shape(shift, r, centre)[:, :, : solved - 1]
    r = np.hypot(*u.T) / half_j
    by_lens[:, :, solved] = u * (g + r * slope)[:, None]
    centre = half_j[:, None, None] * np.eye(2) if solved > 4 else None
    by_lens[:, :, solved + 1 :] = _by_shape(u, r, centre)[:, :, : solved - 1]
    return Transfer(residual, ray, v, by_v, by_lens)


def _bend(plane: Array, abc: Array, half: Array) -> tuple[Array, Array, Array]:
    """Return the polynomial g, its slope, and d(p g(|p|))/dp = g I + g'/(r half^2) p p', (N, 2, 2)."""
    r = np.hypot(plane[:, 0], plane[:, 1]) / half
    g, slope = polynomial(r, tuple(abc))
    bend = slope / np.maximum(r, 1e-9) / half**2
    by_plane = bend[:, None, None] * (plane[:, :, None] * plane[:, None, :])
    by_plane[:, [0, 1], [0, 1]] += g[:, None]
    return g, slope, by_plane


def _by_shape(along: Array, r: Array, centre: Array | None) -> Array:
    """Return derivatives (N, 2, 3 or 5) by b, a, c: `along` times r^k - 1, and by the optical centre."""
    powers = np.stack([r**2, r**3, r], 1) - 1
    by_polynomial = along[:, :, None] * powers[:, None, :]
    return by_polynomial if centre is None else np.concatenate([by_polynomial, centre], 2)


def pair_errors(pairs: list[Pair], rotations: list[Array], lenses: list[Lens]) -> list[Array]:
    """Return for each pair each match's larger distance in pixels, of its two directions (N,)."""
    parts = in_parts(pairs)
    return [e for m in parts for e in larger_of_both(m, _residuals(m, rotations, lenses)[0])]


def adjust(
    pairs: list[Pair],
    rotations: list[Array],
    lenses: list[Lens],
    lens_of: list[int],
    huber_px: float,
    iterations: int = 50,
    tolerance: float = 1e-5,
    solved: int = 2,
) -> tuple[list[Array], list[Lens]]:
    """Minimise the Huber-weighted reprojection error over rotations, focal lengths and distortion.

    Parameters
    ----------
    pairs : list of Pair
    rotations : list of (3, 3), one a photo
    lenses : list of Lens, one a lens
    lens_of : list of int
        Which lens each photo has.
    huber_px : float
        Residuals beyond this count linearly.
    iterations : int
        At most so many steps.
    tolerance : float
        Stop when a step lowers the cost by a smaller share.
    solved : int
        How much of each lens is solved for: 2 is focal length and b, 6 a, c and the centre too.

    Returns
    -------
    rotations, lenses : as given, adjusted.
    """
    parts, n = in_parts(pairs), len(rotations)
    where = np.concatenate([m.columns(3, n, lens_of, solved) for m in parts])

    def equations(state: tuple[list[Array], list[Lens]]) -> Equations:
        turns, optics = state
        each = [optics[k] for k in lens_of]
        blocks = [weighted_blocks(m, *_residuals(m, turns, each, solved), huber_px) for m in parts]
        return assembled(blocks, where, *priors(optics, 3 * n, solved))

    def moved(state: tuple[list[Array], list[Lens]], step: Array) -> tuple[list[Array], list[Lens]]:
        turned = [exp_rotation(w) @ r for w, r in zip(step[: 3 * n].reshape(-1, 3), state[0], strict=True)]
        return turned, grown(state[1], step[3 * n :].reshape(-1, solved))

    return minimise((rotations, lenses), equations, moved, iterations, tolerance)


def grown(lenses: list[Lens], steps: Array) -> list[Lens]:
    """Return lenses moved by steps (n, solved) of log f and the first entries of `shape`.

    Raises
    ------
    ComposerError
        A polynomial folds back near a photo's corners.
    """
    growth = np.exp(np.clip(steps[:, 0], -0.3, 0.3))
    moves = np.pad(steps[:, 1:], ((0, 0), (0, 6 - steps.shape[1])))
    found = [
        replace(lens, focal_px=float(lens.focal_px * g), shape=tuple((lens.shape + move).tolist()))
        for lens, g, move in zip(lenses, growth, moves, strict=True)
    ]
    _check_fold(found)
    return found


def priors(lenses: list[Lens], start: int, solved: int) -> tuple[Array, Array, float]:
    """Return what beliefs about lenses, unknowns from `start` on, add to J'WJ's diagonal, J'Wr and cost.

    Gaussian, each worth as much as 10 matches that are off by one pixel at one sigma.
    """
    off, sigma = np.zeros((len(lenses), solved)), np.full((len(lenses), solved), np.inf)
    for k, lens in enumerate(lenses):
        off[k, 1:] = np.subtract(lens.shape, lens.shape_prior)[: solved - 1]
        sigma[k, 1:] = lens.shape_sigma[: solved - 1]
        if lens.prior_px:
            off[k, 0], sigma[k, 0] = np.log(lens.focal_px / lens.prior_px), lens.prior_sigma
    weight = 10 / sigma.ravel() ** 2
    diagonal = np.r_[np.zeros(start), weight]
    slope = np.r_[np.zeros(start), weight * off.ravel()]
    return diagonal, slope, float(np.sum(weight * off.ravel() ** 2))


def cameras_of(rotations: list[Array], lenses: list[Lens], lens_of: list[int]) -> list[Camera]:
    """Return the adjusted cameras as records."""
    return [
        Camera(
            r,
            lenses[k].focal_px,
            lenses[k].distortion,
            (lenses[k].shape[3] * lenses[k].half_px, lenses[k].shape[4] * lenses[k].half_px),
            lenses[k].optics,
        )
        for r, k in zip(rotations, lens_of, strict=True)
    ]
