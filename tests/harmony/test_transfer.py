"""Colour transfer on arrays: known changes are undone, degenerate ones stay sane, every device the same."""

from __future__ import annotations

from typing import Any

import array_api_strict as strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from composer.backend import to_numpy
from composer.harmony.colour import (
    composited,
    from_linear,
    from_oklab,
    luma,
    softly_within,
    to_linear_light,
    to_oklab,
)
from composer.harmony.fitting import fit
from composer.harmony.statistics import Samples, around, quantiles, samples
from composer.harmony.transfer import METHODS, MOST_STRETCH, likely, linear
from composer.records import to_encoded, to_linear

Array = NDArray[Any]
every_method = pytest.mark.parametrize("method", METHODS)
whole = pytest.mark.parametrize("method", ["reinhard", "linear", "histogram"])


def drawn(colours: Array) -> Samples:
    return Samples(np.asarray(colours, float), np.full(len(colours), 1 / len(colours)))


def cloud(seed: int, centre: tuple[float, float, float] = (0.5, 0.4, 0.3), spread: float = 0.08) -> Array:
    rng = np.random.default_rng(seed)
    turn = np.array([[1, 0.3, 0.1], [0.2, 1, 0.3], [0.1, 0.2, 1]])
    return np.asarray(np.clip(np.array(centre) + rng.normal(0, spread, (3000, 3)) @ turn, 0.02, 0.98))


def test_light_is_the_records_pair() -> None:
    values = np.linspace(0, 1, 300, dtype=np.float32).reshape(100, 3)
    np.testing.assert_allclose(to_linear_light(values), to_linear(values), atol=1e-6)
    np.testing.assert_allclose(from_linear(values), to_encoded(values), atol=1e-6)
    np.testing.assert_allclose(from_oklab(to_oklab(values)), values, atol=2e-4)


