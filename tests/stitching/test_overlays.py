"""What photos show at one place is no scene: captions and the like are not matched."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer import stitch
from composer.align.homography import Pair
from composer.records import Photo
from composer.samples import photograph
from composer.stitching.overlays import CELLS, find_overlays

Array = NDArray[Any]
SIZE = (600, 400)
PHOTOS = tuple(Photo(str(k), None, *SIZE, 3, "uint8") for k in range(3))


def framed(pixels: Array) -> Array:
    """Return a photo in a white frame with a caption above and below, as apps add."""
    marked = cv2.copyMakeBorder(pixels[24:-24, 24:-24], 24, 24, 24, 24, cv2.BORDER_CONSTANT, value=(255,) * 3)
    for row in (18, len(pixels) - 5):
        place = (15, row)
        cv2.putText(marked, "SHOT ON MY PHONE 12  AI CAMERA", place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 0, 2)
    return marked


def test_frames_with_captions_do_not_lay_photos_on_each_other() -> None:
    views = [photograph(38 * k, 2 * (-1) ** k, seed=k) for k in range(5)]
    result = stitch([framed(v.pixels) for v in views])
    (composition,) = (p.composition for p in result.panoramas)
    assert len(composition.layers) == 5
    found = composition.layers[4].camera.rotation @ composition.layers[0].camera.rotation.T
    true = views[4].rotation @ views[0].rotation.T
    assert np.degrees(np.arccos((np.trace(found @ true.T) - 1) / 2)) < 2


def matches(i: int, j: int, moved: int, stay: int, low: int = 340) -> Pair:
    """Return matches all over two photos that move by 200 pixels, and some from row `low` that stay."""
    rng = np.random.default_rng([i, j])
    here = rng.uniform((210, 0), (590, 390), (moved, 2))
    still = np.random.default_rng(0).uniform((50, low), (550, 390), (stay, 2))
    nothing = np.zeros((0, 2))
    if moved:
        matrix = np.array([[1, 0, -200], [0, 1, 0], [0, 0, 1.0]])
        return Pair(i, j, here, here - (200, 0), matrix, moved + stay, still, still)
    return Pair(i, j, still, still, np.eye(3), stay, nothing, nothing)


def test_an_overlay_is_where_matches_of_photos_that_moved_stay() -> None:
    pairs = [matches(0, 1, 40, 20), matches(1, 2, 40, 20), matches(0, 2, 0, 20)]
    (overlay,) = find_overlays(pairs, PHOTOS, [3.0] * 3).values()
    rows = np.flatnonzero(overlay.any(1))
    assert rows.min() > 0.75 * CELLS
    assert rows.max() > 0.9 * CELLS


def test_views_that_are_the_same_have_no_overlay() -> None:
    assert find_overlays([matches(0, 1, 0, 60), matches(1, 2, 0, 60)], PHOTOS, [3.0] * 2) == {}
    bracketed = [matches(0, 1, 0, 60), matches(1, 2, 40, 0)]
    assert find_overlays(bracketed, PHOTOS, [3.0] * 2) == {}


def test_what_stays_nearly_everywhere_is_no_overlay() -> None:
    pairs = [matches(0, 1, 40, 900, low=0), matches(1, 2, 40, 900, low=0)]
    assert find_overlays(pairs, PHOTOS, [3.0] * 2) == {}
