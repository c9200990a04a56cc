"""The blend stages: many tiles in, one out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from composer.align.projection import magnification, reduced
from composer.align.warp import warp_all, white_of
from composer.backend import namespace
from composer.blend.compose import hull, owners, place_of
from composer.blend.feather import feather
from composer.blend.gradient import solve_factors
from composer.blend.lowbands import low_bands
from composer.blend.multiband import multiband, multiband_locality
from composer.records import Composition, Context, Locality, Plan, Tile

__all__ = ["BlendGradients", "BlendLowBands", "Feather", "Multiband", "NoBlend"]

FINE_LEVELS = 3
APART = 0.7  # stops between the brightest and the darkest gain: photos closer together meet


def _blended(tiles: list[Tile], blend: Callable[[list[Tile]], Any]) -> Tile:
    """Blend several layers; one alone is the result."""
    if len(tiles) == 1:
        return Tile(tiles[0].rect, tiles[0].image, tiles[0].valid)
    xp, rect = namespace(tiles[0].valid), hull(tiles)
    valid = xp.zeros((rect.height, rect.width), dtype=xp.bool)
    for tile in tiles:
        here = place_of(tile.rect, rect)
        valid[here] = valid[here] | tile.valid
    return Tile(rect, blend(tiles), valid)


@dataclass(frozen=True)
class BlendGradients:
    """Blend gradients: find smooth factors with which the layers meet across seams.

    Options: `least`, the step across seams, 0..1 in the mean over their length, below which layers stay as
    they are. It is not looked for where exposures are less than 0.7 stops apart.
    """

    takes: ClassVar[type] = Plan
    gives: ClassVar[type] = Plan
    least: float = 0.0

    def __call__(self, plan: Plan, context: Context) -> Plan:
        return replace(plan, compositions=tuple(self._solve(c, context) for c in plan.compositions))

    def _solve(self, composition: Composition, context: Context) -> Composition:
        if composition.seams is None or len(composition.layers) < 2:
            return composition
        if self.least and _stops([la.gain for la in composition.layers]) < APART:
            return composition
        bare, step = tuple(replace(la, factors=None) for la in composition.layers), int(composition.seam_step)
        small = reduced(replace(composition, layers=bare, white=1.0), step)
        tiles = warp_all(small, context, "gradient")
        found = solve_factors(small, composition.seams, tiles, context, self.least)
        if found is None:
            return replace(composition, layers=bare)
        layers = tuple(
            replace(la, factors=found[k if la.bracket is None else la.bracket]) for k, la in enumerate(bare)
        )
        blended = replace(composition, layers=layers)
        return blended if _floats(blended) else _whitened(blended, step, context)


def _stops(gains: Sequence[tuple[float, ...]]) -> float:
    """Return how many stops exposures are apart."""
    light = np.array(gains).mean(1)
    return float(np.log2(light.max() / max(light.min(), 1e-6)))


def _floats(composition: Composition) -> bool:
    """Tell whether values beyond white are kept."""
    return any(la.photo.dtype == "float32" for la in composition.layers)


def _whitened(composition: Composition, step: int, context: Context) -> Composition:
    """Return a composition whose white is what its layers' factors make of bright pixels."""
    coarse = reduced(replace(composition, white=1.0), 2 * step)
    tiles = warp_all(coarse, context, "gradient")
    return replace(composition, white=white_of([tile.image[tile.valid].max(1) for tile in tiles]))


@dataclass(frozen=True)
class BlendLowBands:
    """Blend the bands too wide for tiles, at low resolution.

    Options: `fine_levels`, the halvings that the multiband stage does itself; `reach`, the widest
    band as a share of the photos' shorter side.
    """

    takes: ClassVar[type] = Plan
    gives: ClassVar[type] = Plan
    fine_levels: int = FINE_LEVELS
    reach: float = 0.25

    def __call__(self, plan: Plan, context: Context) -> Plan:
        return replace(plan, compositions=tuple(self._blend(c, context) for c in plan.compositions))

    def _blend(self, composition: Composition, context: Context) -> Composition:
        if composition.seams is None or len(composition.layers) < 2:
            return composition
        small = reduced(composition, int(composition.seam_step))
        tiles = warp_all(small, context, "low bands")
        halvings = max(0, self.fine_levels - round(math.log2(composition.seam_step)))
        step = composition.seam_step * 2**halvings
        sides = [
            min(la.photo.width, la.photo.height) * magnification(composition, la)[0]
            for la in composition.layers
        ]
        widest = self.reach * float(np.median(sides))
        levels = max(0, round(math.log2(max(widest / step, 1))))
        if levels == 0:
            return composition
        soften = _missing_blur(composition.seam_step, halvings, self.fine_levels)
        found = low_bands(small, composition.seams, tiles, halvings, levels, soften=soften)
        return replace(composition, low_bands_step=step, low_bands=found)


def _missing_blur(step: float, halvings: int, fine_levels: int) -> float:
    """Return the variance, in cells squared, that cells lack against a pyramid of `fine_levels` halvings.

    A halving by [1 4 6 4 1]/16 adds a variance of one of its pixels squared; a cell's average has a twelfth.
    """
    pyramid, own = (4**fine_levels - 1) / 3, step**2 * (1 / 12 + (4**halvings - 1) / 3)
    return max(0.0, pyramid - own) / step**2


@dataclass(frozen=True)
class Multiband:
    """Multiband blending over `levels` halvings; wider bands come from the composition's low bands."""

    levels: int = FINE_LEVELS

    def locality(self) -> Locality:
        return multiband_locality(self.levels)

    def blend(self, tiles: list[Tile]) -> Tile:
        return _blended(tiles, lambda t: multiband(t, self.levels))


@dataclass(frozen=True)
class Feather:
    """Fade across each seam over about `radius` pixels either side."""

    radius: int = 24

    def locality(self) -> Locality:
        step = 16  # OpenCV rounds the odd ends of rows differently
        return Locality(halo=-(-(self.radius + 1) // step) * step, align=step)

    def blend(self, tiles: list[Tile]) -> Tile:
        return _blended(tiles, lambda t: feather(t, self.radius))


@dataclass(frozen=True)
class NoBlend:
    """Cut hard along the seams."""

    def locality(self) -> Locality:
        return Locality(halo=64)  # where a seam's cells reach beyond their photo, what lies near fills in

    def blend(self, tiles: list[Tile]) -> Tile:
        return _blended(tiles, lambda t: owners(t)[1])
