import io
import struct
import time
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from composer.media.decode import decode
from composer.media.encode import write_image
from composer.media.header import photo_from_array, read_photo
from composer.media.metadata import EXIF_IFD, GPS_IFD, Metadata, carried, parse_exif, read_exif, read_metadata
from composer.media.profiles import srgb
from tests.media.pictures import chunk, grey_profile, picture, png, swapped_profile

XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 tiff:Orientation="6" tiff:Make="Maker" GPano:ProjectionType='equirectangular' exif:PixelXDimension="400"
   crs:Exposure2012="+1.00" exif:FocalLength="50/1" xmp:Rating="5">
<crs:ToneCurve><rdf:Seq><rdf:li>0, 0</rdf:li></rdf:Seq></crs:ToneCurve><crs:HasSettings/>
<GPano:UsePanoramaViewer>True</GPano:UsePanoramaViewer>
<tiff:ImageWidth>400</tiff:ImageWidth><xmp:Thumbnails><rdf:Alt/></xmp:Thumbnails>
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">Zo\xc3\xab</rdf:li></rdf:Alt></dc:rights>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
TEXTS = {
    0x010F: "Maker", 0x0110: "Model 5", 0x0132: "2026:11:02 10:20:30",
    0x013B: "Zo\u00eb", 0x8298: "(c) \u0141ukasz".encode().decode("latin-1"),  # UTF-8, as Pillow reads it
}  # fmt: skip


def full_exif(orientation=6):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x0100], exif[0x0111], exif[0xC4A5], exif[0x8649] = 400, 8, b"PrintIM", b"8BIM thumbnail"
    exif[0x011A], exif[0x011B], exif[0x0128] = 300, 300, 2
    exif[EXIF_IFD] = {
        0x829A: IFDRational(1, 250), 0x8827: 200, 0x9003: "2026:11:02 10:20:30", 0x920A: IFDRational(50, 1),
        0x927C: b"maker's secrets", 0xA002: 400, 0xA003: 300, 0xA405: 75, 0xA20E: IFDRational(4000, 36),
    }  # fmt: skip
    exif[GPS_IFD] = {1: "N", 2: (IFDRational(48, 1), IFDRational(12, 1), IFDRational(3, 2))}
    loaded = Image.Exif()
    loaded.load(exif.tobytes())
    for tag, text in TEXTS.items():
        loaded[tag] = text.encode("latin-1")  # Pillow would write question marks
    return loaded


