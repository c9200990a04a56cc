"""Bracketed views share the blend by how well exposed they are."""

from __future__ import annotations

from dataclasses import replace

import array_api_strict as strict
import numpy as np
import pytest

import composer
from composer.blend.brackets import exposedness, shared_out
from composer.blend.multiband import multiband
from composer.blend.stages import Multiband
from composer.media.decode import PhotoStore
from composer.records import Composition, Context, Rect, Tile, to_encoded, to_linear
from composer.render import render
from composer.samples import room

RECT = Rect(0, 0, 32, 24)
STOPS = (0, -2, 2)


def tile(value: float, weight: float, bracket: int | None = None) -> Tile:
    size = (RECT.height, RECT.width)
    return Tile(
        RECT, np.full((*size, 3), value, np.float32), np.ones(size, bool), np.full(size, weight, np.float32),
        bracket=bracket,
    )  # fmt: skip


def shot(photo: np.ndarray, stops: float) -> np.ndarray:
    """Return a photo as if exposed longer or shorter, clipped."""
    light = to_linear(photo / np.float32(255)) * np.float32(2**stops)
    return np.rint(255 * to_encoded(np.clip(light, 0, 1))).astype(np.uint8)


@pytest.fixture(scope="module")
def sets() -> list[np.ndarray]:
    return [shot(photo, stops) for photo in room()[:2] for stops in STOPS]


@pytest.fixture(scope="module")
def fused(sets: list[np.ndarray]) -> Composition:
    return composer.stitch(sets, width=400, device="cpu").panoramas[0].composition


def test_the_best_exposed_counts_most() -> None:
    values = np.linspace(0, 1, 11, dtype=np.float32)
    weights = exposedness(np.repeat(values, 3).reshape(1, 11, 3))[0]
    assert weights.argmax() == 5
    assert (np.diff(weights[:6]) > 0).all()
    np.testing.assert_allclose(weights, weights[::-1], rtol=1e-4)


def test_shares_add_up_and_keep_to_what_the_bracket_owns() -> None:
    tiles = [tile(0.5, 0.0), tile(0.1, 1.0, 1), tile(0.5, 1.0, 1)]
    tiles[0].weight[:, 16:] = 2
    tiles[2].valid[:8] = False
    owner = np.where(np.arange(32) < 16, 1, 0)[None].repeat(24, 0).astype(np.int32)
    shares = shared_out(tiles, owner)
    np.testing.assert_allclose(sum(shares), 1, atol=1e-6)
    np.testing.assert_array_equal(shares[0], owner == 0)
    assert (shares[1][:8, :16] == 1).all()
    assert (shares[2][8:, :16] > 0.9).all()
    assert not shares[2][:, 16:].any()


def test_it_keeps_to_the_standard() -> None:
    tiles = [tile(0.1, 1.0, 0), tile(0.6, 1.0, 0), tile(0.3, 0.5)]
    tiles[1].valid[:, :9] = False
    names = "image", "valid", "weight"
    strictly = [replace(t, **{n: strict.asarray(getattr(t, n)) for n in names}) for t in tiles]
    np.testing.assert_allclose(np.asarray(multiband(strictly, 2)), multiband(tiles, 2), atol=1e-6)


def test_alone_a_tile_of_a_bracket_owns_all() -> None:
    owner = np.zeros((24, 32), np.int32)
    assert (shared_out([tile(0.9, 1.0, 4)], owner)[0] == 1).all()


@pytest.mark.parametrize("tile_size", [64, 192])
def test_tiles_equal_the_whole_canvas(fused: Composition, tile_size: int) -> None:
    context = Context(workers=2, photos=PhotoStore())
    whole = render(fused, Multiband(), context, tile_size=4096)
    tiled = render(fused, Multiband(), context, tile_size=tile_size)
    assert np.array_equal(whole[0], tiled[0])


def test_low_bands_make_it_the_fusion_of_a_deep_pyramid(fused: Composition) -> None:
    context = Context(workers=2, photos=PhotoStore())
    found = render(fused, Multiband(), context)[0].astype(int)
    deep = render(replace(fused, low_bands=None), Multiband(levels=7), context, tile_size=4096)[0]
    shallow = render(replace(fused, low_bands=None), Multiband(), context)[0]
    assert np.abs(found - deep).mean() < 4
    assert np.abs(found - deep).mean() < 0.5 * np.abs(shallow.astype(int) - deep).mean()


def test_each_bracket_is_fused_and_shows_what_was_burnt_out(
    sets: list[np.ndarray], fused: Composition
) -> None:
    assert [la.bracket for la in fused.layers] == [0, 0, 0, 3, 3, 3]
    assert set(np.unique(fused.seams)) == {0, 3}  # type: ignore[arg-type]
    image = render(fused, Multiband(), Context(workers=2, photos=PhotoStore()))[0]
    bright = composer.stitch(sets[2::3], width=400, device="cpu").panoramas[0].image
    assert (bright.min(2) >= 250).mean() > 0.1
    assert (image.min(2) >= 250).mean() < 0.01
