import hashlib
import time
import tracemalloc

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from composer.errors import ImageTooLarge, PhotoError
from composer.media.header import photo_from_array, read_photo
from tests.media.pictures import chunk, picture, png, zeros_png

DIAGONAL = 43.267


def write(path, exif=None, size=(400, 300)):
    loaded = Image.Exif()
    loaded.load(exif.tobytes() if exif else b"")
    Image.new("RGB", size, (90, 120, 30)).save(path, exif=loaded)
    return path


def exif_of(detail, **main):
    exif = Image.Exif()
    for tag, value in main.items():
        exif[int(tag[1:], 16)] = value
    exif[0x8769] = detail
    return exif


def refused(path, kind=PhotoError, **options):
    with pytest.raises(kind) as caught:
        read_photo(path, **options)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert "; " in text
    return text


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_header_says_what_the_file_is(tmp_path, suffix):
    exif = exif_of({0x920A: 24.0}, x010F="Make\0", x0110="Model", x0112=6)
    path = write(tmp_path / f"a.{suffix}", exif)
    photo = read_photo(str(path))
    assert (photo.name, photo.path) == (str(path), path)
    assert (photo.width, photo.height, photo.channels, photo.dtype) == (300, 400, 3, "uint8")
    assert (photo.orientation, photo.camera, photo.alpha) == (6, "Make Model 24 mm", False)
    assert photo.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_file_type_comes_from_its_bytes_not_its_name(tmp_path):
    write(tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert read_photo(tmp_path / "a.jpg").width == 400


def test_what_is_no_photograph(tmp_path):
    (tmp_path / "text.jpg").write_text("dear diary")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    assert "not an image" in refused(tmp_path / "text.jpg")
    assert "empty" in refused(tmp_path / "empty.jpg")
    assert "is a folder" in refused(tmp_path / "folder.jpg")
    assert "no such file" in refused(tmp_path / "none.jpg")
    assert "no such file" in refused(tmp_path / "text.jpg" / "inside.jpg")


def test_unreadable_file(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("composer.media.header.is_tiff", denied)  # root may read everything
    assert "permission denied; make it readable" in refused(write(tmp_path / "a.jpg"))


def test_formats_that_lose_or_run_something_are_not_opened(tmp_path):
    Image.new("I", (4, 4), 70000).save(tmp_path / "a.pgm")
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    for name in ("a.pgm", "a.eps"):
        assert "give JPEG, PNG, TIFF, WebP" in refused(tmp_path / name)


@pytest.mark.parametrize(("dtype", "shape"), [("int16", (8, 8)), ("uint32", (8, 8)), ("complex64", (8, 8))])
def test_sample_types_that_are_not_taken(tmp_path, dtype, shape):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, dtype))
    assert dtype in refused(tmp_path / "a.tif")


def test_deep_cmyk_tiff_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(planes=4, dtype="uint16"), photometric="separated")
    assert "SEPARATED" in refused(tmp_path / "a.tif")


def test_the_preview_in_a_raw_file_is_no_photograph(tmp_path):
    tifffile.imwrite(tmp_path / "a.nef", picture(), photometric="rgb", subfiletype=1)
    with pytest.raises(PhotoError, match="raw files do; develop it"):
        read_photo(tmp_path / "a.nef")


def test_bits_that_would_come_out_dark_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(planes=1, dtype="uint16")[:, :, 0])
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        data[file.pages.first.tags[258].valueoffset] = 12
    (tmp_path / "a.tif").write_bytes(data)
    assert "12 bits" in refused(tmp_path / "a.tif")


def timed_refusal(path, **options):
    tracemalloc.start()
    started = time.perf_counter()
    text = refused(path, ImageTooLarge, **options)
    seconds, peak = time.perf_counter() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 1
    assert peak < 32 << 20
    return text


@pytest.mark.parametrize("kind", ["png8", "png16", "tif"])
def test_decompression_bomb_is_refused_undecoded(tmp_path, kind):
    path = tmp_path / f"a.{kind[:3]}"
    if kind == "tif":
        tile = np.zeros((2000, 2000, 3), np.uint8)
        tifffile.imwrite(
            path, (tile for _ in range(25)), shape=(10000, 10000, 3), dtype=np.uint8, tile=(2000, 2000),
            photometric="rgb", compression="zlib",
        )  # fmt: skip
        assert path.stat().st_size < 1 << 20
    else:
        path.write_bytes(zeros_png(10000 if kind == "png8" else 7000, int(kind[3:])))
        assert path.stat().st_size < 3 << 20
    assert "bomb" in timed_refusal(path, max_memory=1 << 40)


