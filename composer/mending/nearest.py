"""Nearest patches: for each patch that touches a hole, one outside that looks most like it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend import namespace

Array = NDArray[Any]

__all__ = ["Ground", "best_match", "described", "ground_of", "least", "numbers", "search"]

WIDE, NARROW = 4, 2  # frequencies (down + right) that describe a patch's brightness and its colours
EXACT = 1 << 23  # comparisons up to which every pair of patches is tried
JUMPS = 1, 4  # pixels to the neighbours whose matches are tried
CHUNK = 1 << 14


@dataclass(frozen=True)
class Ground:
    """Where patches of a picture (H, W) lie, as indices of their centres in the flattened picture.

    Attributes
    ----------
    shape : (H, W)
    steps : (K,) int
        From a centre to the K pixels of its patch.
    targets : (T,) int
        Patches that touch the hole.
    rank : (H * W,) int
        The target at a pixel; T where there is none.
    sources : (S,) int
        Patches that lie where pixels may be taken from.
    row : (H * W,) int
        The source at a pixel; S where there is none.
    """

    shape: tuple[int, int]
    steps: Array
    targets: Array
    rank: Array
    sources: Array
    row: Array


def ground_of(hole: Array, source: Array, size: int) -> Ground:
    """Lay out the patches of `size` pixels: those that touch the hole, and those wholly within the source."""
    height, width = hole.shape
    square = np.ones((size, size), np.uint8)
    inside = np.zeros(hole.shape, bool)
    r = size // 2
    inside[r : height - r, r : width - r] = True
    touching = (cv2.dilate(hole.astype(np.uint8), square) > 0) & inside
    whole = (cv2.erode((source & ~hole).astype(np.uint8), square) > 0) & inside
    down, right = np.mgrid[-r : r + 1, -r : r + 1]
    targets, sources = np.flatnonzero(touching), np.flatnonzero(whole)
    steps = (down * width + right).ravel()
    return Ground(
        hole.shape, steps, targets, numbers(targets, hole.size), sources, numbers(sources, hole.size)
    )


def numbers(places: Array, size: int) -> Array:
    """Return which of the places each of `size` pixels is; their count where it is none."""
    found = np.full(size, len(places))
    found[places] = np.arange(len(places))
    return found


def basis(size: int, channels: int, texture: float) -> Array:
    """Return what describes a patch: (size^2 * channels, D) float32, applied from the right.

    Low frequencies of the cosine transform, of brightness more than of the colours: distances of patches
    are kept but for what few photos have and noise has most. The last two channels hold texture, of which
    the mean counts, `texture` times.
    """
    frequency = np.arange(size)[:, None] * (2 * np.arange(size) + 1) * np.pi / (2 * size)
    cosine = np.cos(frequency) * np.sqrt(2 / size)
    cosine[0] /= np.sqrt(2)
    colours = channels - 2
    opponent = np.array([[1, 1, 1], [1, 0, -1], [0.5, -1, 0.5]])
    opponent = opponent / np.linalg.norm(opponent, axis=1, keepdims=True) if colours == 3 else np.eye(1)
    columns = []
    for k, mix in enumerate(opponent):
        for v, u in np.ndindex(size, size):
            if u + v <= (WIDE if k == 0 else NARROW):
                columns.append(np.outer(np.outer(cosine[v], cosine[u]), [*mix, 0, 0]))
    for k in range(colours, channels):
        columns.append(texture * np.outer(np.full(size**2, 1 / size), np.eye(channels)[k]))
    return np.stack([c.ravel() for c in columns], 1).astype(np.float32)


def described(values: Any, centres: Any, steps: Array, how: Any) -> Any:
    """Describe the patches at `centres` (n,) of a picture (H * W, C) in (n, D) numbers."""
    xp = namespace(values)
    parts = []
    for k in range(0, centres.shape[0], CHUNK):
        places = centres[k : min(k + CHUNK, centres.shape[0])][:, None] + xp.asarray(steps)[None, :]
        pixels = xp.take(values, xp.reshape(places, (-1,)), axis=0)
        parts.append(xp.reshape(pixels, (places.shape[0], -1)) @ how)
    return xp.concat(parts) if parts else xp.zeros((0, how.shape[1]), dtype=values.dtype)


def best_match(wanted: Any, offered: Any, price: Any) -> tuple[Any, Any]:
    """Return, for each of (T, D), which of (S, D) is nearest, prices (S,) added, and the squared distance."""
    xp = namespace(wanted)
    length = xp.sum(offered * offered, axis=1) + price
    ones = xp.ones((wanted.shape[0], 1), dtype=wanted.dtype)
    best = least(xp.concat([-2 * wanted, ones], axis=1), xp.concat([offered, length[:, None]], axis=1))
    return best, xp.sum((wanted - xp.take(offered, best, axis=0)) ** 2, axis=1)


def least(left: Any, right: Any) -> Any:
    """Return for each row of (T, D) the row of (S, D) with which its product is least."""
    xp = namespace(left)
    rows = max(1, EXACT // right.shape[0])
    parts = [left[k : min(k + rows, left.shape[0]), :] for k in range(0, left.shape[0], rows)]
    return xp.concat([xp.argmin(part @ right.T, axis=1) for part in parts])


def search(
    ground: Ground,
    wanted: Any,
    offered: Any,
    price: Any,
    match: Any,
    random: np.random.Generator,
) -> tuple[Any, Any]:
    """Improve matches: take over what neighbours found, then try places at random, ever nearer.

    Barnes et al., SIGGRAPH 2009, with all patches at once; neighbours at several distances (as in jump
    flooding, Rong and Tan, 2006) carry good matches far in few passes.

    Parameters
    ----------
    ground : Ground
    wanted : (T, D)
        Descriptions of the targets.
    offered : (S + 1, D)
        Descriptions of the sources, and one that is like nothing.
    price : (S + 1,)
        Added to squared distances from each source.
    match : (T,) int
        For each target the pixel of its source so far.
    random : Generator

    Returns
    -------
    match (T,), and squared distances with prices (T,).
    """
    xp = namespace(wanted)
    height, width = ground.shape
    row = xp.asarray(ground.row)

    def compare(place: Any) -> Any:
        at = xp.take(row, place, axis=0)
        return xp.sum((wanted - xp.take(offered, at, axis=0)) ** 2, axis=1) + xp.take(price, at, axis=0)

    def improve(match: Any, away: Any, place: Any) -> tuple[Any, Any]:
        place = xp.clip(place, 0, height * width - 1)
        far = compare(place)
        return xp.where(far < away, place, match), xp.where(far < away, far, away)

    away = compare(match)
    for jump in JUMPS:
        for step in (-jump, -jump * width, jump, jump * width):
            beside = ground.rank[np.clip(ground.targets + step, 0, height * width - 1)]
            beside = np.where(beside == len(ground.targets), np.arange(len(ground.targets)), beside)
            match, away = improve(match, away, xp.take(match, xp.asarray(beside), axis=0) - step)
    reach = max(height, width) / 2
    while reach >= 1:
        offset = random.uniform(-reach, reach, (2, len(ground.targets)))
        y = xp.clip(match // width + xp.asarray(np.rint(offset[0]).astype(np.int64)), 0, height - 1)
        x = xp.clip(match % width + xp.asarray(np.rint(offset[1]).astype(np.int64)), 0, width - 1)
        match, away = improve(match, away, y * width + x)
        reach /= 3
    return match, away
