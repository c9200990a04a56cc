"""EXIF, ICC and XMP: taken from the first photo, less what no longer holds of the result."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from PIL import Image

from composer.media.header import EXIF_IFD, opened
from composer.records import Photo

__all__ = ["Metadata", "carried", "read_metadata"]

# ImageWidth, ImageLength, BitsPerSample, Compression, Photometric, StripOffsets, SamplesPerPixel,
# RowsPerStrip, StripByteCounts, PlanarConfiguration, Predictor, tiles, JPEG tables, XMP, ICC
_STRUCTURE = (
    0x100, 0x101, 0x102, 0x103, 0x106, 0x111, 0x115, 0x116, 0x117, 0x11C, 0x13D, 0x140, 0x142, 0x143,
    0x144, 0x145, 0x152, 0x153, 0x201, 0x202, 0x212, 0x213, 0x2BC, 0x8773,
)  # fmt: skip
# MakerNote, FocalLength and its 35-mm equivalent, FocalPlane*, SubjectArea, SubjectLocation,
# DigitalZoomRatio, ImageUniqueID, interoperability
_OUTDATED = (
    0x927C, 0x920A, 0xA405, 0xA20E, 0xA20F, 0xA210, 0x9214, 0xA214, 0xA404, 0xA420, 0xA005,
)  # fmt: skip
_XMP_OUTDATED = re.compile(
    rb"""\s+(?:tiff:(?:Orientation|ImageWidth|ImageLength)|exif:Pixel[XY]Dimension|GPano:\w+|crs:\w+
        |exif:FocalLength\w*)\s*=\s*(?:"[^"]*"|'[^']*')
      |<(tiff:(?:Orientation|ImageWidth|ImageLength)|exif:Pixel[XY]Dimension|GPano:\w+|crs:\w+
        |exif:FocalLength\w*|xmp:Thumbnails)\b[^>]*?(?:/>|>.*?</\1>)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Metadata:
    """A file's metadata as bytes; None where it has none."""

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None


def read_metadata(photo: Photo) -> Metadata:
    """Read a photograph's metadata as they are; empty for arrays."""
    if photo.path is None:
        return Metadata()
    with opened(photo.path) as image:
        exif = image.getexif()
        xmp = image.info.get("xmp")
        if isinstance(xmp, str):
            xmp = xmp.encode()
        if image.format == "TIFF":
            tag: Any = exif.get(0x2BC)
            xmp = bytes(tag) if isinstance(tag, (bytes, tuple)) else xmp
        if image.format == "PNG" and not xmp:
            text = image.info.get("XML:com.adobe.xmp")
            xmp = text.encode() if text else None
        return Metadata(exif.tobytes() if len(exif) else None, image.info.get("icc_profile"), xmp)


def carried(metadata: Metadata, width: int, height: int) -> Metadata:
    """Return metadata fit for a composite: upright, its own size, nothing that only one photo had."""
    exif = Image.Exif()
    if metadata.exif:
        exif.load(metadata.exif)
    detail = dict(exif.get_ifd(EXIF_IFD))
    for tag in _STRUCTURE:
        exif.pop(tag, None)
    for tag in _OUTDATED:
        detail.pop(tag, None)
    detail[0xA002], detail[0xA003] = width, height
    exif[0x0112] = 1
    exif[0x0131] = "composer"
    clean = Image.Exif()
    for tag, value in exif.items():
        if tag != EXIF_IFD:
            clean[tag] = value
    gps = exif.get_ifd(0x8825)
    if gps:
        clean.get_ifd(0x8825).update(gps)
        clean[0x8825] = gps
    clean[EXIF_IFD] = detail
    xmp = _XMP_OUTDATED.sub(b"", metadata.xmp) if metadata.xmp else None
    return Metadata(clean.tobytes(), metadata.icc, xmp)
