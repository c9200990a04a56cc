"""Fill large and textured holes from patches of the rest: coarse to fine, search and vote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend import gaussian, namespace, pyr_down, to_numpy
from composer.mending.nearest import (
    EXACT,
    Ground,
    basis,
    best_match,
    described,
    ground_of,
    least,
    numbers,
    search,
)
from composer.mending.transport import coherence_transport
from composer.mending.variants import with_variants

Array = NDArray[Any]

__all__ = ["SIZE", "copy_patches"]

SIZE = 7  # of a patch, in pixels of every resolution
FEW = 4096  # sources that are tried where nothing is known yet
LEAST = 300  # source patches that a coarser resolution must have: begun at a finer one, fills are patchwork
TEXTURE = 5.0  # weight of texture beside colour
OVERUSE = 1.0  # price of using a place once more, in mean squared distances
FADE = 1.3  # by which trust falls, a pixel into the hole
SPREAD = 0.6  # of the squared distances: matches much farther than this quantile hardly count
LARGEST = 2 << 20  # pixels; at higher resolutions matches are taken over, not searched for
ROUNDS = 12, 6, 3  # of search and vote: at the coarsest resolution, between, at full size


@dataclass(frozen=True)
class _Level:
    """One resolution: colours and two channels of texture (H * W, C + 2), and what is what (H, W) bool."""

    values: Any
    hole: Array
    source: Array


class _Rounds:
    """How often search and vote take turns at each resolution, and how much of it all is done."""

    def __init__(self, levels: Sequence[_Level], tell: Callable[[float], None] | None) -> None:
        middle = [ROUNDS[1]] * (len(levels) - 2)
        self._counts = dict(zip(map(id, levels), (ROUNDS[0], *middle, ROUNDS[2]), strict=False))
        self._total = sum(self._counts[id(v)] * int(v.hole.sum()) for v in levels)
        self._done, self._tell = 0, tell

    def of(self, level: _Level) -> Iterator[int]:
        """Yield the rounds of a resolution, and tell after each."""
        for k in range(self._counts[id(level)]):
            yield k
            self._done += int(level.hole.sum())
            if self._tell is not None:
                self._tell(self._done / self._total)


def copy_patches(
    image: Any,
    hole: Array,
    valid: Array,
    source: Array | None = None,
    *,
    seed: int = 0,
    variants: Sequence[str] = (),
    tell: Callable[[float], None] | None = None,
) -> Any:
    """Fill a hole so that all patches in it look like patches outside.

    Wexler, Shechtman and Irani (PAMI 2007): every patch that touches the hole looks for its like outside,
    and the pixels become what these say, weighted by how alike they are; again and again, from a
    resolution at which the hole is a few pixels wide to the full one. The search is PatchMatch's. Texture
    channels (Newson et al., SIAM J. Imaging Sci. 2014) keep coarse resolutions, where texture has averaged
    out, from mixing up rough and smooth.

    Parameters
    ----------
    image : (H, W, C) float32
    hole, valid : (H, W) bool, NumPy
    source : (H, W) bool or None
        Where patches are taken from; None is all that is valid.
    seed : int
    variants : some of "mirrored", "turned", "scaled"
        Copies of the picture that patches are taken from too, see `with_variants`.
    tell : callable or None
        Told after each round which share of the work is done.

    Returns
    -------
    (H, W, C) float32, equal to `image` outside the hole.
    """
    xp = namespace(image)
    near = cv2.dilate(hole.astype(np.uint8), np.ones((4 * SIZE + 1,) * 2, np.uint8)) > 0
    wanted = hole | (near & ~valid)  # what no patch may show is made up as well, and thrown away
    taken = valid & ~hole & (True if source is None else source)
    known, whole = valid & ~hole, image
    if variants:
        whole, wanted, sources = with_variants(image, wanted, taken, variants)
        known = np.pad(known, [(0, n - m) for n, m in zip(sources.shape, known.shape, strict=True)]) | sources
        taken = sources
    levels = _pyramid(whole, wanted, known, taken)
    if levels is None:
        return coherence_transport(image, hole, valid)
    random, told = np.random.default_rng(seed), _Rounds(levels, tell)
    ground = ground_of(levels[0].hole, levels[0].source, SIZE)
    guess = _peeled if len(ground.targets) <= FEW else _carried
    values, match = _settled(levels[0], ground, guess(levels[0], ground), None, random, told)
    for level in levels[1:]:
        before, ground = ground, ground_of(level.hole, level.source, SIZE)
        match = _upsampled(before, ground, match)
        pixels = np.flatnonzero(level.hole)
        if level.hole.size > LARGEST:
            values = _voted(level.values, pixels, ground, match, _shallow(xp, level, ground))
            continue
        values = _copied(level.values, pixels, ground, match)
        values, match = _settled(level, ground, values, match, random, told)
    filled = xp.reshape(values[:, : image.shape[2]], whole.shape)[: image.shape[0], : image.shape[1], :]
    return xp.where(xp.asarray(hole[:, :, None]), filled, image)


def _pyramid(image: Any, hole: Array, known: Array, source: Array) -> list[_Level] | None:
    """Return the picture's resolutions, coarsest first; None where not even the full one has patches.

    They end where the hole is a patch wide, or where too few patches would be left.
    """
    xp = namespace(image)
    depth = float(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3).max())
    count = max(0, round(np.log2(max(depth, 1) / (SIZE / 2))))
    weight = xp.asarray(known[:, :, None].astype(np.float32))
    image = xp.where(weight > 0, image, xp.zeros_like(image))
    image = xp.concat([image, _texture(image, weight, 2.0**count)], axis=2)
    levels: list[_Level] = []
    for k in range(count + 1):
        if k:
            total = pyr_down(weight)
            image = pyr_down(image * weight) / xp.where(total > 0, total, xp.ones_like(total))
            weight = xp.astype(total > 0.5, xp.float32)
            hole = to_numpy(pyr_down(xp.asarray(hole[:, :, None].astype(np.float32))))[:, :, 0] >= 0.5
            source = to_numpy(pyr_down(xp.asarray(source[:, :, None].astype(np.float32))))[:, :, 0] > 0.99
        patches = len(ground_of(hole, source, SIZE).sources)
        if patches < (LEAST if k else 1) or not hole.any():
            break
        levels.insert(0, _Level(xp.reshape(image, (-1, image.shape[2])), hole, source & ~hole))
    return levels or None


def _texture(image: Any, weight: Any, reach: float) -> Any:
    """Return how much brightness changes across and down, averaged over `reach` pixels (H, W, 2)."""
    xp = namespace(image)
    grey = xp.mean(image, axis=2, keepdims=True)
    both = weight[1:, 1:, :] * weight[:-1, 1:, :] * weight[1:, :-1, :]
    across = xp.abs(grey[1:, 1:, :] - grey[1:, :-1, :]) * both
    down = xp.abs(grey[1:, 1:, :] - grey[:-1, 1:, :]) * both
    stacked = xp.concat([across, down, both], axis=2)
    stacked = xp.concat([stacked[:1, :, :], stacked], axis=0)
    stacked = gaussian(xp.concat([stacked[:, :1, :], stacked], axis=1), reach)
    return stacked[:, :, :2] / (stacked[:, :, 2:] + 1e-6)


def _peeled(level: _Level, ground: Ground) -> Any:
    """Return the coarsest values, the hole filled layer by layer: patches match by what is known so far."""
    xp = namespace(level.values)
    values = level.values
    sources = _some(ground.sources)
    offered = _patches(values, sources, ground)
    offered = xp.concat([xp.reshape(offered, (len(sources), -1)), xp.sum(offered * offered, axis=2)], axis=1)
    depth = np.ceil(cv2.distanceTransform(level.hole.astype(np.uint8), cv2.DIST_L2, 5) - 0.5).ravel()
    for layer in range(1, int(depth.max()) + 1):
        pixels = np.flatnonzero(depth == layer)
        active = np.unique(ground.rank[np.clip(pixels[:, None] + ground.steps, 0, depth.size - 1)])
        active = active[active < len(ground.targets)]
        known = depth[ground.targets[active][:, None] + ground.steps] < layer
        known = xp.asarray(known.astype(np.float32))
        wanted = _patches(values, ground.targets[active], ground) * known[:, :, None]
        best = least(xp.concat([-2 * xp.reshape(wanted, (len(active), -1)), known], axis=1), offered)
        found = sources[to_numpy(best)]
        away = (_patches(values, found, ground) * known[:, :, None] - wanted) ** 2
        away = xp.sum(away, axis=(1, 2)) / (xp.sum(known, axis=1) + 1e-6)
        back = xp.asarray(numbers(active, len(ground.targets)) % max(len(active), 1))
        trust = xp.asarray(numbers(active, len(ground.targets)) < len(active))
        trust = xp.where(trust, xp.take(_trust(away), back, axis=0), xp.zeros_like(back, dtype=away.dtype))
        values = _voted(values, pixels, ground, xp.take(xp.asarray(found), back, axis=0), trust)
    return values


def _carried(level: _Level, ground: Ground) -> Any:
    """Return the coarsest values, the holes filled along their edges: for many, which are thin then."""
    xp = namespace(level.values)
    image = xp.reshape(level.values, (*level.hole.shape, -1))
    return xp.reshape(coherence_transport(image, level.hole, ~level.hole), level.values.shape)


def _some(sources: Array) -> Array:
    """Return at most FEW of the sources, spread evenly."""
    return sources[:: max(1, -(-len(sources) // FEW))]


def _patches(values: Any, centres: Array, ground: Ground) -> Any:
    """Return the pixels (n, K, C + 2) of patches."""
    xp = namespace(values)
    places = centres[:, None] + ground.steps
    return xp.reshape(xp.take(values, xp.asarray(places.ravel()), axis=0), (*places.shape, -1))


def _upsampled(before: Ground, ground: Ground, match: Any) -> Any:
    """Return matches at twice the resolution: each target goes as far as the nearest coarse one, twice."""
    xp = namespace(match)
    (y, x), width = np.divmod(ground.targets, ground.shape[1]), before.shape[1]
    beside = _nearest(before.targets, before.shape)[(y // 2) * width + x // 2]
    at = before.targets[beside]
    found = xp.take(match, xp.asarray(beside), axis=0)
    row = xp.clip(xp.asarray(y) + 2 * (found // width - xp.asarray(at // width)), 0, ground.shape[0] - 1)
    column = xp.clip(xp.asarray(x) + 2 * (found % width - xp.asarray(at % width)), 0, ground.shape[1] - 1)
    place = ground.sources[_nearest(ground.sources, ground.shape)]
    return xp.take(xp.asarray(place), row * ground.shape[1] + column, axis=0)


def _nearest(places: Array, shape: tuple[int, int]) -> Array:
    """Return for each pixel (H * W,) which of the places is nearest."""
    away = np.ones(shape, np.uint8)
    away.ravel()[places] = 0
    _, labels = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    number = np.zeros(len(places) + 1, np.int64)
    number[labels.ravel()[places]] = np.arange(len(places))
    return number[labels.ravel()]


def _settled(
    level: _Level, ground: Ground, values: Any, match: Any, random: np.random.Generator, told: _Rounds
) -> tuple[Any, Any]:
    """Return values (H * W, C + 2) and matches (T,) after rounds of search and vote."""
    xp = namespace(values)
    how = xp.asarray(basis(SIZE, values.shape[1], TEXTURE))
    offered = described(level.values, xp.asarray(ground.sources), ground.steps, how)
    padded = xp.concat([offered, xp.full((1, offered.shape[1]), 1e4, dtype=offered.dtype)])
    shallow = _shallow(xp, level, ground)
    exact = len(ground.targets) * len(ground.sources) <= EXACT
    price = xp.zeros((padded.shape[0],), dtype=padded.dtype)
    for _ in told.of(level):
        wanted = described(values, xp.asarray(ground.targets), ground.steps, how)
        if match is None and not exact:
            some = _some(ground.sources)
            few = described(level.values, xp.asarray(some), ground.steps, how)
            match = xp.take(xp.asarray(some), best_match(wanted, few, 0.0)[0], axis=0)
        if exact:
            best, away = best_match(wanted, offered, price[: offered.shape[0]])
            match = xp.take(xp.asarray(ground.sources), best, axis=0)
        else:
            match, away = search(ground, wanted, padded, price, match, random)
        values = _voted(values, np.flatnonzero(level.hole), ground, match, _trust(away) * shallow)
        price = OVERUSE * xp.mean(away) * xp.asarray(_overuse(ground, to_numpy(match)))
    return values, match


def _shallow(xp: Any, level: _Level, ground: Ground) -> Any:
    """Return how much each target counts (T,) for its depth in the hole."""
    depth = cv2.distanceTransform(level.hole.astype(np.uint8), cv2.DIST_L2, 5).ravel()[ground.targets]
    return xp.asarray(np.maximum(FADE**-depth, 1e-6).astype(np.float32))


def _overuse(ground: Ground, match: Array) -> Array:
    """Return how often the surroundings of each source are used beyond once, or their share (S + 1,).

    Without a price on it, what is smooth wins: it is nobody's worst match (Kaspar et al., CGF 2015).
    """
    used = np.bincount(match, minlength=ground.row.size).reshape(ground.shape).astype(np.float32)
    used = cv2.blur(used, (SIZE, SIZE)).ravel()[ground.sources]
    share = max(1.0, len(ground.targets) / len(ground.sources))
    return np.append(np.maximum(used / share - 1, 0), 0).astype(np.float32)


def _trust(away: Any) -> Any:
    """Return how much each match counts (T,), by its squared distance: trusting all blurs."""
    xp = namespace(away)
    spread = float(np.quantile(to_numpy(away), SPREAD)) + 1e-9
    return xp.exp(-2 * away / spread) + 1e-9


def _copied(values: Any, pixels: Array, ground: Ground, match: Any) -> Any:
    """Return values (H * W, C + 2) with some pixels copied from where the patch about each comes from."""
    xp = namespace(values)
    target = _nearest(ground.targets, ground.shape)[pixels]
    place = xp.take(match, xp.asarray(target), axis=0) + xp.asarray(pixels - ground.targets[target])
    return _replaced(values, pixels, xp.take(values, place, axis=0))


def _replaced(values: Any, pixels: Array, found: Any) -> Any:
    """Return values (H * W, C + 2) with those of some pixels replaced."""
    xp = namespace(values)
    slot = np.arange(values.shape[0])
    slot[pixels] = values.shape[0] + np.arange(len(pixels))
    return xp.take(xp.concat([values, found]), xp.asarray(slot), axis=0)


def _voted(values: Any, pixels: Array, ground: Ground, match: Any, trust: Any) -> Any:
    """Return values (H * W, C + 2) with those of some pixels replaced by what the matches (T,) say."""
    xp = namespace(values)
    last = values.shape[0] - 1
    trust = xp.concat([trust, xp.zeros((1,), dtype=trust.dtype)])
    match = xp.concat([match, xp.zeros((1,), dtype=match.dtype)])
    total = xp.zeros((len(pixels), values.shape[1]), dtype=trust.dtype)
    weight = xp.zeros((len(pixels), 1), dtype=trust.dtype)
    for step in ground.steps:
        target = xp.asarray(ground.rank[np.clip(pixels - step, 0, last)])
        share = xp.take(trust, target, axis=0)[:, None]
        place = xp.clip(xp.take(match, target, axis=0) + int(step), 0, last)
        total = total + share * xp.take(values, place, axis=0)
        weight = weight + share
    return _replaced(values, pixels, total / (weight + 1e-30))
