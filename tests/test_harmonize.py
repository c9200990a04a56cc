"""The verb harmonize: what it promises of pixels, types, masks and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage.data import coffee
from typer.testing import CliRunner

import composer
from composer.cli import app
from composer.errors import OptionError, OutputError
from composer.records import to_encoded, to_linear

Array = NDArray[Any]
METHODS = ["auto", "reinhard", "linear", "histogram"]
every_method = pytest.mark.parametrize("method", METHODS)
REGION = slice(60, 140), slice(80, 180)


def photo() -> Array:
    return np.ascontiguousarray(coffee()[::2, ::2])


def composite(gain: float = 0.4) -> tuple[Array, Array]:
    """Return a photograph with a darkened rectangle, and the rectangle's mask."""
    pixels, mask = photo(), np.zeros((200, 300), bool)
    mask[REGION] = True
    dark = to_encoded(to_linear(pixels[REGION] / 255) * gain)
    pixels[REGION] = np.rint(dark * 255).astype(np.uint8)
    return pixels, mask


@every_method
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_outside_is_bit_equal_and_inside_is_nearer(method: str, dtype: str) -> None:
    pixels, mask = composite()
    white = {"uint8": 255, "uint16": 65535, "float32": 1.0}[dtype]
    given = pixels if dtype == "uint8" else (pixels / 255 * white).astype(dtype)
    result = composer.harmonize(given, mask, method=method)
    image = np.asarray(result)
    assert image.dtype == given.dtype
    assert np.array_equal(image[~mask], given[~mask])
    error = [np.abs(k[mask] / white - photo()[mask] / 255).mean() for k in (given, image)]
    assert error[1] < error[0]
    assert result.before is not None
    assert result.after is not None
    assert sum(result.before) < sum(result.after)


@every_method
def test_pasting_then_harmonizing_is_pasting_harmonized(method: str) -> None:
    pixels, mask = composite()
    foreground = pixels[REGION]
    pasted = composer.harmonize(foreground, np.ones((80, 100), bool), photo(), offset=(80, 60), method=method)
    assert np.array_equal(pasted.image, composer.harmonize(pixels, mask, method=method).image)


def test_half_a_foreground_is_mixed_in_light() -> None:
    result = composer.harmonize(
        np.full((40, 40, 3), 255, np.uint8), np.full((40, 40), 128, np.uint8),
        np.zeros((40, 80, 3), np.uint8), offset=(10, 0), strength=0,
    )  # fmt: skip
    assert abs(int(result.image[20, 20, 0]) - 188) <= 1
    assert not result.image[:, 50:].any()


def test_alpha_is_the_mask_and_stays_straight() -> None:
    foreground = np.full((20, 20, 4), 200, np.uint8)
    foreground[:, :, 3] = 0
    foreground[5:15, 5:15, 3] = 255
    background = np.full((20, 30, 4), 90, np.uint8)
    background[:, :, 3] = 128
    image = composer.harmonize(foreground, None, background, offset=(4, 0), strength=0).image
    assert image.shape == (20, 30, 4)
    assert (image[5:15, 9:19] == [200, 200, 200, 255]).all()
    image[5:15, 9:19] = background[5:15, 9:19]
    assert np.array_equal(image, background)


def test_grey() -> None:
    pixels, mask = composite()
    grey = pixels[:, :, 1]
    image = composer.harmonize(grey, mask).image
    assert image.shape == (200, 300, 1)
    assert image[REGION].mean() > grey[REGION].mean()
    shown = composer.harmonize(grey[REGION], np.ones((80, 100), bool), photo(), offset=(0, 0)).image
    assert shown.shape == (200, 300, 3)


def test_floats_keep_what_exceeds_white_and_what_is_no_number() -> None:
    pixels, mask = composite()
    given = (pixels / 255).astype(np.float32)
    given[70, 90] = 4.0
    given[75, 95] = np.nan
    image = composer.harmonize(given, mask).image
    assert image[70, 90].min() > 3
    assert np.isnan(image[75, 95]).all()
    assert np.isnan(image).sum() == 3
    assert np.array_equal(image[~mask], given[~mask])


