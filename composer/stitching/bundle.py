"""Bundle adjustment of rotating cameras: rotations, focal lengths and radial distortion together.

The residual of a match is where photo i's point lands in photo j, less where it was seen, and the
other way round (Brown and Lowe, IJCV 2007, sec. 4). No scene point is an unknown, so the normal
equations have one block per pair of photographs that overlap: of the Jacobian only the 2 x 10 entries
a match that are not zero are formed, analytically. Levenberg-Marquardt with Huber weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.homography import Pair
from composer.align.lens import pixel_to_plane, polynomial
from composer.errors import ComposerError
from composer.records import Camera

Array = NDArray[Any]

__all__ = [
    "Lens",
    "Matches",
    "add_prior",
    "adjust",
    "cameras_of",
    "check_fold",
    "cross_matrices",
    "exp_rotation",
    "grown",
    "larger_of_both",
    "pair_errors",
    "solve",
    "transfer",
]


@dataclass(frozen=True)
class Lens:
    """What photos of one lens setting share.

    `focal_px` and `b` are the unknowns, `prior_px` and `b_prior` with their spreads (relative for
    the focal length) what is believed beforehand, `half_px` is half the shorter side, `centre` the
    image centre in pixels.
    """

    focal_px: float
    half_px: float
    centre: tuple[float, float]
    b: float = 0.0
    prior_px: float | None = None
    prior_sigma: float = 0.1
    b_prior: float = 0.0
    b_sigma: float = 0.05


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


class Matches:
    """All matches of all pairs, each in both directions, as arrays.

    `of` (N,) is each row's direction, `source` and `target` (2P,) each direction's photos, `spans`
    where each direction's rows lie.
    """

    def __init__(self, pairs: list[Pair]) -> None:
        ends = [(p.i, p.j, p.points_i, p.points_j) for p in pairs]
        ends += [(p.j, p.i, p.points_j, p.points_i) for p in pairs]
        counts = np.array([len(e[2]) for e in ends])
        stops = np.cumsum(counts)
        self.source = np.array([e[0] for e in ends])
        self.target = np.array([e[1] for e in ends])
        self.given = np.concatenate([e[2] for e in ends])
        self.seen = np.concatenate([e[3] for e in ends])
        self.of = np.repeat(np.arange(len(ends)), counts)
        self.spans = [slice(int(b - a), int(b)) for a, b in zip(counts, stops, strict=True)]

    def columns(self, photos: int, lens_of: list[int]) -> Array:
        """Return (2P, 10): which unknowns the Jacobian's columns are, for each direction."""
        lens = 3 * photos + 2 * np.array(lens_of)
        i, j = 3 * self.source[:, None], 3 * self.target[:, None]
        lens_i, lens_j = lens[self.source][:, None], lens[self.target][:, None]
        three, two = np.arange(3), np.arange(2)
        return np.concatenate([i + three, j + three, lens_i + two, lens_j + two], 1)


def _optics(lenses: list[Lens]) -> Array:
    """Return the lenses, one a photo, as columns: focal_px, b, half_px, centre x, centre y."""
    return np.array([(la.focal_px, la.b, la.half_px, *la.centre) for la in lenses]).T


def check_fold(lenses: list[Lens]) -> None:
    """Refuse lenses whose polynomial folds back near the photo's corners.

    Raises
    ------
    ComposerError
    """
    for lens in lenses:
        corner = 1.2 * np.hypot(*lens.centre) / lens.half_px
        if 1 - lens.b + 3 * lens.b * corner**2 < 0.1:
            raise ComposerError(f"lens polynomial b = {lens.b:.3f} folds back inside the photograph")


def _undistort(points: Array, b: Array, half: Array) -> tuple[Array, Array]:
    """Return ideal plane points (N, 2) in pixels and their derivative by b, for one b a point."""
    plane = pixel_to_plane(points, (0.0, b, 0.0), half)
    r = np.hypot(plane[:, 0], plane[:, 1]) / half
    g, slope = polynomial(r, (0.0, b, 0.0))
    # r_seen = r g(r; b) is fixed: dr/db = -r (r^2 - 1) / (g + r g')
    return plane, plane * (-(r**2 - 1) / (g + r * slope))[:, None]


