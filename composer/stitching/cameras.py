"""First cameras from pairwise homographies: groups, focal length, a tree of rotations, the horizon."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.homography import Pair

Array = NDArray[Any]

__all__ = ["connected_groups", "estimate_focal", "level", "spanning_rotations"]

TRIANGLE_DEG = 4.0
DRIFT_DEG, DRIFT_SHARE = 12.0, 0.08  # a chain may drift by this, and this share of what it turned


def connected_groups(count: int, pairs: list[Pair]) -> list[list[int]]:
    """Return the photos that belong together: connected components, largest first, members sorted."""
    group = list(range(count))
    for pair in pairs:
        old, new = group[pair.j], group[pair.i]
        group = [new if g == old else g for g in group]
    members = [[k for k in range(count) if group[k] == g] for g in sorted(set(group))]
    return sorted(members, key=lambda m: (-len(m), m[0]))


def rotation_between(matrix: Array, focal_i: float, focal_j: float) -> tuple[Array, float]:
    """Return the rotation nearest to K_j^-1 H K_i and its distance (Frobenius norm).

    `matrix` maps centred pixels of photo i to centred pixels of photo j.
    """
    m = np.diag([1 / focal_j, 1 / focal_j, 1]) @ matrix @ np.diag([focal_i, focal_i, 1])
    scale = np.cbrt(np.linalg.det(m))
    if not np.isfinite(scale) or abs(scale) < 1e-12:
        return np.eye(3), np.inf
    m = m / scale
    u, _, vt = np.linalg.svd(m)
    r = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    return r, float(np.linalg.norm(m - r))


def centred(pair: Pair, sizes: list[tuple[int, int]]) -> Array:
    """Return a pair's homography between pixels counted from the image centres."""
    (wi, hi), (wj, hj) = sizes[pair.i], sizes[pair.j]
    to = np.array([[1, 0, (wi - 1) / 2], [0, 1, (hi - 1) / 2], [0, 0, 1.0]])
    back = np.array([[1, 0, -(wj - 1) / 2], [0, 1, -(hj - 1) / 2], [0, 0, 1.0]])
    return back @ pair.matrix @ to


def estimate_focal(pairs: list[Pair], sizes: list[tuple[int, int]], promised: list[float | None]) -> float:
    """Choose the one focal length, in units of each photo's longer side, under which pairs rotate.

    For every value on a grid, homographies are compared with the nearest rotation. EXIF's promise is
    kept unless the homographies contradict it by a factor of two in that distance.

    Returns
    -------
    Focal length divided by the photo's longer side.
    """
    matrices = [centred(p, sizes) for p in pairs]
    weights = np.array([np.sqrt(len(p.points_i)) for p in pairs])

    def misfit(f: float) -> float:
        errors = [
            rotation_between(m, f * max(sizes[p.i]), f * max(sizes[p.j]))[1]
            for m, p in zip(matrices, pairs, strict=True)
        ]
        return float(np.sum(weights * np.minimum(errors, 0.5)))

    grid = np.geomspace(0.25, 8, 61)
    costs = np.array([misfit(f) for f in grid])
    best = float(grid[costs.argmin()])
    known = [f / max(s) for f, s in zip(promised, sizes, strict=True) if f]
    if known:
        exif = float(np.median(known))
        if misfit(exif) <= 2 * costs.min() + 0.02 * weights.sum():
            return exif
    return best


