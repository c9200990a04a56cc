"""Never worse: bounded, gated, explained by the sources, and nothing outside the mask."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from composer.learn.refining import BELIEVED, GATE, WHOLLY, accepted, believed, gated
from composer.learn.runtime import ALIGNED, HALO, SIDE, TILE, changes
from composer.records import Rect


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_nothing_outside_the_mask_and_nothing_unsure(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    composite = rng.random((20, 24, 3)).astype(np.float32)
    mask = np.where(rng.random((20, 24)) < 0.5, rng.random((20, 24)), 0).astype(np.float32)
    change = rng.normal(0, 1, (4, 20, 24)).astype(np.float32)
    change[3] = rng.random((20, 24))
    result = gated(composite, mask, change, strength)
    still = (mask == 0) | (change[3] < GATE)
    assert np.array_equal(result[still], composite[still])
    assert result.min() >= 0
    assert result.max() <= 1
    assert np.abs(result - composite).max() <= 0.36


def test_what_is_proposed_around_is_believed_as_a_whole() -> None:
    change, mask = np.full((3, 64, 64), 0.1, np.float32), np.ones((64, 64), np.float32)
    mask[:, :8] = 0
    sure = np.full((64, 64), 0.9, np.float32)
    np.testing.assert_allclose(believed(change, sure, mask), sure)
    sure[:, :8] = 0  # outside the mask nothing is asked
    np.testing.assert_allclose(believed(change, sure, mask), sure)
    sure[:, 24:] = 0.3
    assert not believed(change, sure, mask).any()
    change[:, :, 24:] = 0.01  # where little is proposed there is little to be sure of
    found = believed(change, sure, mask)
    np.testing.assert_allclose(found, sure, atol=1e-6)
    even = believed(change, np.full((64, 64), BELIEVED + WHOLLY / 2, np.float32), mask)
    np.testing.assert_allclose(even, (BELIEVED + WHOLLY / 2) / 2, atol=1e-4)


def test_small_changes_are_not_made() -> None:
    composite, mask = np.full((8, 8, 3), 0.5, np.float32), np.ones((8, 8), np.float32)
    change = np.stack([*np.full((3, 8, 8), 0.9 / 255), np.ones((8, 8))]).astype(np.float32)
    assert np.array_equal(gated(composite, mask, change), composite)


def test_colours_that_no_source_has_are_refused() -> None:
    composite = np.full((40, 60, 3), 0.5, np.float32)
    composite[:, 30:] = 0.6
    mask = np.zeros((40, 60), np.float32)
    mask[5:15, 20:40] = mask[25:35, 20:40] = 1
    result = composite.copy()
    result[5:15, 25:35] = 0.55  # between its neighbours
    result[25:35, 25:35] = (0.1, 0.9, 0.1)
    found, refusals = accepted(composite, result, mask, None, None)
    assert [r.rect for r in refusals] == [Rect(20, 25, 40, 35)]
    assert "no source" in refusals[0].reason
    assert np.array_equal(found[:20], result[:20])
    assert np.array_equal(found[20:], composite[20:])
    assert accepted(composite, result, mask, result, np.ones((40, 60), bool))[1] == []


def test_edges_stronger_than_in_any_source_are_refused() -> None:
    rng = np.random.default_rng(0)
    composite = (0.5 + 0.2 * rng.standard_normal((40, 40, 1)).repeat(3, 2)).clip(0, 1).astype(np.float32)
    smooth = np.full_like(composite, composite.mean()) + np.linspace(-0.2, 0.2, 40, dtype=np.float32)[:, None]
    result = smooth.copy()
    result[::2] += 0.15
    _, refusals = accepted(smooth, result, np.ones((40, 40), np.float32), None, None)
    assert "edges" in refusals[0].reason or "no source" in refusals[0].reason


@given(
    st.tuples(st.integers(20, 700), st.integers(20, 700)),
    st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=4),
    st.sampled_from([0, 48]),
)
@settings(max_examples=60, deadline=None)
def test_windows_cover_the_mask_and_little_else(
    shape: tuple[int, int], boxes: list[tuple[float, ...]], margin: int
) -> None:
    planes = np.zeros((11, *shape), np.float32)
    for box in boxes:
        (y0, y1), (x0, x1) = (sorted(round(b * n) for b in box[k::2]) for k, n in enumerate(shape))
        planes[3, y0:y1, x0:x1] = 1
    asked: list[Rect] = []

    def over(work, windows):  # type: ignore[no-untyped-def]
        asked.extend(windows)
        return [work(w) for w in windows]

    found = changes(lambda p: np.ones((4, *p.shape[1:]), np.float32), planes, over, margin=margin)
    wanted = planes[3] > 0
    inside = np.zeros(shape, bool)
    inside[margin : shape[0] - margin, margin : shape[1] - margin] = True
    assert found[:, wanted & inside].all()
    assert all(corner % ALIGNED == 0 for w in asked for corner in w)
    assert all(w.x0 // TILE == (w.x1 - 1) // TILE and w.y0 // TILE == (w.y1 - 1) // TILE for w in asked)
    squares = {(int(y), int(x)) for y, x in np.unique(np.argwhere(wanted & inside) // TILE, axis=0)}
    assert sum((w.width + 2 * HALO) * (w.height + 2 * HALO) for w in asked) <= len(squares) * SIDE**2
    assert {(w.y0 // TILE, w.x0 // TILE) for w in asked} == squares


def test_a_thin_band_is_not_looked_at_in_squares() -> None:
    planes = np.zeros((11, 2 * TILE, 2 * TILE), np.float32)
    planes[3, :, 100:120] = 1
    asked: list[Rect] = []

    def over(work, windows):  # type: ignore[no-untyped-def]
        asked.extend(windows)
        return [work(w) for w in windows]

    changes(lambda p: np.ones((4, *p.shape[1:]), np.float32), planes, over)
    assert asked == [Rect(96, 0, 128, TILE), Rect(96, TILE, 128, 2 * TILE)]


def test_the_grid_belongs_to_the_canvas() -> None:
    """What a pixel becomes does not depend on how much is refined at once."""
    planes = np.random.default_rng(0).random((11, 700, 900)).astype(np.float32)

    def network(cut: np.ndarray) -> np.ndarray:  # looks at its whole window, as no real one does
        return np.stack([cut[:3].mean(0) + cut.mean()] * 4).astype(np.float32)

    def over(work, windows):  # type: ignore[no-untyped-def]
        return [work(w) for w in windows]

    whole = changes(network, planes, over)
    part = changes(network, planes[:, 100:, 50:], over, (50, 100))
    inside = slice(2 * TILE - 100, 700 - 100), slice(TILE - 50 + TILE, 900 - 50)
    assert np.array_equal(part[(..., *inside)], whole[:, 2 * TILE :, 2 * TILE :])
