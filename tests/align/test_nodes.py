"""Positions interpolated between nodes of the canvas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import array_api_strict as strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from composer.align import projection, warp
from composer.align.canvas import directions_at
from composer.align.lens import seen_at
from composer.align.nodes import all_around, between_nodes, nodes_around
from composer.align.projection import photo_map, placed
from composer.align.warp import warp_layer
from composer.media.header import photo_from_array
from composer.records import Camera, Composition, Layer, Photo, Rect
from composer.samples import rotation

PHOTO = Photo("a.jpg", None, 1200, 900, 3, "uint8")
CAMERA = Camera(rotation(12, -8, 3), 1100.0, (0.01, -0.03, 0.005), (4.0, -3.0))
RECT = Rect(-237, -301, 411, 259)


def canvas(name: Any, **changes: Any) -> tuple[Composition, Layer]:
    layer = replace(Layer(PHOTO, CAMERA), **changes)
    return Composition((layer,), name, 3000, 1500, 1000.0, (-20.0, -40.0)), layer


@pytest.mark.parametrize("name", ["plane", "cylinder", "sphere", "mercator", "stereographic", "pannini"])
def test_positions_are_true_to_a_thousandth_of_a_pixel(name: str) -> None:
    composition, layer = canvas(name)
    u, v, inside = photo_map(np, composition, layer, RECT)
    x, y = np.arange(RECT.x0, RECT.x1), np.arange(RECT.y0, RECT.y1)
    exact = seen_at(PHOTO, CAMERA, directions_at(composition, x, y, CAMERA.rotation))
    assert 0.4 < inside.mean() < 1
    for found, wanted in zip((u, v), exact[:2], strict=True):
        assert np.abs(found - wanted)[inside].max() < 1e-3


@pytest.mark.parametrize("mesh", [False, True])
def test_the_way_by_nodes_is_the_way_by_pixels(monkeypatch: pytest.MonkeyPatch, mesh: bool) -> None:
    shifts = np.full((60, 80, 2), 1.5, np.float32) if mesh else None
    composition, layer = canvas("sphere", mesh=shifts)
    whole = Rect(-1500, -700, 1500, 700)  # also behind the camera
    u, v, inside = photo_map(np, composition, layer, whole)
    monkeypatch.setattr(projection, "GENTLE", np.inf)
    exactly = photo_map(np, composition, layer, whole)
    assert (inside != exactly[2]).sum() < 10
    both = inside & exactly[2]
    assert np.abs(u - exactly[0])[both].max() < 2e-3
    assert np.abs(v - exactly[1])[both].max() < 2e-3


@settings(max_examples=100, deadline=None)
@given(x=st.integers(-230, 380), y=st.integers(-300, 230), w=st.integers(1, 30), h=st.integers(1, 28))
def test_a_part_is_cut_from_the_whole(x: int, y: int, w: int, h: int) -> None:
    composition, layer = canvas("sphere")
    whole = photo_map(np, composition, layer, RECT)
    part = photo_map(np, composition, layer, Rect(x, y, x + w, y + h))
    here = slice(y - RECT.y0, y - RECT.y0 + h), slice(x - RECT.x0, x - RECT.x0 + w)
    for found, wanted in zip(part, whole, strict=True):
        assert np.array_equal(found, wanted[here])


def test_cubics_are_kept_on_every_kind_of_array() -> None:
    rect = Rect(-13, 5, 40, 26)
    x, y = nodes_around(rect)
    values = np.stack([x[None, :] * 0.25 + (y**3)[:, None] * 1e-3, (x**2 * 0.5)[None, :] - y[:, None]])
    found = between_nodes(np, values, rect)
    column, row = np.arange(rect.x0, rect.x1), np.arange(rect.y0, rect.y1)
    wanted = [
        column[None, :] * 0.25 + (row**3)[:, None] * 1e-3,
        (column**2 * 0.5)[None, :] - row[:, None],
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)
    assert np.array_equal(np.asarray(between_nodes(strict, values, rect)), found)


def test_a_node_counts_for_the_cells_around_it() -> None:
    rect = Rect(0, 0, 40, 24)
    x, y = nodes_around(rect)
    nodes = ~((x[None, :] == 16) & (y[:, None] == 8))
    found = all_around(nodes, rect)
    assert not found[:24, :32].any()
    assert found[:, 32:].all()


@pytest.mark.parametrize("alpha", [False, True])
def test_what_lies_on_whole_pixels_is_not_resampled(monkeypatch: pytest.MonkeyPatch, alpha: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3 + alpha), np.uint8)
    move = np.eye(3)
    move[:2, 2] = (-(17 + 29.5) / 1000, -(-6 + 19.5) / 1000)  # its first pixel on (17, -6)
    photo = photo_from_array(pixels, "a")
    bare = Layer(photo, Camera(move, 1000.0), (1.1, 0.9, 1.0))
    composition = placed(Composition((bare,), "affine", 90, 30, 1000.0, (0.0, 0.0)))
    layer = composition.layers[0]
    for rect in (Rect(20, 0, 50, 25), Rect(0, -16, 96, 48), Rect(-64, 0, -8, 16)):
        found = warp_layer(composition, layer, rect, pixels)
        with monkeypatch.context() as patched:
            patched.setattr(warp, "EXACT", 0.0)
            wanted = warp_layer(composition, layer, rect, pixels)
        assert np.array_equal(found.valid, wanted.valid)
        assert np.array_equal(found.image[found.valid], wanted.image[found.valid])
        strictly = warp_layer(composition, layer, rect, strict.asarray(pixels))
        np.testing.assert_array_equal(np.asarray(strictly.image), found.image)
