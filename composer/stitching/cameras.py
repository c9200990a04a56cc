"""First cameras from pairwise homographies: groups, focal length, a tree of rotations, the horizon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.homography import Pair

Array = NDArray[Any]

__all__ = ["connected_groups", "estimate_focal", "level", "relative_focals", "spanning_rotations"]

USUAL_FOCAL = 1.0  # in longer sides: 53 degrees across
LOUDEST = 60  # a pair has no more votes than this, however many matches
TRIANGLE_DEG, VOTE_DEG = 4.0, 35.0
DISAGREE_DEG = 6.0  # by so much, at most, what one camera felt may differ from what all did
STEEP = 0.87  # views nearer than 30 degrees to straight down or up have no horizon
DRIFT_DEG, DRIFT_SHARE = 12.0, 0.2  # a chain may drift by this, and this share of what it turned


def connected_groups(count: int, pairs: Sequence[Pair]) -> list[list[int]]:
    """Return the photos that belong together: connected components, largest first, members sorted."""
    group = list(range(count))
    for pair in pairs:
        _join(group, pair.i, pair.j)
    members: dict[int, list[int]] = {}
    for k in range(count):
        members.setdefault(_root(group, k), []).append(k)
    return sorted(members.values(), key=lambda m: (-len(m), m[0]))


def _root(group: list[int], k: int) -> int:
    """Return who stands for k's group, and shorten the way there (disjoint sets, Tarjan 1975)."""
    while group[k] != k:
        group[k] = group[group[k]]
        k = group[k]
    return k


def _join(group: list[int], i: int, j: int) -> bool:
    """Unite two groups; tell whether they were apart."""
    one, other = _root(group, i), _root(group, j)
    group[max(one, other)] = min(one, other)
    return one != other


def rotations_between(matrices: Array, focal_i: Array, focal_j: Array) -> tuple[Array, Array]:
    """Return the rotations (N, 3, 3) nearest to K_j^-1 H K_i, and their distances (N,) (Frobenius norm).

    `matrices` (N, 3, 3) map centred pixels of photo i to centred pixels of photo j.
    """
    one = np.ones(len(matrices))
    into, out = np.stack([focal_i, focal_i, one], 1), np.stack([1 / focal_j, 1 / focal_j, one], 1)
    m = out[:, :, None] * matrices * into[:, None, :]
    scale = np.cbrt(np.linalg.det(m))
    sound = np.isfinite(scale) & (np.abs(scale) > 1e-12)
    m = np.where(sound[:, None, None], m / np.where(sound, scale, 1)[:, None, None], np.eye(3))
    u, _, vt = np.linalg.svd(m)
    u[:, :, 2] *= np.linalg.det(u @ vt)[:, None]
    r = u @ vt
    return r, np.where(sound, np.linalg.norm(m - r, axis=(1, 2)), np.inf)


def centred(pair: Pair, sizes: list[tuple[int, int]]) -> Array:
    """Return a pair's homography between pixels counted from the image centres."""
    (wi, hi), (wj, hj) = sizes[pair.i], sizes[pair.j]
    to = np.array([[1, 0, (wi - 1) / 2], [0, 1, (hi - 1) / 2], [0, 0, 1.0]])
    back = np.array([[1, 0, -(wj - 1) / 2], [0, 1, -(hj - 1) / 2], [0, 0, 1.0]])
    return back @ pair.matrix @ to


def relative_focals(pairs: list[Pair], sizes: list[tuple[int, int]]) -> Array:
    """Estimate how long each photo's lens is, in units of its longer side and of what is usual (n,).

    What two turned cameras of one focal length share looks as large in one as in the other, in the mean: the
    homographies' scales over the matches, in logarithms, are differences of the lenses' by least squares.
    """
    rows, wanted = np.zeros((len(pairs) + 1, len(sizes))), np.zeros(len(pairs) + 1)
    rows[-1] = 1 / len(sizes)
    for row, pair in enumerate(pairs):
        depth = np.c_[pair.points_i, np.ones(len(pair.points_i))] @ pair.matrix[2]
        areas = np.abs(np.linalg.det(pair.matrix)) / np.maximum(np.abs(depth), 1e-12) ** 3
        weight = np.sqrt(len(depth))
        rows[row, [pair.j, pair.i]] = weight, -weight
        larger = max(sizes[pair.i]) / max(sizes[pair.j])
        wanted[row] = weight * np.log(np.sqrt(np.median(areas)) * larger)
    found = np.linalg.lstsq(rows, wanted)[0]
    return np.asarray(np.exp(found - np.median(found)))


