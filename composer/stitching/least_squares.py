"""Robust non-linear least squares over matches: one small block of the normal equations a pair of photos.

No scene point is an unknown: a match's residual is where photo i's point lands in photo j less where it was
seen, and the other way round. So J'WJ has entries only where two photos match. Levenberg-Marquardt with
Huber weights; the equations are an array while they are small, a sparse matrix beyond.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from composer.align.homography import Pair
from composer.errors import ComposerError

Array = NDArray[Any]
Equations = tuple[float, Any, Array]  # cost, J'WJ, J'Wr
State = TypeVar("State")

__all__ = ["Equations", "Matches", "assembled", "in_parts", "larger_of_both", "minimise", "weighted_blocks"]

SHRINK = 1 / 3  # of the damping, after a step that kept its promise
DENSE = 600  # unknowns up to which the normal equations are an array: SciPy takes time to import
PART = 4_000  # matches whose Jacobian is formed at once


class Matches:
    """Matches of some pairs, each in both directions, as arrays.

    `given` and `seen` (2, N) are points in the source and in the target, `of` (N,) each match's direction,
    `source` and `target` (2P,) each direction's photos, `spans` where each direction's matches lie.
    """

    def __init__(self, pairs: list[Pair]) -> None:
        ends = [(p.i, p.j, p.points_i, p.points_j) for p in pairs]
        ends += [(p.j, p.i, p.points_j, p.points_i) for p in pairs]
        counts = np.array([len(e[2]) for e in ends])
        stops = np.cumsum(counts)
        self.source = np.array([e[0] for e in ends])
        self.target = np.array([e[1] for e in ends])
        self.given = np.ascontiguousarray(np.concatenate([e[2] for e in ends]).T)
        self.seen = np.ascontiguousarray(np.concatenate([e[3] for e in ends]).T)
        self.of = np.repeat(np.arange(len(ends)), counts)
        self.spans = [slice(int(b - a), int(b)) for a, b in zip(counts, stops, strict=True)]

    def columns(self, each: int, photos: int, lens_of: list[int], solved: int) -> Array:
        """Return (2P, 2 each + 2 solved): which unknowns the Jacobian's columns are, for each direction.

        `each` unknowns a photo come first, then `solved` a lens; in the Jacobian those of the source, of
        the target, of the source's lens and of the target's.
        """
        lens = each * photos + solved * np.array(lens_of)
        ends = [each * k[:, None] + np.arange(each) for k in (self.source, self.target)]
        ends += [lens[k][:, None] + np.arange(solved) for k in (self.source, self.target)]
        return np.concatenate(ends, 1)


def in_parts(pairs: list[Pair]) -> list[Matches]:
    """Return the matches of all pairs in parts whose Jacobians take some 20 MB each."""
    ends = np.cumsum([len(p.points_i) for p in pairs]) // PART
    starts = np.r_[0, np.flatnonzero(np.diff(ends)) + 1, len(pairs)]
    return [Matches(pairs[a:b]) for a, b in pairwise(starts)]


def larger_of_both(matches: Matches, residual: Array) -> list[Array]:
    """Return for each pair each match's larger distance (N,), of its two directions."""
    distance = np.hypot(residual[0], residual[1])
    each = [distance[span] for span in matches.spans]
    half = len(each) // 2
    return [np.maximum(there, back) for there, back in zip(each[:half], each[half:], strict=True)]


def weighted_blocks(
    matches: Matches, residual: Array, jacobian: Array, huber_px: float
) -> tuple[float, Array]:
    """Return the Huber cost, and for each direction J'WJ and, as last column, J'Wr: (2P, C, C + 1).

    `residual` (2, N) and `jacobian` (2, C, N) have matches last: NumPy is slow over short last axes.
    """
    distance = np.hypot(residual[0], residual[1])
    weight = np.minimum(1, huber_px / np.maximum(distance, 1e-12))
    cost = float(np.sum(np.where(weight < 1, huber_px * (2 * distance - huber_px), distance**2)))
    across, down = jacobian * weight
    joined_across, joined_down = np.concatenate([jacobian, residual[:, None]], 1).transpose(0, 2, 1)
    each = [across[:, s] @ joined_across[s] + down[:, s] @ joined_down[s] for s in matches.spans]
    return cost, np.stack(each)


def assembled(
    parts: list[tuple[float, Array]], where: Array, prior: Array, slope: Array, cost: float
) -> Equations:
    """Add up blocks into the normal equations.

    Parameters
    ----------
    parts : list of (cost, blocks), from `weighted_blocks`
    where : (2P, C)
        The unknowns that each block speaks of.
    prior, slope : (U,)
        What beliefs add to the diagonal of J'WJ and to J'Wr.
    cost : float
        What they cost.
    """
    cost += sum(c for c, _ in parts)
    blocks = np.concatenate([b for _, b in parts])
    size, gradient = len(prior), slope.copy()
    np.add.at(gradient, where, blocks[:, :, -1])
    rows, columns = np.broadcast_arrays(where[:, :, None], where[:, None, :])
    if size <= DENSE:
        hessian = np.diag(prior)
        np.add.at(hessian, (rows, columns), blocks[:, :, :-1])
        return cost, hessian, gradient
    from scipy.sparse import coo_array, diags_array

    entries = coo_array((blocks[:, :, :-1].ravel(), (rows.ravel(), columns.ravel())), (size, size))
    return cost, entries.tocsc() + diags_array(prior), gradient


def minimise(
    state: State,
    equations: Callable[[State], Equations],
    moved: Callable[[State, Array], State],
    iterations: int,
    tolerance: float,
) -> State:
    """Lower the cost by Levenberg-Marquardt until a step gains less than a share of `tolerance`.

    Damping follows how much of what a step promised it kept (Nielsen, IMM-REP-1999-05). `moved` may refuse a
    step by raising ComposerError.
    """
    damping, growth = 1e-3, 2.0
    cost, hessian, gradient = equations(state)
    for _ in range(iterations):
        diagonal = hessian.diagonal()
        damped = damping * diagonal + 1e-9 * diagonal.max()
        step = -_solve(hessian, damped, gradient)
        promised = float(step @ (damped * step - gradient))
        try:
            there = moved(state, step)
            trial = equations(there)
        except (ComposerError, np.linalg.LinAlgError):
            there, trial = state, (np.inf, hessian, gradient)
        if trial[0] < cost:
            gained = cost - trial[0]
            state, (cost, hessian, gradient) = there, trial
            damping = max(damping * max(SHRINK, 1 - (2 * gained / promised - 1) ** 3), 1e-9)
            growth = 2.0
            if gained < tolerance * cost:
                break
        else:
            damping *= growth
            growth *= 2
            if damping > 1e6:
                break
    return state


def _solve(matrix: Any, damping: Array, vector: Array) -> Array:
    """Solve the damped normal equations: dense where the matrix is, else sparse."""
    if isinstance(matrix, np.ndarray):
        return np.linalg.solve(matrix + np.diag(damping), vector)
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import splu

    symmetric = {"SymmetricMode": True}
    factors = splu((matrix + diags_array(damping)).tocsc(), "MMD_AT_PLUS_A", 0.0, options=symmetric)
    return np.asarray(factors.solve(vector))
