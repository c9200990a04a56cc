"""Edges carried into a hole."""

from __future__ import annotations

from typing import Any

import array_api_strict as strict
import numpy as np
from numpy.typing import NDArray

from composer.backend import to_numpy
from composer.mending.diffusion import telea
from composer.mending.transport import coherence_transport

Array = NDArray[Any]


def stripe(angle: float) -> Array:
    """Return a soft bright line across (64, 64, 1)."""
    y, x = np.mgrid[-32:32, -32:32]
    away = np.abs(x * np.cos(angle) + y * np.sin(angle))
    return np.clip(3 - away, 0, 1)[:, :, None].astype(np.float32)


def test_lines_go_on_across_a_hole() -> None:
    mask = np.zeros((64, 64), bool)
    mask[25:39] = True
    for angle in (0, 0.3, -0.6):
        truth = stripe(angle)
        damaged = np.where(mask[:, :, None], np.float32(0.5), truth)
        found = coherence_transport(damaged, mask, ~mask)
        error = np.abs(found - truth)[mask].mean()
        assert error < 0.03
        assert error < 0.6 * np.abs(telea(damaged, mask, ~mask) - truth)[mask].mean()


def test_flat_stays_flat_and_the_unreachable_is_left() -> None:
    image = np.full((40, 40, 3), 0.3, np.float32)
    mask = np.zeros((40, 40), bool)
    mask[5:30, 8:30] = True
    image[mask] = np.nan
    np.testing.assert_allclose(coherence_transport(image, mask, ~mask), 0.3, atol=1e-6)
    assert np.isnan(coherence_transport(image, mask, np.zeros_like(mask))[mask]).sum() == 0


def test_keeps_to_the_standard() -> None:
    mask = np.zeros((64, 64), bool)
    mask[25:39, 10:60] = True
    truth = stripe(0.3)
    plain = coherence_transport(truth, mask, ~mask)
    found = coherence_transport(strict.asarray(truth), mask, ~mask)
    assert isinstance(found, type(strict.asarray(0)))
    np.testing.assert_allclose(to_numpy(found), plain, atol=1e-5)
