"""Single pictures in and out: type, alpha and metadata stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from composer.errors import OutputError, PhotoError
from composer.media.metadata import read_exif
from composer.media.picture import check_target, read_mask, read_picture, write_picture


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 50, 4), np.uint8)
    pixels[:, :, 3] = np.arange(50)[None, :] * 5
    picture = read_picture(pixels, "array")
    out = tmp_path / f"out{suffix}"
    assert write_picture(out, picture.pixels, picture.alpha, picture) == []
    again = read_picture(out, "file")
    assert np.array_equal(again.alpha, pixels[:, :, 3])
    if suffix != ".webp":
        assert np.array_equal(again.pixels, pixels[:, :, :3])


def test_16_bit_with_alpha(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 65536, (9, 7, 4), np.uint16)
    picture = read_picture(pixels, "array")
    write_picture(tmp_path / "a.png", picture.pixels, picture.alpha, picture)
    again = read_picture(tmp_path / "a.png", "file")
    assert np.array_equal(np.dstack([again.pixels, again.alpha]), pixels)


def test_jpeg_shows_transparency_against_black(tmp_path: Path) -> None:
    pixels = np.full((16, 16, 4), 200, np.uint8)
    pixels[:, :, 3] = 128
    picture = read_picture(pixels, "array")
    write_picture(tmp_path / "a.jpg", picture.pixels, picture.alpha, picture)
    assert abs(int(read_picture(tmp_path / "a.jpg", "file").pixels.mean()) - 100) <= 1


def test_a_mask_is_what_is_white(tmp_path: Path) -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    expected = (mask > 0).astype(np.float32)
    for source in (mask, mask > 0, tmp_path / "m.png", np.dstack([mask] * 3)):
        found = read_mask(source)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(PhotoError, match="give uint8"):
        read_mask(mask.astype(np.int64))


def test_an_input_is_never_the_output(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png", "file")
    with pytest.raises(OutputError, match="one of the inputs"):
        check_target(tmp_path / "a.png", (picture.pixels, None, str(tmp_path / "." / "a.png")))


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_a_photo_in_its_own_frame_keeps_its_focal_length(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x8769] = {0x9003: "2026:11:02 10:20:30", 0xA405: 75}
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    picture, out = read_picture(tmp_path / "a.jpg", "file"), tmp_path / f"out{suffix}"
    write_picture(out, picture.pixels, None, picture)
    assert read_picture(out, "file").photo.focal_px == picture.photo.focal_px
    assert read_exif(out).camera[0x9003] == "2026:11:02 10:20:30"
    write_picture(out, picture.pixels[:10], None, picture)
    assert read_picture(out, "file").photo.focal_px is None


@pytest.mark.parametrize("suffix", [".tif", ".webp", ".png"])
def test_further_pictures_in_a_file_are_told(tmp_path: Path, suffix: str) -> None:
    one, two, three = (Image.new("RGB", (9, 8), (k, 80 * k, 0)) for k in (1, 2, 3))
    one.save(tmp_path / f"a{suffix}", save_all=True, append_images=[two, three])
    picture = read_picture(tmp_path / f"a{suffix}", "file")
    (note,) = write_picture(tmp_path / f"b{suffix}", picture.pixels, picture.alpha, picture)
    assert note.endswith("holds 3 pictures; only the first was taken")
    again = read_picture(tmp_path / f"b{suffix}", "file")
    assert write_picture(tmp_path / f"c{suffix}", picture.pixels, picture.alpha, again) == []


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "RGBX"])
def test_pillow_images_are_what_they_show(mode: str) -> None:
    shown = Image.fromarray(np.random.default_rng(3).integers(0, 256, (8, 9, 3), np.uint8)).convert(mode)
    picture = read_picture(shown, "image")
    seen = np.asarray(shown.convert("L" if mode in ("1", "L", "LA") else "RGB"))
    assert np.array_equal(picture.pixels.squeeze(), seen)
    assert (picture.alpha is not None) == (mode in ("LA", "RGBA", "PA"))


def test_a_palette_with_a_clear_colour_has_alpha() -> None:
    shown = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    shown.putpalette([10, 20, 30, 40, 50, 60])
    shown.info["transparency"] = 1
    picture = read_picture(shown, "image")
    assert picture.pixels.tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert picture.alpha.tolist() == [[255, 0]]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "float16", "float32", "float64"])
def test_masks_of_noes_and_yeses(dtype: str) -> None:
    marks = np.array([[0, 1, 0], [1, 1, 0]], dtype)
    assert np.array_equal(read_mask(marks), marks.astype(np.float32))


def test_a_pillow_mask_of_one_bit() -> None:
    assert read_mask(Image.fromarray(np.array([[False, True]]))).tolist() == [[0, 1]]


def test_faint_masks_stay_faint() -> None:
    assert read_mask(np.array([[0, 1, 2]], np.uint8)).max() == pytest.approx(2 / 255)
