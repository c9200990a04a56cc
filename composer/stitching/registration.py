"""Register one group of photos: from pairs that match to adjusted cameras."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.homography import Pair
from composer.records import Camera, Link, Photo, Unused
from composer.stitching.affine import adjust_affine, affine_errors
from composer.stitching.bundle import Lens, adjust, cameras_of, pair_errors
from composer.stitching.cameras import connected_groups, estimate_focal, spanning_rotations

Array = NDArray[Any]

__all__ = ["Registered", "register"]

CONTRADICTION = 0.02  # of the photo's diagonal: a pair so far off is a false match, not parallax
OWN_LENS_GAIN = 0.6  # own focal lengths must lower the cost to this
WHOLE_LENS_GAIN, WHOLE_LENS_PHOTOS = 0.8, 5  # a, c and the optical centre must lower it to this
ENOUGH_MATCHES = 3000  # to look for contradictions; the cameras are then adjusted to all matches
FLAT_FOCAL = 3.0  # scans look like turns of a camera with a lens longer than this many photo widths


@dataclass(frozen=True)
class Registered:
    """Photos with adjusted cameras, how well they fit, and the photos dropped on the way."""

    photos: tuple[Photo, ...]
    cameras: tuple[Camera, ...]
    rms_px: float
    affine: bool = False
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
    model : "rotation", "affine" or "auto"
    huber_px : float
        Residuals beyond this count linearly.
    """
    group, dropped = list(members), []
    inside = [p for p in pairs if p.i in set(group)]
    while True:
        chosen = tuple(photos[k] for k in group)
        local = _renumbered(inside, group)
        few = _thinned(local)
        found = _fit(chosen, few, model, huber_px)
        errors = np.array([np.median(e) for e in found.errors])
        limit = CONTRADICTION * float(np.median([np.hypot(p.width, p.height) for p in chosen]))
        if errors.max() <= limit or len(group) <= 2:
            break
        false = errors > max(limit, min(errors.max() / 2, 20 * limit))
        inside = [p for p, wrong in zip(inside, false, strict=True) if not wrong]
        components = connected_groups(len(photos), inside)
        largest = next(c for c in components if set(c) <= set(group))
        why = f"its matches contradict those of the other photos ({errors.max():.0f} px apart)"
        dropped += [Unused(photos[k].name, why) for k in sorted(set(group) - set(largest))]
        group = largest
        inside = [p for p in inside if p.i in set(group)]
    if few is not local:
        found = _fit(chosen, local, model, huber_px)
    links = tuple(Link(p.i, p.j, len(e), _rms(e)) for p, e in zip(local, found.errors, strict=True))
    rms = _rms(np.concatenate(found.errors))
    return Registered(chosen, tuple(found.cameras), rms, found.affine, tuple(dropped), links)


def _rms(errors: Array) -> float:
    return float(np.sqrt(np.mean(errors**2)))


@dataclass(frozen=True)
class _Fit:
    cameras: list[Camera]
    errors: list[Array]
    affine: bool