def estimate_focal(
    pairs: list[Pair],
    sizes: list[tuple[int, int]],
    promised: list[float | None],
    relative: Array | None = None,
) -> float:
    """Choose the one focal length, in units of each photo's longer side, under which pairs rotate.

    `relative` (n,) is what each photo's is a multiple of it, where they differ.

    For every value on a grid, homographies are compared with the nearest rotation. EXIF's promise is
    kept unless the homographies contradict it by a factor of two in that distance.

    Returns
    -------
    Focal length divided by the photo's longer side.
    """
    matrices = np.stack([centred(p, sizes) for p in pairs])
    unit = np.array([max(s) for s in sizes]) * (1.0 if relative is None else relative)
    longer = np.array([(unit[p.i], unit[p.j]) for p in pairs]).T
    weights = np.array([np.sqrt(len(p.points_i)) for p in pairs])

    def misfit(f: float) -> float:
        _, errors = rotations_between(matrices, f * longer[0], f * longer[1])
        unusual = 0.003 * np.log(f / USUAL_FOCAL) ** 2  # decides where the photos say nothing
        return float(np.sum(weights * (np.minimum(errors, 0.5) + unusual)))

    grid = np.geomspace(0.25, 8, 61)
    costs = np.array([misfit(f) for f in grid])
    best = float(grid[costs.argmin()])
    known = [f / u for f, u in zip(promised, unit, strict=True) if f]
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
    matrices = np.stack([centred(p, sizes) for p in pairs])
    each = [np.array([focals[k] for k in ends]) for ends in ([p.i for p in pairs], [p.j for p in pairs])]
    turns = list(rotations_between(matrices, *each)[0])
    support = _closed_triangles(n, pairs, turns)
    order = sorted(range(len(pairs)), key=lambda k: (-support[k], -len(pairs[k].points_i), k))
    group = list(range(n))
    edges = [k for k in order if _join(group, pairs[k].i, pairs[k].j)]
    near = _links(n, _voted(n, edges, pairs, turns), pairs, turns)
    one = _walk(near, _farthest(_walk(near, 0)))
    other = _walk(near, _farthest(one))  # the ends of the longest way through the tree
    tree = _walk(near, min(range(n), key=lambda k: (max(one.travelled[k], other.travelled[k]), k)))
    agrees = []
    for pair, turn in zip(pairs, turns, strict=True):
        chained = tree.rotations[pair.j] @ tree.rotations[pair.i].T
        travelled = sum(tree.step[k] for side in _path(tree, pair.i, pair.j) for k in side)
        agrees.append(angle_deg(chained @ turn.T) <= DRIFT_DEG + DRIFT_SHARE * travelled)
    return tree.rotations, agrees


@dataclass(frozen=True)
class _Tree:
    """A spanning tree seen from its root: of each photo its rotation, its parent, the pair that joins it
    to its parent, its depth in edges, the degrees of that last step and of all steps from the root."""

    rotations: list[Array]
    parent: list[int]
    edge: list[int]
    depth: list[int]
    step: list[float]
    travelled: list[float]


def _walk(near: list[list[tuple[int, int, Array]]], root: int) -> _Tree:
    """Walk a tree from a root, breadth first."""
    n = len(near)
    tree = _Tree([np.eye(3)] * n, [-1] * n, [-1] * n, [0] * n, [0.0] * n, [0.0] * n)
    queue = [root]
    for k in queue:
        for other, edge, turn in near[k]:
            if other != tree.parent[k]:
                tree.rotations[other] = turn @ tree.rotations[k]
                tree.parent[other], tree.edge[other] = k, edge
                tree.depth[other] = tree.depth[k] + 1
                tree.step[other] = angle_deg(turn)
                tree.travelled[other] = tree.travelled[k] + tree.step[other]
                queue.append(other)
    return tree


def _farthest(tree: _Tree) -> int:
    return int(np.argmax(tree.travelled))


def _path(tree: _Tree, i: int, j: int) -> tuple[list[int], list[int]]:
    """Return the photos whose steps to their parents make the way between i and j: i's side, j's side."""
    up: tuple[list[int], list[int]] = [], []
    while i != j:
        if tree.depth[i] >= tree.depth[j]:
            up[0].append(i)
            i = tree.parent[i]
        else:
            up[1].append(j)
            j = tree.parent[j]
    return up