def test_oklab_of_known_colours() -> None:
    white, red = to_oklab(np.array([[1.0, 1, 1], [1, 0, 0]]))
    np.testing.assert_allclose(white, [1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(red, [0.62796, 0.22486, 0.12585], atol=1e-4)


@whole
def test_the_same_material_elsewhere_is_matched(method: str) -> None:
    off = from_linear(to_linear_light(cloud(1)) * np.array([0.6, 0.7, 0.9]))
    moved = METHODS[method](drawn(off), drawn(cloud(2)))(off)
    assert np.abs(moved - cloud(1)).mean() < 0.03 < 0.06 < np.abs(off - cloud(1)).mean()
    np.testing.assert_allclose(moved.mean(0), cloud(2).mean(0), atol=0.01)


def test_linear_matches_covariances() -> None:
    moved = linear(drawn(cloud(1)), drawn(cloud(2, (0.3, 0.5, 0.6), 0.12)))(cloud(1))
    np.testing.assert_allclose(np.cov(moved.T), np.cov(cloud(2, (0.3, 0.5, 0.6), 0.12).T), atol=2e-3)


@pytest.mark.parametrize("ev", [-2.0, -0.5, 0.7, 2.0])
def test_likely_goes_part_of_the_way_back(ev: float) -> None:
    off = from_linear(to_linear_light(cloud(1)) * 2**ev)
    light = to_linear_light(likely(drawn(off), drawn(cloud(2)))(off)).mean()
    gone = np.log2(light / to_linear_light(off).mean()) / -ev
    assert 0.25 < gone < 0.6


@every_method
def test_what_agrees_stays(method: str) -> None:
    colours = cloud(1)
    np.testing.assert_allclose(METHODS[method](drawn(colours), drawn(colours))(colours), colours, atol=2e-3)


@every_method
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_flat_and_tiny_regions_give_finite_colours(method: str, data: st.DataObject) -> None:
    value = st.floats(0, 1)
    triple = st.tuples(value, value, value)
    region, near = (np.array(data.draw(st.lists(triple, min_size=1, max_size=4))) for _ in range(2))
    change = fit(drawn(region), drawn(near), method, 1.0, (0.0, 1.0))
    found = change(np.concatenate([region, near]).astype(np.float32))
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1


@whole
def test_contrast_grows_no_more_than_said(method: str) -> None:
    flat = cloud(1, spread=0.01)
    moved = METHODS[method](drawn(flat), drawn(cloud(2, spread=0.2)))(flat)
    assert luma(moved).std() < 1.3 * MOST_STRETCH * luma(flat).std()


@every_method
def test_grey_stays_grey(method: str) -> None:
    region, near = (np.repeat(cloud(k, spread=0.1)[:, :1], 3, 1) * (1, 0.7)[k - 1] for k in (1, 2))
    change = fit(drawn(region), drawn(near), method, 1.0, (0.0, 1.0))
    colour = change(region.astype(np.float32))
    np.testing.assert_allclose(colour, np.repeat(colour[:, 1:2], 3, 1), atol=2e-3)
    assert change(region[:, :1].astype(np.float32)).shape == (3000, 1)


def test_strength_goes_part_of_the_way() -> None:
    own = cloud(1, spread=0.03)
    region, near = drawn(own), drawn(cloud(2, (0.3, 0.5, 0.6), 0.03))
    ends = [fit(region, near, "reinhard", s, (0.0, 1.0))(own) for s in (0, 0.5, 1)]
    np.testing.assert_allclose(ends[0], own, atol=1e-6)
    np.testing.assert_allclose(ends[1], (ends[0] + ends[2]) / 2, atol=1e-2)


@given(st.floats(1.0, 3.0), st.floats(-1.0, 0.0))
@settings(max_examples=30, deadline=None)
def test_range_is_kept_softly(high: float, low: float) -> None:
    ramp = np.repeat(np.linspace(low, high, 400)[:, None], 3, 1)
    found = softly_within(ramp, (low, high), (0.0, 1.0))[:, 0]
    assert found.min() >= 0
    assert found.max() <= 1
    rises = np.diff(found)
    assert (rises > 0).all()  # nothing is torn off
    inside = (ramp[:, 0] > 0.1) & (ramp[:, 0] < 0.9)
    np.testing.assert_allclose(found[inside], ramp[inside, 0], atol=1e-6)


def test_range_keeps_hues() -> None:
    colour = np.array([[1.4, 0.7, 0.2]])
    found = softly_within(colour, (0.0, 1.0), (0.0, 1.0))[0]
    assert found.max() <= 1
    assert (found[0] - found[1]) / (found[1] - found[2]) == pytest.approx(0.7 / 0.5, rel=1e-3)
    same = np.random.default_rng(1).random((50, 3))
    np.testing.assert_allclose(softly_within(same, (0.0, 1.0), (0.0, 1.0)), same, atol=1e-6)


def test_compositing_is_done_in_light() -> None:
    front, back = np.ones((1, 2, 3), np.float32), np.zeros((1, 2, 3), np.float32)
    seen, alpha = composited(front, back, np.array([[0.5, 1.0]], np.float32))
    assert alpha is None
    np.testing.assert_allclose(seen[0, :, 0], [to_encoded(np.float32(0.5)), 1], atol=1e-6)
    seen, alpha = composited(front, back, np.full((1, 2), 0.5, np.float32), np.zeros((1, 2), np.float32))
    assert alpha is not None
    np.testing.assert_allclose(alpha, 0.5)
    np.testing.assert_allclose(seen, 1, atol=1e-6)  # nothing of what is transparent shows through


def test_surroundings_count_less_with_distance() -> None:
    mask = np.zeros((60, 60), np.float32)
    mask[20:40, 20:40] = 1
    usable = np.ones_like(mask)
    usable[:, :10] = 0
    found = around(mask, usable)
    assert not found[mask > 0].any()
    assert not found[:, :10].any()
    assert (np.diff(found[30, 40:]) < 0).all()


def test_samples_are_thinned_and_finite() -> None:
    pixels = np.random.default_rng(1).random((700, 700, 3)).astype(np.float32)
    pixels[0] = np.nan
    taken = samples(pixels, np.ones((700, 700), np.float32))
    assert taken is not None
    assert len(taken.colours) < 300_000
    assert np.isfinite(taken.colours).all()
    assert taken.weights.sum() == pytest.approx(1)
    assert samples(pixels, np.zeros((700, 700), np.float32)) is None


def test_weighted_quantiles() -> None:
    values, weights = np.array([3.0, 1, 2]), np.array([0.25, 0.25, 0.5])
    np.testing.assert_allclose(quantiles(values, weights, np.array([0.5])), 2)


@every_method
def test_changes_keep_to_the_standard(method: str) -> None:
    change = fit(drawn(cloud(1)), drawn(cloud(2, (0.3, 0.5, 0.7), 0.15)), method, 0.8, (0.0, 1.0))
    colours = np.random.default_rng(3).random((20, 30, 3)).astype(np.float32)
    found = change(strict.asarray(colours))
    assert isinstance(found, type(strict.asarray(0)))
    np.testing.assert_allclose(to_numpy(found), change(colours), atol=1e-5)
    share, under = np.random.default_rng(4).random((2, 20, 30)).astype(np.float32)
    plain, _ = composited(colours, colours[::-1], share, under)
    strictly, _ = composited(*(strict.asarray(k.copy()) for k in (colours, colours[::-1], share, under)))
    np.testing.assert_allclose(to_numpy(strictly), plain, atol=1e-5)
