"""Layers as they are shown: gains, fall-off and factors, and white at last."""

from __future__ import annotations

import numpy as np
import pytest

from composer.align.warp import compact, exposed, values_of, warp_layer
from composer.records import Camera, Composition, Layer, Photo, Rect, Tile

SIDE = 40
PHOTO = Photo("p", None, SIDE, SIDE, 3, "uint8")
RECT = Rect(0, 0, SIDE, SIDE)


def shown(white: float, factors: np.ndarray | None = None, vignetting: float = 0.0) -> np.ndarray:
    """Return a ramp of greys from black to white as a layer shows it."""
    layer = Layer(PHOTO, Camera(np.eye(3), 100.0), vignetting=(vignetting, 0.0, 0.0), factors=factors)
    middle = -(SIDE - 1) / 2
    composition = Composition((layer,), "plane", SIDE, SIDE, 100.0, (middle, middle), white=white)
    ramp = np.linspace(0, 255, SIDE).astype(np.uint8)
    pixels = np.broadcast_to(ramp[:, None, None], (SIDE, SIDE, 3)).copy()
    tile = warp_layer(composition, layer, RECT, pixels)
    assert tile.valid[2:-2, 2:-2].all()
    return np.asarray(tile.image[2:-2, SIDE // 2, 0])


@pytest.mark.parametrize("vignetting", [0.0, -0.4])
def test_what_factors_brighten_past_white_is_bent_not_cut(vignetting: float) -> None:
    factors = np.full((2, 2, 3), 1.3, np.float32)
    plain = shown(1.0, factors, vignetting)
    assert plain.max() > 1.01
    bent = shown(float(plain.max()), factors, vignetting)
    assert bent.max() <= 1 + 1e-5
    assert (np.diff(bent) > 0).all()  # every step is still to be seen
    assert np.allclose(bent[plain < 0.7], plain[plain < 0.7])


def test_a_compact_tile_is_the_same_to_half_a_level() -> None:
    rng = np.random.default_rng(0)
    image, valid = rng.uniform(-0.1, 1.2, (30, 20, 3)).astype(np.float32), np.ones((30, 20), bool)
    small = compact(Tile(RECT, image, valid, rng.random((30, 20), np.float32)))
    assert small.image.dtype == np.uint8
    assert np.abs(values_of(small) - image.clip(0, 1)).max() <= 0.5 / 255 + 1e-6
    grey = compact(Tile(RECT, image[:, :, :1], valid))
    assert grey.image.shape == (30, 20, 1)
    assert grey.weight is None


def test_what_was_clipped_takes_no_colour_from_the_gains() -> None:
    codes = [(255, 255, 255), (180, 230, 255), (128, 128, 128), (255, 60, 30)]
    pixels = np.repeat(np.array(codes, np.uint8), 10, 0)[:, None].repeat(SIDE, 1)
    layer = Layer(PHOTO, Camera(np.eye(3), 100.0), gain=(0.7, 0.6, 0.5))
    middle = -(SIDE - 1) / 2
    composition = Composition((layer,), "plane", SIDE, SIDE, 100.0, (middle, middle))
    white, sky, grey, red = warp_layer(composition, layer, RECT, pixels).image[5::10, SIDE // 2]
    assert np.ptp(white) < 1e-6
    assert sky[2] >= sky[1] > sky[0]  # not green, as blue's gain alone would have it
    for found, stored in ((grey, (128, 128, 128)), (red, (255, 60, 30))):
        alone = [float(exposed(np.float32(c / 255), g)) for c, g in zip(stored, layer.gain, strict=True)]
        assert found.tolist() == pytest.approx(alone, abs=1e-6)
