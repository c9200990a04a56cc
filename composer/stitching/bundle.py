"""Bundle adjustment of rotating cameras: rotations, focal lengths and radial distortion together.

The residual of a match is where photo i's point lands in photo j, less where it was seen, and the
other way round (Brown and Lowe, IJCV 2007, sec. 4). No scene point is an unknown, so the normal
equations have one block per pair of photographs that overlap: of the Jacobian only the entries that
are not zero, 10 to 18 for each of a match's coordinates, are formed, analytically. Levenberg-Marquardt
with Huber weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.homography import Pair
from composer.align.lens import drawn_at, pixel_to_plane, polynomial, ray_of
from composer.errors import ComposerError
from composer.records import Camera, Optics

Array = NDArray[Any]

__all__ = ["Lens", "adjust", "cameras_of", "exp_rotation", "pair_errors"]

DENSE = 600  # unknowns up to which the normal equations are an array: SciPy takes time to import
PART = 20_000  # matches whose Jacobian is formed at once


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
    k = _cross(omega[None] / angle)[0] if angle > 1e-12 else _cross(omega[None])[0]
    s, c = (np.sin(angle), 1 - np.cos(angle)) if angle > 1e-12 else (1.0, 0.0)
    return np.eye(3) + s * k + c * (k @ k)


def _cross(v: Array) -> Array:
    """Return (N, 3, 3) matrices with _cross(v) @ w = v x w."""
    zero = np.zeros(len(v))
    x, y, z = v.T
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)


class _Matches:
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

    def columns(self, photos: int, lens_of: list[int], solved: int) -> Array:
        """Return (2P, 6 + 2 solved): which unknowns the Jacobian's columns are, for each direction."""
        lens = 3 * photos + solved * np.array(lens_of)
        i, j = 3 * self.source[:, None], 3 * self.target[:, None]
        lens_i, lens_j = lens[self.source][:, None], lens[self.target][:, None]
        three, each = np.arange(3), np.arange(solved)
        return np.concatenate([i + three, j + three, lens_i + each, lens_j + each], 1)


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
    matches: _Matches, rotations: list[Array], lenses: list[Lens], solved: int = 2
) -> tuple[Array, Array]:
    """Return where points land less where they were seen (N, 2), and the Jacobian (N, 2, 6 + 2 solved).

    Columns: omega (3) of source and of target; log f and the first entries of `shape`, together
    `solved`, of source and of target. Rotations are perturbed from the left, R <- exp(omega) R.
    """
    turns = np.stack(rotations)
    between = turns[matches.target] @ turns[matches.source].transpose(0, 2, 1)
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

    jacobian = np.empty((len(u), 2, 6 + 2 * solved))
    by_v = (bend @ drawn_by_v) * f_j[:, None, None]
    by_ray = by_v @ turn
    jacobian[:, :, 0:3] = by_ray @ _cross(ray)
    jacobian[:, :, 3:6] = -by_v @ _cross(v)
    by_point = (by_ray @ ray_by_plane) / f_i[:, None, None]
    g_i, slope_i, bend_i = _bend(plane, abc_i, half_i)
    r = np.hypot(*plane.T) / half_i
    jacobian[:, :, 6] = -(by_point @ plane[:, :, None])[:, :, 0]
    # r_seen = r g(r; a, b, c) is fixed: dr/db = -r (r^2 - 1) / (g + r g')
    shift = -plane / (g_i + r * slope_i)[:, None]
    by_shape = _by_shape(shift, r, -half_i[:, None, None] * np.linalg.inv(bend_i) if solved > 4 else None)
    jacobian[:, :, 7 : 6 + solved] = by_point @ by_shape[:, :, : solved - 1]
    r = np.hypot(*u.T) / half_j
    jacobian[:, :, 6 + solved] = u * (g + r * slope)[:, None]
    centre = half_j[:, None, None] * np.eye(2) if solved > 4 else None
    jacobian[:, :, 7 + solved :] = _by_shape(u, r, centre)[:, :, : solved - 1]
    return residual, jacobian


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
    found = []
    for matches in _in_parts(pairs):
        residual, _ = _residuals(matches, rotations, lenses)
        distance = np.hypot(residual[:, 0], residual[:, 1])
        each = [distance[span] for span in matches.spans]
        half = len(each) // 2
        found += [np.maximum(there, back) for there, back in zip(each[:half], each[half:], strict=True)]
    return found


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
    damping = 1e-3
    matches = _in_parts(pairs)
    cost, hessian, gradient = _normal_equations(matches, rotations, lenses, lens_of, huber_px, solved)
    for _ in range(iterations):
        diagonal = hessian.diagonal()
        step = _solve(hessian, damping * diagonal + 1e-9 * diagonal.max(), gradient)
        moved = _moved(rotations, lenses, -step, solved)
        try:
            _check_fold(moved[1])
            trial = _normal_equations(matches, *moved, lens_of, huber_px, solved)
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


