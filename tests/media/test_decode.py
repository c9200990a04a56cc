import contextlib
import io
import mmap
import struct
import threading

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from composer.errors import OutputError, PhotoError
from composer.media import decode as decoding
from composer.media.decode import PhotoStore, coarse, decode
from composer.media.header import photo_from_array, read_photo
from composer.media.profiles import convert, srgb
from composer.records import to_encoded
from tests.media.pictures import (
    chunk,
    grey_profile,
    linear_profile,
    picture,
    png,
    swapped_profile,
)


def same(path, expected, alpha=False):
    photo = read_photo(path)
    found = decode(photo)
    assert (photo.height, photo.width, photo.channels + photo.alpha) == expected.shape
    assert photo.dtype == expected.dtype.name
    assert photo.alpha is alpha
    assert found.dtype == expected.dtype
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)


def store_image(path, pixels, **options):
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path, **options)


@pytest.mark.parametrize("planes", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_comes_in_as_it_is(tmp_path, planes, dtype):
    pixels = picture(planes=planes, dtype=dtype)
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels, {1: 0, 2: 4, 3: 2, 4: 6}[planes], 8 * pixels.itemsize))
    same(path, pixels, planes in (2, 4))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planes", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_tiff_comes_in_as_it_is(tmp_path, dtype, planes, compression):
    pixels = picture(planes=planes, dtype=dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, pixels if planes > 1 else pixels[:, :, 0], compression=compression,
        photometric="rgb" if planes > 2 else "minisblack", planarconfig="contig" if planes > 1 else None,
        extrasamples=["unassalpha"] if planes in (2, 4) else None,
    )  # fmt: skip
    same(path, pixels, planes in (2, 4))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_planar_tiff(tmp_path, dtype):
    pixels = picture(dtype=dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.moveaxis(pixels, 2, 0), photometric="rgb", planarconfig="separate")
    same(path, pixels)


@pytest.mark.parametrize("planes", [1, 2, 3, 4])
def test_lzw_tiff_8_bit(tmp_path, planes):
    pixels = picture(planes=planes)
    store_image(tmp_path / "a.tif", pixels, compression="tiff_lzw")
    same(tmp_path / "a.tif", pixels, planes in (2, 4))


