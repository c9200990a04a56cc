"""Faded photographs: found only where they are named, and spread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import composer
from composer.mending.fading import find_fading, levels
from composer.samples import picture

Array = NDArray[Any]
LOW, HIGH = np.array([40, 30, 20]) / 255, np.array([220, 180, 140]) / 255


def faded(dtype: str) -> tuple[Array, Array]:
    top = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    truth = picture("coffee.png")[100:300, 100:400] / 255
    low, high = np.quantile(truth.reshape(-1, 3), (0.005, 0.995), axis=0)
    truth = np.clip((truth - low) / (high - low), 0, 1)
    bad = (LOW + truth * (HIGH - LOW)) * top
    return (np.rint(bad) if top > 1 else bad).astype(dtype), truth * top


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_faded_photograph_is_spread(dtype: str) -> None:
    bad, truth = faded(dtype)
    result = composer.repair(bad, faults="fading")
    assert [(f.kind, f.operator) for f in result.faults] == [("fading", "levels")]
    assert result.faults[0].strength == pytest.approx(1 - (HIGH - LOW).mean(), abs=0.03)
    assert result.image.dtype == bad.dtype
    top = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    assert np.abs(result.image / top - truth / top).max() < 0.03


def test_it_has_to_be_named() -> None:
    bad, _ = faded("uint8")
    assert "fading" not in {f.kind for f in composer.repair(bad).faults}


def test_full_range_and_single_colours_stay() -> None:
    _, truth = faded("float32")
    assert find_fading(truth.astype(np.float32)) == []
    low, high = levels(np.full((9, 9, 3), 0.5, np.float32))
    assert (low.tolist(), high.tolist()) == ([0, 0, 0], [1, 1, 1])
    nothing = levels(np.zeros((9, 9, 1), np.float32), np.zeros((9, 9), bool))
    assert [v.tolist() for v in nothing] == [[0], [1]]
