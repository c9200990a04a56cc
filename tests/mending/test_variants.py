"""Patches taken from copies of the picture that are mirrored, turned or scaled."""

from __future__ import annotations

import array_api_strict as strict
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import composer
from composer.backend import to_numpy
from composer.errors import OptionError
from composer.mending.patches import copy_patches
from composer.mending.variants import with_variants
from composer.samples import picture

SIDE = 160
CAT = picture("chelsea.png").astype(np.float32)[60 : 60 + SIDE, 100 : 100 + SIDE] / 255


def larger(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return cv2.resize(image, None, fx=4 / 3, fy=4 / 3, interpolation=cv2.INTER_CUBIC)[:SIDE]


def error_db(image: NDArray[np.float32], truth: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    return float(-10 * np.log10(((image - truth)[where] ** 2).mean() + 1e-12))


@pytest.mark.parametrize(
    ("variant", "other", "gain"),
    [("mirrored", CAT[:, ::-1], 20), ("turned", np.rot90(CAT), 20), ("turned", np.rot90(CAT, 3), 20),
     ("scaled", larger(CAT), 4)],
)  # fmt: skip
def test_what_a_variant_shows_is_found_in_it(variant: str, other: NDArray[np.float32], gain: float) -> None:
    truth = np.concatenate([CAT, other], 1)
    y, x = np.mgrid[:SIDE, : truth.shape[1]]
    hole = np.hypot(x - SIDE / 2, y - SIDE / 2) < 20
    plain = copy_patches(truth, hole, ~hole)
    found = copy_patches(truth, hole, ~hole, variants=(variant,))
    assert error_db(found, truth, hole) > error_db(plain, truth, hole) + gain
    assert np.array_equal(found[~hole], truth[~hole])


def test_copies_show_the_source_only_and_never_the_hole() -> None:
    image = CAT[:40, :60].copy()
    hole = np.zeros((40, 60), bool)
    hole[10:20, 10:20] = True
    image[hole] = np.nan
    source = ~hole
    source[:, 50:] = False
    whole, holes, sources = with_variants(image, hole, source, ("scaled", "turned", "mirrored"))
    assert holes.sum() == hole.sum()
    assert np.array_equal(sources[:40, :60], source)
    assert np.isfinite(whole[~holes]).all()
    assert sources[:, 68:].sum() == pytest.approx(source.sum() * (8 * (1 + 9 / 16 + 16 / 9) - 1), rel=0.15)
    on_device, _, _ = with_variants(strict.asarray(image), hole, source, ("scaled", "turned", "mirrored"))
    assert np.array_equal(to_numpy(on_device), whole, equal_nan=True)


def test_the_verb_takes_variants() -> None:
    photo = (np.concatenate([CAT, CAT[:, ::-1]], 1) * 255).astype(np.uint8)
    mask = np.zeros(photo.shape[:2], bool)
    mask[60:100, 110:150] = True  # what mirrors it lies in reach
    found = composer.repair(photo, mask, fill="patches", variants=["mirrored"])
    assert np.abs(np.asarray(found).astype(int) - photo)[mask].mean() < 2
    with pytest.raises(OptionError, match="give some of mirrored, turned, scaled"):
        composer.repair(photo, mask, variants=["bent"])
