"""Membranes against sparse direct solves, in grey levels: boundary values are 0..255."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from composer.errors import SolverError
from composer.poisson import membrane as module
from composer.poisson.membrane import Membrane
from tests.poisson.exact import blobs, differences, noise, solved

Array = NDArray[Any]
N = 128
Y, X = np.mgrid[:N, :N]
GREY_LEVELS = 0.1


def field(values: Array, unknown: Array, known: Array) -> tuple[Array, float]:
    membrane = Membrane(unknown, known)
    surface = membrane.solve(values.reshape(-1, values.shape[2])[membrane.ring], 0.02)
    half = surface.half()
    strips = range(0, len(unknown), 16)
    found = [surface.rows(y, min(y + 16, len(unknown)), half) for y in strips]
    return np.concatenate(found), surface.residual


def assert_exact(values: Array, unknown: Array, known: Array | None = None) -> None:
    known = ~unknown if known is None else known & ~unknown
    found, residual = field(values, unknown, known)
    wanted = solved(values, unknown, known, differences(np.zeros_like(values)))
    assert residual <= 0.02
    assert np.abs(found - wanted)[unknown].max() < GREY_LEVELS


def step(shape: tuple[int, int]) -> Array:
    return np.where(np.mgrid[: shape[0], : shape[1]][1] < shape[1] * 0.4, 0, 255)[:, :, None].astype(
        np.float32
    )


MASKS = {
    "disc": np.hypot(Y - 60, X - 66) < 58,
    "blobs": blobs((N, N), 1),
    "thin": blobs((N, N), 2, 1),
    "islands": noise((N, N), 3) < 0.3,
    "holes": noise((N, N), 4) < 0.97,
    "specks": noise((N, N), 5) < 0.999,
    "grid": (Y % 7 > 0) & (X % 31 > 0),
    "to the edge": X > 20,
    "to the corner": (X > 20) & (Y < 100),
    "all but one": (X != 100) | (Y != 3),
    "one": (X == 100) & (Y == 3),
}


@pytest.mark.parametrize("name", MASKS)
def test_agrees_with_a_direct_solve(name: str) -> None:
    values = np.concatenate([255 * noise((N, N, 1), 6), step((N, N))], 2)
    assert_exact(values, MASKS[name])


def test_holds_at_full_size() -> None:
    values = np.concatenate([255 * noise((256, 256, 2), 7), step((256, 256))], 2)
    assert_exact(values, blobs((256, 256), 8, 12, 0.41))


def test_reaches_past_pixels_that_take_no_part() -> None:
    assert_exact(255 * noise((N, N, 1), 1), MASKS["disc"], noise((N, N), 9) < 0.2)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 90), st.integers(2, 90)),
    seed=st.integers(0, 10**6),
    sigma=st.sampled_from([0.3, 1, 3, 9]),
    share=st.floats(0.1, 0.95),
)
def test_agrees_on_any_mask(shape: tuple[int, int], seed: int, sigma: float, share: float) -> None:
    unknown = blobs(shape, seed, sigma, share)
    unknown[0, 0] = False
    if unknown.any():
        assert_exact(255 * noise((*shape, 1), seed + 1), unknown)


def test_cost_follows_the_boundary() -> None:
    def cells(n: int) -> int:
        unknown = np.zeros((n, n), bool)
        unknown[8:-8, 8:-8] = True
        return sum(level.n for level in Membrane(unknown, ~unknown).levels)

    assert cells(1024) < 2.3 * cells(512)


def test_what_is_not_reached_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CYCLES", 2)
    unknown = MASKS["blobs"]
    membrane = Membrane(unknown, ~unknown)
    with pytest.raises(SolverError, match="residual of") as caught:
        membrane.solve(255 * noise((len(membrane.ring), 1), 1), 1e-9)
    assert caught.value.residual > 1e-9
