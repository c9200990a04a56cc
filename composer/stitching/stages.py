"""The stages of stitching up to a canvas. Everything on arrays is done by their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from composer.align.features import Features, find_features, outside_mask, to_grey8, within_circle
from composer.align.homography import Pair, find_homography
from composer.align.learned import check_network, find_learned_features, match_learned
from composer.align.matching import distinct_places, match_descriptors
from composer.align.retrieval import FEW, bridging_pairs, closing_pairs, count_votes, likely_pairs
from composer.align.rotation import find_fisheye_pair
from composer.backend.parallel import over
from composer.errors import NothingToStitch, OptionError, PhotoError
from composer.media.decode import coarse, store_of
from composer.records import (
    FLAT,
    Composition,
    Context,
    Layer,
    Photo,
    Photos,
    Plan,
    Projection,
    Unused,
)
from composer.stitching.cameras import connected_groups, level
from composer.stitching.candidates import blurred_apart, named_pairs
from composer.stitching.crop import largest_rectangle
from composer.stitching.layout import View, choose_projection, fit_canvas, rescaled, without_unseen
from composer.stitching.overlays import find_overlays, outside_overlay
from composer.stitching.points import constraints, read_points, with_control_points
from composer.stitching.registration import Registered, register
from composer.stitching.relayout import carried_over

Array = NDArray[Any]
COARSE_MEGAPIXELS = 0.02  # to look for what blur has left
MANY_MATCHES = 60  # photos that share so many show one scene: strangers share some ten
OTHER_LENS = "for a fisheye or an action camera give --lens and --lens-fov"

__all__ = [
    "EstimateCameras",
    "FindFeatures",
    "LayOut",
    "Level",
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

    Options: `megapixels` at which to look, `count` of features kept a photo; `network`, an ONNX file that
    finds them instead of SIFT.
    """

    takes: ClassVar[type] = Photos
    gives: ClassVar[type] = FeatureSet
    megapixels: float = 0.16
    count: int = 700
    network: str = ""

    def __call__(self, photos: Photos, context: Context) -> FeatureSet:
        store = store_of(context)
        if self.network:
            check_network(self.network)

        def find(photo: Photo) -> Features | PhotoError:
            try:
                small = store.pixels(photo, coarse(photo, self.megapixels))
                size = photo.width, photo.height
                if self.network:
                    found = find_learned_features(self.network, small, self.megapixels, self.count, size)
                else:
                    found = find_features(to_grey8(small), self.megapixels, self.count, size)
                found = found if photo.circle_px is None else within_circle(found, photo)
                return outside_mask(found, photo)
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

    Options: `ratio` of Lowe's test, `threshold_px` at working size, `keep` candidates a photo; `pairs`
    to match: "auto" (those that seem to share something), "all", "sequence" (each photo with the two
    after it, around the circle), "gps" (each with its `keep` nearest), or a file that names two photos a
    line; `points`, a file of control points that are added; `network`, an ONNX file that matches.
    """

    takes: ClassVar[type] = FeatureSet
    gives: ClassVar[type] = MatchGraph
    ratio: float = 0.8
    threshold_px: float = 2.0
    keep: int = 5
    points: str = ""
    pairs: str = "auto"
    network: str = ""

    def __call__(self, value: FeatureSet, context: Context) -> MatchGraph:
        if self.network:
            check_network(self.network, matcher=True)
        photos = tuple(p for p, _ in value.entries)
        features = [f for _, f in value.entries]
        found, best = self._pairs(photos, features, context)
        overlays = self._overlays(photos, features, found)
        if overlays:
            features = [outside_overlay(f, p, overlays) for p, f in zip(photos, features, strict=True)]
            found, best = self._pairs(photos, features, context)
        if self.pairs == "auto" and len(photos) <= FEW and not self.network:
            apart = blurred_apart(features, found)
            if apart:
                coarse = FindFeatures(COARSE_MEGAPIXELS)(Photos(photos), context).entries
                features = [outside_overlay(f, p, overlays) for p, f in coarse]
                results = over(context, "match", lambda ij: self._match(photos, features, ij)[1], apart)
                found += [pair for pair in results if pair is not None]
        if self.points:
            given, _ = read_points(Path(self.points), [p.name for p in photos])
            found = with_control_points(found, given, photos)
        return MatchGraph(photos, tuple(found), tuple(best), value.unused)

    def _pairs(
        self, photos: tuple[Photo, ...], features: list[Features], context: Context
    ) -> tuple[list[Pair], list[int]]:
        """Return the pairs that have a common geometry, and each photo's most matches."""
        tried: dict[tuple[int, int], tuple[int, Pair | None]] = {}

        def match(candidates: list[tuple[int, int]]) -> list[Pair]:
            new = [ij for ij in candidates if ij not in tried]
            results = over(context, "match", lambda ij: self._match(photos, features, ij), new)
            tried.update(zip(new, results, strict=True))
            return [pair for ij, (_, pair) in sorted(tried.items()) if pair is not None]

        if self.pairs == "auto":
            votes = count_votes(features, context)
            found = match(likely_pairs(votes, self.keep))
            if len(photos) > FEW:
                sizes = [(p.width, p.height) for p in photos]
                found = match(closing_pairs(found, sizes))
                found = match(bridging_pairs(votes, connected_groups(len(photos), found), self.keep))
                found = match(closing_pairs(found, sizes))
        else:
            found = match(named_pairs(self.pairs, photos, self.keep))
        best = [0] * len(photos)
        for (i, j), (matched, _) in tried.items():
            best[i], best[j] = max(best[i], matched), max(best[j], matched)
        return found, best

    def _overlays(
        self, photos: tuple[Photo, ...], features: list[Features], found: list[Pair]
    ) -> dict[tuple[int, int], Array]:
        """Return where photos of a size show what does not belong to the scene."""
        drawn = [p for p in found if photos[p.i].optics == photos[p.j].optics == "rectilinear"]
        return find_overlays(drawn, photos, [self.threshold_px / features[p.j].scale for p in drawn])

    def _match(
        self, photos: tuple[Photo, ...], features: list[Features], ij: tuple[int, int]
    ) -> tuple[int, Pair | None]:
        """Return how many points match, and the pair if they have a common geometry."""
        i, j = ij
        if self.network:
            sizes = tuple((photos[k].width, photos[k].height) for k in ij)
            found = match_learned(self.network, (features[i], features[j]), sizes)
        else:
            found = match_descriptors(features[i].descriptors, features[j].descriptors, self.ratio)
        points_i, points_j = features[i].points[found[:, 0]], features[j].points[found[:, 1]]
        once = distinct_places(points_i, points_j)
        points_i, points_j = points_i[once], points_j[once]
        threshold = self.threshold_px / features[j].scale
        if photos[i].optics == photos[j].optics == "rectilinear":
            finer = features[i].scale / features[j].scale
            fit = find_homography(points_i, points_j, threshold, finer)
        else:
            fit = find_fisheye_pair((photos[i], photos[j]), points_i, points_j, threshold)
        if fit is None:
            return len(points_i), None
        matrix, inside = fit
        kept, rest = (points_i[inside], points_j[inside]), (points_i[~inside], points_j[~inside])
        return len(points_i), Pair(i, j, *kept, matrix, len(points_i), *rest)


