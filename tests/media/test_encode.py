import os
import struct
import time

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from composer.errors import OutputError
from composer.media import encode, tiff_write
from composer.media.decode import decode
from composer.media.encode import check_folder, check_output, replacing, write_bands, write_image
from composer.media.header import read_photo
from composer.media.metadata import Metadata
from composer.media.profiles import srgb
from tests.media.pictures import grey_profile, picture


def read(path):
    return decode(read_photo(path, 1 << 40))


def holes(height=37, width=53):
    y, x = np.mgrid[0:height, 0:width]
    return (x - 20) ** 2 + (y - 15) ** 2 < 300


def in_bands(image, valid, heights):
    """Yield rows of the given heights, over and over, until the picture is used up."""
    top, turn = 0, 0
    while top < len(image):
        height = heights[turn % len(heights)]
        yield top, image[top : top + height], valid[top : top + height]
        top, turn = top + height, turn + 1


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [("png", "uint8"), ("png", "uint16"), ("tif", "uint8"), ("tiff", "uint16"), ("TIF", "float32")],
)
def test_lossless_formats_give_back_the_same_pixels(tmp_path, suffix, dtype, planes, alpha):
    pixels = picture(planes=planes, dtype=dtype)
    path = tmp_path / f"a.{suffix}"
    valid = holes() if alpha else None
    assert write_image(path, pixels, valid) == []
    photo = read_photo(path)
    assert (photo.channels, photo.dtype, photo.alpha) == (planes, dtype, alpha)
    found = read(path)
    assert np.array_equal(found[:, :, :planes], pixels)
    if alpha:
        assert np.array_equal(found[:, :, planes] > 0, valid)
        assert found[:, :, planes].max() == (1 if dtype == "float32" else np.iinfo(dtype).max)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (65, 3), (64, 2), (128, 1)])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_odd_sizes(tmp_path, shape, name):
    pixels = picture(*shape, dtype="uint16")
    write_image(tmp_path / name, pixels)
    assert np.array_equal(read(tmp_path / name), pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("heights", [(1, 7, 300), (256,), (513,)])
def test_png_streams_bands_of_any_height(tmp_path, heights, dtype):
    pixels = picture(300, 170, dtype=dtype)
    for workers in (1, 3):
        bands = in_bands(pixels, np.ones(pixels.shape[:2], bool), heights)
        write_bands(tmp_path / f"{workers}.png", bands, pixels.shape, dtype, False, None, workers)
    assert np.array_equal(cv2.imread(str(tmp_path / "1.png"), -1)[:, :, ::-1], pixels)
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "3.png").read_bytes()


def test_deep_png_is_valid_for_pillow_and_small(tmp_path):
    pixels = picture(300, 400, dtype="uint16")
    pixels[:, :] = np.linspace(0, 60000, 400, dtype=np.uint16)[None, :, None]
    write_image(tmp_path / "a.png", pixels)
    assert (tmp_path / "a.png").stat().st_size < pixels.nbytes / 20
    with Image.open(tmp_path / "a.png") as image:
        assert np.abs(np.asarray(image).astype(int) - pixels // 256).max() <= 1


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.webp"])
def test_lossy_formats_are_close(tmp_path, name, planes):
    y, x = np.mgrid[0:120, 0:160]
    waves = [128 + 80 * np.sin(x / 30 + y / (40 + 10 * c)) for c in range(planes)]
    pixels = np.stack(waves, -1).astype(np.uint8)
    assert write_image(tmp_path / name, pixels) == []
    assert np.abs(read(tmp_path / name).astype(int) - pixels).mean() < 2


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize(("height", "heights"), [(5, (5,)), (256, (100, 3)), (700, (256,)), (515, (300, 1))])
def test_jpeg_streams_bands_of_any_height(tmp_path, height, heights, planes):
    pixels = picture(height, 530, planes, dtype="uint8")
    options = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
               cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]  # fmt: skip
    _, whole = cv2.imencode(".jpg", pixels[:, :, ::-1], options)
    (tmp_path / "whole.jpg").write_bytes(whole.tobytes())
    for workers in (1, 3):
        bands = in_bands(pixels, np.ones(pixels.shape[:2], bool), heights)
        about = Metadata(icc=srgb() if planes == 3 else grey_profile())
        write_bands(tmp_path / f"{workers}.jpg", bands, pixels.shape, "uint8", False, about, workers)
        assert np.array_equal(read(tmp_path / f"{workers}.jpg"), read(tmp_path / "whole.jpg"))
        with Image.open(tmp_path / f"{workers}.jpg") as image:
            assert np.array_equal(np.asarray(image), np.squeeze(read(tmp_path / "whole.jpg")))
    assert (tmp_path / "1.jpg").read_bytes() == (tmp_path / "3.jpg").read_bytes()


