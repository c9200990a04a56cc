"""Bundle adjustment of a camera that moves over a flat scene: poses, focal length and distortion together.

The scene is the plane z = 0. A camera at c, turned by R, sees the plane's point X = (x, y, 1) at M X, with
M = R [e1 e2 -c]: a homography with six unknowns. Eight free ones a photo would let long chains drift into
perspective; poses that share a lens keep the plane true to shape (Triggs, ECCV 1998, for why they can). The
residual of a match is that of `bundle`: where photo i's point lands in photo j, by way of the plane, less
where it was seen. Levenberg-Marquardt with Huber weights, the Jacobian analytic, one block a pair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.homography import Pair
from composer.align.projection import photo_directions
from composer.errors import ComposerError
from composer.records import Camera, Photo
from composer.stitching.bundle import (
    Lens,
    cameras_of,
    crossed,
    exp_rotations,
    grown,
    priors,
    product,
    transfer,
)
from composer.stitching.least_squares import (
    Equations,
    Matches,
    assembled,
    in_parts,
    larger_of_both,
    minimise,
    weighted_blocks,
)

Array = NDArray[Any]

__all__ = ["Pose", "adjust_poses", "canvas_cameras", "plane_errors", "poses_from_affine"]

SOLVED = 2  # of each lens: focal length and b
NEAR_HORIZON = 0.1  # a photo that sees the plane ten times as far away at one corner as at another
ALIKE = 0.5  # cosine of the angle from the mean up to which photos have a view half-way
OBLIQUE = 0.7  # an oblique view must even out the scale this much to be preferred to the frontal one


@dataclass(frozen=True)
class Pose:
    """Where a camera stands before the plane z = 0 and how it is turned (world to camera)."""

    rotation: Array
    centre: Array

    @property
    def matrix(self) -> Array:
        """The homography from plane to camera, R [e1 e2 -c]."""
        return np.asarray(self.rotation @ np.c_[np.eye(3)[:, :2], -self.centre])


def poses_from_affine(cameras: list[Camera], lenses: list[Lens], lens_of: list[int]) -> list[Pose]:
    """Place cameras that look straight at the plane where affine maps from plane to photo put them."""
    poses = []
    for camera, k in zip(cameras, lens_of, strict=True):
        map_, focal = camera.rotation[:2], lenses[k].focal_px / camera.focal_px
        u, _, vt = np.linalg.svd(map_[:, :2])
        turn = np.eye(3)
        turn[:2, :2] = u @ vt
        depth = focal / np.sqrt(abs(np.linalg.det(map_[:, :2])))
        seen_at = np.r_[map_[:, 2] / focal * depth, depth]
        poses.append(Pose(turn, -turn.T @ seen_at))
    return poses


def plane_errors(pairs: list[Pair], poses: list[Pose], lenses: list[Lens], lens_of: list[int]) -> list[Array]:
    """Return for each pair each match's larger distance in pixels, of its two directions (N,)."""
    each = [lenses[k] for k in lens_of]
    return [e for m in in_parts(pairs) for e in larger_of_both(m, _residuals(m, poses, each)[0])]


def _residuals(matches: Matches, poses: list[Pose], lenses: list[Lens]) -> tuple[Array, Array]:
    """Return where points land less where they were seen (2, N), and the Jacobian (2, 16, N).

    Columns: omega and c of source, the same of target, log f and b of source, log f and b of target;
    rotations are perturbed from the left, R <- exp(omega) R.
    """
    maps = np.stack([p.matrix for p in poses])
    turns = np.stack([p.rotation for p in poses])
    back = np.linalg.inv(maps)[matches.source]
    between = maps[matches.target] @ back
    residual, ray, v, by_v, by_ray, by_lens = transfer(matches, between, lenses, SOLVED)
    # v = M_j X, X = M_i^-1 ray, and d(M X) = omega x M X - R dc X_z
    depth = (back[:, 2].T[:, matches.of] * ray).sum(0)
    of_source, of_target = (
        turns.transpose(1, 2, 0)[:, :, k[matches.of]] for k in (matches.source, matches.target)
    )
    jacobian = [
        crossed(by_ray, ray[None]),
        product(by_ray, of_source) * depth,
        crossed(v[None], by_v),
        product(by_v, of_target) * -depth,
        by_lens,
    ]
    return residual, np.concatenate(jacobian, 1)


