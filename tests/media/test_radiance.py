"""Radiance HDR and OpenEXR: linear in the file, encoded in memory, nothing cut off at white."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from composer.errors import PhotoError
from composer.media.decode import decode
from composer.media.encode import write_image
from composer.media.header import read_photo
from composer.media.metadata import Metadata
from composer.media.profiles import srgb
from composer.records import to_encoded, to_linear
from tests.media.pictures import swapped_profile

Array = NDArray[Any]


def light(height: int = 37, width: int = 21, channels: int = 3) -> Array:
    rng = np.random.default_rng(1)
    return np.exp(rng.normal(0, 3, (height, width, channels))).astype(np.float32)


def read(path: Path) -> Array:
    photo = read_photo(path)
    assert photo.dtype == "float32"
    return decode(photo)


@pytest.mark.parametrize("channels", [1, 3])
def test_exr_comes_back(tmp_path: Path, channels: int) -> None:
    wanted = light(channels=channels)
    assert write_image(tmp_path / "a.exr", to_encoded(wanted)) == []
    np.testing.assert_allclose(to_linear(read(tmp_path / "a.exr")), wanted, rtol=1e-4)
    assert wanted.max() > 100


def test_exr_keeps_alpha_straight(tmp_path: Path) -> None:
    alpha = np.linspace(0, 1, 37 * 21, dtype=np.float32).reshape(37, 21)
    write_image(tmp_path / "a.exr", to_encoded(light()), alpha)
    found = read(tmp_path / "a.exr")
    np.testing.assert_allclose(found[:, :, 3], alpha, atol=1e-6)
    seen = alpha > 0
    np.testing.assert_allclose(to_linear(found[seen][:, :3]), light()[seen], rtol=1e-3)


@pytest.mark.parametrize("width", [5, 21, 300])
def test_hdr_comes_back_to_its_precision(tmp_path: Path, width: int) -> None:
    wanted = light(width=width)
    write_image(tmp_path / "a.hdr", to_encoded(wanted))
    found = to_linear(read(tmp_path / "a.hdr"))
    assert (np.abs(found - wanted).max(2) <= wanted.max(2) / 127).all()
    by_library = cv2.imread(str(tmp_path / "a.hdr"), cv2.IMREAD_UNCHANGED)[:, :, ::-1]
    np.testing.assert_allclose(by_library, found, rtol=1e-4, atol=1e-6)


def test_hdr_of_the_library_is_read(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.hdr"), light()[:, :, ::-1])
    found = to_linear(read(tmp_path / "a.hdr"))
    assert (np.abs(found - light()).max(2) <= light().max(2) / 100).all()


@pytest.mark.parametrize("suffix", [".hdr", ".exr"])
def test_8_bit_becomes_light(tmp_path: Path, suffix: str) -> None:
    pixels = np.full((20, 20, 3), 188, np.uint8)
    write_image(tmp_path / f"a{suffix}", pixels)
    assert np.abs(read(tmp_path / f"a{suffix}") * 255 - 188).max() < 1


def test_values_above_white_survive_tiff(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", to_encoded(light()))
    assert np.array_equal(read(tmp_path / "a.tif"), to_encoded(light()))


def test_black_and_no_numbers(tmp_path: Path) -> None:
    pixels = np.zeros((8, 9, 3), np.float32)
    pixels[1, 2], pixels[3, 4] = np.nan, 2
    write_image(tmp_path / "a.hdr", pixels)
    found = read(tmp_path / "a.hdr")
    assert found[3, 4].min() > 1.9
    assert not found[1, 2].any()


def test_what_is_not_read_says_so(tmp_path: Path) -> None:
    write_image(tmp_path / "a.exr", to_encoded(light()))
    data = (tmp_path / "a.exr").read_bytes()
    piz = data.replace(b"compression\0compression\0\1\0\0\0\3", b"compression\0compression\0\1\0\0\0\4")
    (tmp_path / "b.exr").write_bytes(piz)
    with pytest.raises(PhotoError, match="save it as ZIP"):
        read_photo(tmp_path / "b.exr")
    (tmp_path / "c.exr").write_bytes(data[: len(data) // 2])
    with pytest.raises(PhotoError):
        read(tmp_path / "c.exr")


@pytest.mark.parametrize("kind", ["exr", "hdr"])
def test_what_has_no_place_is_told(tmp_path: Path, kind: str) -> None:
    wide = swapped_profile().replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be"))
    given = Metadata(b"Exif", wide, b"<x/>")
    (note,) = write_image(tmp_path / f"a.{kind}", light(), metadata=given)
    assert f"EXIF, XMP, profile (wide built-in) left out, {kind.upper()} has no place" in note
    assert write_image(tmp_path / f"b.{kind}", light(), metadata=Metadata(None, srgb())) == []