def _voted(n: int, edges: list[int], pairs: list[Pair], turns: list[Array]) -> list[int]:
    """Replace tree edges that most of the matches across them contradict.

    Without an edge the tree falls into two parts, and every pair that joins them says how one part is
    turned against the other. If most matches say other than the edge does, one of theirs takes its place.
    What a pair says is R_j^T T_ij R_i, with R from any root: another root would turn all sayings alike.
    The edge that is outvoted by most goes first: a false one turns a whole part of the tree, whose pairs
    then outvote the true edges on the way to it.
    """
    matches = np.array([min(p.matched, LOUDEST) for p in pairs])
    for _ in range(n):
        said, across = _sayings(_walk(_links(n, edges, pairs, turns), 0), pairs, turns)
        most, where, instead = 0, 0, -1
        for at, edge in enumerate(edges):
            views = np.stack([said[k] if above else said[k].T for k, above in across[edge]]).reshape(-1, 9)
            voters = [k for k, _ in across[edge]]
            alike = (views @ views.T - 1) / 2 > np.cos(np.radians(VOTE_DEG))
            votes = alike @ matches[voters]
            best, now = int(votes.argmax()), voters.index(edge)
            if votes[best] - votes[now] > most and not alike[best, now]:
                most, where, instead = int(votes[best] - votes[now]), at, voters[best]
        if instead < 0:
            break
        edges[where] = instead
    return edges


def _sayings(
    tree: _Tree, pairs: list[Pair], turns: list[Array]
) -> tuple[list[Array], dict[int, list[tuple[int, bool]]]]:
    """Return what each pair says, and for each edge the pairs across it and whether their i lies above."""
    across: dict[int, list[tuple[int, bool]]] = {}
    said = []
    for k, (pair, turn) in enumerate(zip(pairs, turns, strict=True)):
        said.append(tree.rotations[pair.j].T @ turn @ tree.rotations[pair.i])
        for side, above in zip(_path(tree, pair.i, pair.j), (False, True), strict=True):
            for photo in side:
                across.setdefault(tree.edge[photo], []).append((k, above))
    return said, across


def _links(
    n: int, edges: list[int], pairs: list[Pair], turns: list[Array]
) -> list[list[tuple[int, int, Array]]]:
    """Return each photo's neighbours in a tree of pairs: which photo, by which pair, turned how."""
    near: list[list[tuple[int, int, Array]]] = [[] for _ in range(n)]
    for k in edges:
        near[pairs[k].i].append((pairs[k].j, k, turns[k]))
        near[pairs[k].j].append((pairs[k].i, k, turns[k].T))
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


def level(rotations: list[Array], square: Array | None = None, gravity: Array | None = None) -> list[Array]:
    """Turn the world so that the horizon lies level and the photos' middle straight ahead.

    People keep cameras level: the cameras' x axes lie in the horizontal plane, whose normal is the
    world's vertical (Brown and Lowe, IJCV 2007, sec. 5). Where the x axes all point one way their
    plane is undetermined, and the mean of the cameras' y axes decides. What is known beats both:
    `gravity`, unit vectors (N, 3) in the cameras' axes, if they agree; and before that `square`, unit
    vectors (N, 3) that the vertical is square to.
    """
    x = np.array([r[0] for r in rotations])
    z = np.array([r[2] for r in rotations])
    down = _agreed(rotations, gravity) if gravity is not None else None
    if down is None:
        down = np.array([r[1] for r in rotations]).mean(0)
        down /= max(float(np.linalg.norm(down)), 1e-9)
        known = x.T @ x / len(x) - 0.01 * np.outer(down, down)
    else:
        known = -np.outer(down, down)
    _, axes = np.linalg.eigh(known if square is None else 1e-3 * known + square.T @ square)
    vertical = axes[:, 0] if axes[:, 0] @ down >= 0 else -axes[:, 0]
    ahead = _ahead(z - np.outer(z @ vertical, vertical), vertical)
    side = np.cross(vertical, ahead)
    world = np.stack([side, vertical, ahead])
    return [r @ world.T for r in rotations]


def _agreed(rotations: list[Array], gravity: Array) -> Array | None:
    """Return the world's downward direction by what the cameras felt; None if they disagree, or look down."""
    felt = np.array([r.T @ g for r, g in zip(rotations, gravity, strict=True)])
    mean = felt.mean(0)
    mean /= max(float(np.linalg.norm(mean)), 1e-9)
    apart = np.degrees(np.arccos(np.clip(felt @ mean, -1, 1)))
    steep = abs(float(np.mean([r[2] for r in rotations], 0) @ mean))
    return mean if apart.max() < DISAGREE_DEG and steep < STEEP else None


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