def test_header_alone_is_enough_to_refuse(tmp_path):
    head = bytearray(png(np.zeros((1, 1), np.uint8), 0, 8))
    forged = head[16:29]
    forged[:8] = (20000).to_bytes(4, "big") * 2
    (tmp_path / "a.png").write_bytes(head[:8] + chunk(b"IHDR", bytes(forged)) + head[33:])
    assert "20000 x 20000" in timed_refusal(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_limit_on_memory(tmp_path, suffix):
    path = write(tmp_path / f"a.{suffix}")
    assert read_photo(path, max_memory=400 * 300 * 3).width == 400
    assert "--max-memory" in refused(path, ImageTooLarge, max_memory=400 * 300 * 3 - 1)


def test_deep_pixels_count_for_more(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(10, 10, dtype="float32"), photometric="rgb")
    refused(tmp_path / "a.tif", ImageTooLarge, max_memory=1199)
    read_photo(tmp_path / "a.tif", max_memory=1200)


def test_header_of_a_png_without_exif_does_not_decode_it(tmp_path, monkeypatch):
    def load(self):
        raise AssertionError("decoded")

    path = write(tmp_path / "a.png")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    assert read_photo(path).orientation == 1


def focal(tmp_path, detail, size=(400, 300), suffix="jpg"):
    return read_photo(write(tmp_path / f"f.{suffix}", exif_of(detail), size)).focal_px


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_35_mm_equivalent_compares_diagonals(tmp_path, suffix):
    assert focal(tmp_path, {0xA405: 28}, suffix=suffix) == pytest.approx(28 / DIAGONAL * 500, rel=1e-4)
    assert focal(tmp_path, {0xA405: 28}, (300, 400)) == pytest.approx(28 / DIAGONAL * 500, rel=1e-4)


def test_focal_plane_resolution(tmp_path):
    # 4000 pixels on 36 mm, 50 mm: the original has 5555.6 pixels of focal length, this copy a tenth
    per_cm = IFDRational(40000, 36)
    detail = {0x920A: 50.0, 0xA20E: per_cm, 0xA210: 3, 0xA002: 4000}
    assert focal(tmp_path, detail) == pytest.approx(50 / 36 * 400, rel=1e-4)
    inch = {**detail, 0xA20E: IFDRational(4000 * 254, 360), 0xA210: 2}
    assert focal(tmp_path, inch) == pytest.approx(50 / 36 * 400, rel=1e-4)
    assert focal(tmp_path, {t: v for t, v in inch.items() if t != 0xA210}) == pytest.approx(
        50 / 36 * 400, rel=1e-4
    )
    assert focal(tmp_path, {t: v for t, v in detail.items() if t != 0xA002}) is None


@pytest.mark.parametrize(
    "detail",
    [
        {0xA405: 0}, {0xA405: 65535}, {0xA405: "many"}, {},
        {0x920A: IFDRational(50, 0), 0xA20E: 100.0, 0xA002: 400},
        {0x920A: IFDRational(0, 1), 0xA20E: 100.0, 0xA002: 400},
        {0x920A: 50.0, 0xA20E: IFDRational(4294967295, 1), 0xA002: 400},
        {0x920A: 50.0, 0xA20E: IFDRational(1, 4294967295), 0xA002: 400},
        {0x920A: 50.0, 0xA20E: 100.0, 0xA002: 400, 0xA210: 99},
    ],
)  # fmt: skip
def test_senseless_focal_lengths_are_ignored(tmp_path, detail):
    assert focal(tmp_path, detail) is None


def test_damaged_exif_is_ignored_without_warnings(tmp_path):
    good = exif_of({0xA405: 28, 0x9286: b"x" * 50}, x010F="Make", x0112=6).tobytes()
    rng = np.random.default_rng(0)
    for k in range(60):
        harmed = bytearray(good)
        for where in rng.integers(6, len(good), 8):
            harmed[where] = rng.integers(256)
        data = bytes(harmed) if k else b"Exif\0\0garbage"
        Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=data)
        photo = read_photo(tmp_path / "a.jpg")
        assert photo.orientation in range(1, 9)
        assert photo.focal_px is None or 0 < photo.focal_px < 1e4


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientations_that_do_not_exist_count_as_upright(tmp_path, orientation):
    assert read_photo(write(tmp_path / "a.jpg", exif_of({}, x0112=orientation))).orientation == 1


@pytest.mark.parametrize(
    ("shape", "channels", "alpha"),
    [
        ((4, 5), 1, False),
        ((4, 5, 1), 1, False),
        ((4, 5, 2), 1, True),
        ((4, 5, 3), 3, False),
        ((4, 5, 4), 3, True),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_photo_from_array(shape, channels, alpha, dtype):
    photo = photo_from_array(np.zeros(shape, dtype), "photo 1")
    assert (photo.width, photo.height, photo.channels, photo.alpha) == (5, 4, channels, alpha)
    assert photo.dtype == dtype
    assert photo.pixels.shape == (4, 5, channels + alpha)


def test_arrays_are_told_apart():
    base = np.zeros((4, 6), np.uint8)
    kinds = [base, base.reshape(6, 4), base + 1, np.zeros((4, 3), np.uint16)]
    assert len({photo_from_array(a, "p").sha256 for a in kinds}) == 4


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 5)),
        np.zeros((4, 5, 5), np.uint8),
        np.zeros((0, 5), np.uint8),
        np.zeros(4, np.uint8),
        None,
        b"a.jpg",
    ],
)
def test_arrays_that_are_no_photographs(pixels):
    with pytest.raises(PhotoError, match=r"^photo 1: .*; give "):
        photo_from_array(pixels, "photo 1")


@pytest.mark.parametrize(
    ("gps", "expected"),
    [
        ({1: "N", 2: (48, 12, 18), 3: "E", 4: (11, 30, 0)}, (48.205, 11.5)),
        ({1: "S", 2: (33.5, 0, 0), 3: "W", 4: (70, 15, 0)}, (-33.5, -70.25)),
        ({1: "N", 2: (48, 12, 18)}, None),
        ({1: "N", 2: (95, 0, 0), 3: "E", 4: (11, 30, 0)}, None),
        ({}, None),
    ],
)
def test_the_place_where_a_photo_was_taken(tmp_path, gps, expected):
    exif = Image.Exif()
    exif[0x8825] = {tag: tuple(map(IFDRational, v)) if tag in (2, 4) else v for tag, v in gps.items()}
    found = read_photo(write(tmp_path / "a.jpg", exif)).gps
    assert found == (pytest.approx(expected) if expected else None)
