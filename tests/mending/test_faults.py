import cv2
import numpy as np
import pytest

from composer.mending.blocks import block_grid
from composer.mending.faults import KINDS, find_faults
from composer.mending.gaps import clear_holes
from composer.mending.regions import brightness
from composer.samples import picture


@pytest.fixture(scope="module")
def scene():
    """A photograph, made smaller: no JPEG grid, no noise of its own."""
    whole = picture("coffee.png").astype(np.float32) / 255
    return np.clip(cv2.resize(whole, (450, 300), interpolation=cv2.INTER_AREA), 0.02, 0.98)


def found(pixels, kind, valid=None):
    return [f for f in find_faults(pixels, valid, (kind,)) if f.kind == kind]


@pytest.mark.parametrize("name", ["coffee.png", "chelsea.png", "astronaut.png"])
def test_nothing_is_found_on_a_photograph(name):
    assert find_faults(picture(name).astype(np.float32) / 255) == []


def test_holes_are_found_inside_and_at_the_border(scene):
    torn = scene.copy()
    torn[100:140, 200:260] = 0
    torn[:30, :50] = 0
    faults = found(torn, "hole")
    assert sorted(f.rect for f in faults) == [(0, 0, 50, 30), (200, 100, 260, 140)]
    assert all(f.mask.all() for f in faults)


def test_alpha_tells_where_holes_are(scene):
    valid = np.ones(scene.shape[:2], bool)
    valid[10:20, 30:50] = False
    assert [f.rect for f in found(scene, "hole", valid)] == [(30, 10, 50, 20)]


def test_black_that_somebody_may_have_meant_is_told_from_gaps(scene):
    def left(*rects):
        dark = scene.copy()
        for x0, y0, x1, y1 in rects:
            dark[y0:y1, x0:x1] = 0
        black = found(dark, "hole")
        assert black
        return clear_holes(black, dark.shape[:2])

    height, width = scene.shape[:2]
    assert not left((0, 0, width, 20), (0, height - 20, width, height))  # bars of a film
    assert not left((0, 0, 4, height), (0, 0, width, 3), (0, height - 3, width, height))  # a frame
    assert not left((30, 40, 90, 60))  # blacked out
    assert not left((0, 0, width // 2, height // 2))  # too much
    assert len(left((0, 0, 60, 30))) == 1  # beside a photo that lies lower
    assert len(left((60, 100, 80, 130), (70, 110, 100, 140))) == 1


def test_ink_on_paper_is_no_noise_but_specks_on_a_dark_photo_are(scene):
    random = np.random.default_rng(2)
    page = np.where(random.random((200, 200, 1)) < 0.02, 0, 1).astype(np.float32)
    assert found(page, "impulse") == []
    night = scene * np.float32(0.1)
    night[random.random(night.shape[:2]) < 0.01] = 1
    assert len(found(night, "impulse")) == 1


def test_a_night_sky_is_no_hole():
    rise = np.clip((np.arange(300) - 100) / 600, 0, 1).astype(np.float32)
    assert found(np.repeat(np.repeat(rise[:, None], 200, 1)[:, :, None], 3, 2), "hole") == []


def test_hot_and_dead_pixels_are_found(scene):
    bad = scene.copy()
    places = {(50, 40), (300, 200), (222, 111), (20, 280), (400, 30)}
    for k, (x, y) in enumerate(sorted(places)):
        bad[y, x] += 0.5 if scene[y, x].mean() < 0.5 else -0.45
        assert k < 5
    assert {(f.rect.x0, f.rect.y0) for f in found(np.clip(bad, 0, 1), "pixel")} == places


def test_pixels_hot_in_one_channel_are_found_where_all_channels_have_texture(scene):
    bad, places = scene.copy(), {(150, 70), (90, 210), (310, 120), (260, 60)}
    for k, (x, y) in enumerate(sorted(places)):
        bad[y, x, k % 3] += 0.1 if scene[y, x, k % 3] < 0.6 else -0.1
    assert {(f.rect.x0, f.rect.y0) for f in found(bad, "pixel")} >= places


def test_hot_pixels_are_found_in_grey(scene):
    bad, places = brightness(scene)[:, :, None].copy(), {(50, 40), (222, 111), (400, 30)}
    for x, y in places:
        bad[y, x] += 0.4 if bad[y, x] < 0.5 else -0.4
    assert {(f.rect.x0, f.rect.y0) for f in found(bad, "pixel")} == places


def test_a_line_is_found_with_its_end(scene):
    bad = scene.copy()
    bad[:180, 77] += 0.05
    (fault,) = found(bad, "line")
    assert (fault.rect.x0, fault.rect.x1, fault.rect.y0) == (77, 78, 0)
    assert abs(fault.rect.y1 - 180) <= 48


def test_salt_and_pepper_is_one_fault_and_hides_single_pixels(scene):
    random = np.random.default_rng(3)
    drawn = random.random(scene.shape[:2])
    noisy = scene.copy()
    noisy[drawn < 0.02] = 0
    noisy[drawn > 0.98] = 1
    faults = find_faults(noisy, None, ("impulse", "pixel"))
    assert [f.kind for f in faults] == ["impulse"]
    truth = (drawn < 0.02) | (drawn > 0.98)
    mask = np.zeros_like(truth)
    mask[faults[0].rect.y0 : faults[0].rect.y1, faults[0].rect.x0 : faults[0].rect.x1] = faults[0].mask
    assert (mask & truth).sum() > 0.95 * max(mask.sum(), truth.sum())


def test_the_grid_of_a_jpeg_is_found_where_it_begins(scene):
    coded = cv2.imencode(".jpg", np.round(scene * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 15])[1]
    pixels = np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[3:, 5:].astype(np.float32) / 255)
    (across, x), (down, y) = block_grid(brightness(pixels))
    assert (x, y) == (3, 5)
    assert min(across, down) > 0.25
    assert len(found(pixels, "blocking")) == 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 40, 1), (40, 5, 3), (64, 64, 1)])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_small_and_even_pictures_are_taken(shape, level):
    faults = find_faults(np.full(shape, level, np.float32), None, KINDS)
    assert faults == []


def test_input_is_left_alone_and_results_repeat(scene):
    before = scene.copy()
    assert find_faults(scene) == find_faults(scene)
    assert np.array_equal(scene, before)


@pytest.mark.parametrize("quality", [85, 95, 100])
def test_canvas_is_found_under_jpeg_ringing(scene, quality):
    photo = (scene * 255).astype(np.uint8)
    photo[:60] = photo[:, 380:] = 0
    _, data = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, quality])
    holes = found(cv2.imdecode(data, cv2.IMREAD_COLOR).astype(np.float32) / 255, "hole")
    truth, got = np.zeros(photo.shape[:2], bool), np.zeros(photo.shape[:2], bool)
    truth[:60] = truth[:, 380:] = True
    for fault in holes:
        x0, y0, x1, y1 = fault.rect
        got[y0:y1, x0:x1] |= fault.mask
    assert (got & truth).sum() > 0.9 * (got | truth).sum()
