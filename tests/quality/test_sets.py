"""Sets of features: known answers for Gaussians, and what differs is told."""

from __future__ import annotations

import numpy as np
import pytest

from composer.errors import OptionError
from composer.quality.sets import compared_sets, coverage, kid


def gaussian(seed: int, count: int, shift: float = 0.0, size: int = 4) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((count, size))
    found[:, 0] += shift
    return found


def test_kid_of_shifted_gaussians_is_the_kernels_expectation() -> None:
    # E (x.y/4 + 1)^3 = 1 + 3 m1 + 3 m2 + m3 with moments m of x.y/4; the third is that of one coordinate
    shift, size = 1.5, 4
    first = {"xx": 0.0, "yy": shift**2, "xy": 0.0}
    squares = {"xx": size, "yy": size + 2 * shift**2 + shift**4, "xy": size + shift**2}
    cubes = {"xx": 0.0, "yy": (3 * shift + shift**3) ** 2 + 3 * (size - 1) * shift**2, "xy": 0.0}
    expected = {k: 1 + 3 * first[k] / size + 3 * squares[k] / size**2 + cubes[k] / size**3 for k in first}
    found = [kid(gaussian(k, 1000), gaussian(100 + k, 1000, shift))[0] for k in range(4)]
    assert np.mean(found) == pytest.approx(expected["xx"] + expected["yy"] - 2 * expected["xy"], rel=0.05)


def test_kid_has_no_bias_and_says_how_sure_it_is() -> None:
    found = [kid(gaussian(k, 40), gaussian(1000 + k, 40)) for k in range(100)]
    values, errors = np.array(found).T
    assert abs(values.mean()) < 3 * values.std() / 10
    assert values.std() < errors.mean() < 3 * values.std()
    values, errors = np.array([kid(gaussian(k, 40), gaussian(1000 + k, 40, 2)) for k in range(100)]).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.4)


def test_alike_sets_have_the_expected_density_and_coverage() -> None:
    # Naeem et al., lemma 1: coverage 1 - prod (N-k)/(2N-k), k = 1..5, density 1
    found = [coverage(gaussian(k, 200), gaussian(50 + k, 200)) for k in range(10)]
    steps = np.arange(1, 6)
    assert np.mean([f["coverage"] for f in found]) == pytest.approx(
        1 - np.prod((200 - steps) / (400 - steps)), abs=0.01
    )
    assert np.mean([f["density"] for f in found]) == pytest.approx(1, abs=0.05)


def test_one_set_twice() -> None:
    found = compared_sets(gaussian(0, 300), gaussian(0, 300))
    assert abs(found["kid"]) < 0.1
    assert found["precision"] == found["recall"] == found["coverage"] == 1
    assert found == compared_sets(gaussian(0, 300), gaussian(0, 300))


def test_sets_apart_and_sets_that_dropped_a_mode() -> None:
    far = compared_sets(gaussian(0, 100), gaussian(1, 100, 50))
    assert far["precision"] == far["recall"] == far["density"] == far["coverage"] == 0
    assert far["kid"] > 10 * far["kid_error"]
    both = np.concatenate([gaussian(2, 100), gaussian(3, 100, 50)])
    dropped = compared_sets(gaussian(4, 200), both)
    assert dropped["precision"] > 0.9
    assert dropped["recall"] < 0.6
    assert dropped["coverage"] < 0.6


def test_too_few_pictures() -> None:
    with pytest.raises(OptionError, match="at least 10"):
        compared_sets(gaussian(0, 9), gaussian(0, 20))
