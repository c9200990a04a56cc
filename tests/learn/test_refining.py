"""Never worse: bounded, gated, explained by the sources, and nothing outside the mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from composer.learn.refining import accepted, gated
from composer.learn.runtime import TILE, changes
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
    still = (mask == 0) | (change[3] < 0.72)
    assert np.array_equal(result[still], composite[still])
    assert result.min() >= 0
    assert result.max() <= 1
    assert np.abs(result - composite).max() <= 0.36


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


@pytest.mark.parametrize("shape", [(100, 90), (300, 420), (TILE, TILE)])
def test_windows_cover_the_mask_and_only_its_tiles(shape: tuple[int, int]) -> None:
    planes = np.zeros((11, *shape), np.float32)
    planes[3, shape[0] // 2, shape[1] // 3 :] = 1
    asked: list[Rect] = []

    def over(work, windows):  # type: ignore[no-untyped-def]
        asked.extend(windows)
        return [work(w) for w in windows]

    found = changes(lambda p: np.ones((4, *p.shape[1:]), np.float32), planes, over)
    assert found[:, planes[3] > 0].all()
    assert all(w.x0 % TILE == 0 and w.y0 % TILE == 0 for w in asked)
    row = shape[0] // 2 // TILE
    assert not found[:, (row + 1) * TILE :].any()
    assert not found[:, : row * TILE].any()


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