def test_a_photo_that_fails_while_jpeg_is_written_leaves_nothing(tmp_path):
    def bands():
        yield 0, np.zeros((512, 40, 3), np.uint8), np.ones((512, 40), bool)
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        write_bands(tmp_path / "a.jpg", bands(), (1024, 40, 3), "uint8", False, None, 2)
    assert list(tmp_path.iterdir()) == []


def test_holes_are_black_in_jpeg_and_transparent_in_webp(tmp_path):
    pixels = np.full((37, 53, 3), 200, np.uint8)
    for name in ("a.jpg", "a.webp"):
        write_image(tmp_path / name, pixels, holes())
    assert read(tmp_path / "a.jpg")[-8:, -8:].max() < 12
    assert np.array_equal(read(tmp_path / "a.webp")[:, :, 3] > 0, holes())
    assert (pixels == 200).all()


@pytest.mark.parametrize(
    ("name", "dtype", "target"),
    [
        ("a.jpg", "uint16", "uint8"),
        ("a.jpg", "float32", "uint8"),
        ("a.webp", "uint16", "uint8"),
        ("a.png", "float32", "uint16"),
    ],
)
def test_narrower_formats_say_so(tmp_path, name, dtype, target):
    pixels = (
        picture(64, 64, dtype=dtype) // np.float32(1) if dtype == "float32" else picture(64, 64, dtype=dtype)
    )
    (note,) = write_image(tmp_path / name, pixels)
    assert dtype in note
    assert target in note
    assert ".tif" in note
    assert read_photo(tmp_path / name).dtype == target


def test_narrowing_rounds_and_clips(tmp_path):
    values = np.array([[-1, 0, 0.5, 1, 7, np.nan, np.inf, 0.25]], np.float32)[:, :, None]
    write_image(tmp_path / "a.png", values)
    assert read(tmp_path / "a.png")[0, :, 0].tolist() == [0, 0, 32768, 65535, 65535, 0, 65535, 16384]
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    assert np.array_equal(encode._narrowed(deep, "uint8"), np.round(deep / 257).astype(np.uint8))
    full = (deep / np.float32(65535)).astype(np.float32)
    assert np.array_equal(encode._narrowed(full, "uint16"), deep)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("heights", [(1, 7, 300), (256,), (255, 257), (513,)])
def test_tiff_streams_bands_of_any_height(tmp_path, heights, dtype):
    pixels, valid = picture(600, 530, dtype=dtype), holes(600, 530)
    bands = in_bands(pixels, valid, heights)
    write_bands(tmp_path / "a.tif", bands, pixels.shape, dtype, True)
    found = read(tmp_path / "a.tif")
    assert np.array_equal(found[:, :, :3], pixels)
    assert np.array_equal(found[:, :, 3] > 0, valid)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("planes", [1, 3])
def test_bands_give_the_same_file_content_as_one_image(tmp_path, name, planes):
    pixels = picture(300, 40, planes, "uint16")
    valid = np.ones(pixels.shape[:2], bool)
    write_bands(tmp_path / name, in_bands(pixels, valid, (37, 64)), pixels.shape, "uint16", False)
    assert np.array_equal(read(tmp_path / name), pixels)


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_files_are_written_while_bands_come(tmp_path, name):
    """No more than two rows of tiles are ever asked for ahead of what is on disk."""
    sizes = []
    rng = np.random.default_rng(0)

    def bands():
        for top in range(0, 256 * 12, 256):
            (part,) = tmp_path.glob(".composer-*")
            sizes.append(part.stat().st_size)
            yield top, rng.integers(0, 255, (256, 512, 3), np.uint8), np.ones((256, 512), bool)

    write_bands(tmp_path / name, bands(), (256 * 12, 512, 3), "uint8", False)
    assert sizes[-1] > 8 * 256 * 512 * 3