def _in_parts(pairs: list[Pair]) -> list[_Matches]:
    """Return the matches of all pairs in parts whose Jacobians take some 20 MB each."""
    ends = np.cumsum([len(p.points_i) for p in pairs]) // PART
    starts = np.r_[0, np.flatnonzero(np.diff(ends)) + 1, len(pairs)]
    return [_Matches(pairs[a:b]) for a, b in pairwise(starts)]


def _solve(matrix: Any, damping: Array, vector: Array) -> Array:
    """Solve the damped normal equations: dense where the matrix is, else sparse."""
    if isinstance(matrix, np.ndarray):
        return np.linalg.solve(matrix + np.diag(damping), vector)
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import splu

    symmetric = {"SymmetricMode": True}
    factors = splu((matrix + diags_array(damping)).tocsc(), "MMD_AT_PLUS_A", 0.0, options=symmetric)
    return np.asarray(factors.solve(vector))


def _moved(
    rotations: list[Array], lenses: list[Lens], step: Array, solved: int
) -> tuple[list[Array], list[Lens]]:
    turns = step[: 3 * len(rotations)].reshape(-1, 3)
    optics = step[3 * len(rotations) :].reshape(-1, solved)
    moves = np.pad(optics[:, 1:], ((0, 0), (0, 6 - solved)))
    turned = [exp_rotation(w) @ r for w, r in zip(turns, rotations, strict=True)]
    growth = np.exp(np.clip(optics[:, 0], -0.3, 0.3))
    moved = [
        replace(lens, focal_px=float(lens.focal_px * g), shape=tuple((lens.shape + move).tolist()))
        for lens, g, move in zip(lenses, growth, moves, strict=True)
    ]
    return turned, moved


def _normal_equations(
    parts: list[_Matches],
    rotations: list[Array],
    lenses: list[Lens],
    lens_of: list[int],
    huber_px: float,
    solved: int,
) -> tuple[float, Any, Array]:
    """Return cost, J'WJ and J'Wr, summed pair by pair, priors on the lenses included.

    J'WJ is an array while it is small, a sparse matrix beyond.
    """
    n = len(rotations)
    size, wide = 3 * n + solved * len(lenses), 6 + 2 * solved
    each = [lenses[k] for k in lens_of]
    summed = [_blocks(matches, rotations, each, huber_px, solved) for matches in parts]
    cost = sum(c for c, _ in summed)
    blocks = np.concatenate([b for _, b in summed])
    where = np.concatenate([matches.columns(n, lens_of, solved) for matches in parts])
    gradient, prior = np.zeros(size), np.zeros(size)
    np.add.at(gradient, where, blocks[:, :, wide])
    for k, lens in enumerate(lenses):
        at = 3 * n + solved * k
        for m in range(solved - 1):
            off = lens.shape[m] - lens.shape_prior[m]
            cost += _add_prior(prior, gradient, at + 1 + m, off, lens.shape_sigma[m])
        if lens.prior_px:
            off = float(np.log(lens.focal_px / lens.prior_px))
            cost += _add_prior(prior, gradient, at, off, lens.prior_sigma)
    rows, columns = np.broadcast_arrays(where[:, :, None], where[:, None, :])
    if size <= DENSE:
        hessian = np.diag(prior)
        np.add.at(hessian, (rows, columns), blocks[:, :, :wide])
        return cost, hessian, gradient
    from scipy.sparse import coo_array, diags_array

    entries = coo_array((blocks[:, :, :wide].ravel(), (rows.ravel(), columns.ravel())), (size, size))
    return cost, entries.tocsc() + diags_array(prior), gradient


def _blocks(
    matches: _Matches, rotations: list[Array], lenses: list[Lens], huber_px: float, solved: int
) -> tuple[float, Array]:
    """Return the cost, and for each direction J'WJ and, as last column, J'Wr: (2P, C, C + 1)."""
    residual, jacobian = _residuals(matches, rotations, lenses, solved)
    wide = jacobian.shape[2]
    distance = np.hypot(residual[:, 0], residual[:, 1])
    weight = np.minimum(1, huber_px / np.maximum(distance, 1e-12))
    cost = float(np.sum(np.where(weight < 1, huber_px * (2 * distance - huber_px), distance**2)))
    weighted = jacobian * weight[:, None, None]
    joined = np.concatenate([jacobian, residual[:, :, None]], 2)
    each = [weighted[s].reshape(-1, wide).T @ joined[s].reshape(-1, wide + 1) for s in matches.spans]
    return cost, np.stack(each)


def _add_prior(prior: Array, gradient: Array, at: int, off: float, sigma: float) -> float:
    """Add a Gaussian prior, worth as much as 10 matches that are off by one pixel at one sigma."""
    weight = 10 / sigma**2
    prior[at] += weight
    gradient[at] += weight * off
    return weight * off * off


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
