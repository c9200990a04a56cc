"""The stages of stitching: records in, records out. Everything on arrays is done by their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from composer.align.features import Features, find_features, to_grey8
from composer.align.homography import Pair, find_homography
from composer.align.matching import candidate_pairs, distinct_places, match_descriptors
from composer.align.projection import placed, reduced
from composer.align.warp import seam_step, shared_rect, warp_all, window_of
from composer.backend.parallel import over
from composer.errors import NothingToStitch, PhotoError
from composer.media.decode import store_of
from composer.records import (
    Composition,
    Context,
    Layer,
    Photo,
    Photos,
    Plan,
    Projection,
    Tile,
    Unused,
)
from composer.stitching.cameras import connected_groups, level
from composer.stitching.crop import has_holes, largest_rectangle
from composer.stitching.exposure import Overlap, collect_overlap, solve_exposure, white_level
from composer.stitching.layout import View, choose_projection, fit_canvas, rescaled, without_unseen
from composer.stitching.mesh import Shift, find_shift, solve_meshes
from composer.stitching.registration import Registered, register
from composer.stitching.seams import find_seams

__all__ = [
    "CompensateExposure",
    "EstimateCameras",
    "FindFeatures",
    "FindSeams",
    "LayOut",
    "Level",
    "LocalWarp",
    "MatchPhotos",
    "too_few",
]


@dataclass(frozen=True)
class FeatureSet:
    """Photos with their features, in step: `entries` of (photo, features)."""

    entries: tuple[tuple[Photo, Features], ...]
    unused: tuple[Unused, ...] = ()


@dataclass(frozen=True)
class MatchGraph:
    """Photos and the pairs among them that show the same thing; `best` counts each photo's most matches."""

    photos: tuple[Photo, ...]
    pairs: tuple[Pair, ...]
    best: tuple[int, ...]
    unused: tuple[Unused, ...] = ()


@dataclass(frozen=True)
class Scene:
    """Groups of photos with cameras, not yet on a canvas."""

    groups: tuple[Registered, ...]
    unused: tuple[Unused, ...] = ()


@dataclass(frozen=True)
class FindFeatures:
    """Find features in every photo.

    Options: `megapixels` at which to look, `count` of features kept a photo.
    """

    takes: ClassVar[type] = Photos
    gives: ClassVar[type] = FeatureSet
    megapixels: float = 0.25
    count: int = 1000

    def __call__(self, photos: Photos, context: Context) -> FeatureSet:
        store = store_of(context)

        def find(photo: Photo) -> Features | PhotoError:
            try:
                return find_features(to_grey8(store.pixels(photo)), self.megapixels, self.count)
            except PhotoError as error:
                return error

        unused, entries = list(photos.unused), []
        for photo, found in zip(photos.items, over(context, "features", find, photos.items), strict=True):
            if isinstance(found, PhotoError):
                unused.append(Unused(photo.name, str(found).removeprefix(f"{photo.name}: ")))
            else:
                entries.append((photo, found))
        return FeatureSet(tuple(entries), tuple(unused))


@dataclass(frozen=True)
class MatchPhotos:
    """Match features between photos and keep the pairs that a homography explains.

    Options: `ratio` of Lowe's test, `threshold_px` at working size, `keep` candidates a photo.
    """

    takes: ClassVar[type] = FeatureSet
    gives: ClassVar[type] = MatchGraph
    ratio: float = 0.8
    threshold_px: float = 3.0
    keep: int = 5

    def __call__(self, value: FeatureSet, context: Context) -> MatchGraph:
        photos = tuple(p for p, _ in value.entries)
        features = [f for _, f in value.entries]
        matched = np.zeros((len(photos), len(photos)), int)

        def match(ij: tuple[int, int]) -> Pair | None:
            i, j = ij
            found = match_descriptors(features[i].descriptors, features[j].descriptors, self.ratio)
            points_i, points_j = features[i].points[found[:, 0]], features[j].points[found[:, 1]]
            once = distinct_places(points_i, points_j)
            points_i, points_j = points_i[once], points_j[once]
            matched[i, j] = matched[j, i] = len(points_i)
            threshold = self.threshold_px / features[j].scale
            fit = find_homography(points_i, points_j, threshold)
            if fit is None:
                return None
            matrix, inside = fit
            return Pair(i, j, points_i[inside], points_j[inside], matrix, len(points_i))

        pairs = over(context, "match", match, candidate_pairs(features, self.keep))
        best = tuple(int(m) for m in matched.max(0)) if len(photos) else ()
        return MatchGraph(photos, tuple(p for p in pairs if p is not None), best, value.unused)