@dataclass(frozen=True)
class EstimateCameras:
    """Group the photos that belong together and adjust each group's cameras.

    Options: `model` "rotation" (a camera turning in place), "affine" (flat scans),
    "homography" (a flat scene from places apart) or "auto"; `huber_px`, beyond which residuals count
    linearly.
    """

    takes: ClassVar[type] = MatchGraph
    gives: ClassVar[type] = Scene
    model: Literal["auto", "rotation", "affine", "homography"] = "auto"
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
            raise NothingToStitch(_nothing(graph, unused), tuple(unused))
        order = {p.name: k for k, p in enumerate(graph.photos)}
        unused.sort(key=lambda u: order.get(u.photo, -1))
        return Scene(tuple(groups), tuple(unused))


def _stranger(graph: MatchGraph, k: int) -> Unused:
    photo, count = graph.photos[k], graph.best[k]
    if min(photo.width, photo.height) < 32:
        return Unused(photo.name, f"too small to match ({photo.width} x {photo.height} pixels)")
    if count >= MANY_MATCHES and photo.optics == "rectilinear":
        return Unused(
            photo.name,
            f"no straight-drawing lens explains its matches ({count} with another photo); {OTHER_LENS}",
        )
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


def _nothing(graph: MatchGraph, unused: list[Unused]) -> str:
    if len(graph.photos) < 2:
        return too_few(unused)
    if any(OTHER_LENS in u.reason for u in unused):
        return f"the photos share much, but no straight-drawing lens explains it; {OTHER_LENS}"
    return "no two photos overlap; give photos of one scene that overlap by a third or more"