def test_tiff_is_tiled_with_unassociated_alpha(tmp_path):
    write_image(tmp_path / "a.tif", picture(), holes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages.first
        assert (page.tilewidth, page.tilelength) == (256, 256)
        assert page.extrasamples == (tifffile.EXTRASAMPLE.UNASSALPHA,)
        assert page.photometric == tifffile.PHOTOMETRIC.RGB
        assert page.software == "composer"
        assert len(file.pages) == 1
        assert not file.is_bigtiff


def test_bigtiff_above_four_gigabytes(tmp_path, monkeypatch):
    assert 3_500_000_000 < tiff_write.CLASSIC_TIFF < 2**32
    pixels = picture()
    monkeypatch.setattr(tiff_write, "CLASSIC_TIFF", pixels.nbytes)
    write_image(tmp_path / "a.tif", pixels)
    monkeypatch.setattr(tiff_write, "CLASSIC_TIFF", pixels.nbytes - 1)
    write_image(tmp_path / "b.tif", pixels)
    for name, big in {"a.tif": False, "b.tif": True}.items():
        with tifffile.TiffFile(tmp_path / name) as file:
            assert file.is_bigtiff is big
        assert np.array_equal(read(tmp_path / name), pixels)


def refused(path, *size):
    with pytest.raises(OutputError) as caught:
        check_output(path, *size)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert "; " in text
    return text


def test_outputs_that_cannot_be_are_refused_at_once(tmp_path):
    assert "cannot write .xyz" in refused(tmp_path / "a.xyz")
    assert "without suffix" in refused(tmp_path / "a")
    assert "does not exist" in refused(tmp_path / "none" / "a.jpg")
    (tmp_path / "b.jpg").mkdir()
    assert "is a folder" in refused(tmp_path / "b.jpg")
    with pytest.raises(OutputError, match="is a folder; give"):
        check_folder(tmp_path)
    os.mkfifo(tmp_path / "c.jpg")
    assert "device or pipe" in refused(tmp_path / "c.jpg")


@pytest.mark.parametrize(("name", "limit"), [("a.jpg", 65500), ("a.webp", 16383)])
def test_limits_of_formats(tmp_path, name, limit):
    def bands():
        raise AssertionError("work was done")
        yield

    path = tmp_path / name
    check_output(path, limit, limit)
    for size in ((limit + 1, 1), (1, limit + 1), (65536, 1)):
        assert ".tif" in refused(path, *size)
    with pytest.raises(OutputError, match="more than"):
        write_bands(path, bands(), (1, limit + 1, 3), "uint8", False)
    write_image(path, np.zeros((1, limit, 1), np.uint8))
    with Image.open(path) as image:
        assert image.size == (limit, 1)


def test_write_protected(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"x")
    blocked = tmp_path / "a.jpg"
    monkeypatch.setattr(encode.os, "access", lambda path, mode: path != blocked)  # root may do all
    assert "write-protected" in refused(tmp_path / "a.jpg")
    blocked = tmp_path
    assert "not writable" in refused(tmp_path / "b.jpg")


class FullDisk:
    """A file that takes `room` bytes and then says that the disk is full."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.room -= memoryview(data).nbytes
        if self.room < 0:
            raise OSError(28, "No space left on device")
        return self.file.write(data)

    def writelines(self, parts):
        for part in parts:
            self.write(part)

    def __getattr__(self, name):
        if name == "fileno":
            raise AttributeError(name)
        return getattr(self.file, name)


@pytest.fixture
def full_disk(monkeypatch):
    real = encode.tempfile.NamedTemporaryFile

    class Temporary:
        def __init__(self, *args, **options):
            self.file = real(*args, **options)
            self.name = self.file.name

        def __enter__(self):
            disk = FullDisk(self.file.__enter__(), 3000)
            disk.name = self.name
            return disk

        def __exit__(self, *caught):
            return self.file.__exit__(*caught)

    monkeypatch.setattr(encode.tempfile, "NamedTemporaryFile", Temporary)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp", "deep.png"])
def test_full_disk_leaves_everything_as_it_was(tmp_path, full_disk, name):
    path = tmp_path / name
    path.write_bytes(b"old")
    pixels = picture(300, 300, dtype="uint16" if name == "deep.png" else "uint8")
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\); free"):
        write_image(path, pixels)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failing_bands_leave_nothing_behind(tmp_path, name, error):
    def bands():
        yield 0, picture(100, 50), np.ones((100, 50), bool)
        raise error("stop")

    with pytest.raises(error, match="stop"):
        write_bands(tmp_path / name, bands(), (300, 50, 3), "uint8", False)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_image(tmp_path / "a.png", picture())
    finally:
        os.umask(before)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o666 & ~mask


def test_long_names_are_written(tmp_path):
    path = tmp_path / ("x" * 250 + ".png")
    write_image(path, picture())
    assert path.exists()


def test_replacing_takes_the_place_of_the_old_file_at_the_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def icc_in(path):
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as file:
            tag = file.pages.first.tags.get(34675)
            return bytes(tag.value) if tag else None
    with Image.open(path) as image:
        return image.info.get("icc_profile")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp", "deep.png"])
def test_a_profile_for_other_pixels_is_left_out(tmp_path, name):
    dtype = "uint16" if name == "deep.png" else "uint8"
    for planes, fits in ((3, srgb()), (1, grey_profile())):
        for profile in (srgb(), grey_profile()):
            write_image(tmp_path / name, picture(planes=planes, dtype=dtype), None, Metadata(icc=profile))
            found = icc_in(tmp_path / name)
            if name == "a.webp":  # always colour
                assert found == (profile if profile == srgb() else None)
            else:
                assert found == (profile if profile == fits else None)


def test_metadata_too_long_for_jpeg_is_left_out_with_a_note(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "x" * 70000
    xmp = b"<x>" + b"y" * 70000 + b"</x>"
    notes = write_image(tmp_path / "a.jpg", picture(), None, Metadata(exif.tobytes(), srgb() * 40, xmp))
    assert len(notes) == 2
    assert "EXIF left out" in notes[0]
    assert "70 kB of XMP left out" in notes[1]
    with Image.open(tmp_path / "a.jpg") as image:
        image.load()
        assert len(image.info["icc_profile"]) == len(srgb()) * 40
        assert not image.info.get("xmp")
    for name in ("a.png", "a.webp", "a.tif"):
        assert write_image(tmp_path / name, picture(), None, Metadata(exif.tobytes(), None, xmp)) == []


def test_deep_png_is_written_in_reasonable_time(tmp_path):
    pixels = picture(1000, 1500, dtype="uint16")
    started = time.perf_counter()
    write_image(tmp_path / "a.png", pixels)
    assert time.perf_counter() - started < 5
    data = (tmp_path / "a.png").read_bytes()
    assert struct.unpack(">II", data[16:24]) == (1500, 1000)
    assert len(data) < pixels.nbytes


def test_a_link_stays_and_leads_to_the_result(tmp_path):
    (tmp_path / "far").mkdir()
    link = tmp_path / "link.png"
    link.symlink_to("far/there.png")
    for level in (7, 9):
        write_image(link, np.full((2, 2, 3), level, np.uint8))
        assert link.is_symlink()
        assert read(tmp_path / "far" / "there.png").max() == level
    assert [p.name for p in (tmp_path / "far").iterdir()] == ["there.png"]
    (tmp_path / "gone.png").symlink_to("nowhere/there.png")
    with pytest.raises(OutputError, match="nowhere does not exist"):
        check_output(tmp_path / "gone.png")
