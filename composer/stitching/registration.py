"""Register one group of photos: from pairs that match to adjusted cameras."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from composer.align.homography import Pair
from composer.errors import OptionError
from composer.records import Camera, Link, Photo, Unused
from composer.stitching.affine import adjust_affine, affine_errors
from composer.stitching.bundle import Lens, adjust, cameras_of, pair_errors
from composer.stitching.cameras import (
    USUAL_FOCAL,
    connected_groups,
    estimate_focal,
    relative_focals,
    spanning_rotations,
)
from composer.stitching.mosaic import adjust_poses, canvas_cameras, plane_errors, poses_from_affine

Array = NDArray[Any]

__all__ = ["Registered", "register"]

CONTRADICTION = 0.02  # of the photo's diagonal: a pair so far off is a false match, not parallax
ZOOMED = 1.35  # focal lengths that seem to differ so much, as a factor, start from what they seem
OWN_LENS_GAIN = 0.6  # own focal lengths must lower the cost to this
WHOLE_LENS_GAIN, WHOLE_LENS_PHOTOS = 0.8, 5  # a, c and the optical centre must lower it to this
ENOUGH_MATCHES = 3000  # to look for contradictions; the cameras are then adjusted to all matches
TRIAL_MATCHES = 800  # to see whether other lenses or a flat scene fit far better
TRIAL_TOLERANCE = 1e-3  # whose decision is not that fine
FLAT_FOCAL = 3.0  # scans look like turns of a camera with a lens longer than this many photo widths
FLAT_GAIN = 0.5  # a flat scene must lower the cost of turning to this: it has twice the unknowns
AFFINE_GAIN = 0.7  # perspective must lower the cost of affine maps to this
SHARP = 5e-4  # of the photo's diagonal: turning that fits so well needs no rival
TURNED_DEG = 45.0  # cameras that look so far to either side do turn, however long their lens
ROUNDS, REGAINED = 5, 0.05  # matches that no homography explains count while they add this share
HOPELESS = 4.0  # times the cost of turning: where affine maps are so far off, poses cannot start from them


Model = Literal["rotation", "affine", "homography"]


@dataclass(frozen=True)
class Registered:
    """Photos with adjusted cameras, how well they fit, and the photos dropped on the way."""

    photos: tuple[Photo, ...]
    cameras: tuple[Camera, ...]
    rms_px: float
    model: Model = "rotation"
    dropped: tuple[Unused, ...] = ()
    links: tuple[Link, ...] = ()


def register(
    photos: tuple[Photo, ...], pairs: tuple[Pair, ...], members: list[int], model: str, huber_px: float
) -> Registered:
    """Find the cameras of one connected group.

    Parameters
    ----------
    photos : all photos; `members` are the indices of this group
    pairs : all pairs; those of other groups are ignored
    model : "rotation", "affine", "homography" or "auto"
    huber_px : float
        Residuals beyond this count linearly.

    Raises
    ------
    OptionError
        The model is "homography" and the photos do not show one plane from the front.
    """
    group, dropped = list(members), []
    inside = [p for p in pairs if p.i in set(group)]
    found: _Fit | None = None
    while True:
        chosen = tuple(photos[k] for k in group)
        local = _renumbered(inside, group)
        if found is None:
            few = _thinned(local, ENOUGH_MATCHES)
            found, thinned = _fit(chosen, few, model, huber_px), few is not local
        errors = np.array([np.median(e) for e in found.errors])
        limit = _limit(chosen)
        if errors.max() <= limit or len(group) <= 2:
            break
        false = errors > max(limit, min(errors.max() / 2, 20 * limit))
        inside = [p for p, wrong in zip(inside, false, strict=True) if not wrong]
        components = connected_groups(len(photos), inside)
        largest = next(c for c in components if set(c) <= set(group))
        found = found.without(false) if largest == group else None
        why = f"its matches contradict those of the other photos ({errors.max():.0f} px apart)"
        dropped += [Unused(photos[k].name, why) for k in sorted(set(group) - set(largest))]
        group = largest
        inside = [p for p in inside if p.i in set(group)]
        if not inside:
            alone = Unused(photos[group[0]].name, why)
            return Registered((), (), 0.0, dropped=(*dropped, alone))
    if thinned and found.turning:
        found = _to_all(chosen, local, found.turning, huber_px)
    elif thinned:
        found = _fit(chosen, local, model, huber_px)
    links = tuple(Link(p.i, p.j, len(e), _rms(e)) for p, e in zip(local, found.errors, strict=True))
    rms = _rms(np.concatenate(found.errors))
    return Registered(chosen, tuple(found.cameras), rms, found.model, tuple(dropped), links)


def _rms(errors: Array) -> float:
    return float(np.sqrt(np.mean(errors**2)))


@dataclass(frozen=True)
class _Turning:
    """Turning cameras as they are adjusted, and which pairs have a say."""

    rotations: list[Array]
    lenses: list[Lens]
    lens_of: list[int]
    solved: int
    agrees: list[bool]


@dataclass(frozen=True)
class _Fit:
    cameras: list[Camera]
    errors: list[Array]
    model: Model
    unknowns: int
    turning: _Turning | None = None

    def without(self, false: Array) -> _Fit | None:
        """Return the same fit less some pairs; None where they had a say in it."""
        turning = self.turning
        if turning is None or any(np.asarray(turning.agrees)[false]):
            return None
        kept = np.flatnonzero(~false)
        agreeing = replace(turning, agrees=[turning.agrees[k] for k in kept])
        return replace(self, errors=[self.errors[k] for k in kept], turning=agreeing)

    def variance(self, huber_px: float, limit_px: float) -> float:
        """Cost a degree of freedom: more unknowns must pay for themselves; false matches count `limit_px`."""
        freedom = 2 * sum(len(e) for e in self.errors) - self.unknowns
        return _cost([np.minimum(e, limit_px) for e in self.errors], huber_px) / max(freedom, 1)


def _limit(photos: tuple[Photo, ...]) -> float:
    """Return the error in pixels beyond which matches are false."""
    return CONTRADICTION * float(np.median([np.hypot(p.width, p.height) for p in photos]))


def _sharp(photos: tuple[Photo, ...]) -> float:
    """Return the error in pixels below which turning cameras explain matches well."""
    return SHARP / CONTRADICTION * _limit(photos)


def _thinned(pairs: list[Pair], enough: int) -> list[Pair]:
    """Keep about `enough` matches, 20 a pair at least; the same list where there are no more."""
    if sum(len(p.points_i) for p in pairs) <= enough:
        return pairs
    share = enough // len(pairs)
    steps = [max(1, len(p.points_i) // max(share, 20)) for p in pairs]
    return [
        replace(
            p,
            points_i=p.points_i[::step],
            points_j=p.points_j[::step],
            rest_i=p.rest_i[::step],
            rest_j=p.rest_j[::step],
        )
        for p, step in zip(pairs, steps, strict=True)
    ]


def _renumbered(pairs: list[Pair], group: list[int]) -> list[Pair]:
    at = {k: n for n, k in enumerate(group)}
    return [replace(p, i=at[p.i], j=at[p.j]) for p in pairs]


def _fit(photos: tuple[Photo, ...], pairs: list[Pair], model: str, huber_px: float) -> _Fit:
    """Fit the model asked for; "auto" weighs a turning camera against a flat scene.

    All matches of all pairs have a say. A scan's turning camera is one whose focal length runs away: then a
    flat scene need only be the better of the two. Else it must be far better.
    """
    if model == "affine":
        return _fit_affine(photos, pairs, huber_px)
    if model == "homography":
        found = _fit_plane(photos, pairs, huber_px, np.inf)
        if found is None:
            raise OptionError("the photos do not show one flat scene from the front; use --projection auto")
        return found
    turning = _fit_rotation(photos, pairs, huber_px)
    if model == "rotation":
        return turning
    focal = float(np.median([c.focal_px for c in turning.cameras]))
    scatter = turning.variance(huber_px, _limit(photos))
    runaway = focal >= FLAT_FOCAL * max(photos[0].width, photos[0].height)
    turned = _span_deg(turning.cameras) > TURNED_DEG
    if (turned or not runaway) and np.sqrt(scatter) < _sharp(photos):
        return turning
    gain, limit = (1.0, np.inf) if runaway else (FLAT_GAIN, scatter)
    few = _thinned(pairs, TRIAL_MATCHES)
    trial = _fit_flat(photos, few, huber_px, limit)
    if trial.variance(huber_px, _limit(photos)) >= gain * scatter:
        return turning
    return trial if few is pairs else _fit_flat(photos, pairs, huber_px, limit)


def _span_deg(cameras: list[Camera]) -> float:
    """Return the largest angle between a camera's axis and their mean, in degrees."""
    axes = np.array([c.rotation[2] for c in cameras])
    mean = axes.mean(0)
    likeness = axes @ mean / max(float(np.linalg.norm(mean)), 1e-9)
    return float(np.degrees(np.arccos(np.clip(likeness.min(), -1, 1))))