@dataclass(frozen=True)
class Level:
    """Level the horizon and look at the middle of the view.

    Options: `points`, a file whose vertical and horizontal lines say what is level; `gravity`, whether
    what the cameras felt is asked, where all photos tell it.
    """

    takes: ClassVar[type] = Scene
    gives: ClassVar[type] = Scene
    points: str = ""
    gravity: bool = True

    def __call__(self, scene: Scene, context: Context) -> Scene:
        groups = []
        for group in scene.groups:
            if group.model == "rotation":
                square = self._square(scene, group)
                felt = [p.down for p in group.photos if p.down is not None]
                told = self.gravity and len(felt) == len(group.photos)
                turned = level(
                    [c.rotation for c in group.cameras],
                    square if len(square) else None,
                    np.array(felt) if told else None,
                )
                cameras = tuple(replace(c, rotation=r) for c, r in zip(group.cameras, turned, strict=True))
                group = replace(group, cameras=cameras)
            groups.append(group)
        return replace(scene, groups=tuple(groups))

    def _square(self, scene: Scene, group: Registered) -> Array:
        """Return what the lines of a group's photos say of the vertical."""
        if not self.points:
            return np.zeros((0, 3))
        names = [p.name for g in scene.groups for p in g.photos] + [u.photo for u in scene.unused]
        _, lines = read_points(Path(self.points), names)
        return constraints(lines, group.photos, group.cameras)


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
        layers = tuple(
            Layer(p, replace(c, circle_px=p.circle_px))
            for p, c in zip(group.photos, group.cameras, strict=True)
        )
        canvas = self._canvas(layers, None if group.model == "rotation" else group.model)
        return without_unseen(replace(canvas, rms_px=group.rms_px, links=group.links))

    def again(self, composition: Composition) -> Composition:
        """Lay a finished composition out anew; what was solved for it is carried over.

        Raises
        ------
        OptionError
            The projection is one that its cameras were not solved for.
        """
        other = self.projection not in ("auto", composition.projection)
        if other and (composition.flat or self.projection in FLAT):
            raise OptionError(
                f"the plan's cameras were solved for {composition.projection}, which cannot be shown as "
                f"{self.projection}; stitch the photos anew"
            )
        flat = composition.projection if composition.flat else None
        return without_unseen(carried_over(composition, self._canvas(composition.layers, flat)))

    def _canvas(self, layers: tuple[Layer, ...], flat: Projection | None) -> Composition:
        """Lay out a canvas; `flat` is the projection of a flat scene, which has no other."""
        wanted = None if self.projection == "auto" or self.projection in FLAT else self.projection
        projection = flat or wanted or choose_projection(layers)
        view = View(self.yaw, self.pitch, self.roll, (self.fov, self.fov_down))
        composition = fit_canvas(layers, projection, view)
        if self.crop == "rectangle":
            composition = largest_rectangle(composition)
        return rescaled(composition, self.width) if self.width else composition
