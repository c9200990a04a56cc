"""Flat scenes from places apart: the Jacobian, poses recovered, and which model is chosen."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from composer import stitch
from composer.align.homography import Pair
from composer.errors import OptionError
from composer.records import Photo
from composer.samples import picture, rotation
from composer.stitching.bundle import Lens, Matches, exp_rotations
from composer.stitching.mosaic import Pose, _residuals, adjust_poses, plane_errors
from composer.stitching.registration import Registered, register

Array = NDArray[np.float64]
SIZE, FOCAL = (600, 400), 520.0
LENS = Lens(focal_px=FOCAL, half_px=200.0, centre=(299.5, 199.5), shape=(-0.02, 0.0, 0.0, 0.0, 0.0))


def pose(x: float, y: float, distance: float, *angles: float) -> Pose:
    """Stand `distance` before the wall z = 0 at (x, y), turned by yaw, pitch and roll."""
    return Pose(rotation(*angles), np.array([x, y, -distance]))


def spots(poses: list[Pose], relief: float = 0.0, lens: Lens = LENS) -> list[tuple[Array, NDArray[np.bool_]]]:
    """Return where each camera sees 6000 points of a wall, and which it sees."""
    rng = np.random.default_rng(3)
    world = np.c_[rng.uniform([-4, -2], [4, 2], (6000, 2)), relief * rng.normal(size=6000)]
    found = []
    for p in poses:
        v = (world - p.centre) @ p.rotation.T
        u = v[:, :2] / np.maximum(v[:, 2:], 1e-3) * FOCAL
        r2 = (u**2).sum(1, keepdims=True) / lens.half_px**2
        inside = (v[:, 2] > 0.1) & (np.abs(u) < [295, 195]).all(1)
        found.append((u * (lens.shape[0] * r2 + 1 - lens.shape[0]) + lens.centre, inside))
    return found


def matched(seen: list[tuple[Array, NDArray[np.bool_]]], noise: float) -> list[Pair]:
    """Make up to 80 noisy matches of every pair that overlaps."""
    rng = np.random.default_rng(5)
    pairs = []
    for i in range(len(seen)):
        for j in range(i + 1, len(seen)):
            both = np.flatnonzero(seen[i][1] & seen[j][1])[:80]
            if len(both) >= 30:
                a, b = (seen[k][0][both] + rng.normal(0, noise, (len(both), 2)) for k in (i, j))
                matrix, _ = cv2.findHomography(a, b, 0)
                pairs.append(Pair(i, j, a, b, matrix, len(both)))
    return pairs


WALK = [pose(0.45 * k - 1.4, 0.02 * (-1) ** k, 1 + 0.05 * (k % 3), 8 * (-1) ** k, 3, -2) for k in range(7)]
MURAL = [
    pose(-0.5, -0.3, 1.2, 20, -5, 3), pose(0.4, -0.2, 1.3, -25, 0, -4),
    pose(-0.3, 0.4, 1.1, 10, 18, 8), pose(0.5, 0.3, 1.4, -12, 15, 0),
]  # fmt: skip
SLIDES = [pose(0.3 * k, 0.1 * k, 1 + 0.3 * (k % 2), 0, 0, 40 * k) for k in range(4)]
TURN = [pose(0, 0, 1.5, 18.0 * k - 36, 3 * (-1) ** k, 2) for k in range(5)]


def photos(count: int) -> tuple[Photo, ...]:
    return tuple(Photo(f"photo {k}", None, *SIZE, 3, "uint8") for k in range(count))


def registered(poses: list[Pose], relief: float = 0.0, lens: Lens = LENS) -> Registered:
    pairs = matched(spots(poses, relief, lens), 0.5)
    return register(photos(len(poses)), tuple(pairs), list(range(len(poses))), "auto", 2.0)


def test_the_jacobian_is_the_derivative() -> None:
    matches = Matches(matched(spots(MURAL), 1.0))
    lenses = [replace(LENS, focal_px=520 + 5 * k, shape=(-0.02 + 0.004 * k, 0, 0, 0, 0)) for k in range(4)]
    jacobian = _residuals(matches, MURAL, lenses)[1].transpose(2, 0, 1)
    step = 1e-6

    def moved(photo: int, column: int, sign: float) -> Array:
        poses, optics = list(MURAL), list(lenses)
        old, along = poses[photo], sign * step * np.eye(6)[min(column, 5)]
        if column < 6:
            poses[photo] = Pose(exp_rotations(along[None, :3])[0] @ old.rotation, old.centre + along[3:])
        elif column == 6:
            optics[photo] = replace(optics[photo], focal_px=optics[photo].focal_px * np.exp(sign * step))
        else:
            b = optics[photo].shape[0] + sign * step
            optics[photo] = replace(optics[photo], shape=(b, 0.0, 0.0, 0.0, 0.0))
        return _residuals(matches, poses, optics)[0].T

    for photo in range(4):
        for column in range(8):
            numeric = (moved(photo, column, 1) - moved(photo, column, -1)) / (2 * step)
            analytic = np.zeros_like(numeric)
            source, target = [*range(6), 12, 13], [*range(6, 12), 14, 15]
            for ends, at in ((matches.source, source), (matches.target, target)):
                mine = (ends == photo)[matches.of]
                analytic[mine] += jacobian[mine][:, :, at[column]]
            assert np.abs(numeric - analytic).max() < 1e-4 * np.abs(numeric).max()


def test_poses_and_lens_come_back_from_a_bad_start() -> None:
    pairs = matched(spots(MURAL), 0.0)
    rng = np.random.default_rng(0)
    start = [Pose(exp_rotations(rng.normal(0, 0.1, (1, 3)))[0] @ p.rotation, p.centre) for p in MURAL]
    lenses = [replace(LENS, focal_px=600.0, shape=(0.0,) * 5)]
    poses, lenses = adjust_poses(pairs, start, lenses, [0] * 4, 1e4, 100, 1e-12)
    assert lenses[0].focal_px == pytest.approx(FOCAL, rel=0.01)
    assert max(e.max() for e in plane_errors(pairs, poses, lenses, [0] * 4)) < 0.2


@pytest.mark.parametrize(
    ("poses", "model"),
    [(WALK, "homography"), (MURAL, "homography"), (MURAL[:2], "homography"), (SLIDES, "homography"),
     (TURN, "rotation"), (TURN[:2], "rotation")],
    ids=["walk", "mural", "two of a mural", "slides by a lens that bends", "turn", "two of a turn"],
)  # fmt: skip
def test_the_model_is_told_from_the_matches(poses: list[Pose], model: str) -> None:
    found = registered(poses)
    assert found.model == model
    assert len(found.photos) == len(poses)
    assert found.rms_px < 2.5


def test_slides_of_many_scales_and_turns_are_affine() -> None:
    assert registered(SLIDES, lens=replace(LENS, shape=(0.0,) * 5)).model == "affine"


@pytest.mark.parametrize("relief", [0.3, 0.5])
def test_parallax_of_a_hand_held_turn_is_not_a_flat_scene(relief: float) -> None:
    swayed = [
        replace(p, centre=p.centre + np.array([0.04 * (-1) ** k, 0.02 * k, 0])) for k, p in enumerate(TURN)
    ]
    assert registered(swayed, relief=relief).model == "rotation"


def test_a_flat_mosaic_keeps_scale_and_shape_along_a_chain() -> None:
    found = registered(WALK)
    for camera, true in zip(found.cameras, WALK, strict=True):
        centre = np.linalg.inv(camera.rotation)[:, 2]
        size = np.sqrt(1 / np.linalg.det(camera.rotation) / centre[2] ** 3)
        assert size == pytest.approx(-true.centre[2] / 1.05, rel=0.12)


def test_a_floor_seen_aslant_is_shown_from_half_way() -> None:
    poses = [pose(0.1 * side, 1.6, 0.7, 0, 0, 0) for side in (-1, 1)]
    poses = [
        replace(p, rotation=rotation(24 * side, -8, 5 * side) @ rotation(0, 68, 0))
        for p, side in zip(poses, (-1, 1), strict=True)
    ]
    found = registered(poses)
    assert found.model == "homography"
    corners = np.array([[x, y, 1.0] for x in (-300, 300) for y in (-200, 200)]) / [FOCAL, FOCAL, 1]
    sides, centres = [], []
    for camera in found.cameras:
        back = np.linalg.inv(camera.rotation)
        at = (corners @ back.T)[:, :2] / (corners @ back.T)[:, 2:]
        sides.append(np.hypot(*(at[[1, 3]] - at[[0, 2]]).T).tolist())  # of its left and right edge
        centres.append(back[:2, 2] / back[2, 2])
    (left, _), (_, right) = sides
    assert left == pytest.approx(right, rel=0.1)
    tilt = np.degrees(np.arctan2(*(centres[1] - centres[0])[::-1]))
    assert tilt == pytest.approx(0, abs=3)


def test_photos_all_around_cannot_be_forced_onto_a_plane() -> None:
    around = [pose(0, 0, 1.5, 30.0 * k, 0, 0) for k in range(12)]
    rng = np.random.default_rng(1)
    rays = rng.normal(size=(20000, 3)) * [1, 0.4, 1]
    seen = []
    for p in around:
        v = rays @ p.rotation.T
        u = v[:, :2] / np.maximum(v[:, 2:], 1e-3) * FOCAL
        seen.append((u + LENS.centre, (v[:, 2] > 0.1) & (np.abs(u) < [295, 195]).all(1)))
    with pytest.raises(OptionError, match="flat scene"):
        register(photos(12), tuple(matched(seen, 0.5)), list(range(12)), "homography", 2.0)


def test_a_mural_is_stitched_from_pixels() -> None:
    wall = cv2.resize(picture("coffee.png"), (1500, 1000), interpolation=cv2.INTER_CUBIC)
    to_wall = np.array([[500.0, 0, 750], [0, 500, 500], [0, 0, 1]])
    lens = np.array([[400.0, 0, 199.5], [0, 400, 149.5], [0, 0, 1]])
    views = []
    for p in (pose(-0.4, 0, 1.3, 22, 0, 0), pose(0.1, 0.1, 1.2, 0, 8, 3), pose(0.5, 0, 1.3, -20, 0, 0)):
        views.append(cv2.warpPerspective(wall, lens @ p.matrix @ np.linalg.inv(to_wall), (400, 300)))
    composition = stitch(views).panoramas[0].composition
    assert composition.projection == "homography"
    assert composition.flat
    assert len(composition.layers) == 3
    assert composition.rms_px < 1
    assert composition.width < 1400
