"""EXIF, ICC and XMP: taken from the first photo that has any, less what no longer holds of the result."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.parsers import expat

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from composer.media.opening import DAMAGE, is_tiff, opened, quietly
from composer.media.png import read_chunks
from composer.media.profiles import fitting
from composer.records import Photo

__all__ = [
    "EXIF_IFD",
    "GPS_IFD",
    "Exif",
    "Metadata",
    "carried",
    "exif_directory",
    "icc_profile",
    "parse_exif",
    "read_exif",
    "read_metadata",
    "read_xmp",
    "shared_metadata",
]

EXIF_IFD, GPS_IFD = 0x8769, 0x8825
XMP_TAG, ICC_TAG = 0x2BC, 0x8773
# ImageDescription, Make, Model, resolution and its unit, DateTime, Artist, HostComputer, ratings,
# Copyright, Windows' title, comment, author, keywords, subject: what is true of the result too
_KEPT = (
    0x10E, 0x10F, 0x110, 0x11A, 0x11B, 0x128, 0x132, 0x13B, 0x13C, 0x4746, 0x4749, 0x8298,
    0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F,
)  # fmt: skip
# MakerNote, SubjectArea, SubjectLocation, ImageUniqueID, interoperability, CompressedBitsPerPixel, padding
_OUTDATED = 0x927C, 0x9214, 0xA214, 0xA420, 0xA005, 0x9102, 0xEA1C
_VIEW = 0x920A, 0xA405, 0xA404  # FocalLength, its 35-mm equivalent, DigitalZoomRatio: of one photograph only
_SENSOR = 0xA20E, 0xA20F, 0xA210  # FocalPlane*: of as many pixels as the camera made


def _fields(names: bytes) -> re.Pattern[bytes]:
    """Return what finds fields of XMP by their names, as attributes and as elements."""
    return re.compile(
        rb"""(?<!\s)\s+""" + names + rb"""\s*=\s*(?:"[^"]*"|'[^']*')
          |<(""" + names + rb""")(?=[\s/>])(?:[^>]*/>|[^>]*>.*?</\1\s*>)""",
        re.VERBOSE | re.DOTALL,
    )  # fmt: skip


_XMP_OUTDATED = _fields(
    rb"""(?:tiff:(?:Orientation|ImageWidth|ImageLength)|exif:Pixel[XY]Dimension
    |(?:GCamera|GImage|GDepth|GContainer|Container|hdrgm|xmpNote):\w+|xmp:Thumbnails)"""
)
_XMP_VIEW = _fields(rb"(?:exif:FocalLength\w*|(?:GPano|crs):\w+)")


@dataclass(frozen=True)
class Exif:
    """EXIF as plain values by tag: the main directory, the camera's and the GPS directory."""

    main: dict[int, Any] = field(default_factory=dict)
    camera: dict[int, Any] = field(default_factory=dict)
    gps: dict[int, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Metadata:
    """A file's metadata as bytes; None where it has none."""

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None


def icc_profile(photo: Photo) -> bytes | None:
    """Return the ICC profile in a photograph's file, None if it has none that fits its pixels."""
    if photo.path is None:
        return None
    try:
        if is_tiff(photo.path):
            from composer.media.tiff import tiff_tag

            found = tiff_tag(photo.path, ICC_TAG)
        else:
            with opened(photo.path) as image:
                found = image.info.get("icc_profile")
    except DAMAGE:
        return None  # decoding says what is wrong with the file
    return fitting(found, photo.channels)


def read_exif(path: Path) -> Exif:
    """Read a file's EXIF without decoding pixels; what is damaged is left out."""
    try:
        if is_tiff(path):
            from composer.media.tiff import tiff_exif

            with path.open("rb") as file:
                return _plain(tiff_exif(path, file))
        with opened(path) as image:
            if image.format == "PNG" and not {"exif", "Raw profile type exif"} & set(image.info):
                # Pillow would decode the whole picture to look behind it
                image.info["exif"] = dict(read_chunks(path, frozenset({b"eXIf"}))).get(b"eXIf", b"")
            with quietly():
                found = image.getexif()
            return _plain(found)
    except DAMAGE:
        return Exif()


def parse_exif(data: bytes | None) -> Exif:
    """Read EXIF from bytes; what is damaged is left out."""
    found = Image.Exif()
    try:
        with quietly():
            found.load(data or b"")
    except DAMAGE:
        return Exif()
    return _plain(found)


def read_metadata(photo: Photo) -> Metadata:
    """Read a photograph's metadata as they are; empty for arrays."""
    if photo.path is None:
        return Metadata()
    found = read_exif(photo.path)
    return Metadata(_exif_bytes(found), icc_profile(photo), read_xmp(photo.path))


def shared_metadata(photos: Sequence[Photo]) -> Metadata:
    """Read what a composite keeps: of the first photograph not stripped of it, in the first colours."""
    telling = next((p for p in photos if _tells(p)), photos[0])
    coloured = next((p for p in photos if p.channels == 3), photos[0])
    return replace(read_metadata(telling), icc=icc_profile(coloured))


def _tells(photo: Photo) -> bool:
    """Tell whether a photograph's EXIF says when, where, by whom or with what it was taken."""
    found = Exif() if photo.path is None else read_exif(photo.path)
    return bool(found.camera or found.gps or set(found.main) & set(_KEPT))


def carried(metadata: Metadata, width: int, height: int, same_view: bool = False) -> Metadata:
    """Return metadata fit for a result: upright, its own size, nothing that is no longer true.

    A photo's view (focal length, Photo Sphere's angles, raw settings) is only that of a result in its frame.
    """
    exif = parse_exif(metadata.exif)
    main = {t: v for t, v in exif.main.items() if t in _KEPT}
    reduced = {exif.camera.get(0xA002), exif.camera.get(0xA003)} != {width, height}
    outdated = _OUTDATED + _VIEW * (not same_view) + _SENSOR * (reduced or not same_view)
    camera = {t: v for t, v in exif.camera.items() if t not in outdated}
    fitted = Exif(
        {**main, 0x0112: 1, 0x0131: "composer"}, {**camera, 0xA002: width, 0xA003: height}, exif.gps
    )
    xmp = _XMP_OUTDATED.sub(b"", metadata.xmp).rstrip(b"\0") if metadata.xmp else None
    if xmp and not same_view:
        xmp = _XMP_VIEW.sub(b"", xmp)
    return Metadata(_exif_bytes(fitted), metadata.icc, xmp if xmp and _well_formed(xmp) else None)


def read_xmp(path: Path) -> bytes | None:
    """Read a file's XMP as bytes; None where it has none, or it is damaged."""
    try:
        return _stored_xmp(path)
    except DAMAGE:
        return None


def _stored_xmp(path: Path) -> bytes | None:
    if is_tiff(path):
        from composer.media.tiff import tiff_tag

        return tiff_tag(path, XMP_TAG)
    with opened(path) as image:
        if image.format != "PNG":
            found = image.info.get("xmp")
            return found if isinstance(found, bytes) else None
        known = image.info.get("XML:com.adobe.xmp")
    if known:
        return str(known).encode()
    start = b"XML:com.adobe.xmp\0\0\0"  # behind the pixels
    for _, data in read_chunks(path, frozenset({b"iTXt"})):
        if data.startswith(start):
            return data[len(start) :].split(b"\0", 2)[2]
    return None


def _plain(exif: Image.Exif) -> Exif:
    """Take the values out of Pillow's EXIF, which decodes each when asked for it."""

    def values(directory: MutableMapping[int, Any]) -> dict[int, Any]:
        found = {}
        for tag in list(directory):
            with contextlib.suppress(*DAMAGE):
                found[tag] = directory[tag]
        return found

    with quietly():
        camera, gps = ({}, {})
        with contextlib.suppress(*DAMAGE):
            camera = values(exif.get_ifd(EXIF_IFD))
        with contextlib.suppress(*DAMAGE):
            gps = values(exif.get_ifd(GPS_IFD))
        main = values(exif)
    return Exif({t: v for t, v in main.items() if t not in (EXIF_IFD, GPS_IFD)}, camera, gps)


def _exif_bytes(exif: Exif) -> bytes | None:
    """Encode EXIF; fields that cannot be (a rational 0/0, a wrong type) are left out."""

    def encoded(fields: dict[int, Any]) -> bytes | None:
        made = Image.Exif()
        for tag, value in fields.items():
            made[tag] = value
        try:
            with quietly():
                return made.tobytes()
        except DAMAGE:
            return None

    def usable(fields: dict[int, Any]) -> dict[int, Any]:
        written = {t: _unaltered(v) for t, v in fields.items()}
        return {t: v for t, v in written.items() if encoded({EXIF_IFD: {t: v}}) and encoded({t: v})}

    fields = usable(exif.main)
    for ifd, directory in ((EXIF_IFD, exif.camera), (GPS_IFD, exif.gps)):
        if found := usable(directory):
            fields[ifd] = found
    return encoded(fields) if fields else None


def exif_directory(fields: Mapping[int, Any], tag: int, offset: int, big: bool) -> bytes:
    """Encode the camera's or the GPS directory as a little-endian TIFF file has it at an offset."""
    head = b"II\x2b\0\x08" if big else b"II\x2a\0"
    directory = ImageFileDirectory_v2(head.ljust(16 if big else 8, b"\0"), group=tag)
    for field_tag, value in fields.items():
        directory[field_tag] = _unaltered(value)
    return directory.tobytes(offset)


def _unaltered(value: Any) -> Any:
    """Return text as the bytes it was read from: Pillow reads Latin-1 but would write question marks."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("latin-1", "replace")
    return value


def _well_formed(xmp: bytes) -> bool:
    try:
        expat.ParserCreate().Parse(xmp, True)
    except expat.ExpatError:
        return False
    return True
