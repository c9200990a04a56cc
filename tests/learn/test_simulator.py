"""Spoiled composites: what is wrong with them is inside the mask, and every draw comes from the seed."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from composer.learn.simulator import KINDS, OPERATORS, planes_of, simulate

PHOTO = skimage.data.astronaut()


@pytest.mark.parametrize("kind", KINDS)
def test_truth_and_composite_agree_outside_the_mask(kind: str) -> None:
    for seed in range(4):
        sample = simulate(PHOTO, np.random.default_rng(seed), 96, kind=kind, operator="hard")
        wrong = np.abs(sample.composite - sample.truth).max(2)
        outside = sample.mask == 0
        # views stay noisy beyond the mask, since there the composite is not to be touched
        allowed = 0.25 if kind in ("noise", "all") else 0.02
        assert wrong[outside].max(initial=0) < allowed
        assert 0 < sample.mask.max() <= 1


def test_clean_composites_are_the_truth() -> None:
    for operator in OPERATORS:
        sample = simulate(PHOTO, np.random.default_rng(1), 96, kind="clean", operator=operator)
        np.testing.assert_allclose(sample.composite, sample.truth, atol=1e-5)


def test_the_seed_decides() -> None:
    one, same, another = (simulate(PHOTO, np.random.default_rng(s), 64) for s in (5, 5, 6))
    assert np.array_equal(one.composite, same.composite)
    assert not np.array_equal(one.composite, another.composite)


def test_planes_hide_what_is_not_valid() -> None:
    sample = simulate(PHOTO, np.random.default_rng(2), 64, kind="exposure")
    seen = planes_of(
        sample.composite, sample.mask, sample.seam, sample.valid, sample.other, ~sample.other_valid
    )
    assert seen.shape == (11, 64, 64)
    assert seen.dtype == np.float32
    assert not seen[6:10].any()
    assert np.array_equal(seen[:3], np.moveaxis(sample.composite, 2, 0))
