from dataclasses import replace

import cv2
import numpy as np
import pytest

import composer
from composer.errors import OptionError
from composer.mending import damage as network
from composer.mending import scans
from composer.mending.candidates import FEATURES, candidates, features
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
    whole = damage(scratched[0])
    monkeypatch.setattr(network, "TILE", 160)
    assert np.abs(damage(scratched[0]) - whole)[whole > -2].mean() < 0.2


def test_grey_is_colour_without_tint(scratched):
    grey = scratched[0].mean(2, keepdims=True)
    tripled = np.repeat(grey, 3, 2)
    odds = damage(grey)
    assert np.abs(odds - damage(tripled)).max() < 0.01
    labels = [candidates(of, 5) for of in odds]
    for one, three in zip(features(grey, odds, labels), features(tripled, odds, labels), strict=True):
        np.testing.assert_allclose(one, three, atol=0.01)


@pytest.mark.parametrize("shape", [(1, 1), (31, 200), (37, 61)])
def test_any_size_is_taken(shape):
    level = np.full((*shape, 1), 0.5, np.float32)
    assert find_laid_over(level) == []
    assert damage(level).shape == (2, *shape)


def test_candidates_are_of_clear_pixels_or_faint_throughout():
    odds = np.full((20, 40), -9, np.float32)
    odds[5:8, 5:15] = -1.5  # with clear pixels: these count
    odds[6, 7:9] = 1
    odds[12, 20:25] = -1.5  # faint throughout: all counts
    odds[16, 30] = 5  # too small
    labels = candidates(odds, 2)
    assert {tuple(p) for p in np.argwhere(labels == 1)} == {(6, 7), (6, 8)}
    assert {tuple(p) for p in np.argwhere(labels == 2)} == {(12, x) for x in range(20, 25)}
    assert labels.max() == 2


def test_features_tell_shape_step_and_colour():
    pixels = np.full((60, 80, 3), 0.4, np.float32)
    pixels[20:22, 10:40] += 0.2  # grey, straight
    pixels[40:46, 50:56, 0] += 0.4  # red
    odds = np.full((2, 60, 80), -9, np.float32)
    odds[0, 20:22, 10:40] = 3
    odds[0, 40:46, 50:56] = 2
    (line, red), none = features(pixels, odds, [candidates(of, 2) for of in odds])
    told = dict(zip(FEATURES, zip(line, red, strict=True), strict=True))
    assert none.shape == (0, len(FEATURES))
    assert told["highest"] == (3, 2)
    assert told["length"][0] > told["length"][1]
    assert told["straight"][0] == pytest.approx(1, abs=0.1)
    assert told["colour"][0] < told["colour"][1]
    assert told["step"][0] == pytest.approx(np.log(0.2 * 255 + 1), abs=0.05)


@pytest.mark.parametrize("turned", [False, True])
def test_a_thing_along_the_edges_around_it_is_aligned(turned):
    pixels = np.full((120, 120, 1), 0.3, np.float32)
    pixels[::8] += 0.2  # bars from left to right
    odds = np.full((2, 120, 120), -9, np.float32)
    odds[0, 50:53, 30:90] = 3
    if turned:
        odds = np.ascontiguousarray(odds.swapaxes(1, 2))
    line, _ = features(pixels, odds, [candidates(of, 2) for of in odds])
    assert line[0, FEATURES.index("aligned")] == pytest.approx(-1 if turned else 1, abs=0.05)


def test_one_thing_must_be_surer_than_several(monkeypatch):
    judge = replace(scans.JUDGES["dust"], bias=0, weights=(1,) + (0,) * (len(FEATURES) - 1))
    judge = replace(judge, alone=3, clear=1, several=3, together=0)
    monkeypatch.setitem(scans.JUDGES, "dust", judge)
    odds = np.full((2, 60, 200), -9, np.float32)
    odds[1, 10:14, 10:14] = 4
    odds[1, 30:34, 10:14] = 2
    monkeypatch.setattr(scans, "damage", lambda pixels: odds.copy())
    specks = np.full((60, 200, 1), 0.5, np.float32)
    for y in (10, 30, 50):
        specks[y : y + 4, 10:14] = 0.6
    assert [f.rect.y0 for f in find_laid_over(specks)] == [10]
    odds[1, 50:54, 10:14] = 2
    found = find_laid_over(specks)
    assert [f.rect.y0 for f in found] == [10, 30, 50]
    assert found[0].confidence > found[1].confidence == pytest.approx(1 / (1 + np.exp(-2)))


def test_a_step_that_nobody_sees_is_no_damage(monkeypatch):
    odds = np.full((2, 60, 200), -9, np.float32)
    odds[0, 30:33, 20:180] = 9
    monkeypatch.setattr(scans, "damage", lambda pixels: odds.copy())
    scratch = np.full((60, 200, 1), 0.5, np.float32)
    assert find_laid_over(scratch) == []
    scratch[30:33, 20:180] += 0.1
    assert [f.kind for f in find_laid_over(scratch)] == ["scratch"]


@pytest.mark.parametrize("through", [True, False])
def test_what_is_laid_over_follows_what_lies_under_it(through):
    pixels = np.repeat(np.linspace(0.2, 0.6, 200, dtype=np.float32)[None, :, None], 60, 0)
    pixels[30:33, 20:180] = pixels[30:33, 20:180] + 0.2 if through else 0.7
    odds = np.full((2, 60, 200), -9, np.float32)
    odds[0, 30:33, 20:180] = 3
    line, _ = features(pixels, odds, [candidates(of, 2) for of in odds])
    follows = line[0, FEATURES.index("follows")]
    assert follows > 0.8 if through else follows < 0.3


def test_sensitivity_finds_what_is_less_sure(scratched):
    pixels = np.round(scratched[0] * 255).astype(np.uint8)

    def marked(sensitivity):
        return int(
            composer.repair(pixels, faults=LAID_OVER, find_only=True, sensitivity=sensitivity).mask.sum()
        )

    assert marked(-10) == 0 < marked(0) <= marked(3)
    with pytest.raises(OptionError, match="sensitivity is 11"):
        marked(11)