@dataclass(frozen=True)
class EstimateCameras:
    """Group the photos that belong together and adjust each group's cameras.

    Options: `model` "rotation" (a camera turning in place), "affine" (flat scans) or "auto";
    `huber_px`, beyond which residuals count linearly.
    """

    takes: ClassVar[type] = MatchGraph
    gives: ClassVar[type] = Scene
    model: Literal["auto", "rotation", "affine"] = "auto"
    huber_px: float = 2.0

    def __call__(self, graph: MatchGraph, context: Context) -> Scene:
        unused, groups = list(graph.unused), []
        components = connected_groups(len(graph.photos), list(graph.pairs))
        for members in components:
            if len(members) == 1:
                unused.append(_stranger(graph, members[0]))
        together = [m for m in components if len(m) > 1]

        def adjust(members: list[int]) -> Registered:
            return register(graph.photos, graph.pairs, members, self.model, self.huber_px)

        for group in over(context, "cameras", adjust, together):
            unused += group.dropped
            if len(group.photos) > 1:
                groups.append(group)
        if not groups:
            raise NothingToStitch(_nothing(graph.photos, unused), tuple(unused))
        order = {p.name: k for k, p in enumerate(graph.photos)}
        unused.sort(key=lambda u: order.get(u.photo, -1))
        return Scene(tuple(groups), tuple(unused))


def _stranger(graph: MatchGraph, k: int) -> Unused:
    photo, count = graph.photos[k], graph.best[k]
    if min(photo.width, photo.height) < 32:
        return Unused(photo.name, f"too small to match ({photo.width} x {photo.height} pixels)")
    said = (
        f"at most {count} matching points with another, and no common geometry"
        if count
        else "no matching points"
    )
    return Unused(photo.name, f"overlaps no other photo ({said})")


def too_few(unused: Sequence[Unused]) -> str:
    """Say that there are fewer than two photos to stitch, and what was wrong with the others."""
    why = "; ".join(f"{u.photo}: {u.reason}" for u in unused)
    left = f" ({why})" if why else ""
    return f"fewer than two usable photos{left}; give at least two that overlap by a third"


def _nothing(photos: tuple[Photo, ...], unused: list[Unused]) -> str:
    if len(photos) < 2:
        return too_few(unused)
    return "no two photos overlap; give photos of one scene that overlap by a third or more"


@dataclass(frozen=True)
class Level:
    """Level the horizon and look at the middle of the view."""

    takes: ClassVar[type] = Scene
    gives: ClassVar[type] = Scene

    def __call__(self, scene: Scene, context: Context) -> Scene:
        groups = []
        for group in scene.groups:
            if not group.affine:
                turned = level([c.rotation for c in group.cameras])
                cameras = tuple(replace(c, rotation=r) for c, r in zip(group.cameras, turned, strict=True))
                group = replace(group, cameras=cameras)
            groups.append(group)
        return replace(scene, groups=tuple(groups))


@dataclass(frozen=True)
class LayOut:
    """Choose projection and canvas.

    Options: `projection`, `width` of the canvas in pixels (0: the photos' own resolution), `crop`
    "none" (all that was photographed) or "rectangle" (the largest full one); in degrees `yaw` to the
    right of the photos' middle, `pitch` above the horizon, `roll` clockwise, `fov` across and
    `fov_down` (0: all that was photographed).
    """

    takes: ClassVar[type] = Scene
    gives: ClassVar[type] = Plan
    projection: Literal["auto", Projection] = "auto"
    width: int = 0
    crop: Literal["none", "rectangle"] = "none"
    yaw: float = 0.0
    pitch: float | None = None
    roll: float = 0.0
    fov: float = 0.0
    fov_down: float = 0.0

    def __call__(self, scene: Scene, context: Context) -> Plan:
        compositions = tuple(self._lay_out(g) for g in scene.groups)
        unused = list(scene.unused)
        for group, composition in zip(scene.groups, compositions, strict=True):
            shown = {la.photo.name for la in composition.layers}
            unused += [
                Unused(p.name, "lies outside the picture") for p in group.photos if p.name not in shown
            ]
        return Plan(compositions, tuple(unused))

    def _lay_out(self, group: Registered) -> Composition:
        layers = tuple(Layer(p, c) for p, c in zip(group.photos, group.cameras, strict=True))
        projection: Projection = "affine"
        if not group.affine:
            wanted = self.projection
            projection = choose_projection(layers) if wanted == "auto" or wanted == "affine" else wanted
        view = View(self.yaw, self.pitch, self.roll, (self.fov, self.fov_down))
        composition = replace(fit_canvas(layers, projection, view), rms_px=group.rms_px, links=group.links)
        if self.crop == "rectangle":
            composition = largest_rectangle(composition)
        composition = without_unseen(composition)
        return rescaled(composition, self.width) if self.width else composition


