"""Weights: what is written comes back, and nothing else is believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from composer.errors import WeightsError
from composer.learn.weights import read_weights, write_weights

ARRAYS = {"a": np.arange(6, dtype=np.float16).reshape(2, 3), "b": np.array(3, np.int64)}


def test_round_trip(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors", ARRAYS, {"kind": "test", "x": "y"})
    arrays, about = read_weights(tmp_path / "w.safetensors", "test")
    assert about == {"kind": "test", "x": "y"}
    assert all(np.array_equal(arrays[k], v) and arrays[k].dtype == v.dtype for k, v in ARRAYS.items())


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, ARRAYS, {"kind": "test"})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="not a whole"):
        read_weights(path, "test")


@pytest.mark.parametrize("data", [b"PK\x03\x04rest", b"\x80\x04rest"])
def test_a_pickle_is_never_opened(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(data)
    with pytest.raises(WeightsError, match="pickle"):
        read_weights(tmp_path / "w.pt", "test")


@pytest.mark.parametrize("length", [0x80, 0x4B50])
def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path: Path, length: int) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, {}, {"kind": "test", "x": ""})
    spare = length - int.from_bytes(path.read_bytes()[:8], "little")
    write_weights(path, {}, {"kind": "test", "x": "y" * spare})
    assert path.read_bytes()[:2] == length.to_bytes(2, "little")
    assert read_weights(path, "test")[1]["x"] == "y" * spare


def test_other_weights_and_no_weights_are_refused(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors", ARRAYS, {"kind": "other"})
    with pytest.raises(WeightsError, match='holds "other"'):
        read_weights(tmp_path / "w.safetensors", "test")
    with pytest.raises(WeightsError, match="No such file"):
        read_weights(tmp_path / "missing", "test")
