"""Features, matches and homographies."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from composer.align.features import find_features, to_grey8
from composer.align.homography import find_homography
from composer.align.lens import pixel_to_plane, polynomial
from composer.align.matching import distinct_places, match_descriptors
from composer.errors import ComposerError
from composer.samples import picture


def test_features_land_on_the_same_places_at_any_size() -> None:
    grey = to_grey8(picture("astronaut.png"))
    matrix = np.array([[0.9, 0.1, 20], [-0.08, 0.95, 40], [0, 0, 1.0]])
    moved = cv2.warpPerspective(grey, matrix, (560, 540), flags=cv2.INTER_AREA)
    a, b = find_features(grey), find_features(moved, megapixels=0.15)
    assert b.scale < 1
    pairs = match_descriptors(a.descriptors, b.descriptors)
    fit = find_homography(a.points[pairs[:, 0]], b.points[pairs[:, 1]], 2.0)
    assert fit is not None
    found, inside = fit
    assert inside.sum() > 100
    corners = np.array([[0, 0, 1], [511, 0, 1], [511, 511, 1], [0, 511, 1.0]]).T
    ends = [(m @ corners)[:2] / (m @ corners)[2] for m in (found, matrix)]
    assert np.abs(ends[0] - ends[1]).max() < 1.0


def test_features_are_spread_over_the_photo() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400), np.uint8)
    noise[:, :200] //= 2  # half the photo has half the contrast
    features = find_features(cv2.GaussianBlur(noise, (0, 0), 2), count=400)
    assert (features.points[:, 0] < 200).mean() > 0.3


def test_a_dark_photo_has_features_too() -> None:
    grey = to_grey8(picture("astronaut.png"))
    dark = cv2.add(cv2.warpAffine(grey, np.float64([[1, 0, 9], [0, 1, 5]]), (512, 512)) // 10, 4.0)
    a, b = find_features(grey), find_features(dark)
    pairs = match_descriptors(a.descriptors, b.descriptors)
    fit = find_homography(a.points[pairs[:, 0]], b.points[pairs[:, 1]], 2.0)
    assert fit is not None
    assert fit[1].sum() > 60
    assert np.abs(fit[0] - [[1, 0, 9], [0, 1, 5], [0, 0, 1]])[:2, 2].max() < 1.0


def test_a_blank_or_tiny_photo_has_no_features() -> None:
    assert len(find_features(np.full((200, 200), 90, np.uint8)).points) == 0
    assert len(find_features(np.zeros((4, 4), np.uint8)).points) == 0


def test_matches_are_mutual_and_pass_the_ratio_test() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(50, 128)).astype(np.float32)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = a[::-1].copy()
    pairs = match_descriptors(a, b)
    assert (pairs[:, 0] + pairs[:, 1] == 49).all()
    assert len(pairs) == 50
    twins = np.concatenate([b, b])
    assert len(match_descriptors(a, twins)) == 0


def test_points_with_two_orientations_count_once() -> None:
    points = np.array([[1.0, 2], [1.0, 2], [3, 4]])
    assert distinct_places(points, points).sum() == 2


def test_chance_matches_make_no_homography() -> None:
    rng = np.random.default_rng(2)
    for count in (5, 12, 40, 100):
        assert find_homography(rng.uniform(0, 800, (count, 2)), rng.uniform(0, 800, (count, 2)), 3.0) is None


def test_photos_of_very_different_resolution_have_a_homography() -> None:
    points = np.random.default_rng(4).uniform(0, 800, (60, 2))
    assert find_homography(points, points / 5, 1.0) is None
    assert find_homography(points, points / 5, 1.0, 1 / 5) is not None


@pytest.mark.parametrize("distortion", [(0, 0, 0), (0, -0.05, 0), (0.02, -0.06, 0.01)])
def test_the_lens_and_its_inverse(distortion: tuple[float, float, float]) -> None:
    plane = np.random.default_rng(3).uniform(-250, 250, (200, 2))
    r = np.hypot(*plane.T) / 200
    seen = plane * polynomial(r, distortion)[0][:, None]
    assert np.abs(pixel_to_plane(seen, distortion, 200.0) - plane).max() < 1e-6


def test_a_lens_that_folds_back_is_refused() -> None:
    with pytest.raises(ComposerError, match="folds back"):
        pixel_to_plane(np.array([[400.0, 300.0]]), (0, -0.4, 0), 200.0)
