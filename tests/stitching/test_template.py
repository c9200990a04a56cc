"""A plan's places given to other photos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from composer.errors import OptionError
from composer.records import Camera, Composition, Layer, Patch, Photo, Photos, Plan, Rect, Unused
from composer.stitching.template import applied

OLD = [Photo(f"old {k}", None, 30 + k, 20, 3, "uint8") for k in range(3)]
NEW = [replace(p, name=f"new {k}", dtype="uint16") for k, p in enumerate(OLD)]


@pytest.fixture
def plan() -> Plan:
    patch = Patch(Rect(0, 0, 1, 1), np.zeros((1, 1, 3), np.float32), np.ones((1, 1), np.float32), "clone")
    layers = [Layer(p, Camera(np.eye(3), 25.0 + k), (1.0 + k, 1.0, 1.0)) for k, p in enumerate(OLD)]
    first = Composition(
        tuple(layers[:2]), "plane", 8, 8, 1.0, (0.0, 0.0), seams=np.ones((8, 8), np.int16),
        low_bands=np.ones((2, 2, 3), np.float32), patches=(patch,),
    )  # fmt: skip
    return Plan((first, replace(first, layers=tuple(layers[2:]))), (Unused("x", "strange"),))


def test_photos_take_the_places_in_order(plan: Plan) -> None:
    found = applied(plan, Photos(tuple(NEW)))
    assert [[la.photo for la in c.layers] for c in found.compositions] == [NEW[:2], NEW[2:]]
    assert found.unused == ()
    for was, now in zip(plan.compositions, found.compositions, strict=True):
        assert now.seams is was.seams
        assert now.low_bands is None
        assert now.patches == ()
        assert [(la.camera, la.gain) for la in now.layers] == [(la.camera, la.gain) for la in was.layers]


@pytest.mark.parametrize(
    ("photos", "message"),
    [
        (Photos(tuple(NEW[:2])), "3 photos and 2 were given.*old 0, old 1, old 2"),
        (Photos((NEW[0], NEW[2], NEW[1])), "new 2: is 32 x 20 pixels, and old 1"),
        (Photos(tuple(NEW[:2]), (Unused("new 2", "damaged"),)), "needs every photo .new 2: damaged"),
    ],
)
def test_photos_that_do_not_fit(plan: Plan, photos: Photos, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        applied(plan, photos)


def test_seams_of_another_size_cannot_be_used(plan: Plan) -> None:
    resized = Plan(tuple(replace(c, seam_step=2.5) for c in plan.compositions))
    with pytest.raises(OptionError, match="save it anew"):
        applied(resized, Photos(tuple(NEW)))