def source(path, profile):
    """Write a turned photograph with all metadata, as cameras do."""
    image, exif = Image.fromarray(picture()), full_exif()
    if path.suffix == ".png":
        info = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
        info += chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
        icc = io.BytesIO()
        image.save(icc, "PNG", icc_profile=profile)
        data = icc.getvalue()
        path.write_bytes(data[:-12] + info + data[-12:])  # behind the pixels
    elif path.suffix == ".tif":
        for tag in (0x0100, 0x0111):
            del exif[tag]
        exif[700], exif[34675] = XMP, profile
        image.save(path, exif=exif)
    else:
        image.save(path, exif=exif, icc_profile=profile, xmp=XMP)
    return read_photo(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_everything_is_read(tmp_path, suffix):
    found = read_metadata(source(tmp_path / f"a.{suffix}", srgb()))
    assert found.icc == srgb()
    assert found.xmp == XMP
    exif = Image.Exif()
    exif.load(found.exif)
    assert exif[0x0112] == 6
    assert {t: exif[t] for t in TEXTS} == TEXTS
    assert exif.get_ifd(EXIF_IFD)[0x8827] == 200
    assert exif.get_ifd(GPS_IFD)[1] == "N"


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_carried_metadata_fit_the_result(tmp_path, suffix):
    found = carried(read_metadata(source(tmp_path / f"a.{suffix}", srgb())), 5000, 2000)
    exif = Image.Exif()
    exif.load(found.exif)
    assert {t: exif[t] for t in TEXTS} == TEXTS
    assert (exif[0x0112], exif[0x0131]) == (1, "composer")
    assert not {0x0100, 0x0111, 0xC4A5, 0x8649, 700, 34675} & set(exif)
    detail = exif.get_ifd(EXIF_IFD)
    assert (detail[0xA002], detail[0xA003]) == (5000, 2000)
    assert (detail[0x829A], detail[0x8827], detail[0x9003]) == (1 / 250, 200, TEXTS[0x0132])
    assert not {0x920A, 0x927C, 0xA405, 0xA20E} & set(detail)
    assert tuple(exif.get_ifd(GPS_IFD)[2]) == (48, 12, 1.5)
    assert found.icc == srgb()


def test_carried_xmp(tmp_path):
    found = carried(Metadata(xmp=XMP + b"\0"), 5000, 2000).xmp
    for gone in (b"GPano:P", b"GPano:U", b"crs:E", b"crs:T", b"crs:H", b"Orientation", b"ImageWidth",
                 b"PixelX", b"FocalLength", b"Thumbnails", b"0, 0", b"True"):  # fmt: skip
        assert gone not in found
    for kept in (
        b'tiff:Make="Maker"',
        b'xmp:Rating="5"',
        b"<dc:rights>",
        "Zo\u00eb".encode(),
        b"<?xpacket end",
    ):
        assert kept in found


def test_long_padding_in_xmp_takes_no_time():
    padded = XMP.replace(b"<?xpacket end", b" \n" * 10_000 + b"<?xpacket end")
    started = time.perf_counter()
    assert len(carried(Metadata(xmp=padded), 5, 5).xmp) > 20_000
    assert time.perf_counter() - started < 0.5


def test_broken_xmp_is_left_out():
    assert carried(Metadata(xmp=XMP[:-100]), 5, 5).xmp is None
    nested = XMP.replace(b"<crs:HasSettings/>", b"<crs:Look><crs:Look>a</crs:Look></crs:Look>")
    assert carried(Metadata(xmp=nested), 5, 5).xmp is None


def test_nothing_to_carry():
    found = carried(read_metadata(photo_from_array(picture(), "photo 1")), 30, 20)
    assert (found.icc, found.xmp) == (None, None)
    exif = Image.Exif()
    exif.load(found.exif)
    assert exif.get_ifd(EXIF_IFD) == {0xA002: 30, 0xA003: 20}
    assert not exif.get_ifd(GPS_IFD)


def test_what_is_true_of_one_view_stays_where_the_view_does():
    exif = full_exif()
    found = carried(Metadata(exif.tobytes(), xmp=XMP), 400, 300, same_view=True)
    detail = parse_exif(found.exif).camera
    assert (detail[0x920A], detail[0xA405], detail[0xA20E]) == (50, 75, IFDRational(4000, 36))
    assert 0x927C not in detail
    reduced = parse_exif(carried(Metadata(exif.tobytes()), 200, 150, same_view=True).exif).camera
    assert (0xA405 in reduced, 0xA20E in reduced) == (True, False)
    for kept in (b"GPano:ProjectionType", b"crs:Exposure2012", b"exif:FocalLength"):
        assert kept in found.xmp
    for gone in (b"Orientation", b"PixelXDimension", b"Thumbnails"):
        assert gone not in found.xmp


@pytest.mark.parametrize("output", ["a.jpg", "a.png", "deep.png", "a.webp"])
def test_all_arrive_in_the_output(tmp_path, output):
    photo = source(tmp_path / "in.jpg", swapped_profile())
    pixels = decode(photo)
    deep = output == "deep.png"
    pixels = pixels.astype(np.uint16) * 257 if deep else pixels
    metadata = carried(read_metadata(photo), photo.width, photo.height)
    assert write_image(tmp_path / output, pixels, None, metadata) == []
    with Image.open(tmp_path / output) as image:
        image.load()
        assert image.size == (37, 53)
        assert image.info["icc_profile"] == swapped_profile()
        exif = image.getexif()
        assert {t: exif[t] for t in TEXTS} == TEXTS
        assert exif[0x0112] == 1
        assert exif.get_ifd(EXIF_IFD)[0xA002] == 37
        assert exif.get_ifd(GPS_IFD)[1] == "N"
        assert not {0x920A, 0x927C} & set(exif.get_ifd(EXIF_IFD))
        xmp = image.info.get("xmp") or image.info["XML:com.adobe.xmp"].encode()
    assert xmp == metadata.xmp
    again = read_photo(tmp_path / output)
    assert (again.width, again.height, again.orientation) == (37, 53, 1)
    assert np.abs(decode(again).astype(float) - pixels).mean() < (0.1 if "png" in output else 4)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_gets_the_cameras_and_the_gps_directory(tmp_path, monkeypatch, big, order):
    monkeypatch.setattr("composer.media.tiff_write.CLASSIC_TIFF", 0 if big else 1 << 32)
    metadata = carried(read_metadata(source(tmp_path / "in.jpg", srgb())), 53, 37)
    exif = Image.Exif()
    exif.load(metadata.exif)
    exif.endian = order
    write_image(tmp_path / "a.tif", picture(), None, replace(metadata, exif=exif.tobytes()))
    found = read_exif(tmp_path / "a.tif")
    assert (found.camera, found.gps) == tuple(dict(exif.get_ifd(ifd)) for ifd in (EXIF_IFD, GPS_IFD))
    assert (found.main[282], found.main[296]) == (300, 2)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff == big
        assert len(file.pages) == 1
    assert (decode(read_photo(tmp_path / "a.tif")) == picture()).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("big", [False, True])
def test_tiff_gets_profile_xmp_and_exif(tmp_path, dtype, big, monkeypatch):
    monkeypatch.setattr("composer.media.tiff_write.CLASSIC_TIFF", 0 if big else 4_000_000_000)
    photo = source(tmp_path / "in.jpg", srgb())
    metadata = carried(read_metadata(photo), 53, 37)
    write_image(tmp_path / "a.tif", picture(dtype=dtype), None, metadata)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tags = file.pages.first.tags
        assert bytes(tags[34675].value) == srgb()
        assert bytes(tags[700].value) == metadata.xmp
        assert tags[0x0112].value == 1
        assert tags[305].value == "composer"
    found = read_metadata(read_photo(tmp_path / "a.tif"))
    exif = Image.Exif()
    exif.load(found.exif)
    assert {t: exif[t] for t in TEXTS} == TEXTS
    assert (found.icc, found.xmp) == (srgb(), metadata.xmp)
    given, written = parse_exif(metadata.exif), read_exif(tmp_path / "a.tif")
    assert (written.camera, written.gps) == (given.camera, given.gps)
    assert np.array_equal(decode(read_photo(tmp_path / "a.tif")), picture(dtype=dtype))


def test_xmp_over_64_kb_does_not_stop_a_jpeg(tmp_path):
    long = XMP.replace(b"Zo", b"Z" + b"o" * 70000)
    for name in ("a.jpg", "a.png"):
        notes = write_image(tmp_path / name, picture(), None, carried(Metadata(xmp=long), 53, 37))
        assert len(notes) == (name == "a.jpg")
    assert read_metadata(read_photo(tmp_path / "a.png")).xmp == carried(Metadata(xmp=long), 53, 37).xmp


@pytest.mark.parametrize("channels", [1, 3])
def test_a_profile_that_does_not_fit_is_not_read(tmp_path, channels):
    for profile, fits in ((grey_profile(), 1), (srgb(), 3)):
        image = Image.fromarray(picture(planes=3)).convert("L" if channels == 1 else "RGB")
        image.save(tmp_path / "a.jpg", icc_profile=profile)
        found = read_metadata(read_photo(tmp_path / "a.jpg")).icc
        assert found == (profile if channels == fits else None)


def test_fields_that_cannot_be_written_are_left_out(tmp_path):
    exif = Image.Exif()
    exif[0x010F], exif[0x8298] = "Maker", "(c)"
    exif[EXIF_IFD] = {0x829A: IFDRational(0, 0), 0x8827: 200, 0x9286: "text"}
    data = bytearray(exif.tobytes())
    Image.fromarray(picture()).save(tmp_path / "a.jpg", exif=bytes(data))
    found = carried(read_metadata(read_photo(tmp_path / "a.jpg")), 5, 5)
    loaded = Image.Exif()
    loaded.load(found.exif)
    assert loaded[0x8298] == "(c)"
    assert loaded.get_ifd(EXIF_IFD)[0x8827] == 200


def test_damaged_exif_never_stops_a_job(tmp_path):
    good = full_exif().tobytes()
    rng = np.random.default_rng(0)
    kept = 0
    for _ in range(40):
        harmed = bytearray(good)
        for where in rng.integers(6, len(good), 8):
            harmed[where] = rng.integers(256)
        Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=bytes(harmed))
        metadata = carried(read_metadata(read_photo(tmp_path / "a.jpg")), 53, 37)
        for name in ("b.jpg", "b.png", "b.webp", "b.tif"):
            write_image(tmp_path / name, picture(), None, metadata)
        kept += read_exif(tmp_path / "b.jpg").main.get(0x010F) == "Maker"
    assert kept > 10