@dataclass(frozen=True)
class CompensateExposure:
    """Solve for each photo's gain and the lens's vignetting over the overlaps."""

    takes: ClassVar[type] = Plan
    gives: ClassVar[type] = Plan

    def __call__(self, plan: Plan, context: Context) -> Plan:
        return replace(plan, compositions=tuple(self._solve(c, context) for c in plan.compositions))

    def _solve(self, composition: Composition, context: Context) -> Composition:
        small = reduced(composition, 2 * seam_step(composition))
        tiles = warp_all(small, context, "exposure", correct=False)
        overlaps = []
        for i in range(len(tiles)):
            for j in range(i + 1, len(tiles)):
                found = _overlap(small, tiles, i, j)
                if found is not None:
                    overlaps.append(found)
        gains, fall_off = solve_exposure(overlaps, len(tiles))
        layers = tuple(
            replace(la, gain=(float(g[0]), float(g[1]), float(g[2])), vignetting=fall_off)
            for la, g in zip(composition.layers, gains, strict=True)
        )
        white = white_level(tiles, gains) if _integers(composition) else 1.0
        return replace(composition, layers=layers, white=white)


def _integers(composition: Composition) -> bool:
    """Tell whether values beyond white would be cut: floats keep them."""
    return all(la.photo.dtype != "float32" for la in composition.layers)


def _overlap(small: Composition, tiles: list[Tile], i: int, j: int) -> Overlap | None:
    window = shared_rect(tiles[i].rect, tiles[j].rect, small)
    if window is None:
        return None
    a, b = (window_of(tiles[k], window, small) for k in (i, j))
    return collect_overlap(small, i, j, a, b)


@dataclass(frozen=True)
class LocalWarp:
    """Bend photos so that things near and far meet where photos from places apart overlap.

    Options: `beyond_px`, the distance of matched points after adjustment up to which cameras alone do.
    """

    takes: ClassVar[type] = Plan
    gives: ClassVar[type] = Plan
    beyond_px: float = 1.0

    def __call__(self, plan: Plan, context: Context) -> Plan:
        return replace(plan, compositions=tuple(self._bend(c, context) for c in plan.compositions))

    def _bend(self, composition: Composition, context: Context) -> Composition:
        if composition.rms_px <= self.beyond_px:
            return composition
        bent, step = composition, seam_step(composition)
        for cells in (2 * step, max(1, step // 2)):  # the second look sees what the first left
            bent = _bent(bent, cells, context)
        cropped = bent is not composition and not has_holes(composition)
        return largest_rectangle(bent) if cropped else bent


def _bent(composition: Composition, step: int, context: Context) -> Composition:
    """Bend layers by what flows between them on cells of `step` pixels."""
    small = reduced(composition, step)
    tiles = warp_all(small, context, "local warp")

    def find(ij: tuple[int, int]) -> Shift | None:
        return find_shift(small, *ij, (tiles[ij[0]], tiles[ij[1]]))

    pairs = [(li.i, li.j) for li in composition.links]
    shifts = [s for s in over(context, "local warp", find, pairs) if s is not None]
    if not shifts:
        return composition
    meshes = solve_meshes(small, shifts)
    layers = tuple(replace(la, mesh=m) for la, m in zip(composition.layers, meshes, strict=True))
    return placed(replace(composition, layers=layers))


@dataclass(frozen=True)
class FindSeams:
    """Decide which photo owns each place of the canvas."""

    takes: ClassVar[type] = Plan
    gives: ClassVar[type] = Plan

    def __call__(self, plan: Plan, context: Context) -> Plan:
        return replace(plan, compositions=tuple(self._find(c, context) for c in plan.compositions))

    def _find(self, composition: Composition, context: Context) -> Composition:
        step = seam_step(composition)
        small = reduced(composition, step)
        tiles = warp_all(small, context, "seams")
        return replace(composition, seam_step=step, seams=find_seams(small, tiles))
