"""Masks painted over photos: read, checked, and held to at every resolution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import composer
from composer.align.warp import warp_layer
from composer.blend.stages import NoBlend
from composer.errors import OptionError
from composer.media.decode import PhotoStore
from composer.media.header import photo_from_array, read_photo
from composer.media.mask_files import with_masks
from composer.media.masks import mask_of
from composer.records import Camera, Composition, Context, Layer, Photos, Rect
from composer.render import render
from composer.samples import room


def painted(folder, name, shape, *where, mode="L"):
    folder.mkdir(exist_ok=True)
    mask = np.zeros(shape, np.uint8)
    for part in where:
        mask[part] = 255
    Image.fromarray(mask).convert(mode).save(folder / name)
    return folder


@pytest.fixture
def photos(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels[::-1]).save(tmp_path / "b.png")
    return Photos((read_photo(tmp_path / "a.png"), read_photo(tmp_path / "b.png")))


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_a_mask_is_found_by_its_stem_in_any_mode(photos, tmp_path, mode):
    part = np.s_[10:20, 30:50]
    folder = painted(tmp_path / "m", "b.png", (60, 80), part, mode=mode)
    a, b = with_masks(photos, None, folder).items
    assert a.exclude is None
    assert b.include is None
    expected = np.zeros((60, 80), bool)
    expected[part] = True
    assert (mask_of(b.exclude, 60, 80) == expected).all()


def test_a_reduced_mask_is_scaled_up(photos, tmp_path):
    folder = painted(tmp_path / "m", "a.bmp", (30, 40), np.s_[5:10, 5:10])
    found = mask_of(with_masks(photos, folder, None).items[0].include, 60, 80)
    assert found[10:20, 10:20].all()
    assert found.sum() == 100


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [("c.png", (60, 80), "no photo is called c"), ("a.png", (60, 60), "mask is 60 x 60, its photo 80 x 60")],
)
def test_masks_that_fit_no_photo_are_refused(photos, tmp_path, name, shape, said):
    with pytest.raises(OptionError, match=said):
        with_masks(photos, None, painted(tmp_path / "m", name, shape))


def test_a_second_mask_and_a_stem_of_two_photos_are_refused(photos, tmp_path):
    folder = painted(tmp_path / "m", "a.png", (60, 80))
    painted(folder, "a.bmp", (60, 80))
    with pytest.raises(OptionError, match="a second mask"):
        with_masks(photos, folder, None)
    twin = replace(photos.items[0], name="other/a.jpg")
    with pytest.raises(OptionError, match=r"a may be .* or other/a.jpg"):
        with_masks(Photos((*photos.items, twin)), folder, None)


@pytest.mark.parametrize("shrink", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_excluded_pixels_reach_nothing_at_any_resolution(photos, tmp_path, shrink, dtype):
    folder = painted(tmp_path / "m", "a.png", (60, 80), np.s_[20:40, 30:50])
    png = with_masks(photos, None, folder).items[0].exclude
    camera = Camera(np.array([[1, 0.03, 0], [-0.03, 1, 0], [0, 0, 1.0]]), 80.0)
    found = []
    for poison in (0, 1):
        top = 1 if dtype is np.float32 else np.iinfo(dtype).max
        pixels = (np.random.default_rng(0).random((60, 80, 3)) * top).astype(dtype)
        pixels[20:40, 30:50] = poison * top
        photo = replace(photo_from_array(pixels, "a"), exclude=png)
        scale = 80.0 / shrink
        small = Composition((Layer(photo, camera),), "plane", 100 // shrink, 80 // shrink, scale,
                            (-50 / shrink, -40 / shrink))  # fmt: skip
        rect = Rect(0, 0, small.width, small.height)
        tile = warp_layer(small, small.layers[0], rect, PhotoStore().pixels(photo, shrink))
        found.append((tile.valid, np.where(tile.valid[:, :, None], tile.image, 0)))
    assert (found[0][0] == found[1][0]).all()
    assert (found[0][1] == found[1][1]).all()
    middle = found[0][0][small.height // 2, small.width // 2]
    assert not middle
    assert found[0][0].mean() > 0.3


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room")
    for k, pixels in enumerate(room()):
        Image.fromarray(pixels).save(folder / f"r{k}.png")
    return folder


def everywhere(composition, k):
    """Return where on the seam grid a layer's photo lies."""
    layer = composition.layers[k]
    rect = Rect(0, 0, composition.width, composition.height)
    pixels = np.full((layer.photo.height, layer.photo.width, 3), 255, np.uint8)
    return warp_layer(composition, layer, rect, pixels, correct=False).valid


def test_what_no_other_photo_shows_stays_empty_and_a_saved_plan_remembers(files, tmp_path):
    masks = painted(tmp_path / "m", "r0.png", (400, 480), np.s_[150:250, 20:80])
    plan = tmp_path / "plan"
    made = composer.stitch(files, exclude=masks, save=plan, device="cpu").panoramas[0]
    again = composer.stitch(load=plan, device="cpu").panoramas[0]
    covered = np.logical_or.reduce([everywhere(made.composition, k) for k in range(3)])
    missing = covered & ~made.valid
    assert 0.5 * 60 * 100 < missing.sum() < 2 * 60 * 100
    assert (again.image == made.image).all()
    assert (again.valid == made.valid).all()


def test_included_parts_own_their_place_at_full_resolution(files, tmp_path):
    masks = painted(tmp_path / "m", "r0.png", (400, 480), np.s_[100:300, 240:460])
    composition = composer.stitch(files, include=masks, width=700, device="cpu").panoramas[0].composition
    layer = next(la for la in composition.layers if la.photo.name.endswith("r0.png"))
    bare = replace(composition, layers=tuple(replace(la, gain=(1, 1, 1)) for la in composition.layers))
    black = np.zeros((400, 480, 3), np.uint8)
    mask = black.copy()
    mask[100:300, 240:460] = 255

    class Marked(PhotoStore):
        def pixels(self, photo, shrink=1, device="cpu"):
            return mask if photo == layer.photo else black

    shown, _ = render(bare, NoBlend(), Context(photos=Marked()))
    rect = Rect(0, 0, composition.width, composition.height)
    there = warp_layer(bare, layer, rect, mask, correct=False)
    wanted = there.valid & (there.image[:, :, 0] > 0.99)
    assert wanted.sum() > 10000
    assert (shown[wanted] > 250).all()


def test_masks_are_refused_for_a_loaded_plan(tmp_path):
    with pytest.raises(OptionError, match="stitch anew"):
        composer.stitch(load=tmp_path / "plan", exclude=tmp_path)