@pytest.mark.parametrize("offset", [(-50, -30), (250, 150), (100, -79)])
def test_what_hangs_over_the_edge_is_cut_off(offset: tuple[int, int]) -> None:
    foreground = np.full((80, 100, 3), 77, np.uint8)
    image = composer.harmonize(foreground, np.ones((80, 100), bool), photo(), offset=offset, strength=0).image
    wanted, (x, y) = photo(), offset
    wanted[max(y, 0) : max(y + 80, 0), max(x, 0) : x + 100] = 77
    assert np.array_equal(image, wanted)


@pytest.mark.parametrize("offset", [(0, 0), (-500, 0), (0, 400)])
def test_nothing_to_do_is_said(offset: tuple[int, int]) -> None:
    mask = np.full((200, 300), offset != (0, 0))
    result = composer.harmonize(photo()[::-1], mask, photo(), offset=offset)
    assert np.array_equal(result.image, photo())
    assert "nothing was changed" in result.notes[0]
    assert result.before is None


@every_method
def test_one_pixel(method: str) -> None:
    mask = np.zeros((200, 300), bool)
    mask[100, 150] = True
    image = composer.harmonize(photo(), mask, method=method).image
    assert np.array_equal(image[~mask], photo()[~mask])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mask": np.ones((200, 300), bool)}, "nothing is left to fit it to"),
        ({"mask": np.ones((20, 30), bool)}, "mask is 30 x 20, photo 300 x 200|mask is 30 x 20, background"),
        ({"mask": None}, "no mask was given"),
        ({"method": "best"}, "give one of auto, reinhard, linear, histogram"),
        ({"strength": 1.5}, "from 0 to 1"),
        ({"strength": float("nan")}, "from 0 to 1"),
        ({"offset": (1, 2)}, "no background"),
        ({"background": np.zeros((50, 50, 3), np.uint8)}, "say with an offset"),
        ({"background": np.zeros((200, 300), np.uint8)}, "is grey"),
        ({"mask": np.full((200, 300), np.nan, np.float32)}, "not numbers"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], said: str) -> None:
    mask = np.zeros((200, 300), bool)
    mask[10:30, 10:30] = True
    with pytest.raises(OptionError, match=said):
        composer.harmonize(photo(), **{"mask": mask, **options})


def test_threads_change_nothing() -> None:
    pixels, mask = composite()
    one, three = (composer.harmonize(pixels, mask, workers=n, device="cpu").image for n in (1, 3))
    assert one.tobytes() == three.tobytes()


def test_command_equals_function(tmp_path: Path) -> None:
    pixels, mask = composite()
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    out, summary = tmp_path / "out.png", tmp_path / "out.json"
    words = ["harmonize", tmp_path / "photo.png", "--mask", tmp_path / "mask.png", "-o", out,
             "--method", "linear", "--strength", "0.8", "--summary", summary]  # fmt: skip
    done = CliRunner().invoke(app, [str(w) for w in words])
    assert done.exit_code == 0, done.output
    assert "region was" in done.stdout
    wanted = composer.harmonize(pixels, mask, method="linear", strength=0.8).image
    assert np.array_equal(np.asarray(Image.open(out)), wanted)
    said = json.loads(summary.read_text())
    assert said["method"] == "linear"
    assert len(said["before"]) == 3


def test_command_pastes_16_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    foreground, background = (rng.integers(0, 65536, s, np.uint16) for s in ((20, 30, 3), (60, 70, 3)))
    tifffile.imwrite(tmp_path / "f.tif", foreground)
    tifffile.imwrite(tmp_path / "b.tif", background)
    Image.new("L", (30, 20), 255).save(tmp_path / "m.png")
    words = ["harmonize", "f.tif", "b.tif", "--mask", "m.png", "--offset=-5,7", "-o", "o.tif"]
    paths = [str(tmp_path / w) if "." in w else w for w in words]
    done = CliRunner().invoke(app, paths)
    assert done.exit_code == 0, done.output
    found = tifffile.imread(tmp_path / "o.tif")
    assert found.dtype == np.uint16
    assert len(np.unique(found)) > 3000
    assert np.array_equal(found[27:], background[27:])
    bad = CliRunner().invoke(app, [w.replace("=-5,7", "=5") for w in paths])
    assert bad.exit_code == 2
    assert "whole pixels" in bad.output


def test_the_composite_is_not_overwritten(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "photo.png")
    with pytest.raises(OutputError, match="one of the inputs"):
        composer.harmonize(tmp_path / "photo.png", np.ones((200, 300), bool), output=tmp_path / "photo.png")