@pytest.mark.parametrize("planes", [1, 3, 4])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_lzw_tiff_deep(tmp_path, planes, dtype):
    pixels = picture(planes=planes, dtype=dtype)
    turned = pixels[:, :, {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[planes]]
    assert cv2.imwrite(str(tmp_path / "a.tif"), turned, [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages.first.compression == tifffile.COMPRESSION.LZW
    same(tmp_path / "a.tif", pixels, planes == 4)


@pytest.mark.parametrize("deep", [np.float16, np.float64])
def test_other_floats_become_float32(tmp_path, deep):
    pixels = picture(dtype="float32").astype(deep)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    same(tmp_path / "a.tif", pixels.astype(np.float32))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_white_is_zero(tmp_path, dtype):
    pixels = picture(planes=1, dtype=dtype)
    white = pixels.dtype.type(1 if dtype == "float32" else np.iinfo(dtype).max)
    tifffile.imwrite(tmp_path / "a.tif", white - pixels[:, :, 0], photometric="miniswhite")
    found = decode(read_photo(tmp_path / "a.tif"))
    np.testing.assert_allclose(found, pixels, atol=1e-7)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_bilevel_tiff(tmp_path, photometric):
    bits = picture(planes=1)[:, :, 0] > 128
    tifffile.imwrite(
        tmp_path / "a.tif", bits if photometric == "minisblack" else ~bits, photometric=photometric
    )
    same(tmp_path / "a.tif", (bits * 255).astype(np.uint8)[:, :, None])


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_bilevel_by_pillow(tmp_path, suffix):
    bits = picture(planes=1)[:, :, 0] > 128
    Image.fromarray(bits).save(tmp_path / f"a.{suffix}")
    expected = (bits * 255).astype(np.uint8)[:, :, None]
    assert np.array_equal(decode(read_photo(tmp_path / f"a.{suffix}"))[:, :, :1], expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_associated_alpha_is_divided_out(tmp_path, dtype):
    pixels = picture(planes=4, dtype=dtype)
    pixels[:5, :, 3] = 0
    top = np.iinfo(dtype).max
    stored = pixels.copy()
    stored[:, :, :3] = np.round(pixels[:, :, :3] * (pixels[:, :, 3:] / top))
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    found = decode(read_photo(tmp_path / "a.tif"))
    seen = pixels[:, :, 3] > top // 8
    assert np.abs(found[seen].astype(int) - pixels[seen]).max() <= 8
    assert np.array_equal(found[:, :, 3], pixels[:, :, 3])
    assert not found[:5, :, :3].any()


def test_a_fourth_sample_that_is_not_alpha_is_left_out(tmp_path):
    pixels = picture(planes=4)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unspecified"])
    same(tmp_path / "a.tif", pixels[:, :, :3])


def test_first_page_counts(tmp_path):
    pixels = picture()
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels, photometric="rgb")
        file.write(pixels[:10, :10], photometric="rgb")
    same(tmp_path / "a.tif", pixels)


def test_palette_tiff_and_png(tmp_path):
    image = Image.fromarray(picture()).quantize(40)
    for suffix in ("png", "tif"):
        image.save(tmp_path / f"a.{suffix}")
        same(tmp_path / f"a.{suffix}", np.asarray(image.convert("RGB")))


def test_palette_png_with_transparency(tmp_path):
    image = Image.fromarray(picture()).quantize(40)
    image.save(tmp_path / "a.png", transparency=3)
    found = decode(read_photo(tmp_path / "a.png"))
    assert found.shape[2] == 4
    assert np.array_equal(found[:, :, 3] == 0, np.asarray(image) == 3)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("planes", [1, 3])
def test_one_transparent_colour_in_png(tmp_path, depth, planes):
    pixels = picture(planes=planes, dtype=f"uint{depth}")
    key = pixels[4, 7]
    mark = chunk(b"tRNS", key.astype(">u2").tobytes())
    (tmp_path / "a.png").write_bytes(png(pixels, 0 if planes == 1 else 2, depth, mark))
    alpha = np.where((pixels == key).all(2), 0, np.iinfo(pixels.dtype).max)
    same(tmp_path / "a.png", np.dstack([pixels, alpha.astype(pixels.dtype)]), alpha=True)


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    image = Image.fromarray(cv2.GaussianBlur(picture(), (0, 0), 3))
    image.convert("CMYK").save(tmp_path / "a.jpg", quality=98, icc_profile=b"\0" * 16 + b"CMYK" + b"\0" * 112)
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.channels == 3
    assert np.abs(decode(photo).astype(int) - np.asarray(image)).mean() < 4
    assert PhotoStore.for_photos((photo,), 1 << 20).profile is None


@pytest.mark.parametrize("planes", [1, 3])
def test_jpeg_and_webp(tmp_path, planes):
    smooth = cv2.GaussianBlur(picture(planes=planes), (0, 0), 3).reshape(37, 53, planes)
    store_image(tmp_path / "a.jpg", smooth, quality=97)
    store_image(tmp_path / "a.webp", np.repeat(smooth, 3 // planes, 2), lossless=True)
    assert np.abs(decode(read_photo(tmp_path / "a.jpg")).astype(int) - smooth).max() <= 12
    same(tmp_path / "a.webp", np.repeat(smooth, 3 // planes, 2))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "bmp"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_one_pixel(tmp_path, suffix, dtype):
    if dtype == "uint8":
        Image.new("RGB", (1, 1), (200, 200, 200)).save(tmp_path / f"a.{suffix}")
    elif suffix in ("png", "tif"):
        cv2.imwrite(str(tmp_path / f"a.{suffix}"), np.full((1, 1, 3), 200, np.uint16))
    else:
        return
    found = decode(read_photo(tmp_path / f"a.{suffix}"))
    assert found.shape == (1, 1, 3)
    assert np.abs(found.astype(int) - 200).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "lzw", "webp"])
def test_orientation_is_applied_once(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{'tif' if kind == 'lzw' else kind}"
    options = {"lzw": {"compression": "tiff_lzw"}, "webp": {"lossless": True}}.get(kind, {})
    Image.fromarray(picture()).save(path, exif=exif, **options)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert upright.shape[:2] == ((53, 37) if orientation >= 5 else (37, 53))
    same(path, upright)


def with_orientation(path, orientation):
    """Put an orientation where OpenCV wrote PlanarConfiguration with its default value."""
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", data, 4)[0] + 2
    count = struct.unpack_from("<H", data, start - 2)[0]
    entries = [bytes(data[k : k + 12]) for k in range(start, start + 12 * count, 12)]
    entries = [e for e in entries if e[:2] != struct.pack("<H", 284)]
    assert len(entries) == count - 1
    entries.append(struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0))
    entries.sort(key=lambda e: struct.unpack("<H", e[:2]))
    data[start : start + 12 * count] = b"".join(entries)
    path.write_bytes(data)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_orientation_of_deep_tiff(tmp_path, orientation, compression):
    pixels = picture(dtype="uint16")
    path = tmp_path / "a.tif"
    if compression == "lzw":
        cv2.imwrite(str(path), pixels[:, :, ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
        with_orientation(path, orientation)
    else:
        tag = [(0x0112, 3, 1, orientation, True)]
        tifffile.imwrite(path, pixels, photometric="rgb", compression=compression, extratags=tag)
    grey = [Image.fromarray(pixels[:, :, c].astype(np.int32)) for c in range(3)]
    for image in grey:
        image.getexif()[0x0112] = orientation
    same(path, np.stack([ImageOps.exif_transpose(g) for g in grey], -1).astype(np.uint16))


def test_orientation_of_16_bit_png_behind_the_pixels(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    mark = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    pixels = picture(dtype="uint16")
    for name, data in {"a.png": png(pixels, 2, 16, mark), "b.png": png(pixels, 2, 16, b"", mark)}.items():
        (tmp_path / name).write_bytes(data)
        same(tmp_path / name, np.rot90(pixels, -1))


def damaged(path, *words):
    """Expect one line that begins with the path, when the header or the pixels are read."""
    with pytest.raises(PhotoError) as caught:
        decode(read_photo(path))
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert ";" in text  # what is wrong; what to do
    for word in words:
        assert word in text
    return caught.value


def write_kinds(folder):
    pixels, deep = picture(200, 300), picture(200, 300, dtype="uint16")
    for name in ("a.jpg", "a.png", "a.webp", "a.bmp"):
        store_image(folder / name, pixels)
    store_image(folder / "lzw.tif", pixels, compression="tiff_lzw")
    cv2.imwrite(str(folder / "deep.png"), deep)
    for name, compression in {"plain.tif": None, "zlib.tif": "zlib"}.items():
        tifffile.imwrite(folder / name, deep, photometric="rgb", compression=compression)
    tifffile.imwrite(folder / "tiles.tif", deep, photometric="rgb", compression="zlib", tile=(64, 64))
    cv2.imwrite(str(folder / "lzw16.tif"), deep, [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    return sorted(folder.iterdir())


def test_half_a_file_is_refused(tmp_path):
    for path in write_kinds(tmp_path):
        data = path.read_bytes()
        decode(read_photo(path))
        for part in (0.5, 0.95):
            path.write_bytes(data[: int(len(data) * part)])
            damaged(path)


@pytest.mark.parametrize("name", ["lzw.tif", "lzw16.tif", "tiles.tif"])
def test_tiff_whose_pixels_lie_behind_its_end(tmp_path, name):
    write_kinds(tmp_path)
    with tifffile.TiffFile(tmp_path / name) as file:
        page = file.pages.first
        tag = page.tags.get("StripByteCounts") or page.tags["TileByteCounts"]
        where, size, last = tag.valueoffset, file.filehandle.size, tag.count - 1
        width = {3: 2, 4: 4}[int(tag.dtype)]
    data = bytearray((tmp_path / name).read_bytes())
    beyond = min(size, 256**width - 1)
    data[where + width * last : where + width * (last + 1)] = beyond.to_bytes(width, "little")
    (tmp_path / name).write_bytes(data)
    damaged(tmp_path / name, "cut short")


def test_any_damage_is_a_photo_error(tmp_path):
    rng = np.random.default_rng(1)
    for path in write_kinds(tmp_path):
        data = path.read_bytes()
        for _ in range(12):
            harmed = bytearray(data)
            for where in rng.integers(0, min(len(data), 2000), 6):
                harmed[where] = rng.integers(256)
            path.write_bytes(harmed)
            with contextlib.suppress(PhotoError):
                decode(read_photo(path))


@pytest.mark.parametrize("depth", [8, 16])
def test_wrong_checksum_in_png(tmp_path, depth):
    data = bytearray(png(picture(dtype=f"uint{depth}"), 2, depth))
    data[-14] ^= 1  # the last byte of the pixels' checksum
    (tmp_path / "a.png").write_bytes(data)
    damaged(tmp_path / "a.png", "checksum")


def test_deep_png_with_too_few_rows(tmp_path):
    data = png(picture(dtype="uint16")[:20], 2, 16)
    head = bytearray(data[16:29])
    head[4:8] = (37).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(data[:8] + chunk(b"IHDR", bytes(head)) + data[33:])
    damaged(tmp_path / "a.png")


def test_file_that_changes_after_its_header_was_read(tmp_path):
    path = tmp_path / "a.png"
    store_image(path, picture())
    photo = read_photo(path)
    store_image(path, picture(width=54))
    with pytest.raises(PhotoError, match=r"header said .*;"):
        decode(photo)
    cv2.imwrite(str(path), picture(dtype="uint16"))
    with pytest.raises(PhotoError, match=r"a\.png"):
        decode(photo)
    path.unlink()
    with pytest.raises(PhotoError, match="No such file"):
        decode(photo)


def saved(path, pixels, profile=None):
    """Write 8-bit PNG or deeper TIFF with a profile, and read its header."""
    if pixels.dtype == np.uint8:
        store_image(path, pixels, icc_profile=profile)
    else:
        kind = "rgb" if pixels.shape[2] >= 3 else "minisblack"
        extra = ["unassalpha"] if pixels.shape[2] == 4 else None
        tifffile.imwrite(path, pixels, photometric=kind, iccprofile=profile, extrasamples=extra)
    return read_photo(path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_photos_are_converted_to_the_first_ones_profile(tmp_path, dtype):
    pixels = picture(planes=4, dtype=dtype)
    first = saved(tmp_path / "1.tif" if dtype != "uint8" else tmp_path / "1.png", pixels, srgb())
    other = saved(tmp_path / "2.tif" if dtype != "uint8" else tmp_path / "2.png", pixels, swapped_profile())
    store = PhotoStore.for_photos((first, other), 1 << 30)
    step = {"uint8": 1, "uint16": 2, "float32": 3e-5}[dtype]
    assert np.array_equal(store.pixels(first), pixels)
    np.testing.assert_allclose(
        store.pixels(other).astype(float), pixels[:, :, [2, 1, 0, 3]].astype(float), atol=step
    )
    assert np.array_equal(decode(other), pixels)


def test_untagged_counts_as_srgb(tmp_path):
    pixels = picture()
    tagged, plain = saved(tmp_path / "1.png", pixels, swapped_profile()), saved(tmp_path / "2.png", pixels)
    array = photo_from_array(pixels, "photo 1")
    to_tagged = PhotoStore.for_photos((tagged, plain, array), 1 << 30)
    for photo in (plain, array):
        assert np.abs(to_tagged.pixels(photo)[:, :, ::-1].astype(int) - pixels).max() <= 1
    to_plain = PhotoStore.for_photos((plain, tagged), 1 << 30)
    assert to_plain.profile == srgb()
    assert np.abs(to_plain.pixels(tagged)[:, :, ::-1].astype(int) - pixels).max() <= 1
    assert np.array_equal(to_plain.pixels(plain), pixels)


def test_one_profile_needs_no_conversion(tmp_path):
    photos = tuple(saved(tmp_path / f"{k}.png", picture(seed=k), swapped_profile()) for k in range(2))
    assert PhotoStore.for_photos(photos, 1 << 30).profile is None
    assert PhotoStore.for_photos((), 1 << 30).profile is None


def test_grey_photos_do_not_choose_the_colours(tmp_path):
    grey = saved(tmp_path / "1.png", picture(planes=1), grey_profile())
    colour = saved(tmp_path / "2.png", picture(), swapped_profile())
    plain = saved(tmp_path / "3.png", picture())
    store = PhotoStore.for_photos((grey, colour, plain), 1 << 30)
    assert store.profile == swapped_profile()
    assert np.array_equal(store.pixels(grey), picture(planes=1))


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_deep_conversion_keeps_fine_steps(dtype):
    ramp = np.linspace(0.2, 0.3, 3000)
    linear = np.repeat(ramp[:, None], 3, 1)[None]
    expected = to_encoded(linear)
    stored = linear.astype(np.float32) if dtype == "float32" else np.round(linear * 65535).astype(np.uint16)
    found = convert(stored, linear_profile(), srgb())
    assert found.dtype == stored.dtype
    assert len(np.unique(found)) > 2000
    scale = 1 if dtype == "float32" else 65535
    assert np.abs(found / scale - expected).max() < 1e-4
    back = convert(found, srgb(), linear_profile())
    assert np.abs(back.astype(float) - stored).max() <= 3e-5 * scale


def test_deep_conversion_is_right_in_the_dark():
    linear = np.linspace(0, 0.01, 50, dtype=np.float32)[None, :, None].repeat(3, 2)
    assert np.abs(convert(linear, linear_profile(), srgb()) - to_encoded(linear)).max() < 2e-3


def test_deep_conversion_agrees_with_littlecms():
    pixels = picture(60, 80)
    for own, profile in ((swapped_profile(), linear_profile()), (None, linear_profile())):
        coarse = convert(pixels, own, profile)
        fine = convert(pixels.astype(np.uint16) * 257, own, profile)
        assert np.abs(coarse - fine / 257).max() < 1.5


def test_floats_beyond_white_stay_beyond_white():
    pixels = np.array([[[1.5, 1.5, 1.5], [-0.25, 0, 0]]], np.float32)
    found = convert(pixels, srgb(), linear_profile())
    assert found[0, 0] == pytest.approx([1.5] * 3, abs=1e-3)
    assert found[0, 1, 0] == pytest.approx(-0.25, abs=1e-3)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_unreadable_profile_leaves_colours(dtype):
    pixels = picture(dtype=dtype)
    assert np.array_equal(convert(pixels, b"\0" * 16 + b"RGB " + b"\0" * 200, srgb()), pixels)


def test_profile_of_tables_goes_through_the_lattice(monkeypatch):
    monkeypatch.setattr("composer.media.profiles._shaper", lambda profile: None)
    pixels = picture(dtype="uint16")
    found = convert(pixels, swapped_profile(), srgb())
    assert np.abs(found[:, :, ::-1].astype(int) - pixels).max() < 700
    assert len(np.unique(found)) > 1000


def test_profiles_made_here_are_valid():
    for profile in (swapped_profile(), linear_profile()):
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
        )
        assert transform is not None


def in_scratch(pixels):
    """Tell whether an array's bytes lie in a mapped file."""
    while isinstance(pixels, np.ndarray):
        pixels = pixels.base
    return isinstance(pixels, memoryview) and isinstance(pixels.obj, mmap.mmap)


def test_each_photo_is_decoded_once(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(decoding, "decode", lambda *a: calls.append(a) or decode(*a))
    photo = saved(tmp_path / "a.png", picture())
    store = PhotoStore()
    threads = [threading.Thread(target=store.pixels, args=(photo, 1 + k % 2)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.pixels(photo) is store.pixels(photo)
    assert len(calls) == 1


@pytest.mark.parametrize("memory", [1 << 30, 0])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_store_is_read_only_wherever_it_keeps_pixels(tmp_path, memory, dtype):
    pixels = picture(dtype=dtype)
    array = photo_from_array(pixels, "photo 1")
    file = saved(tmp_path / ("a.png" if dtype == "uint8" else "a.tif"), pixels)
    store = PhotoStore(None, memory)
    for photo in (array, file):
        found = store.pixels(photo)
        assert in_scratch(found) == (memory == 0 and photo is file)  # an array is in memory anyway
        assert np.array_equal(found, pixels)
        assert found.dtype == pixels.dtype
        with pytest.raises(ValueError, match="read-only"):
            found[0, 0] = 0
    pixels[0, 0] = 0  # the caller's own array stays the caller's


def test_budget_is_shared_by_all_photos(tmp_path):
    photos = [saved(tmp_path / f"{k}.png", picture(seed=k)) for k in range(3)]
    store = PhotoStore(None, int(picture().nbytes * 2.5))
    assert [in_scratch(store.pixels(p)) for p in photos] == [False, False, True]


def test_full_scratch_folder(tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decoding.tempfile, "TemporaryFile", full)
    with pytest.raises(OutputError, match="TMPDIR"):
        PhotoStore(None, 0).pixels(saved(tmp_path / "a.png", picture()))


@pytest.mark.parametrize("planes", [1, 2, 3, 4])
def test_shrinking_averages_areas(planes):
    pixels = picture(36, 52, planes, "float32")
    store = PhotoStore()
    photo = photo_from_array(pixels, "photo 1")
    expected = pixels.reshape(9, 4, 13, 4, planes).mean((1, 3))
    np.testing.assert_allclose(store.pixels(photo, 4), expected, atol=1e-6)
    assert store.pixels(photo, 100).shape == (1, 1, planes)
    assert store.pixels(photo, 5).shape == (7, 10, planes)


def test_a_resting_photo_in_a_scratch_file_is_unchanged(tmp_path):
    photo = saved(tmp_path / "a.png", picture())
    store = PhotoStore(None, 0)
    found = store.pixels(photo)
    store.rest(photo)
    assert store.pixels(photo) is found
    assert np.array_equal(found, picture())


def test_a_forgotten_photo_makes_room_for_the_next(tmp_path):
    photos = [saved(tmp_path / f"{k}.png", picture(seed=k)) for k in range(3)]
    store = PhotoStore(None, int(picture().nbytes * 1.5))
    assert not in_scratch(store.pixels(photos[0]))
    assert in_scratch(store.pixels(photos[1]))
    for photo in photos[:2]:
        store.forget(photo)
    assert not in_scratch(store.pixels(photos[2]))
    assert in_scratch(store.pixels(photos[0]))


def test_forgetting_can_leave_one_version(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(decoding, "decode", lambda *a: calls.append(a) or decode(*a))
    photo = saved(tmp_path / "a.png", picture())
    store = PhotoStore()
    whole, _ = store.pixels(photo), store.pixels(photo, 2)
    store.forget(photo, but=1)
    assert store.pixels(photo) is whole
    store.forget(photo)
    store.pixels(photo)
    assert len(calls) == 2


def jpeg(path, pixels, **options):
    Image.fromarray(pixels).save(path, quality=97, subsampling=0, **options)
    return read_photo(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(800, 1200), (803, 1205)])
def test_small_versions_of_a_jpeg_lie_where_the_whole_does(tmp_path, size, orientation):
    """Also where sizes are no multiples of the reduction: each edge stays an edge."""
    pixels = cv2.GaussianBlur(picture(*size), (0, 0), 6)
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = jpeg(tmp_path / "a.jpg", pixels, exif=exif)
    store = PhotoStore()
    whole = store.pixels(photo)
    for shrink in (2, 3, 4, 7):
        small = store.pixels(photo, shrink)
        expected = cv2.resize(whole, small.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert small.shape[:2] == (round(photo.height / shrink), round(photo.width / shrink))
        assert np.abs(small.astype(int) - expected).mean() < 1


def test_plans_do_not_decode_a_jpeg_whole(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(decoding, "decode", lambda *a: calls.append(a) or decode(*a))
    photo = jpeg(tmp_path / "a.jpg", picture(1600, 2400))
    store = PhotoStore()
    assert coarse(photo) == 2
    for shrink in (8, 2, 4, 5):
        store.pixels(photo, shrink)
    assert [a[2] for a in calls] == [2]


def test_what_is_small_does_not_depend_on_what_was_asked_before(tmp_path):
    photo = jpeg(tmp_path / "a.jpg", picture(1600, 2400))
    one, other = PhotoStore(), PhotoStore(None, 0)
    other.pixels(photo)
    other.pixels(photo, 3)
    assert np.array_equal(one.pixels(photo, 8), other.pixels(photo, 8))


def test_small_versions_are_converted_to_the_profile_too(tmp_path):
    pixels = cv2.GaussianBlur(picture(1000, 1200), (0, 0), 6)
    photo = jpeg(tmp_path / "a.jpg", pixels, icc_profile=swapped_profile())
    small = PhotoStore(srgb()).pixels(photo, 2)
    plain = cv2.resize(pixels, (600, 500), interpolation=cv2.INTER_AREA)
    assert np.abs(small[:, :, ::-1].astype(int) - plain).mean() < 1.5


def test_a_cut_jpeg_is_damaged_at_any_size(tmp_path):
    photo = jpeg(tmp_path / "a.jpg", picture(1000, 1200))
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    for shrink in (1, 2, 8):
        with pytest.raises(PhotoError, match="cut short"):
            PhotoStore().pixels(photo, shrink)
