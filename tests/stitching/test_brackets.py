"""Brackets are recognised by camera and gain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from composer.records import Camera, Layer, Photo, Rect, Tile
from composer.samples import rotation
from composer.stitching.brackets import bracketed, one_a_bracket

PHOTO = Photo("p", None, 300, 200, 3, "uint8")


def view(yaw: float, stops: float, **changes: object) -> Layer:
    """Return a layer of a photo that is brighter by some stops, whose gain therefore is lower."""
    gain = 2.0**-stops
    layer = Layer(PHOTO, Camera(rotation(yaw, 0, 0), 300.0), (gain, gain, 1.1 * gain))
    return replace(layer, **changes)  # type: ignore[arg-type]


def test_views_of_one_direction_stops_apart_are_a_bracket() -> None:
    found = bracketed((view(0, 0), view(1, -2), view(0.5, 2), view(30, 0.1), view(30, -1.9), view(60, 0)))
    assert [la.bracket for la in found] == [0, 0, 0, 3, 3, None]
    for k in (1, 2):
        assert found[k].gain == pytest.approx(found[0].gain)
    assert found[4].gain == pytest.approx(found[3].gain)
    assert found[3].gain[0] / found[0].gain[0] == pytest.approx(2**-0.1)


def test_the_middle_exposure_stands_for_the_bracket_and_keeps_its_brightness() -> None:
    found = bracketed((view(0, -3), view(0, 3), view(0, 1), view(30, -3), view(30, 3), view(30, 1)))
    assert [la.bracket for la in found] == [2, 2, 2, 5, 5, 5]
    assert [la.gain[0] for la in found] == pytest.approx([1] * 6, abs=0.05)
    kept = bracketed((view(0, -3), view(0, 0)), anchored=True)
    assert [la.gain[0] for la in kept] == pytest.approx([1, 1], abs=0.05)


@pytest.mark.parametrize(
    "other",
    [
        view(0, 0.5),
        view(8, -2),
        view(0, -2, photo=replace(PHOTO, width=200, height=300)),
        view(0, -2, camera=Camera(rotation(0, 0, 0), 400.0)),
        view(0, -2, camera=Camera(rotation(0, 0, 90), 300.0)),
        view(180, -2),
    ],
    ids=["half a stop", "another direction", "upright", "zoomed", "turned", "behind"],
)
def test_others_are_left_alone(other: Layer) -> None:
    layers = (view(0, 0), other)
    assert bracketed(layers) is layers


def test_a_second_view_as_bright_is_no_part_of_the_bracket() -> None:
    found = bracketed((view(0, 0), view(0, -2), view(0.2, 0.1)))
    assert [la.bracket for la in found] == [0, 0, None]


def test_only_what_stands_for_a_bracket_is_valid() -> None:
    tile = Tile(Rect(0, 0, 2, 2), np.zeros((2, 2, 3)), np.ones((2, 2), bool))
    layers = [view(0, 0), view(0, 2, bracket=1), view(0, 0, bracket=1)]
    assert [t.valid.all() for t in one_a_bracket(layers, [tile] * 3)] == [True, True, False]
