"""The rotation between photos of a known lens."""

from __future__ import annotations

import numpy as np
import pytest

from composer.align.rotation import find_fisheye_pair, find_rotation, rotation_onto
from composer.records import Photo
from composer.samples import rotation


def rays(count: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(count, 3))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_a_rotation_is_found_among_false_matches() -> None:
    turn = rotation(40, -20, 70)
    ends = rays(100), rays(100) @ turn.T
    ends[1][60:] = rays(40, seed=1)
    found = find_rotation(*ends, threshold=0.003)
    assert found is not None
    np.testing.assert_allclose(found[0], turn, atol=1e-6)
    assert found[1][:60].all()
    assert found[1][60:].sum() < 3


def test_chance_is_no_rotation() -> None:
    assert find_rotation(rays(100), rays(100, seed=1), threshold=0.003) is None
    assert find_rotation(rays(7), rays(7), threshold=0.003) is None


def test_nearest_rotation_of_noisy_directions_is_proper() -> None:
    turn = rotation(170, 0, 0)
    noisy = rays(50) @ turn.T + np.random.default_rng(2).normal(0, 0.01, (50, 3))
    found = rotation_onto(rays(50), noisy)
    assert np.linalg.det(found) == pytest.approx(1)
    np.testing.assert_allclose(found, turn, atol=0.01)


def test_a_fisheye_pair_is_given_as_a_homography() -> None:
    photo = Photo("a", None, 300, 200, 3, "uint8", focal_px=120.0, optics="equisolid")
    turn = rotation(50, 5, 3)
    ends = []
    for r in (rays(4000), rays(4000) @ turn.T):
        angle = np.arccos(r[:, 2])
        away = np.maximum(np.hypot(r[:, 0], r[:, 1]), 1e-9)
        ends.append(r[:, :2] / away[:, None] * (240 * np.sin(angle / 2))[:, None] + [149.5, 99.5])
    inside = [((e > 0) & (e < [299, 199])).all(1) for e in ends]
    both = inside[0] & inside[1]
    found = find_fisheye_pair((photo, photo), ends[0][both], ends[1][both], 1.0)
    assert found is not None
    scale = np.array([[120, 0, 149.5], [0, 120, 99.5], [0, 0, 1]])
    np.testing.assert_allclose(np.linalg.inv(scale) @ found[0] @ scale, turn, atol=1e-6)