def _thinned(pairs: list[Pair]) -> list[Pair]:
    """Keep enough matches to find contradictions by; the same list where there are few."""
    if sum(len(p.points_i) for p in pairs) <= ENOUGH_MATCHES:
        return pairs
    share = ENOUGH_MATCHES // len(pairs)
    steps = [max(1, len(p.points_i) // max(share, 20)) for p in pairs]
    return [
        replace(p, points_i=p.points_i[::step], points_j=p.points_j[::step])
        for p, step in zip(pairs, steps, strict=True)
    ]


def _renumbered(pairs: list[Pair], group: list[int]) -> list[Pair]:
    at = {k: n for n, k in enumerate(group)}
    return [replace(p, i=at[p.i], j=at[p.j]) for p in pairs]


def _fit(photos: tuple[Photo, ...], pairs: list[Pair], model: str, huber_px: float) -> _Fit:
    if model == "affine":
        return _fit_affine(photos, pairs, huber_px)
    turning = _fit_rotation(photos, pairs, huber_px)
    focal = float(np.median([c.focal_px for c in turning.cameras]))
    if model == "rotation" or focal < FLAT_FOCAL * max(photos[0].width, photos[0].height):
        return turning
    flat = _fit_affine(photos, pairs, huber_px)
    return flat if _median(flat) < _median(turning) else turning


def _median(fit: _Fit) -> float:
    return float(np.median(np.concatenate(fit.errors)))


def _fit_affine(photos: tuple[Photo, ...], pairs: list[Pair], huber_px: float) -> _Fit:
    cameras = adjust_affine(photos, pairs, huber_px)
    return _Fit(cameras, [affine_errors(p, cameras, photos) for p in pairs], True)


def _fit_rotation(photos: tuple[Photo, ...], pairs: list[Pair], huber_px: float) -> _Fit:
    """Adjust turning cameras; photos share a lens unless lenses of their own fit far better."""
    lenses, lens_of = _shared_lenses(photos, pairs)
    sizes = [(p.width, p.height) for p in photos]
    rotations, agrees = spanning_rotations(pairs, sizes, [lenses[k].focal_px for k in lens_of])
    believed = [p for p, good in zip(pairs, agrees, strict=True) if good]
    rotations, lenses = adjust(believed, rotations, lenses, lens_of, huber_px=1e4, tolerance=1e-2)
    rotations, lenses = adjust(believed, rotations, lenses, lens_of, huber_px)
    shared = _errors(pairs, rotations, lenses, lens_of)
    own_of = list(range(len(photos)))
    own = [replace(lenses[k], shape_prior=lenses[k].shape, shape_sigma=(0.003,) * 5) for k in lens_of]
    own_rotations, own = adjust(believed, rotations, own, own_of, huber_px)
    freed = _errors(pairs, own_rotations, own, own_of)
    if _cost(freed, huber_px) < OWN_LENS_GAIN * _cost(shared, huber_px):
        rotations, lenses, lens_of, shared = own_rotations, own, own_of, freed
    kept = _without_outliers(pairs, shared)
    believed = [p for p, good in zip(kept, agrees, strict=True) if good]
    rotations, lenses = adjust(believed, rotations, lenses, lens_of, huber_px)
    errors = _errors(kept, rotations, lenses, lens_of)
    if len(photos) >= WHOLE_LENS_PHOTOS:
        turned, whole = adjust(believed, rotations, lenses, lens_of, huber_px, solved=6)
        better = _errors(kept, turned, whole, lens_of)
        if _cost(better, huber_px) < WHOLE_LENS_GAIN * _cost(errors, huber_px):
            rotations, lenses, errors = turned, whole, better
    return _Fit(cameras_of(rotations, lenses, lens_of), errors, False)


def _shared_lenses(photos: tuple[Photo, ...], pairs: list[Pair]) -> tuple[list[Lens], list[int]]:
    """Return a first guess of each lens setting, and which one each photo has."""
    sizes = [(p.width, p.height) for p in photos]
    fisheyes = [
        p.focal_px / max(p.width, p.height) for p in photos if p.optics != "rectilinear" and p.focal_px
    ]
    start = fisheyes[0] if fisheyes else estimate_focal(pairs, sizes, [p.focal_px for p in photos])
    names = [(p.camera, p.width, p.height) for p in photos]
    kinds = sorted(set(names), key=names.index)
    return [_lens(photos[names.index(kind)], start) for kind in kinds], [kinds.index(n) for n in names]


def _without_outliers(pairs: list[Pair], errors: list[Array]) -> list[Pair]:
    """Leave out matches that are off by four times what is usual; a pair keeps its better half at least."""
    usual = 1.4826 * float(np.median(np.concatenate(errors)))
    kept = []
    for pair, error in zip(pairs, errors, strict=True):
        good = error <= max(3.0, 4 * usual, float(np.median(error)))
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
