"""Clipped places are shown by photos that were exposed for less light, where there are any."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import composer
from composer.records import Composition, Rect, Tile
from composer.samples import photograph
from composer.stitching import highlights
from composer.stitching.highlights import exposed_apart, without_clipped
from tests.stitching.test_seams import LAYER, layer_tile, picture

RECTS = [Rect(0, 0, 110, 80), Rect(50, 0, 160, 80)]


def canvas(*gains: float) -> Composition:
    layers = tuple(replace(LAYER, gain=(g, g, g)) for g in gains)
    return Composition(layers, "plane", 160, 80, 100.0, (0.0, 0.0))


def layers(sky: tuple[slice, slice], clipped: set[int]) -> list[Tile]:
    """Return two layers as they were stored; those in `clipped` are white where `sky` is."""
    found = []
    for k, rect in enumerate(RECTS):
        world = picture()
        world[sky] = 1.0 if k in clipped else 0.6
        found.append(layer_tile(rect, world))
    return found


SKY = slice(20, 50), slice(75, 100)


def test_the_darker_photo_shows_what_the_brighter_has_clipped() -> None:
    raw = layers(SKY, {0})
    found = without_clipped(canvas(0.5, 1.5), raw, raw)
    assert not found[0].valid[SKY].any()
    assert found[0].valid.mean() > 0.85
    assert found[1].valid.all()


@pytest.mark.parametrize(("gains", "clipped"), [((0.5, 1.5), {0, 1}), ((1.0, 1.1), {0}), ((1.5, 0.5), {0})])
def test_layers_stay_where_the_other_is_clipped_too_or_not_exposed_less(
    gains: tuple[float, float], clipped: set[int]
) -> None:
    raw = layers(SKY, clipped)
    assert all(t.valid.all() for t in without_clipped(canvas(*gains), raw, raw))
    assert exposed_apart(canvas(*gains)) == (max(gains) > 1.2 * min(gains))


def test_glints_stay() -> None:
    raw = layers((slice(30, 32), slice(80, 82)), {0})
    assert without_clipped(canvas(0.5, 1.5), raw, raw)[0].valid.all()


def test_a_layer_keeps_room_where_what_it_alone_shows_goes_on() -> None:
    wide = slice(20, 50), slice(20, 105)
    raw = layers(wide, {0})
    valid = without_clipped(canvas(0.5, 1.5), raw, raw)[0].valid
    assert valid[wide[0], :58].all()
    assert not valid[wide[0], 65:100].any()


def test_an_overexposed_photo_shows_less_of_what_it_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    dark, plain, bright = (photograph(y, 1, 0, gain=g).pixels for y, g in ((-15, 1), (10, 1), (10, 1.5)))

    def stitched(other: np.ndarray) -> np.ndarray:
        found = composer.stitch([dark, other], projection="plane", width=400, anchor="photo 1")
        return found.panoramas[0].image[:250, 100:300].astype(int)  # where both photos look

    true, made = stitched(plain), stitched(bright)
    monkeypatch.setattr(highlights, "APART", np.inf)
    wrong = [(np.abs(true - p).max(2) > 20).mean() for p in (made, stitched(bright))]
    assert wrong[0] < 0.85 * wrong[1]
