import cv2
import numpy as np
import pytest

import composer
from composer.mending import damage as network
from composer.mending.damage import damage
from composer.mending.faults import find_faults
from composer.mending.scans import LAID_OVER, find_laid_over
from composer.samples import picture


@pytest.fixture(scope="module")
def scene():
    """A photograph, made smaller: no JPEG grid, no noise of its own."""
    whole = picture("coffee.png").astype(np.float32) / 255
    return np.clip(cv2.resize(whole, (450, 300), interpolation=cv2.INTER_AREA), 0.02, 0.98)


@pytest.fixture(scope="module")
def scratched(scene):
    """The scene with three pale scratches and five pale specks, and where these are."""
    cover = np.zeros((2, 300, 450), np.uint8)
    for ends in (((20, 30), (200, 80)), ((430, 20), (300, 140)), ((60, 280), (330, 255))):
        cv2.line(cover[0], *ends, 255, 2, cv2.LINE_AA)
    for at in ((100, 150), (400, 200), (30, 200), (300, 40), (240, 30)):
        cv2.circle(cover[1], at, 3, 255, -1, cv2.LINE_AA)
    laid = cover.max(0)[:, :, None] / np.float32(255)
    return scene + laid * (0.95 - scene) * 0.9, cover > 100


def covered(faults, kind):
    mask = np.zeros((300, 450), bool)
    for fault in (f for f in faults if f.kind == kind):
        x0, y0, x1, y1 = fault.rect
        mask[y0:y1, x0:x1] |= fault.mask
    return mask


@pytest.mark.parametrize("kind", LAID_OVER)
def test_what_is_laid_over_is_found(scratched, kind):
    pixels, truth = scratched
    truth = truth[LAID_OVER.index(kind)]
    found = covered(find_laid_over(pixels), kind)
    assert (found & truth).sum() > 0.5 * (found | truth).sum()


def test_kinds_are_those_asked_for(scratched):
    assert {f.kind for f in find_faults(scratched[0], None, ("scratch",))} == {"scratch"}


def test_mending_brings_the_scene_back(scene, scratched):
    harmed = np.round(scratched[0] * 255).astype(np.uint8)
    mended = np.asarray(composer.repair(harmed, faults=LAID_OVER)) / np.float32(255)
    assert ((mended - scene) ** 2).mean() < 0.25 * ((scratched[0] - scene) ** 2).mean()


def test_what_alpha_hides_is_not_looked_at(scratched):
    valid = np.ones((300, 450), bool)
    valid[:, 225:] = False
    faults = find_laid_over(scratched[0], valid)
    assert faults
    assert all(f.rect.x1 <= 225 for f in faults)


def test_tiles_see_what_the_whole_shows(scratched, monkeypatch):
    luma = np.ascontiguousarray(scratched[0][:, :, 1])
    whole = damage(luma)
    monkeypatch.setattr(network, "TILE", 160)
    assert np.abs(damage(luma) - whole)[whole > -2].mean() < 0.2


@pytest.mark.parametrize("shape", [(1, 1), (31, 200), (37, 61)])
def test_any_size_is_taken(shape):
    level = np.full((*shape, 1), 0.5, np.float32)
    assert find_laid_over(level) == []
    assert damage(level[:, :, 0]).shape == (2, *shape)


def test_a_thing_is_large_enough_and_sure_somewhere(monkeypatch):
    odds = np.full((2, 40, 60), -9, np.float32)
    odds[0, 5:8, 10:30] = 1
    odds[0, 20:22, 10:40] = 1
    odds[0, 21, 12] = 4
    odds[0, 30:33, 10:14] = 4
    odds[1, 30:32, 40:43] = 1
    odds[1, 10, 50] = 4
    monkeypatch.setattr("composer.mending.scans.damage", lambda luma: odds)
    found = find_laid_over(np.full((40, 60, 1), 0.5, np.float32))
    assert [(f.kind, tuple(f.rect)) for f in found] == [
        ("scratch", (10, 20, 40, 22)), ("dust", (40, 30, 43, 32)),
    ]  # fmt: skip
    assert found[0].confidence > found[1].confidence > 0.5
