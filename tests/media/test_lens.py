"""What is known of a lens beforehand: from the user and from lensfun."""

import math
import sys

import numpy as np
import pytest
from PIL import Image

from composer.align.lens import polynomial
from composer.errors import OptionError, PhotoError
from composer.media.header import read_photo
from composer.media.lens import polynomial_of, with_lens
from composer.records import Photo

PHOTO = Photo("a.jpg", None, 400, 300, 3, "uint8")


@pytest.mark.parametrize(
    ("lens", "fov", "focal"),
    [
        ("rectilinear", 90, 200),
        ("equidistant", 114.59156, 200),
        ("equisolid", 180, 200 / math.sqrt(2)),
        ("circular", 180, 150 / (math.pi / 2)),
    ],
)
def test_the_focal_length_follows_from_the_field(lens, fov, focal):
    photo = with_lens(PHOTO, lens, fov)
    assert photo.focal_px == pytest.approx(focal, rel=1e-6)
    assert photo.circle_px == (150 if lens == "circular" else None)


def test_a_fisheye_needs_a_focal_length():
    with pytest.raises(OptionError, match="--lens-fov"):
        with_lens(PHOTO, "equidistant", 0)
    assert with_lens(PHOTO, "rectilinear", 0) == PHOTO


@pytest.mark.parametrize(
    ("lens", "fov"),
    [("rectilinear", 180), ("rectilinear", math.nan), ("circular", 361), ("equidistant", -20)],
)
def test_degrees_that_no_lens_shows_are_refused(lens, fov):
    with pytest.raises(OptionError, match="shows more than 0 and up to"):
        with_lens(PHOTO, lens, fov)


@pytest.mark.parametrize("shrink", [1.0, 0.6])
def test_lensfun_models_become_the_same_curve(shrink):
    r = np.linspace(0.05, 1.7, 30)
    for model, terms, curve in (
        ("NONE", [], lambda s: 1 + 0 * s),
        ("POLY3", [-0.02], lambda s: 1.02 - 0.02 * s**2),
        ("POLY5", [-0.02, 0.003], lambda s: 1 - 0.02 * s**2 + 0.003 * s**4),
        ("PTLENS", [0.02, -0.05, 0.03], lambda s: 1 + 0.02 * s**3 - 0.05 * s**2 + 0.03 * s),
    ):
        found, _ = polynomial(r, polynomial_of(model, terms, shrink))
        wanted = curve(r * shrink)
        np.testing.assert_allclose(found / found[0], wanted / wanted[0], atol=2e-3)


def test_lensfun_knows_a_lens_by_its_exif(tmp_path):
    pytest.importorskip("lensfunpy")
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "Canon EOS 7D"
    exif.get_ifd(0x8769).update({0xA434: "EF-S10-22mm f/3.5-4.5 USM", 0x920A: 10.0})
    Image.new("RGB", (90, 60)).save(path, exif=exif)
    photo = with_lens(read_photo(path), "lensfun", 0)
    assert photo.optics == "rectilinear"
    assert any(photo.distortion)
    Image.new("RGB", (90, 60)).save(path)
    with pytest.raises(PhotoError, match="says nothing of camera"):
        with_lens(read_photo(path), "lensfun", 0)
    exif[0x0110] = "No Such Camera"
    Image.new("RGB", (90, 60)).save(path, exif=exif)
    with pytest.raises(PhotoError, match="does not know"):
        with_lens(read_photo(path), "lensfun", 0)


def test_without_lensfunpy_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lensfunpy", None)
    with pytest.raises(OptionError, match=r"composer-cv\[lens\]"):
        with_lens(PHOTO, "lensfun", 0)
