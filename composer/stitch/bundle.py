"""Bundle adjustment of rotating cameras: rotations, focal lengths and radial distortion together.

The residual of a match is where photo i's point lands in photo j, less where it was seen, and the
other way round (Brown and Lowe, IJCV 2007, sec. 4). No scene point is an unknown, so the normal
equations have one block per pair of photographs that overlap: the Jacobian is never formed, its
blocks (2 x 10 a residual) are, analytically. Levenberg-Marquardt with Huber weights.
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

__all__ = ["Lens", "adjust", "cameras_of", "exp_rotation", "pair_errors"]


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


@dataclass(frozen=True)
class _Rays:
    """Points of one photo on the ideal image plane, in pixels from the centre, and d(plane)/db."""

    plane: Array
    by_b: Array


def exp_rotation(omega: Array) -> Array:
    """Return the rotation matrix of an axis-angle vector (Rodrigues)."""
    angle = float(np.linalg.norm(omega))
    k = _cross(omega[None] / angle)[0] if angle > 1e-12 else _cross(omega[None])[0]
    s, c = (np.sin(angle), 1 - np.cos(angle)) if angle > 1e-12 else (1.0, 0.0)
    return np.eye(3) + s * k + c * (k @ k)


def _cross(v: Array) -> Array:
    """Return (N, 3, 3) matrices with _cross(v) @ w = v x w."""
    zero = np.zeros(len(v))
    x, y, z = v.T
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)


def _undistort(points: Array, lens: Lens) -> _Rays:
    distortion = (0.0, lens.b, 0.0)
    centred = points - lens.centre
    plane = pixel_to_plane(centred, distortion, lens.half_px)
    r = np.hypot(plane[:, 0], plane[:, 1]) / lens.half_px
    g, slope = polynomial(r, distortion)
    # r_seen = r g(r; b) is fixed: dr/db = -r (r^2 - 1) / (g + r g')
    stretch = -(r**2 - 1) / (g + r * slope)
    return _Rays(plane, plane * stretch[:, None])


def _transfer(
    source: _Rays, seen: Array, cam_i: Array, cam_j: Array, lens_i: Lens, lens_j: Lens
) -> tuple[Array, Array]:
    """Return residuals (N, 2) of i's points in photo j and the Jacobian (N, 2, 10).

    Columns: omega_i (3), omega_j (3), log f_i, b_i, log f_j, b_j; rotations are perturbed from the
    left, R <- exp(omega) R.
    """
    n = len(seen)
    turn = cam_j @ cam_i.T
    ray = np.c_[source.plane / lens_i.focal_px, np.ones(n)]
    v = ray @ turn.T
    z = np.maximum(v[:, 2], 0.05)
    u = v[:, :2] / z[:, None] * lens_j.focal_px
    r = np.hypot(u[:, 0], u[:, 1]) / lens_j.half_px
    g, slope = polynomial(r, (0.0, lens_j.b, 0.0))
    residual = u * g[:, None] + lens_j.centre - seen

    by_plane = (slope / np.maximum(r, 1e-9) / lens_j.half_px**2)[:, None, None] * (
        u[:, :, None] * u[:, None, :]
    )
    by_plane[:, [0, 1], [0, 1]] += g[:, None]
    project = np.zeros((n, 2, 3))
    project[:, 0, 0] = project[:, 1, 1] = lens_j.focal_px / z
    project[:, :, 2] = -u / z[:, None]
    by_v = by_plane @ project

    jacobian = np.empty((n, 2, 10))
    jacobian[:, :, 0:3] = by_v @ (turn @ _cross(ray))
    jacobian[:, :, 3:6] = -by_v @ _cross(v)
    by_ray = by_v @ turn[:, :2] / lens_i.focal_px
    jacobian[:, :, 6] = np.einsum("nij,nj->ni", by_ray, -source.plane)
    jacobian[:, :, 7] = np.einsum("nij,nj->ni", by_ray, source.by_b)
    jacobian[:, :, 8] = u * (g + r * slope)[:, None]
    jacobian[:, :, 9] = u * (r**2 - 1)[:, None]
    return residual, jacobian


def _both_ways(pair: Pair, rotations: list[Array], lenses: list[Lens]) -> tuple[Array, Array]:
    """Return residuals (2N, 2) and Jacobian (2N, 2, 10) of a pair, i to j first, columns as for i, j."""
    i, j = pair.i, pair.j
    rays_i, rays_j = _undistort(pair.points_i, lenses[i]), _undistort(pair.points_j, lenses[j])
    there, jac_there = _transfer(rays_i, pair.points_j, rotations[i], rotations[j], lenses[i], lenses[j])
    back, jac_back = _transfer(rays_j, pair.points_i, rotations[j], rotations[i], lenses[j], lenses[i])
    swapped = jac_back[:, :, [3, 4, 5, 0, 1, 2, 8, 9, 6, 7]]
    return np.concatenate([there, back]), np.concatenate([jac_there, swapped])


def pair_errors(pair: Pair, rotations: list[Array], lenses: list[Lens]) -> Array:
    """Return each match's larger distance in pixels, of its two directions (N,)."""
    residual, _ = _both_ways(pair, rotations, lenses)
    distance = np.hypot(residual[:, 0], residual[:, 1]).reshape(2, -1)
    return distance.max(0)


