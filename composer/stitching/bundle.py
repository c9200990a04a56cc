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
    "crossed",
    "exp_rotations",
    "grown",
    "pair_errors",
    "priors",
    "product",
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


def exp_rotations(omegas: Array) -> Array:
    """Return the rotation matrices (n, 3, 3) of axis-angle vectors (n, 3) (Rodrigues)."""
    angle = np.linalg.norm(omegas, axis=1)[:, None, None]
    x, y, z = omegas.T
    zero = np.zeros_like(x)
    k = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    some = np.maximum(angle, 1e-12)
    return np.eye(3) + np.sin(some) / some * k + (1 - np.cos(some)) / some**2 * (k @ k)


def product(one: Array, other: Array) -> Array:
    """Multiply small matrices (r, k, N) and (k, c, N), one a match."""
    total = one[:, 0, None] * other[None, 0]
    for k in range(1, len(other)):
        total += one[:, k, None] * other[None, k]
    return np.asarray(total)


def crossed(one: Array, other: Array) -> Array:
    """Return one's vectors (..., 3, N) x other's."""
    (a, b, c), (x, y, z) = np.moveaxis(one, -2, 0), np.moveaxis(other, -2, 0)
    return np.stack([b * z - c * y, c * x - a * z, a * y - b * x], -2)


def _optics(lenses: list[Lens], of: Array) -> tuple[Array, Array, Array, Array]:
    """Return for matches their lens's focal_px, half_px (N,), (a, b, c) (3, N) and centre (2, N)."""
    each = np.array([(la.focal_px, la.half_px, *la.distortion, *_centre(la)) for la in lenses]).T
    found = each[:, of]
    return found[0], found[1], found[2:5], found[5:]


def _centre(lens: Lens) -> tuple[float, float]:
    """Return the optical centre in pixels."""
    (x, y), (_, _, _, dx, dy) = lens.centre, lens.shape
    return x + dx * lens.half_px, y + dy * lens.half_px


def _check_fold(lenses: list[Lens]) -> None:
    """Refuse lenses whose polynomial folds back before it reaches the photo's corners, or a little beyond.

    Raises
    ------
    ComposerError
    """
    for lens in lenses:
        (x, y), (_, _, _, dx, dy), half = lens.centre, lens.shape, lens.half_px
        corner = np.hypot(x + 0.5 + abs(dx) * half, y + 0.5 + abs(dy) * half) / half
        r = corner * np.linspace(0.05, 3.0, 60)
        g, slope = polynomial(r, lens.distortion)
        rising = np.logical_and.accumulate(g + r * slope >= 0.1)
        if not (rising & (r >= 1.2 * corner) & (r * g >= 1.01 * corner)).any():
            a, b, c = lens.distortion
            raise ComposerError(f"lens polynomial {a:.3f}, {b:.3f}, {c:.3f} folds back inside the photograph")


def _residuals(matches: Matches, between: Array, lenses: list[Lens], solved: int = 2) -> tuple[Array, Array]:
    """Return where points land less where they were seen (2, N), and the Jacobian (2, 3 + 2 solved, N).

    Columns: omega (3) of the target, then those of `transfer`'s `by_lens`; rotations are perturbed from the
    left, R <- exp(omega) R. The source's omega's are minus the target's, turned by `between` (2P, 3, 3).
    """
    moved = transfer(matches, between, lenses, solved)
    return moved.residual, np.concatenate([crossed(moved.v[None], moved.by_v), moved.by_lens], 1)


def _between(matches: Matches, rotations: list[Array]) -> Array:
    """Return the rotation (2P, 3, 3) from source to target of each direction."""
    turns = np.stack(rotations)
    return np.asarray(turns[matches.target] @ turns[matches.source].transpose(0, 2, 1))


def _with_source(blocks: Array, between: Array) -> Array:
    """Give blocks of `_residuals`'s unknowns those of the source's omega, before the others."""
    wide = blocks.shape[1]
    whole = np.zeros((len(blocks), wide, wide + 3))
    whole[:, :3, :3] = -between
    whole[:, :, 3:] = np.eye(wide)
    turned = whole.transpose(0, 2, 1)
    return np.concatenate([turned @ blocks[:, :, :-1] @ whole, turned @ blocks[:, :, -1:]], 2)


