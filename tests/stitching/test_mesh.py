"""Meshes bring together what cameras in one place cannot, and leave the rest alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from composer.align.projection import placed
from composer.align.warp import compact, shared_rect, warp_layer, window_of
from composer.media.decode import PhotoStore
from composer.media.header import photo_from_array
from composer.pipeline import stitching
from composer.records import Camera, Composition, Context, Layer, Link, Plan, Tile
from composer.stitching.canvas_stages import LocalWarp
from composer.stitching.crop import has_holes
from composer.stitching.mesh import _flow, find_shift

Array = NDArray[Any]
WIDTH, HEIGHT, BESIDE = 240, 200, 130  # of a photo; columns from one photo to the next
CONTEXT = Context(workers=2, photos=PhotoStore())


def texture(seed: int = 1) -> Array:
    noise = np.random.default_rng(seed).random((HEIGHT + 40, WIDTH + BESIDE + 40))
    mixed = cv2.GaussianBlur(noise, None, 2) + 4 * cv2.GaussianBlur(noise, None, 9)
    return np.asarray(255 * (mixed - mixed.min()) / np.ptp(mixed), np.float32)


def photographed(world: Array, left: float, shift: Array) -> Array:
    """Return a photo of the world from column `left`, its rows taken from `shift` (H,) columns further."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    x = x + 20 + left + shift[:, None]
    grey = cv2.remap(world, x.astype(np.float32), y + 20, cv2.INTER_CUBIC)
    return np.clip(grey, 0, 255).astype(np.uint8)[:, :, None]


def side_by_side(one: Array, other: Array, rms_px: float = 3.0) -> Composition:
    """Lay two flat photos out as if nothing had shifted."""
    layers = []
    for k, pixels in enumerate((one, other)):
        map_ = np.eye(3)
        map_[0, 2] = (BESIDE / 2 - k * BESIDE) / 100
        layers.append(Layer(photo_from_array(pixels, f"photo {k + 1}"), Camera(map_, 100.0)))
    width = WIDTH + BESIDE
    origin = ((1 - width) / 2, (1 - HEIGHT) / 2)
    links = (Link(0, 1, 50, rms_px),)
    bare = Composition(tuple(layers), "affine", width, HEIGHT, 100, origin)
    return placed(replace(bare, rms_px=rms_px, links=links))


def warped(composition: Composition) -> list[Tile]:
    store = CONTEXT.photos
    return [warp_layer(composition, la, la.rect, store.pixels(la.photo)) for la in composition.layers]


def disagreement(composition: Composition) -> float:
    tiles = warped(composition)
    window = shared_rect(composition.layers[0].rect, composition.layers[1].rect, composition)
    assert window is not None
    a, b = (window_of(t, window, composition) for t in tiles)
    both = a.valid & b.valid
    return float(np.abs(a.image - b.image)[both].mean())


def bent(composition: Composition) -> Composition:
    return LocalWarp()(Plan((composition,)), CONTEXT).compositions[0]


NEAR_AND_FAR = 4 * np.sin(np.linspace(0, np.pi, HEIGHT))  # the middle rows are nearer: shifted by 4 pixels
STILL = np.zeros(HEIGHT)


def test_what_is_shifted_meets_half_way() -> None:
    world = texture()
    before = side_by_side(photographed(world, 0, STILL), photographed(world, BESIDE, NEAR_AND_FAR))
    after = bent(before)
    assert disagreement(after) < 0.35 * disagreement(before)
    first, second = (la.mesh for la in after.layers)
    assert first is not None
    assert second is not None
    middle = first.shape[0] // 2
    assert 1 < first[middle, -9:, 0].mean() < 3
    assert -3 < second[middle, :9, 0].mean() < -1
    assert np.abs(first[..., 1]).max() < 1


def test_what_is_shifted_far_is_looked_at_twice() -> None:
    world = texture()
    before = side_by_side(photographed(world, 0, STILL), photographed(world, BESIDE, 3.5 * NEAR_AND_FAR))
    assert disagreement(bent(before)) < 0.05 * disagreement(before)


def test_away_from_the_overlap_photos_stay_where_the_cameras_put_them() -> None:
    world = texture()
    after = bent(side_by_side(photographed(world, 0, STILL), photographed(world, BESIDE, NEAR_AND_FAR)))
    first = after.layers[0].mesh
    assert first is not None
    assert np.abs(first[:, 0]).max() < 0.5 * np.abs(first[:, -9]).max()


def test_what_moved_by_itself_is_not_dragged_along() -> None:
    world = texture()
    one, other = photographed(world, 0, STILL), photographed(world, BESIDE, STILL)
    one[70:110, 150:190], other[70:110, 40:80] = 255, 0
    after = bent(side_by_side(one, other))
    assert all(la.mesh is not None and np.abs(la.mesh).max() < 0.5 for la in after.layers)


def test_where_cameras_suffice_nothing_is_touched() -> None:
    world = texture()
    shown = side_by_side(photographed(world, 0, STILL), photographed(world, BESIDE, NEAR_AND_FAR), rms_px=0.9)
    assert bent(shown) is shown
    unlinked = replace(shown, rms_px=3.0, links=())
    assert bent(unlinked) is unlinked


def test_smooth_things_say_nothing() -> None:
    flat = np.full((HEIGHT, WIDTH, 1), 128, np.uint8)
    shown = side_by_side(flat, flat)
    one, other = map(compact, warped(shown))
    assert find_shift(shown, 0, 1, (one, other)) is None
    assert all(la.mesh is None for la in bent(shown).layers)


def test_a_crop_without_holes_stays_without_holes() -> None:
    world = texture()
    before = side_by_side(photographed(world, 0, STILL), photographed(world, BESIDE, NEAR_AND_FAR))
    after = bent(before)
    assert (after.width, after.height) <= (before.width, before.height)
    assert not has_holes(before)
    assert not has_holes(after)


def test_the_number_of_threads_changes_nothing() -> None:
    world = texture()
    shown = side_by_side(photographed(world, 0, STILL), photographed(world, BESIDE, NEAR_AND_FAR))
    alone = LocalWarp()(Plan((shown,)), replace(CONTEXT, workers=1)).compositions[0]
    for one, other in zip(alone.layers, bent(shown).layers, strict=True):
        assert one.mesh is not None
        assert np.array_equal(one.mesh, other.mesh)


def test_the_default_pipeline_bends_before_it_cuts() -> None:
    names = [name for name, _ in stitching().described()]
    assert names.index("exposure") < names.index("local-warp") < names.index("seams")


@pytest.mark.parametrize("finest", [1, 2])
@pytest.mark.parametrize("shape", [(16, 200), (31, 96), (200, 20), (40, 40), (64, 90), (33, 400)])
def test_flow_of_strips_is_found(shape: tuple[int, int], finest: int) -> None:
    """OpenCV's search ended with a segmentation fault where one side was short."""
    noise = np.random.default_rng(0).normal(size=(shape[0] + 4, shape[1] + 4)).astype(np.float32)
    wide = cv2.GaussianBlur(noise, (0, 0), 2.5)
    whole = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    one, other = (np.ascontiguousarray(whole[2 : 2 + shape[0], x : x + shape[1]]) for x in (2, 1))
    flow = _flow(one, other, finest)
    assert np.median(flow[:, :, 0]) == pytest.approx(1, abs=0.4)
    assert np.median(flow[:, :, 1]) == pytest.approx(0, abs=0.4)