def _fit_flat(photos: tuple[Photo, ...], pairs: list[Pair], huber_px: float, turning: float) -> _Fit:
    """Fit affine maps, and poses before a plane where those fit far better; `turning` is to be beaten."""
    affine = _fit_affine(photos, pairs, huber_px)
    scatter = affine.variance(huber_px, _limit(photos))
    if scatter > HOPELESS * turning:
        return affine
    plane = _fit_plane(photos, pairs, huber_px, turning)
    if plane is None or plane.variance(huber_px, _limit(photos)) > AFFINE_GAIN * scatter:
        return affine
    return plane


def _fit_affine(photos: tuple[Photo, ...], pairs: list[Pair], huber_px: float) -> _Fit:
    cameras = adjust_affine(photos, pairs, huber_px)
    kept = _without_outliers(pairs, [affine_errors(p, cameras, photos) for p in pairs])
    cameras = adjust_affine(photos, kept, huber_px)
    errors = [affine_errors(p, cameras, photos) for p in kept]
    return _Fit(cameras, errors, "affine", 6 * len(photos) - 6)


def _fit_plane(photos: tuple[Photo, ...], pairs: list[Pair], huber_px: float, turning: float) -> _Fit | None:
    """Adjust poses before a plane; None where photos look past its horizon or `turning` stays the better."""
    lenses, lens_of = _shared_lenses(photos, USUAL_FOCAL)
    poses = poses_from_affine(adjust_affine(photos, pairs, huber_px), lenses, lens_of)
    stiff = [replace(la, prior_sigma=0.02, shape_sigma=(0.001,) * 5) for la in lenses]
    poses, _ = adjust_poses(pairs, poses, stiff, lens_of, huber_px=1e4, tolerance=1e-2)
    unknowns = 6 * len(photos) - 4 + 2 * len(lenses)
    kept = pairs
    for iterations in (15, 50):
        poses, lenses = adjust_poses(kept, poses, lenses, lens_of, huber_px, iterations)
        errors = plane_errors(kept, poses, lenses, lens_of)
        found = _Fit([], errors, "homography", unknowns)
        if found.variance(huber_px, _limit(photos)) > turning:
            return None
        kept, last = _without_outliers(kept, errors), kept
    cameras = canvas_cameras(photos, last, poses, lenses, lens_of)
    return None if cameras is None else replace(found, cameras=cameras)


