"""Results as notebooks and shells show them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import composer
from composer.results import NOTEBOOK, Repaired
from composer.samples import room


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("dtype", "white"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_notebooks_show_pictures_that_are_in_memory(channels: int, dtype: str, white: float) -> None:
    pixels = np.full((6, 9, channels), white, dtype)
    pixels[0] = 0
    if dtype == "float32":
        pixels[1, 1] = np.nan
    shown = Repaired(pixels=pixels, faults=(), mask=np.zeros((6, 9), bool))._repr_png_()
    codes = np.asarray(Image.open(io.BytesIO(shown))).reshape(6, 9, channels)
    assert (codes[0].max(), codes[2:].min()) == (0, 255)


def test_what_was_written_is_not_read_for_it(tmp_path: Path) -> None:
    assert Repaired(output=tmp_path / "a.png", faults=(), mask=np.zeros((1, 1), bool))._repr_png_() is None


def test_one_panorama_is_shown_small_and_said_briefly() -> None:
    found = composer.stitch(room(), width=NOTEBOOK + 200, device="cpu")
    assert max(Image.open(io.BytesIO(found._repr_png_())).size) == NOTEBOOK
    assert len(repr(found)) < 1000
