"""How a seam shows: steps, and what a shift does not explain; the figure follows what is wrong."""

from __future__ import annotations

import cv2
import numpy as np
import skimage.data
from scipy.stats import spearmanr

from composer.learn.simulator import simulate
from composer.quality.seams import outline_distance, seam_step, seam_visibility


def test_a_step_along_a_seam_is_seen() -> None:
    photo = (skimage.data.chelsea() / 255).astype(np.float32)
    mask = np.zeros(photo.shape[:2], bool)
    mask[:, :200] = True
    distance = outline_distance(mask)
    steps = [seam_step(photo + np.float32(k) * mask[:, :, None], distance) for k in (0, 0.1, 0.3)]
    assert abs(steps[0]) < 1
    assert 3 < steps[1] < steps[2]


def test_what_a_shift_does_not_explain_is_seen() -> None:
    photo = (skimage.data.chelsea() / 255).astype(np.float32)
    distance = outline_distance(np.arange(photo.shape[1]) < 200 + 0 * np.arange(photo.shape[0])[:, None])
    rng = np.random.default_rng(0)
    noisy = (photo + 0.03 * rng.standard_normal(photo.shape)).astype(np.float32)
    views = [photo, np.roll(photo, 2, 0), cv2.GaussianBlur(photo, None, 1), noisy]
    same, shifted, blurred, noise = (seam_visibility(photo, view, distance) for view in views)
    assert same == 0
    assert 0 < 3 * shifted < min(blurred, noise)
    ghost = photo.copy()
    cv2.circle(ghost, (200, 150), 12, (1.0, 0.2, 0.1), -1)
    assert seam_visibility(ghost, photo, distance) > shifted
    away = photo.copy()
    away[:, 300:] = 0
    assert seam_visibility(photo, away, distance) == 0
    assert seam_visibility(photo, away[::-1], distance, distance < -500) == 0
    seen = np.ones(distance.shape, bool)
    seen[140:160] = False
    hidden = photo.copy()
    hidden[140:160] = 0
    assert seam_visibility(photo, hidden, distance, seen) == 0


def test_the_figure_follows_what_is_wrong() -> None:
    photos = (skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea())
    found = []
    for k in range(90):
        kind = ("clean", "exposure", "misregistration", "ghost", "noise", "all")[k % 6]
        sample = simulate(photos[k % 3], np.random.default_rng(k), 96, kind=kind)
        wrong = ((sample.composite - sample.truth)[sample.mask > 0.5] ** 2).mean()
        found.append((seam_visibility(sample.composite, sample.other, sample.distance), wrong))
    assert spearmanr(found)[0] > 0.7