def _fit_rotation(photos: tuple[Photo, ...], pairs: list[Pair], huber_px: float) -> _Fit:
    """Adjust turning cameras; photos share a lens unless lenses of their own fit far better."""
    sizes = [(p.width, p.height) for p in photos]
    known = photos[0].focal_px if photos[0].optics != "rectilinear" else None
    relative = np.ones(len(photos)) if known else relative_focals(pairs, sizes)
    zoomed = relative.max() > ZOOMED * relative.min()
    promised = [p.focal_px for p in photos]
    given = relative if zoomed else None
    start = known / max(sizes[0]) if known else estimate_focal(pairs, sizes, promised, given)
    lenses, lens_of = _shared_lenses(photos, start)
    if zoomed:
        lenses = [_lens(p, start * r) for p, r in zip(photos, relative, strict=True)]
        lens_of = list(range(len(photos)))
    rotations, agrees = spanning_rotations(pairs, sizes, [lenses[k].focal_px for k in lens_of])
    believed = [p for p, good in zip(pairs, agrees, strict=True) if good]
    rotations, lenses = adjust(believed, rotations, lenses, lens_of, huber_px=1e4, tolerance=1e-2)
    rotations, lenses = adjust(believed, rotations, lenses, lens_of, huber_px)
    for _ in range(ROUNDS):
        pairs, more = _regained(photos, pairs, rotations, lenses, lens_of)
        if not more:
            break
        believed = [p for p, good in zip(pairs, agrees, strict=True) if good]
        rotations, lenses = adjust(believed, rotations, lenses, lens_of, huber_px)
    shared = _errors(pairs, rotations, lenses, lens_of)
    own_of = list(range(len(photos)))
    own = [replace(lenses[k], shape_prior=lenses[k].shape, shape_sigma=(0.003,) * 5) for k in lens_of]
    few = _thinned(believed, TRIAL_MATCHES)
    own_rotations, own = adjust(few, rotations, own, own_of, huber_px, tolerance=TRIAL_TOLERANCE)
    freed = _cost(_errors(few, own_rotations, own, own_of), huber_px)
    if freed < OWN_LENS_GAIN * _cost(_errors(few, rotations, lenses, lens_of), huber_px):
        rotations, lenses, lens_of = *adjust(believed, own_rotations, own, own_of, huber_px), own_of
        shared = _errors(pairs, rotations, lenses, lens_of)
    kept = _without_outliers(pairs, shared)
    believed = [p for p, good in zip(kept, agrees, strict=True) if good]
    rotations, lenses = adjust(believed, rotations, lenses, lens_of, huber_px)
    errors = _errors(kept, rotations, lenses, lens_of)
    unknowns, solved = 3 * len(photos) - 3 + 2 * len(lenses), 2
    if len(photos) >= WHOLE_LENS_PHOTOS:
        few = _thinned(believed, TRIAL_MATCHES)
        turned, whole = adjust(few, rotations, lenses, lens_of, huber_px, tolerance=TRIAL_TOLERANCE, solved=6)
        better = _cost(_errors(few, turned, whole, lens_of), huber_px)
        if better < WHOLE_LENS_GAIN * _cost(_errors(few, rotations, lenses, lens_of), huber_px):
            rotations, lenses = adjust(believed, turned, whole, lens_of, huber_px, solved=6)
            errors = _errors(kept, rotations, lenses, lens_of)
            unknowns, solved = unknowns + 4 * len(lenses), 6
    turning = _Turning(rotations, lenses, lens_of, solved, agrees)
    return _Fit(cameras_of(rotations, lenses, lens_of), errors, "rotation", unknowns, turning)


