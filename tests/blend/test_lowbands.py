"""Low bands: what a deeper pyramid would add, periodic on a closed canvas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from composer.blend import lowbands
from composer.blend.lowbands import low_bands
from composer.blend.multiband import multiband
from composer.blend.stages import _missing_blur
from composer.records import Camera, Composition, Layer, Photo, Rect, Tile

LAYER = Layer(Photo("p", None, 100, 80, 3, "uint8"), Camera(np.eye(3), 100.0))
WIDTH, HEIGHT = 256, 64


def canvas(count: int, closed: bool) -> Composition:
    return Composition((LAYER,) * count, "sphere", WIDTH, HEIGHT, 100.0, (0.0, 0.0), closed=closed)


def flat_tile(rect: Rect, value: float) -> Tile:
    size = (rect.height, rect.width)
    return Tile(rect, np.full((*size, 3), value, np.float32), np.ones(size, bool), np.ones(size, np.float32))


def test_they_turn_a_shallow_pyramid_into_a_deep_one() -> None:
    rng = np.random.default_rng(0)
    whole = Rect(0, 0, WIDTH, HEIGHT)
    tiles = [flat_tile(whole, v) for v in (0.4, 0.6)]
    tiles = [
        Tile(t.rect, t.image + rng.normal(0, 0.02, t.image.shape).astype(np.float32), t.valid, t.weight)
        for t in tiles
    ]
    seams = np.zeros((HEIGHT, WIDTH), np.int16)
    seams[:, WIDTH // 2 :] = 1
    weighed = [Tile(t.rect, t.image, t.valid, (seams == k).astype(np.float32)) for k, t in enumerate(tiles)]
    deep, shallow = multiband(weighed, 5), multiband(weighed, 2)
    field = low_bands(canvas(2, False), seams, tiles, 2, 3)
    added = np.repeat(np.repeat(field, 4, 0), 4, 1)  # blocks: coarse, but near
    assert np.abs(shallow - deep).max() > 0.05
    assert np.abs(shallow + added - deep).mean() < 0.1 * np.abs(shallow - deep).mean() + 0.004


@pytest.mark.parametrize("around", [False, True])
def test_a_closed_canvas_has_no_first_column(around: bool) -> None:
    """Turning the scene turns the result, also with a photo (of a pole) that goes all around."""
    half = WIDTH // 2
    top = Rect(0, 0, WIDTH, 40) if around else Rect(16, 0, 176, 40)
    below = Rect(0, 24, WIDTH, HEIGHT)
    seams = np.ones((HEIGHT, WIDTH), np.int16)
    columns = np.arange(WIDTH) if around else np.arange(16, 176)
    seams[np.ix_(np.arange(32), columns)] = 0
    found = low_bands(canvas(2, True), seams, [flat_tile(top, 0.4), flat_tile(below, 0.7)], 1, 3)
    moved = top if around else Rect(16 + half, 0, 176 + half, 40)
    turned = low_bands(
        canvas(2, True), np.roll(seams, half, 1), [flat_tile(moved, 0.4), flat_tile(below, 0.7)], 1, 3
    )
    assert np.abs(found).max() > 0.02
    assert np.allclose(np.roll(found, half // 2, 1), turned, atol=1e-5)
    if around:
        assert np.ptp(found, axis=1).max() < 1e-5


@pytest.mark.parametrize("closed", [False, True])
def test_a_layer_is_blended_in_its_window_only(closed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies outside a layer's window gets nothing from it: one window as large as the frame agrees."""
    rng = np.random.default_rng(1)
    rects = [Rect(x, 0, x + 56, HEIGHT) for x in range(0, WIDTH if closed else WIDTH - 40, 40)]
    tiles = [flat_tile(r, 0.3 + 0.05 * k) for k, r in enumerate(rects)]
    tiles = [
        Tile(t.rect, t.image + rng.normal(0, 0.02, t.image.shape).astype(np.float32), t.valid, t.weight)
        for t in tiles
    ]
    seams = np.repeat((np.arange(WIDTH) // 40).clip(0, len(tiles) - 1)[None], HEIGHT, 0).astype(np.int16)
    small = canvas(len(tiles), closed)
    found = low_bands(small, seams, tiles, 1, 2)
    monkeypatch.setattr(
        lowbands, "_windows", lambda columns, top, shape, frame, levels: [Rect(0, 0, frame[1], frame[0])]
    )
    assert np.abs(found).max() > 0.01
    assert np.allclose(found, low_bands(small, seams, tiles, 1, 2), atol=1e-6)


def test_coarse_cells_are_softened_to_leave_no_ridge_along_the_seam() -> None:
    """A step of exposure, blended on cells of eight pixels, becomes as smooth as a deep pyramid makes it."""
    step = 8
    whole = Rect(0, 0, WIDTH * step, HEIGHT * step)
    mine = [(np.arange(whole.width) < whole.width // 2) == (k == 0) for k in range(2)]
    weight = [np.repeat(m[None].astype(np.float32), whole.height, 0) for m in mine]
    fine = [replace(flat_tile(whole, 0.3 + 0.2 * k), weight=w) for k, w in enumerate(weight)]
    deep, shallow = (multiband(fine, levels)[0, :, 0] for levels in (6, 3))
    cells = Rect(0, 0, WIDTH, HEIGHT)
    seams = np.repeat((np.arange(WIDTH) >= WIDTH // 2)[None].astype(np.int16), HEIGHT, 0)
    x = (np.arange(whole.width) - (step - 1) / 2) / step

    def ridge(soften: float) -> float:
        tiles = [flat_tile(cells, 0.3 + 0.2 * k) for k in range(2)]
        field = low_bands(canvas(2, False), seams, tiles, 0, 3, soften=soften)[0, :, 0]
        return float(np.abs(shallow + np.interp(x, np.arange(WIDTH), field) - deep).max())

    soften = _missing_blur(step, 0, 3)
    assert soften == pytest.approx(0.245, abs=0.001)
    assert ridge(soften) < 0.012 < 0.018 < ridge(0.0)  # of a step of 0.2
    assert _missing_blur(1, 3, 3) == 0


def test_what_moved_lays_no_veil_over_the_scene() -> None:
    """A thing that one photo shows beyond the seam is none of the light that bands spread."""
    rng = np.random.default_rng(0)
    whole = Rect(0, 0, WIDTH, HEIGHT)
    views = (0.5 + rng.normal(0, 0.01, (2, HEIGHT, WIDTH, 3))).astype(np.float32)
    seams = np.zeros((HEIGHT, WIDTH), np.int16)
    seams[:, WIDTH // 2 :] = 1

    def field(thing: slice, other: float = 0.0) -> np.ndarray:
        first = views[0].copy()
        first[20:44, thing] = (0.9, 0.1, 0.1)
        tiles = [replace(flat_tile(whole, 0), image=p) for p in (first, views[1] + np.float32(other))]
        return low_bands(canvas(2, False), seams, tiles, 1, 4)

    beyond, elsewhere = (slice(WIDTH // 2 + a, WIDTH // 2 + a + 12) for a in (8, -40))
    assert np.abs(field(beyond) - field(elsewhere)).max() < 0.004
    lighter = field(elsewhere, 0.08)
    assert np.abs(lighter).max() > 0.03  # light is spread still
    assert np.abs(field(beyond, 0.08) - lighter).max() < 0.01