def _residuals(matches: Matches, rotations: list[Array], lenses: list[Lens]) -> tuple[Array, Array]:
    """Return where points land less where they were seen (N, 2), and the Jacobian (N, 2, 10).

    Columns: omega (3) of source and of target, log f and b of source, log f and b of target;
    rotations are perturbed from the left, R <- exp(omega) R.
    """
    turns = np.stack(rotations)
    between = turns[matches.target] @ turns[matches.source].transpose(0, 2, 1)
    residual, ray, v, by_v, by_lens = transfer(matches, between, lenses)
    by_ray = by_v @ between[matches.of]
    jacobian = np.concatenate([by_ray @ cross_matrices(ray), -by_v @ cross_matrices(v), by_lens], 2)
    return residual, jacobian


def transfer(
    matches: Matches, between: Array, lenses: list[Lens]
) -> tuple[Array, Array, Array, Array, Array]:
    """Take points to where a matrix for each direction (2P, 3, 3) says that the other photo sees them.

    Returns
    -------
    residual (N, 2) : where points land less where they were seen
    ray, v (N, 3) : the points in source and target camera
    by_v (N, 2, 3) : the residual's derivative by v
    by_lens (N, 2, 4) : its derivative by log f and b of source, log f and b of target
    """
    turn = between[matches.of]
    optics = _optics(lenses)
    f_i, b_i, half_i, cx_i, cy_i = optics[:, matches.source[matches.of]]
    f_j, b_j, half_j, cx_j, cy_j = optics[:, matches.target[matches.of]]
    plane, plane_by_b = _undistort(matches.given - np.stack([cx_i, cy_i], 1), b_i, half_i)
    ray = np.concatenate([plane / f_i[:, None], np.ones((len(plane), 1))], 1)
    v = (turn @ ray[:, :, None])[:, :, 0]
    z = np.maximum(v[:, 2], 0.05)
    u = v[:, :2] * (f_j / z)[:, None]
    r = np.hypot(u[:, 0], u[:, 1]) / half_j
    g, slope = polynomial(r, (0.0, b_j, 0.0))
    residual = u * g[:, None] + np.stack([cx_j, cy_j], 1) - matches.seen

    # d(u g(|u|))/du = g I + g'/(r half^2) u u', and u = f v / z
    bend = slope / np.maximum(r, 1e-9) / half_j**2
    by_plane = bend[:, None, None] * (u[:, :, None] * u[:, None, :])
    by_plane[:, [0, 1], [0, 1]] += g[:, None]
    by_v = np.empty((len(u), 2, 3))
    by_v[:, :, :2] = by_plane * (f_j / z)[:, None, None]
    by_v[:, :, 2] = -(by_plane @ (u / z[:, None])[:, :, None])[:, :, 0]

    by_lens = np.empty((len(u), 2, 4))
    by_point = (by_v @ turn)[:, :, :2] / f_i[:, None, None]
    by_lens[:, :, 0] = -(by_point @ plane[:, :, None])[:, :, 0]
    by_lens[:, :, 1] = (by_point @ plane_by_b[:, :, None])[:, :, 0]
    by_lens[:, :, 2] = u * (g + r * slope)[:, None]
    by_lens[:, :, 3] = u * (r**2 - 1)[:, None]
    return residual, ray, v, by_v, by_lens


def pair_errors(pairs: list[Pair], rotations: list[Array], lenses: list[Lens]) -> list[Array]:
    """Return for each pair each match's larger distance in pixels, of its two directions (N,)."""
    matches = Matches(pairs)
    residual, _ = _residuals(matches, rotations, lenses)
    return larger_of_both(matches, residual)


def larger_of_both(matches: Matches, residual: Array) -> list[Array]:
    """Return for each pair each match's larger distance (N,), of its two directions."""
    distance = np.hypot(residual[:, 0], residual[:, 1])
    each = [distance[span] for span in matches.spans]
    half = len(each) // 2
    return [np.maximum(there, back) for there, back in zip(each[:half], each[half:], strict=True)]