def _to_all(photos: tuple[Photo, ...], pairs: list[Pair], few: _Turning, huber_px: float) -> _Fit:
    """Adjust turning cameras that were found by a part of the matches to all of them."""
    lens_of = few.lens_of
    pairs, _ = _regained(photos, pairs, few.rotations, few.lenses, lens_of)
    kept = _without_outliers(pairs, _errors(pairs, few.rotations, few.lenses, lens_of))
    believed = [p for p, good in zip(kept, few.agrees, strict=True) if good]
    rotations, lenses = adjust(believed, few.rotations, few.lenses, lens_of, huber_px, solved=few.solved)
    errors = _errors(kept, rotations, lenses, lens_of)
    unknowns = 3 * len(rotations) - 3 + few.solved * len(lenses)
    return _Fit(cameras_of(rotations, lenses, lens_of), errors, "rotation", unknowns)


def _shared_lenses(photos: tuple[Photo, ...], start: float) -> tuple[list[Lens], list[int]]:
    """Return a first guess of each lens setting, `start` longer sides, and which one each photo has."""
    names = [(p.camera, p.width, p.height) for p in photos]
    kinds = sorted(set(names), key=names.index)
    return [_lens(photos[names.index(kind)], start) for kind in kinds], [kinds.index(n) for n in names]