def spanning_rotations(
    pairs: list[Pair], sizes: list[tuple[int, int]], focals: list[float]
) -> tuple[list[Array], list[bool]]:
    """Chain pairwise rotations along a spanning tree, and judge every pair by it.

    The tree prefers pairs that close triangles with other pairs, then pairs with many matches: what
    repeated structure feigns seldom closes. A pair that disagrees with the chain by more than the chain
    can have drifted is false.

    Parameters
    ----------
    pairs : every photo must be reachable
    sizes, focals : of each photo

    Returns
    -------
    rotations : list of (3, 3), world to camera
    agrees : list of bool, one a pair
    """
    n = len(sizes)
    turns = [rotation_between(centred(p, sizes), focals[p.i], focals[p.j])[0] for p in pairs]
    support = _closed_triangles(n, pairs, turns)
    order = sorted(range(len(pairs)), key=lambda k: (-support[k], -len(pairs[k].points_i), k))
    group = list(range(n))
    near: list[list[tuple[int, Array]]] = [[] for _ in range(n)]
    for k in order:
        i, j = pairs[k].i, pairs[k].j
        if group[i] != group[j]:
            old, new = group[j], group[i]
            group = [new if g == old else g for g in group]
            near[i].append((j, turns[k]))
            near[j].append((i, turns[k].T))
    start = min(range(n), key=lambda k: (max(t for _, t in _walk(near, k)), k))
    rotations = [turn for turn, _ in _walk(near, start)]
    agrees = []
    for pair, turn in zip(pairs, turns, strict=True):
        chained, travelled = _walk(near, pair.i)[pair.j]
        agrees.append(angle_deg(chained @ turn.T) <= DRIFT_DEG + DRIFT_SHARE * travelled)
    return rotations, agrees


def angle_deg(turn: Array) -> float:
    """Return a rotation's angle in degrees."""
    return float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))


def _closed_triangles(n: int, pairs: list[Pair], turns: list[Array]) -> list[int]:
    """Count for each pair the triangles of pairs that return to where they started."""
    between: list[dict[int, Array]] = [{} for _ in range(n)]
    for pair, turn in zip(pairs, turns, strict=True):
        between[pair.i][pair.j], between[pair.j][pair.i] = turn, turn.T
    found = []
    for pair, turn in zip(pairs, turns, strict=True):
        others = between[pair.i].keys() & between[pair.j].keys()
        ways = [between[k][pair.j] @ between[pair.i][k] for k in others]
        found.append(sum(angle_deg(way @ turn.T) < TRIANGLE_DEG for way in ways))
    return found


def _walk(near: list[list[tuple[int, Array]]], start: int) -> list[tuple[Array, float]]:
    """Return for each node of a tree the rotation from `start` and the degrees turned on the way."""
    found: dict[int, tuple[Array, float]] = {start: (np.eye(3), 0.0)}
    queue = [start]
    for k in queue:
        turned, travelled = found[k]
        for other, turn in near[k]:
            if other not in found:
                found[other] = turn @ turned, travelled + angle_deg(turn)
                queue.append(other)
    return [found[k] for k in range(len(near))]


def level(rotations: list[Array]) -> list[Array]:
    """Turn the world so that the horizon lies level and the photos' middle straight ahead.

    People keep cameras level: the cameras' x axes lie in the horizontal plane, whose normal is the
    world's vertical (Brown and Lowe, IJCV 2007, sec. 5). Where the x axes all point one way their
    plane is undetermined, and the mean of the cameras' y axes decides.
    """
    x = np.array([r[0] for r in rotations])
    y = np.array([r[1] for r in rotations])
    z = np.array([r[2] for r in rotations])
    down = y.mean(0)
    down /= max(float(np.linalg.norm(down)), 1e-9)
    _, axes = np.linalg.eigh(x.T @ x / len(x) - 0.01 * np.outer(down, down))
    vertical = axes[:, 0] if axes[:, 0] @ down >= 0 else -axes[:, 0]
    ahead = _ahead(z - np.outer(z @ vertical, vertical), vertical)
    side = np.cross(vertical, ahead)
    world = np.stack([side, vertical, ahead])
    return [r @ world.T for r in rotations]


def _ahead(flat: Array, vertical: Array) -> Array:
    """Return the horizontal direction opposite the widest gap between the photos' directions."""
    base = np.cross(vertical, [1.0, 0, 0] if abs(vertical[0]) < 0.9 else [0, 0, 1.0])
    base /= np.linalg.norm(base)
    other = np.cross(vertical, base)
    angles = np.sort(np.arctan2(flat @ other, flat @ base))
    gaps = np.diff(np.r_[angles, angles[0] + 2 * np.pi])
    widest = int(gaps.argmax())
    middle = angles[widest] + gaps[widest] / 2 + np.pi
    if len(angles) == 1:
        middle = angles[0]
    return np.cos(middle) * base + np.sin(middle) * other