class Transfer(NamedTuple):
    """Points taken from photo to photo.

    `residual` (2, N) is where they land less where they were seen; `ray` and `v` (3, N) are their directions
    in the source and in the target camera; `by_v` (2, 3, N) is the residual's derivative by v, `by_ray` by
    the ray, `by_lens` (2, 2 solved, N) by log f and the first entries of `shape`, of the source's lens and of
    the target's.
    """

    residual: Array
    ray: Array
    v: Array
    by_v: Array
    by_ray: Array
    by_lens: Array


def transfer(matches: Matches, between: Array, lenses: list[Lens], solved: int) -> Transfer:
    """Take points to where a matrix for each direction (2P, 3, 3) says that the other photo sees them."""
    turn = between.transpose(1, 2, 0)[:, :, matches.of]
    f_i, half_i, abc_i, centre_i = _optics(lenses, matches.source[matches.of])
    f_j, half_j, abc_j, centre_j = _optics(lenses, matches.target[matches.of])
    plane = pixel_to_plane((matches.given - centre_i).T, tuple(abc_i), half_i).T
    ray, ray_by_plane = ray_of(plane / f_i, lenses[0].optics)
    v = product(turn, ray[:, None])[:, 0]
    drawn, drawn_by_v = drawn_at(v, lenses[0].optics)
    u = drawn * f_j
    g, slope, bend = _bend(u, abc_j, half_j)
    residual = u * g + centre_j - matches.seen

    by_v = product(bend, drawn_by_v) * f_j
    by_ray = product(by_v, turn)
    by_point = product(by_ray, ray_by_plane) / f_i
    g_i, slope_i, bend_i = _bend(plane, abc_i, half_i)
    by_lens = np.empty((2, 2 * solved, u.shape[1]))
    by_lens[:, 0] = -product(by_point, plane[:, None])[:, 0]
    # r_seen = r g(r; a, b, c) is fixed: dr/db = -r (r^2 - 1) / (g + r g')
    r = np.hypot(plane[0], plane[1]) / half_i
    centre = -half_i * _inverse(bend_i) if solved > 4 else None
    by_shape = _by_shape(-plane / (g_i + r * slope_i), r, centre)
    by_lens[:, 1:solved] = product(by_point, by_shape[:, : solved - 1])
    r = np.hypot(u[0], u[1]) / half_j
    by_lens[:, solved] = u * (g + r * slope)
    centre = half_j * np.eye(2)[:, :, None] if solved > 4 else None
    by_lens[:, solved + 1 :] = _by_shape(u, r, centre)[:, : solved - 1]
    return Transfer(residual, ray, v, by_v, by_ray, by_lens)


def _bend(plane: Array, abc: Array, half: Array) -> tuple[Array, Array, Array]:
    """Return the polynomial g, its slope, and d(p g(|p|))/dp = g I + g'/(r half^2) p p', (2, 2, N)."""
    r = np.hypot(plane[0], plane[1]) / half
    g, slope = polynomial(r, tuple(abc))
    by_plane = slope / np.maximum(r, 1e-9) / half**2 * (plane[:, None] * plane)
    by_plane[[0, 1], [0, 1]] += g
    return g, slope, by_plane


def _inverse(matrices: Array) -> Array:
    """Return the inverse of (2, 2, N) matrices."""
    (a, b), (c, d) = matrices
    return np.array([[d, -b], [-c, a]]) / (a * d - b * c)


def _by_shape(along: Array, r: Array, centre: Array | None) -> Array:
    """Return derivatives (2, 3 or 5, N) by b, a, c: `along` times r^k - 1, and by the optical centre."""
    powers = np.stack([r**2, r**3, r]) - 1
    by_polynomial = along[:, None] * powers
    return by_polynomial if centre is None else np.concatenate([by_polynomial, centre], 1)


def pair_errors(pairs: list[Pair], rotations: list[Array], lenses: list[Lens]) -> list[Array]:
    """Return for each pair each match's larger distance in pixels, of its two directions (N,)."""
    found = [(m, _residuals(m, _between(m, rotations), lenses)[0]) for m in in_parts(pairs)]
    return [e for m, residual in found for e in larger_of_both(m, residual)]


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
        blocks = []
        for m in parts:
            between = _between(m, turns)
            cost, found = weighted_blocks(m, *_residuals(m, between, each, solved), huber_px)
            blocks.append((cost, _with_source(found, between)))
        return assembled(blocks, where, *priors(optics, 3 * n, solved))

    def moved(state: tuple[list[Array], list[Lens]], step: Array) -> tuple[list[Array], list[Lens]]:
        turned = list(exp_rotations(step[: 3 * n].reshape(-1, 3)) @ np.stack(state[0]))
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
