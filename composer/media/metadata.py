"""EXIF, ICC and XMP: taken from the first photo, less what no longer holds of the result."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

from PIL import Image

from composer.media.opening import DAMAGE, is_tiff, opened, quietly
from composer.media.png import read_chunks
from composer.media.profiles import fitting
from composer.records import Photo

__all__ = ["EXIF_IFD", "Metadata", "carried", "icc_profile", "read_exif", "read_metadata"]

EXIF_IFD, GPS_IFD = 0x8769, 0x8825
XMP_TAG, ICC_TAG = 0x2BC, 0x8773
# ImageDescription, Make, Model, resolution and its unit, DateTime, Artist, HostComputer, ratings,
# Copyright, Windows' title, comment, author, keywords, subject: what is true of the result too
_KEPT = (
    0x10E, 0x10F, 0x110, 0x11A, 0x11B, 0x128, 0x132, 0x13B, 0x13C, 0x4746, 0x4749, 0x8298,
    0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F,
)  # fmt: skip
# MakerNote, FocalLength and its 35-mm equivalent, FocalPlane*, SubjectArea, SubjectLocation,
# DigitalZoomRatio, ImageUniqueID, interoperability, CompressedBitsPerPixel, padding
_OUTDATED = (
    0x927C, 0x920A, 0xA405, 0xA20E, 0xA20F, 0xA210, 0x9214, 0xA214, 0xA404, 0xA420, 0xA005, 0x9102, 0xEA1C,
)  # fmt: skip
_XMP_NAMES = rb"""(?:tiff:(?:Orientation|ImageWidth|ImageLength)|exif:Pixel[XY]Dimension|exif:FocalLength\w*
    |(?:GPano|crs|GCamera|GImage|GDepth|GContainer|Container|hdrgm|xmpNote):\w+|xmp:Thumbnails)"""
_XMP_OUTDATED = re.compile(
    rb"""(?<!\s)\s+""" + _XMP_NAMES + rb"""\s*=\s*(?:"[^"]*"|'[^']*')
      |<(""" + _XMP_NAMES + rb""")(?=[\s/>])(?:[^>]*/>|[^>]*>.*?</\1\s*>)""",
    re.VERBOSE | re.DOTALL,
)  # fmt: skip


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


def read_exif(path: Path) -> Image.Exif:
    """Return a file's EXIF with its directories, without decoding pixels; empty where it is damaged."""
    try:
        if is_tiff(path):
            from composer.media.tiff import tiff_exif

            return tiff_exif(path)
        with opened(path) as image, quietly():
            if image.format == "PNG" and not {"exif", "Raw profile type exif"} & set(image.info):
                # Pillow would decode the whole picture to look behind it
                image.info["exif"] = dict(read_chunks(path, frozenset({b"eXIf"}))).get(b"eXIf", b"")
            exif = image.getexif()
            for ifd in (EXIF_IFD, GPS_IFD):
                exif.get_ifd(ifd)
            return exif
    except DAMAGE:
        return Image.Exif()


def read_metadata(photo: Photo) -> Metadata:
    """Read a photograph's metadata as they are; empty for arrays."""
    if photo.path is None:
        return Metadata()
    found = read_exif(photo.path)
    try:
        xmp = _read_xmp(photo.path)
    except DAMAGE:
        xmp = None
    return Metadata(_exif_bytes(dict(found), _directories(found)), icc_profile(photo), xmp)


def carried(metadata: Metadata, width: int, height: int) -> Metadata:
    """Return metadata fit for a composite: upright, its own size, nothing that only one photo had."""
    exif = Image.Exif()
    if metadata.exif:
        exif.load(metadata.exif)
    directories = _directories(exif)
    detail = {t: v for t, v in directories[EXIF_IFD].items() if t not in _OUTDATED}
    directories[EXIF_IFD] = {**detail, 0xA002: width, 0xA003: height}
    main = {t: v for t, v in exif.items() if t in _KEPT}
    xmp = _XMP_OUTDATED.sub(b"", metadata.xmp).rstrip(b"\0") if metadata.xmp else None
    return Metadata(
        _exif_bytes({**main, 0x0112: 1, 0x0131: "composer"}, directories),
        metadata.icc,
        xmp if xmp and _well_formed(xmp) else None,
    )


def _read_xmp(path: Path) -> bytes | None:
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


def _directories(exif: Image.Exif) -> dict[int, dict[int, Any]]:
    """Return the camera's and the GPS directory."""
    return {ifd: dict(exif.get_ifd(ifd)) for ifd in (EXIF_IFD, GPS_IFD)}


def _exif_bytes(main: dict[int, Any], directories: dict[int, dict[int, Any]]) -> bytes | None:
    """Encode EXIF; fields that cannot be (a rational 0/0, a wrong type) are left out."""

    def encoded(fields: dict[int, Any]) -> bytes | None:
        exif = Image.Exif()
        for tag, value in fields.items():
            exif[tag] = value
        try:
            with quietly():
                return exif.tobytes()
        except DAMAGE:
            return None

    fields = {t: v for t, v in main.items() if t not in directories and encoded({t: v})}
    for ifd, directory in directories.items():
        if usable := {t: v for t, v in directory.items() if encoded({ifd: {t: v}})}:
            fields[ifd] = usable
    return encoded(fields) if fields else None


def _well_formed(xmp: bytes) -> bool:
    try:
        expat.ParserCreate().Parse(xmp, True)
    except expat.ExpatError:
        return False
    return True
