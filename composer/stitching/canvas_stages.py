"""The stages of stitching on a canvas: exposure, local warp and seams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from composer.align.projection import placed, reduced
from composer.align.warp import (
    compact,
    meeting,
    place_in,
    place_on,
    seam_step,
    shared_rect,
    source_shrink,
    warp_all,
    warp_mask,
    warp_small,
    window_of,
)
from composer.backend.parallel import over, together
from composer.errors import OptionError
from composer.media.decode import store_of
from composer.media.naming import naming
from composer.records import (
    Composition,
    Context,
    Layer,
    Plan,
    Rect,
    Tile,
)
from composer.stitching.brackets import bracketed, one_a_bracket
from composer.stitching.crop import has_holes, largest_rectangle
from composer.stitching.exposure import Overlap, collect_overlap, radius2, solve_exposure, white_level
from composer.stitching.ghosts import moving_regions, whole_regions, without_moving
from composer.stitching.highlights import exposed_apart, without_clipped
from composer.stitching.mesh import Shift, find_shift, prepare, solve_meshes
from composer.stitching.seams import (
    DETAIL,
    Differences,
    find_seams,
    nearest_centre,
    neighbours,
    with_claims,
)

Array = NDArray[Any]
FAR = 2.0  # cells: where a tenth of the coarse flow is longer than that, one more look each is taken

__all__ = ["CompensateExposure", "FindSeams", "LocalWarp"]


@dataclass(frozen=True)
class CompensateExposure:
    """Solve for each photo's gain and the lens's vignetting over the overlaps, where they are not known.

    Options: `anchor`, the name or stem of the photo that keeps its exposure and white balance; the
    others are brought to it. Without one the median exposure is kept. `brackets`: "auto" leaves views that
    look the same way, stops apart, as bright as they are relative to each other, to be fused.
    """

    takes: ClassVar[type] = Plan
    gives: ClassVar[type] = Plan
    anchor: str = ""
    brackets: Literal["auto", "none"] = "auto"

    def __call__(self, plan: Plan, context: Context) -> Plan:
        stage = self
        if self.anchor:
            names = [la.photo.name for c in plan.compositions for la in c.layers]
            try:
                stage = replace(self, anchor=names[naming(names)(self.anchor)])
            except LookupError as error:
                raise OptionError(f"anchor: {error.args[0]} that is used") from None
        return replace(plan, compositions=tuple(stage._solve(c, context) for c in plan.compositions))

    def _solve(self, composition: Composition, context: Context) -> Composition:
        small = reduced(composition, 2 * seam_step(composition))
        tiles = warp_all(small, context, "exposure", correct=False)
        known = not self.anchor and _known(composition)
        layers = composition.layers if known else self._evened(small, composition.layers, tiles, context)
        if self.brackets == "auto":
            layers = bracketed(layers, known or bool(self.anchor))
        gains = np.array([la.gain for la in layers])
        white = white_level(tiles, gains) if _integers(composition) else 1.0
        return replace(composition, layers=layers, white=white)

    def _evened(
        self, small: Composition, layers: tuple[Layer, ...], tiles: list[Tile], context: Context
    ) -> tuple[Layer, ...]:
        radii2 = together(context, lambda la: radius2(small, la), small.layers)
        found = together(context, lambda ij: _overlap(small, tiles, radii2, ij), meeting(small, tiles))
        overlaps = [o for o in found if o is not None]
        gains, fall_off = solve_exposure(overlaps, len(tiles), self._anchor(layers))
        return tuple(
            replace(la, gain=(float(g[0]), float(g[1]), float(g[2])), vignetting=fall_off)
            for la, g in zip(layers, gains, strict=True)
        )

    def _anchor(self, layers: tuple[Layer, ...]) -> int | None:
        """Return the index of the layer whose photo is the anchor."""
        names = [la.photo.name for la in layers]
        return names.index(self.anchor) if self.anchor in names else None


def _known(composition: Composition) -> bool:
    """Tell whether the exposure is settled already, as by a Hugin project."""
    gains = {la.gain for la in composition.layers}
    return len(gains) > 1 or any(any(la.vignetting) for la in composition.layers)


def _integers(composition: Composition) -> bool:
    """Tell whether values beyond white would be cut: floats keep them."""
    return all(la.photo.dtype != "float32" for la in composition.layers)


def _overlap(
    small: Composition, tiles: list[Tile], radii2: list[Array], pair: tuple[int, int]
) -> Overlap | None:
    i, j = pair
    window = shared_rect(tiles[i].rect, tiles[j].rect, small)
    if window is None:
        return None
    a, b = (window_of(tiles[k], window, small) for k in pair)
    r2_i, r2_j = (radii2[k][place_in(tiles[k], window, small)] for k in pair)
    return collect_overlap(pair, (a, b), (r2_i, r2_j))


@dataclass(frozen=True)
class LocalWarp:
    """Bend photos so that things near and far meet where photos from places apart overlap.

    Options: `beyond_px`, the distance of matched points after adjustment up to which cameras alone do.
    """

    takes: ClassVar[type] = Plan
    gives: ClassVar[type] = Plan
    beyond_px: float = 1.2

    def __call__(self, plan: Plan, context: Context) -> Plan:
        return replace(plan, compositions=tuple(self._bend(c, context) for c in plan.compositions))

    def _bend(self, composition: Composition, context: Context) -> Composition:
        if composition.rms_px <= self.beyond_px:
            return composition
        prepare(composition)
        step = seam_step(composition)
        coarse, fine = 2 * step, max(1, step // 2)
        bent, apart = _bent(composition, coarse, context)
        more = (coarse, fine, max(1, fine // 2)) if apart > FAR else (fine,)
        for cells in more:  # each look sees what the last left
            bent, _ = _bent(bent, cells, context)
        cropped = bent is not composition and not has_holes(composition)
        return largest_rectangle(bent) if cropped else bent


def _bent(composition: Composition, step: int, context: Context) -> tuple[Composition, float]:
    """Bend layers by what flows between them on cells of `step` pixels; also tell what a tenth exceeds."""
    small = reduced(composition, step)
    tiles = one_a_bracket(small.layers, warp_all(small, context, "local warp", compacted=True))

    def find(ij: tuple[int, int]) -> Shift | None:
        return find_shift(small, *ij, (tiles[ij[0]], tiles[ij[1]]))

    beside = neighbours(nearest_centre(small, tiles), small.closed)
    matched = {(min(li.i, li.j), max(li.i, li.j)) for li in composition.links}
    pairs = [pair for pair in beside if pair in matched]
    shifts = [s for s in over(context, "local warp", find, pairs) if s is not None]
    if not shifts:
        return composition, 0.0
    meshes = solve_meshes(small, shifts)
    layers = tuple(
        replace(la, mesh=meshes[k if la.bracket is None else la.bracket])
        for k, la in enumerate(composition.layers)
    )
    apart = np.concatenate([s.apart for s in shifts])
    return placed(replace(composition, layers=layers)), float(np.percentile(np.hypot(*apart.T), 90))


@dataclass(frozen=True)
class FindSeams:
    """Decide which photo owns each place of the canvas.

    Options: `ghosts`, what becomes of things that moved: "keep" shows each whole, in a photo that has all
    of it; "remove" leaves it out where most photos, or of two the one without its outline, do not show it.
    """

    takes: ClassVar[type] = Plan
    gives: ClassVar[type] = Plan
    ghosts: Literal["keep", "remove"] = "keep"

    def __call__(self, plan: Plan, context: Context) -> Plan:
        return replace(plan, compositions=tuple(self._find(c, context) for c in plan.compositions))

    def _find(self, composition: Composition, context: Context) -> Composition:
        step = seam_step(composition)
        small = reduced(composition, step)
        tiles = one_a_bracket(small.layers, warp_all(small, context, "seams", compacted=True))
        if any(la.photo.include for la in small.layers):
            tiles = with_claims(small, tiles, _included(small, tiles))
        if exposed_apart(small) and _integers(small):
            tiles = without_clipped(small, tiles, warp_all(small, context, "seams", correct=False))
        if self.ghosts == "remove":
            tiles = without_moving(small, tiles, moving_regions(small, tiles, context=context))
        between = Differences(small, tiles, _finer(composition, small, context) if step >= DETAIL else None)
        seams = find_seams(small, tiles, between, context)
        if self.ghosts == "keep":
            regions = moving_regions(small, tiles, neighbours(seams, small.closed), context)
            claims = whole_regions(small, tiles, regions, seams)
            if (claims >= 0).any():
                seams = find_seams(small, with_claims(small, tiles, claims), between, context, seams)
        return replace(composition, seam_step=step, seams=seams)


def _finer(composition: Composition, small: Composition, context: Context) -> Callable[[int], Tile]:
    """Return what warps a layer DETAIL times as fine as for `small`."""
    fine = reduced(composition, seam_step(composition) // DETAIL)

    def warp(k: int) -> Tile:
        layer, rect = fine.layers[k], Rect(*(DETAIL * side for side in small.layers[k].rect))
        tile = warp_small(
            fine, layer, rect, store_of(context).pixels(layer.photo, source_shrink(fine, layer))
        )
        valid = np.broadcast_to(True, tile.valid.shape)  # the coarse tile tells, and has the weight
        return compact(replace(tile, valid=valid, weight=None))

    return warp


def _included(small: Composition, tiles: list[Tile]) -> Array:
    """Return which layer's mask claims each cell; of several the one that sees it nearest its centre."""
    claims = np.full((small.height, small.width), -1, np.int16)
    best = np.zeros(claims.shape, np.float32)
    for k, (layer, tile) in enumerate(zip(small.layers, tiles, strict=True)):
        if layer.photo.include is None:
            continue
        place = place_on(small, tile.rect)
        wins = warp_mask(small, layer, layer.photo.include) & tile.valid & (tile.weight >= best[place])
        claims[place] = np.where(wins, np.int16(k), claims[place])
        best[place] = np.where(wins, tile.weight, best[place])
    return claims