def adjust_poses(
    pairs: list[Pair],
    poses: list[Pose],
    lenses: list[Lens],
    lens_of: list[int],
    huber_px: float,
    iterations: int = 50,
    tolerance: float = 1e-5,
) -> tuple[list[Pose], list[Lens]]:
    """Minimise the Huber-weighted reprojection error over poses, focal lengths and distortion.

    Parameters and the lenses returned are those of `bundle.adjust`, with poses in place of rotations.
    The plane's own place, scale and turn are left where the first poses have them.
    """
    parts, n = in_parts(pairs), len(poses)
    where = np.concatenate([m.columns(6, n, lens_of, SOLVED) for m in parts])

    def equations(state: tuple[list[Pose], list[Lens]]) -> Equations:
        each = [state[1][k] for k in lens_of]
        blocks = [weighted_blocks(m, *_residuals(m, state[0], each), huber_px) for m in parts]
        return assembled(blocks, where, *priors(state[1], 6 * n, SOLVED))

    def moved(state: tuple[list[Pose], list[Lens]], step: Array) -> tuple[list[Pose], list[Lens]]:
        steps = step[: 6 * n].reshape(-1, 6)
        turns = exp_rotations(steps[:, :3])
        there = [
            Pose(turn @ p.rotation, p.centre + s[3:])
            for turn, s, p in zip(turns, steps, state[0], strict=True)
        ]
        return there, grown(state[1], step[6 * n :].reshape(-1, SOLVED))

    return minimise((poses, lenses), equations, moved, iterations, tolerance)


def canvas_cameras(
    photos: tuple[Photo, ...], pairs: list[Pair], poses: list[Pose], lenses: list[Lens], lens_of: list[int]
) -> list[Camera] | None:
    """Choose the canvas, and return each photo's homography from it as a camera.

    The plane is shown from the front unless the view half-way between the photos', or a photo's own, evens
    out the photos' scales far better. From half-way the photos are upright in the mean, else the photo with
    most matches is; the median photo is as large as it is.

    Returns
    -------
    list of Camera; None where some photo looks past the plane's horizon or the lens folds back within it:
    such a scene is not flat.
    """
    maps = [p.matrix for p in poses]
    views = cameras_of(maps, lenses, lens_of)
    try:
        points = np.stack([photo_directions(p, c, 3) for p, c in zip(photos, views, strict=True)])
    except ComposerError:  # the lens folds back within a photo
        return None
    areas = np.array([1 / (np.linalg.det(c.rotation) * c.focal_px**2) for c in views])
    between = _half_way(poses)
    middle = [] if between is None else [between.matrix]
    canvases = [np.eye(3), *middle, *maps]
    scales = [_log_scales(points, areas, canvas) for canvas in canvases]
    spreads = [np.inf if s is None else float(np.std(s)) for s in scales]
    best = int(np.argmin(spreads))
    if spreads[best] > OBLIQUE * spreads[0]:
        best = 0
    found = scales[best]
    if found is None:
        return None
    canvas = canvases[best]
    back = np.linalg.inv(canvas)
    usual = float(np.median([c.focal_px for c in views]))
    upright = canvas if middle and best == 1 else maps[_best_matched(pairs)]
    placed = _upright(upright @ back, float(np.exp(np.median(found[:, 4]))) * usual)
    return [replace(c, rotation=_unit_depth(m @ back @ placed)) for m, c in zip(maps, views, strict=True)]


def _half_way(poses: list[Pose]) -> Pose | None:
    """Return the mean of poses, its rotation nearest to all of them; None where they are turned far apart."""
    u, likeness, vt = np.linalg.svd(np.mean([p.rotation for p in poses], 0))
    if likeness.min() < ALIKE:
        return None
    return Pose(u @ vt, np.mean([p.centre for p in poses], 0))


def _log_scales(points: Array, areas: Array, canvas: Array) -> Array | None:
    """Return log canvas units a photo pixel, at points of each photo (n, k); None near the horizon.

    `points` (n, k, 3) lie on the plane, where a photo's pixel at depth 1 has an area of `areas` (n,).
    """
    depth = points @ canvas[2]
    if (depth.min(1) <= NEAR_HORIZON * np.abs(depth).max(1)).any() or (areas <= 0).any():
        return None
    return np.asarray(np.log(areas[:, None] * np.linalg.det(canvas) / depth**3) / 2)


def _best_matched(pairs: list[Pair]) -> int:
    """Return the photo that has most matches."""
    ends = np.concatenate([[p.i, p.j] for p in pairs])
    return int(np.bincount(ends, np.repeat([len(p.points_i) for p in pairs], 2)).argmax())


def _upright(map_: Array, scale: float) -> Array:
    """Return the similarity of the canvas after which a photo's centre is its origin, the photo upright."""
    centre = np.linalg.inv(map_)[:, 2]
    u, _, vt = np.linalg.svd(map_[:2, :2])
    placed = np.eye(3)
    placed[:2, :2] = (u @ vt).T * scale
    placed[:2, 2] = centre[:2] / centre[2]
    return placed


def _unit_depth(map_: Array) -> Array:
    """Scale a homography so that the photo's centre has depth 1."""
    return np.asarray(map_ * np.linalg.inv(map_)[2, 2])
