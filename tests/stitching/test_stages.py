"""What the stages say of photos that they leave out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from composer import stitch
from composer.errors import NothingToStitch
from composer.records import Context, Photo
from composer.samples import photograph
from composer.stitching.stages import EstimateCameras, MatchGraph


@pytest.mark.parametrize(("matches", "reason"), [(250, "--lens-fov"), (12, "overlap")])
def test_photos_that_share_much_but_no_geometry_are_told_of_the_lens(matches: int, reason: str) -> None:
    photos = tuple(Photo(name, None, 600, 400, 3, "uint8") for name in ("one", "two"))
    with pytest.raises(NothingToStitch) as error:
        EstimateCameras()(MatchGraph(photos, (), (matches, matches)), Context())
    assert all(reason in text for text in (str(error.value), *(u.reason for u in error.value.unused)))


def test_a_photo_blurred_by_motion_joins_its_neighbours() -> None:
    views = [photograph(33 * k, 2 * (-1) ** k, 1, seed=k) for k in range(4)]
    pixels = [v.pixels for v in views]
    pixels[1] = cv2.filter2D(pixels[1], -1, np.full((1, 19), 1 / 19))
    result = stitch(pixels)
    (composition,) = (p.composition for p in result.panoramas)
    assert len(composition.layers) == 4
    found = composition.layers[3].camera.rotation @ composition.layers[0].camera.rotation.T
    true = views[3].rotation @ views[0].rotation.T
    assert np.degrees(np.arccos((np.trace(found @ true.T) - 1) / 2)) < 1