def adjust(
    pairs: list[Pair],
    rotations: list[Array],
    lenses: list[Lens],
    lens_of: list[int],
    huber_px: float,
    iterations: int = 50,
    tolerance: float = 1e-5,
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

    Returns
    -------
    rotations, lenses : as given, adjusted.
    """
    damping = 1e-3
    matches = Matches(pairs)
    cost, hessian, gradient = _normal_equations(matches, rotations, lenses, lens_of, huber_px)
    for _ in range(iterations):
        diagonal = np.diag(hessian)
        damped = hessian + np.diag(damping * diagonal + 1e-9 * diagonal.max())
        moved = _moved(rotations, lenses, -solve(damped, gradient))
        try:
            check_fold(moved[1])
            trial = _normal_equations(matches, *moved, lens_of, huber_px)
        except ComposerError:
            trial = (np.inf, hessian, gradient)
        if trial[0] < cost:
            gained = cost - trial[0]
            (rotations, lenses), (cost, hessian, gradient) = moved, trial
            damping = max(damping / 8, 1e-9)
            if gained < tolerance * cost:
                break
        else:
            damping *= 8
            if damping > 1e6:
                break
    return rotations, lenses


def solve(matrix: Array, vector: Array) -> Array:
    """Solve the normal equations: dense while they are small, sparse beyond."""
    if len(vector) <= 1500:
        return np.linalg.solve(matrix, vector)
    from scipy.sparse import csc_matrix
    from scipy.sparse.linalg import spsolve

    return np.asarray(spsolve(csc_matrix(matrix), vector))


def _moved(rotations: list[Array], lenses: list[Lens], step: Array) -> tuple[list[Array], list[Lens]]:
    turns = step[: 3 * len(rotations)].reshape(-1, 3)
    optics = step[3 * len(rotations) :].reshape(-1, 2)
    turned = [exp_rotation(w) @ r for w, r in zip(turns, rotations, strict=True)]
    return turned, grown(lenses, optics)


def grown(lenses: list[Lens], step: Array) -> list[Lens]:
    """Return lenses after a step (L, 2) in log f and b."""
    growth = np.exp(np.clip(step[:, 0], -0.3, 0.3))
    return [
        replace(lens, focal_px=float(lens.focal_px * g), b=float(lens.b + b))
        for lens, g, b in zip(lenses, growth, step[:, 1], strict=True)
    ]


def _normal_equations(
    matches: Matches, rotations: list[Array], lenses: list[Lens], lens_of: list[int], huber_px: float
) -> tuple[float, Array, Array]:
    """Return cost, J'WJ and J'Wr, summed pair by pair, priors on the lenses included."""
    n = len(rotations)
    size = 3 * n + 2 * len(lenses)
    hessian, gradient = np.zeros((size, size)), np.zeros(size)
    residual, jacobian = _residuals(matches, rotations, [lenses[k] for k in lens_of])
    distance = np.hypot(residual[:, 0], residual[:, 1])
    weight = np.minimum(1, huber_px / np.maximum(distance, 1e-12))
    cost = float(np.sum(np.where(weight < 1, huber_px * (2 * distance - huber_px), distance**2)))
    weighted = jacobian * weight[:, None, None]
    joined = np.concatenate([jacobian, residual[:, :, None]], 2)
    blocks = np.stack([weighted[s].reshape(-1, 10).T @ joined[s].reshape(-1, 11) for s in matches.spans])
    where = matches.columns(n, lens_of)
    np.add.at(hessian, (where[:, :, None], where[:, None, :]), blocks[:, :, :10])
    np.add.at(gradient, where, blocks[:, :, 10])
    for k, lens in enumerate(lenses):
        at = 3 * n + 2 * k
        cost += add_prior(hessian, gradient, at + 1, lens.b - lens.b_prior, lens.b_sigma)
        if lens.prior_px:
            off = float(np.log(lens.focal_px / lens.prior_px))
            cost += add_prior(hessian, gradient, at, off, lens.prior_sigma)
    return cost, hessian, gradient


def add_prior(hessian: Array, gradient: Array, at: int, off: float, sigma: float) -> float:
    """Add a Gaussian prior, worth as much as 10 matches that are off by one pixel at one sigma."""
    weight = 10 / sigma**2
    hessian[at, at] += weight
    gradient[at] += weight * off
    return weight * off * off


def cameras_of(rotations: list[Array], lenses: list[Lens], lens_of: list[int]) -> list[Camera]:
    """Return the adjusted cameras as records."""
    return [
        Camera(r, lenses[k].focal_px, (0.0, lenses[k].b, 0.0))
        for r, k in zip(rotations, lens_of, strict=True)
    ]
