"""JPEG compression, found and taken out: by the file's own steps, or by those its pixels show."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import array_api_strict as strict
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import composer
from composer.media.header import read_photo
from composer.media.jpeg import coding_of
from composer.mending import deblocking
from composer.mending.blocks import find_blocking
from composer.mending.deblocking import deblock, quality_of, standard_steps
from composer.records import Context
from composer.samples import picture

Array = NDArray[Any]


@pytest.fixture(scope="module")
def truth() -> Array:
    """A photograph, made smaller: no trace of a compression of its own."""
    return np.asarray(cv2.resize(picture("coffee.png"), (301, 203), interpolation=cv2.INTER_AREA))


def compressed(truth: Array, path: Path, **options: Any) -> Array:
    Image.fromarray(truth).save(path, **options)
    return np.asarray(Image.open(path))


def psnr(found: Array, truth: Array) -> float:
    return float(-10 * np.log10(((found.astype(float) - truth) ** 2).mean() / 255**2))


@pytest.mark.parametrize("quality", [10, 20, 40])
def test_the_file_is_closer_to_what_it_was_made_of(truth: Array, tmp_path: Path, quality: int) -> None:
    seen = compressed(truth, tmp_path / "a.jpg", quality=quality)
    result = composer.repair(tmp_path / "a.jpg", faults="blocking")
    (fault,) = result.faults
    assert (fault.operator, fault.strength) == ("quantisation", quality)
    assert f"quality {quality}" in result.notes[0]
    assert psnr(result.image, truth) > psnr(seen, truth) + 0.4
    assert np.array_equal(composer.repair(seen, faults="blocking").image, result.image)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_every_sampling_of_colours(truth: Array, tmp_path: Path, subsampling: int) -> None:
    seen = compressed(truth, tmp_path / "a.jpg", quality=15, subsampling=subsampling)
    found = composer.repair(tmp_path / "a.jpg", faults="blocking").image
    assert psnr(found, truth) > psnr(seen, truth) + 0.6


def test_grey_files(truth: Array, tmp_path: Path) -> None:
    seen = compressed(truth[:, :, 1], tmp_path / "a.jpg", quality=15)
    found = composer.repair(tmp_path / "a.jpg", faults="blocking").image
    assert psnr(found.reshape(seen.shape), truth[:, :, 1]) > psnr(seen, truth[:, :, 1]) + 0.6


@pytest.mark.parametrize("orientation", range(2, 9))
def test_turned_files_are_mended_as_they_are_stored(truth: Array, tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = compressed(truth, tmp_path / "a.jpg", quality=15, exif=exif)
    result = composer.repair(tmp_path / "a.jpg", faults="blocking", output=tmp_path / "b.png")
    assert result.faults[0].operator == "quantisation"
    upright = np.asarray(Image.open(tmp_path / "b.png"))
    back = {2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2)}
    back[6], back[8] = np.rot90(upright), np.rot90(upright, -1)
    back[7] = upright[::-1, ::-1].transpose(1, 0, 2)
    assert psnr(back[orientation], truth) > psnr(seen, truth) + 0.6


def test_a_cropped_picture_has_its_blocks_elsewhere(truth: Array, tmp_path: Path) -> None:
    seen = compressed(truth, tmp_path / "a.jpg", quality=15)[5:, 3:]
    result = composer.repair(seen, faults="blocking")
    assert result.faults[0].strength == 15
    assert psnr(result.image, truth[5:, 3:]) > psnr(seen, truth[5:, 3:]) + 0.4


def test_the_result_could_have_given_the_same_file(truth: Array, tmp_path: Path) -> None:
    compressed(truth[:200, :296, 1], tmp_path / "a.jpg", quality=20)
    found = composer.repair(tmp_path / "a.jpg", faults="blocking").image[:, :, 0]
    again = io.BytesIO()
    Image.fromarray(found).save(again, "JPEG", quality=20)
    stored, decoded = np.asarray(Image.open(tmp_path / "a.jpg")), np.asarray(Image.open(again))
    assert (stored == decoded).mean() > 0.99


def test_fine_compression_and_none_are_left_alone(truth: Array, tmp_path: Path) -> None:
    compressed(truth, tmp_path / "a.jpg", quality=80)
    assert composer.repair(tmp_path / "a.jpg").faults == ()
    assert find_blocking(truth.astype(np.float32) / 255) == []
    assert find_blocking(truth[:50].astype(np.float32) / 255) == []


def test_tiles_and_threads_change_nothing(
    truth: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = compressed(truth, tmp_path / "a.jpg", quality=15).astype(np.float32) / 255
    coding = coding_of(read_photo(tmp_path / "a.jpg"))
    assert coding is not None
    everywhere = np.ones(seen.shape[:2], bool)
    whole = deblock(seen, everywhere, coding, Context())
    monkeypatch.setattr(deblocking, "TILE", 64)
    np.testing.assert_allclose(deblock(seen, everywhere, coding, Context(workers=3)), whole, atol=1e-5)


def test_any_array_namespace_gives_the_same(truth: Array, tmp_path: Path) -> None:
    compressed(truth, tmp_path / "a.jpg", quality=15)
    coding = coding_of(read_photo(tmp_path / "a.jpg"))
    assert coding is not None
    planes = truth[:64, :96].transpose(2, 0, 1).astype(np.float32)
    found = deblocking._changes(strict.asarray(planes), coding)
    np.testing.assert_allclose(np.asarray(found), deblocking._changes(planes, coding), atol=1e-3)


def test_steps_are_the_encoders(tmp_path: Path) -> None:
    for quality in (3, 10, 50, 75, 97):
        compressed(np.zeros((16, 16, 3), np.uint8), tmp_path / "a.jpg", quality=quality)
        coding = coding_of(read_photo(tmp_path / "a.jpg"))
        assert coding is not None
        for found, expected in zip(coding.steps, (*standard_steps(quality), None), strict=True):
            assert expected is None or np.array_equal(found, expected)
        assert quality_of(coding) == quality


def test_other_files_have_no_coding(truth: Array, tmp_path: Path) -> None:
    Image.fromarray(truth).save(tmp_path / "a.png")
    Image.fromarray(truth).convert("CMYK").save(tmp_path / "b.jpg")
    assert coding_of(read_photo(tmp_path / "a.png")) is None
    assert coding_of(read_photo(tmp_path / "b.jpg")) is None