def _regained(
    photos: tuple[Photo, ...],
    pairs: list[Pair],
    rotations: list[Array],
    lenses: list[Lens],
    lens_of: list[int],
) -> tuple[list[Pair], bool]:
    """Add matches that fit the cameras though no homography explains them: a lens that bends has many.

    Not where matches agree so badly that cameras in one place do not explain them either.

    Returns
    -------
    pairs, and whether these are more by enough to adjust the cameras to them.
    """
    errors = _errors(pairs, rotations, lenses, lens_of)
    if float(np.median(np.concatenate(errors))) > _sharp(photos):
        return pairs, False
    limit = _usual_limit(errors)
    rest = [replace(p, points_i=p.rest_i, points_j=p.rest_j) for p in pairs]
    good = [e <= limit for e in _errors(rest, rotations, lenses, lens_of)]
    before = sum(len(p.points_i) for p in pairs)
    if sum(int(g.sum()) for g in good) < REGAINED * before:
        return pairs, False
    return [
        replace(
            p,
            points_i=np.concatenate([p.points_i, p.rest_i[g]]),
            points_j=np.concatenate([p.points_j, p.rest_j[g]]),
            rest_i=p.rest_i[~g],
            rest_j=p.rest_j[~g],
        )
        for p, g in zip(pairs, good, strict=True)
    ], True


def _usual_limit(errors: list[Array]) -> float:
    """Return the error in pixels from which a match is an outlier: four times what is usual."""
    return max(3.0, 4 * 1.4826 * float(np.median(np.concatenate(errors))))


def _without_outliers(pairs: list[Pair], errors: list[Array]) -> list[Pair]:
    """Leave out matches that are off by four times what is usual; a pair keeps its better half at least."""
    limit, kept = _usual_limit(errors), []
    for pair, error in zip(pairs, errors, strict=True):
        good = error <= max(limit, float(np.median(error)))
        kept.append(replace(pair, points_i=pair.points_i[good], points_j=pair.points_j[good]))
    return kept


def _lens(photo: Photo, start: float) -> Lens:
    longer, shorter = max(photo.width, photo.height), min(photo.width, photo.height)
    centre = ((photo.width - 1) / 2, (photo.height - 1) / 2)
    a, b, c = photo.distortion
    shape = (b, a, c, 0.0, 0.0)
    promised, sigma = (photo.focal_px, 0.1) if photo.focal_px else (start * longer, 0.5)
    return Lens(
        start * longer, shorter / 2, centre, shape, promised, sigma, shape_prior=shape, optics=photo.optics
    )


def _errors(pairs: list[Pair], rotations: list[Array], lenses: list[Lens], lens_of: list[int]) -> list[Array]:
    each = [lenses[k] for k in lens_of]
    return pair_errors(pairs, rotations, each)


def _cost(errors: list[Array], huber_px: float) -> float:
    e = np.concatenate(errors)
    return float(np.sum(np.where(e > huber_px, huber_px * (2 * e - huber_px), e**2)))