def test_exif_of_a_png_behind_its_pixels(tmp_path):
    mark = chunk(b"eXIf", full_exif(8).tobytes().removeprefix(b"Exif\0\0"))
    (tmp_path / "a.png").write_bytes(png(picture(), 2, 8, b"", mark))
    assert read_exif(tmp_path / "a.png").main[0x0112] == 8


def test_exif_of_files_pillow_does_not_know(tmp_path):
    for big in (False, True):
        tifffile.imwrite(
            tmp_path / "a.tif", picture(dtype="float32").astype(np.float16), photometric="rgb", bigtiff=big,
            extratags=[(0x0110, 2, 6, "Model", True), (0x0112, 3, 1, 5, True)],
        )  # fmt: skip
        photo = read_photo(tmp_path / "a.tif")
        assert (photo.camera, photo.orientation, photo.width) == ("Model", 5, 37)


def test_gps_offset_without_directory_is_not_carried():
    data = bytearray(full_exif().tobytes())
    where = data.index(struct.pack(">HHI", GPS_IFD, 4, 1)) + 8
    data[where : where + 4] = b"\0\xff\xff\xff"
    found = parse_exif(carried(Metadata(bytes(data)), 5, 5).exif)
    assert (found.gps, found.main[0x010F]) == ({}, "Maker")
