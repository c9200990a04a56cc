"""First cameras from pairwise homographies: groups, focal length, a tree of rotations, the horizon."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.homography import Pair

Array = NDArray[Any]

__all__ = ["connected_groups", "estimate_focal", "level", "spanning_rotations"]

USUAL_FOCAL = 1.0  # in longer sides: 53 degrees across
LOUDEST = 60  # a pair has no more votes than this, however many matches
TRIANGLE_DEG, VOTE_DEG = 4.0, 35.0
DRIFT_DEG, DRIFT_SHARE = 12.0, 0.2  # a chain may drift by this, and this share of what it turned


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
        unusual = 0.003 * np.log(f / USUAL_FOCAL) ** 2  # decides where the photos say nothing
        return float(np.sum(weights * (np.minimum(errors, 0.5) + unusual)))

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
    repeated structure feigns seldom closes. Then the matches across each edge vote on it. A pair that
    disagrees with the chain by more than the chain can have drifted is false.

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
    group, tree = list(range(n)), []
    for k in order:
        if group[pairs[k].i] != group[pairs[k].j]:
            old, new = group[pairs[k].j], group[pairs[k].i]
            group = [new if g == old else g for g in group]
            tree.append(k)
    near = _links(n, _voted(n, tree, pairs, turns), pairs, turns)
    start = min(range(n), key=lambda k: (max(t for _, t in _walk(near, k).values()), k))
    walked = _walk(near, start)
    agrees = []
    for pair, turn in zip(pairs, turns, strict=True):
        chained, travelled = _walk(near, pair.i)[pair.j]
        agrees.append(angle_deg(chained @ turn.T) <= DRIFT_DEG + DRIFT_SHARE * travelled)
    return [walked[k][0] for k in range(n)], agrees


def _voted(n: int, tree: list[int], pairs: list[Pair], turns: list[Array]) -> list[int]:
    """Replace tree edges that most of the matches across them contradict.

    Without an edge the tree falls into two parts, and every pair that joins them says how one part is
    turned against the other. If most matches say other than the edge does, one of theirs takes its place.
    """
    matches = np.array([min(p.matched, LOUDEST) for p in pairs])
    for _ in range(n):
        changed = False
        for at, edge in enumerate(tree):
            near = _links(n, [k for k in tree if k != edge], pairs, turns)
            one, other = _walk(near, pairs[edge].i), _walk(near, pairs[edge].j)
            across, said = [], []
            for k, (pair, turn) in enumerate(zip(pairs, turns, strict=True)):
                if (pair.i in one) != (pair.j in one):
                    there = turn if pair.i in one else turn.T
                    i, j = (pair.i, pair.j) if pair.i in one else (pair.j, pair.i)
                    across.append(k)
                    said.append(other[j][0].T @ there @ one[i][0])
            views = np.stack(said).reshape(-1, 9)
            alike = (views @ views.T - 1) / 2 > np.cos(np.radians(VOTE_DEG))
            votes = alike @ matches[across]
            best, now = int(votes.argmax()), across.index(edge)
            if votes[best] > votes[now] and not alike[best, now]:
                tree[at], changed = across[best], True
        if not changed:
            break
    return tree


def _links(n: int, tree: list[int], pairs: list[Pair], turns: list[Array]) -> list[list[tuple[int, Array]]]:
    """Return each photo's neighbours in a tree of pairs, and the rotation to them."""
    near: list[list[tuple[int, Array]]] = [[] for _ in range(n)]
    for k in tree:
        near[pairs[k].i].append((pairs[k].j, turns[k]))
        near[pairs[k].j].append((pairs[k].i, turns[k].T))
    return near


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


def _walk(near: list[list[tuple[int, Array]]], start: int) -> dict[int, tuple[Array, float]]:
    """Return for each node that a tree joins to `start` its rotation and the degrees turned on the way."""
    found: dict[int, tuple[Array, float]] = {start: (np.eye(3), 0.0)}
    queue = [start]
    for k in queue:
        turned, travelled = found[k]
        for other, turn in near[k]:
            if other not in found:
                found[other] = turn @ turned, travelled + angle_deg(turn)
                queue.append(other)
    return found


def level(rotations: list[Array], square: Array | None = None) -> list[Array]:
    """Turn the world so that the horizon lies level and the photos' middle straight ahead.

    People keep cameras level: the cameras' x axes lie in the horizontal plane, whose normal is the
    world's vertical (Brown and Lowe, IJCV 2007, sec. 5). Where the x axes all point one way their
    plane is undetermined, and the mean of the cameras' y axes decides. What is known beats both:
    `square`, unit vectors (N, 3) that the vertical is square to.
    """
    x = np.array([r[0] for r in rotations])
    y = np.array([r[1] for r in rotations])
    z = np.array([r[2] for r in rotations])
    down = y.mean(0)
    down /= max(float(np.linalg.norm(down)), 1e-9)
    habits = x.T @ x / len(x) - 0.01 * np.outer(down, down)
    _, axes = np.linalg.eigh(habits if square is None else 1e-3 * habits + square.T @ square)
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