def adjust(
    pairs: list[Pair],
    rotations: list[Array],
    lenses: list[Lens],
    lens_of: list[int],
    huber_px: float,
    iterations: int = 50,
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

    Returns
    -------
    rotations, lenses : as given, adjusted.
    """
    damping = 1e-3
    cost, hessian, gradient = _normal_equations(pairs, rotations, lenses, lens_of, huber_px)
    for _ in range(iterations):
        diagonal = np.diag(hessian)
        damped = hessian + np.diag(damping * diagonal + 1e-9 * diagonal.max())
        step = -_solve(damped, gradient)
        moved = _moved(rotations, lenses, step)
        try:
            trial = _normal_equations(pairs, moved[0], moved[1], lens_of, huber_px)
        except ComposerError:
            trial = (np.inf, hessian, gradient)
        if trial[0] < cost:
            gained = cost - trial[0]
            (rotations, lenses), (cost, hessian, gradient) = moved, trial
            damping = max(damping / 8, 1e-9)
            if gained < 1e-7 * cost:
                break
        else:
            damping *= 8
            if damping > 1e6:
                break
    return rotations, lenses


def _solve(matrix: Array, vector: Array) -> Array:
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
    moved = [
        replace(lens, focal_px=float(lens.focal_px * np.exp(np.clip(o[0], -0.3, 0.3))), b=float(lens.b + o[1]))
        for o, lens in zip(optics, lenses, strict=True)
    ]  # fmt: skip
    return turned, moved


def _normal_equations(
    pairs: list[Pair], rotations: list[Array], lenses: list[Lens], lens_of: list[int], huber_px: float
) -> tuple[float, Array, Array]:
    """Return cost, J'WJ and J'Wr, summed pair by pair, priors on the lenses included."""
    n = len(rotations)
    size = 3 * n + 2 * len(lenses)
    hessian, gradient, cost = np.zeros((size, size)), np.zeros(size), 0.0
    each = [lenses[k] for k in lens_of]
    for pair in pairs:
        residual, jacobian = _both_ways(pair, rotations, each)
        distance = np.hypot(residual[:, 0], residual[:, 1])
        weight = np.minimum(1, huber_px / np.maximum(distance, 1e-12))
        cost += float(np.sum(np.where(weight < 1, huber_px * (2 * distance - huber_px), distance**2)))
        flat = jacobian.reshape(-1, 10)
        weighted = flat * np.repeat(weight, 2)[:, None]
        at_i, at_j = 3 * n + 2 * lens_of[pair.i], 3 * n + 2 * lens_of[pair.j]
        where = np.r_[
            3 * pair.i : 3 * pair.i + 3, 3 * pair.j : 3 * pair.j + 3, at_i : at_i + 2, at_j : at_j + 2
        ]
        np.add.at(hessian, (where[:, None], where[None]), weighted.T @ flat)
        np.add.at(gradient, where, weighted.T @ residual.ravel())
    for k, lens in enumerate(lenses):
        at = 3 * n + 2 * k
        cost += _add_prior(hessian, gradient, at + 1, lens.b - lens.b_prior, lens.b_sigma)
        if lens.prior_px:
            off = float(np.log(lens.focal_px / lens.prior_px))
            cost += _add_prior(hessian, gradient, at, off, lens.prior_sigma)
    return cost, hessian, gradient


def _add_prior(hessian: Array, gradient: Array, at: int, off: float, sigma: float) -> float:
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
