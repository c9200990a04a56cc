"""Read TIFF files: Pillow does not see their 16-bit colour, OpenCV mistakes their orientation."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from composer.errors import PhotoError
from composer.media.opening import opened, quietly

Array = NDArray[Any]

__all__ = ["read_tiff", "tiff_exif", "tiff_layout", "tiff_pages", "tiff_tag"]

_PLAIN = ("MINISBLACK", "MINISWHITE", "RGB")
_CONVERTED = ("PALETTE", "SEPARATED", "YCBCR")  # 8-bit only, by Pillow
_DTYPES = {
    "bool": "uint8", "uint8": "uint8", "uint16": "uint16",
    "float16": "float32", "float32": "float32", "float64": "float32",
}  # fmt: skip
_ASSOCIATED, _UNASSOCIATED = 1, 2


def tiff_layout(path: Path) -> tuple[int, int, int, str, bool]:
    """Return the first page's stored width, height, colour channels, sample type and whether it has alpha.

    Raises
    ------
    PhotoError
        A raw file, or samples or colours of a kind that composer does not take.
    """
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        found = np.dtype(page.dtype).name if page.dtype is not None else "unknown"
        bits, samples = page.bitspersample, page.samplesperpixel
        space = getattr(page.photometric, "name", str(page.photometric))
        alpha = samples in (2, 4) and _alpha_kind(page) is not None
        width, height = page.imagewidth, page.imagelength
        file.filehandle.seek(8)
        preview = page.is_reduced or file.filehandle.read(2) == b"CR"  # Canon's raw files
    if preview:
        raise PhotoError(f"{path}: shows a preview only, as raw files do; develop it to TIFF or JPEG")
    dtype = _DTYPES.get(found)
    odd = bits not in ((1, 2, 4, 8) if dtype == "uint8" else (16, 32, 64))
    if dtype is None or odd or (dtype == "uint16" and bits != 16):
        what = f"{found} of {bits} bits" if dtype else found
        raise PhotoError(f"{path}: samples are {what}; export it as 8-bit, 16-bit or 32-bit float")
    if space not in _PLAIN and (space not in _CONVERTED or dtype != "uint8"):
        raise PhotoError(f"{path}: colours are {space} in {found}; export it as RGB")
    colours = 3 if space in _CONVERTED or samples - alpha >= 3 else 1
    return width, height, colours, dtype, alpha


def tiff_pages(path: Path) -> int:
    """Return the number of pages that are no previews."""
    with tifffile.TiffFile(path) as file:
        return sum(not getattr(page, "is_reduced", False) for page in file.pages)


def tiff_tag(path: Path, code: int) -> bytes | None:
    """Return a tag of bytes (XMP, ICC profile) of the first page."""
    with tifffile.TiffFile(path) as file:
        tag = file.pages.first.tags.get(code)
        value = tag.value if tag is not None else None
    return value.encode() if isinstance(value, str) else bytes(value) if value else None


def tiff_exif(path: Path, stream: IO[bytes]) -> Image.Exif:
    """Return the first page's tags, also of pages whose samples Pillow does not know; read from `stream`."""
    with tifffile.TiffFile(path) as file:
        offset, order, big = file.pages.first.offset, file.byteorder, file.is_bigtiff
    exif = Image.Exif()
    exif.endian, exif.bigtiff = order, big
    with quietly():
        exif.load_from_fp(stream, offset)
    return exif


def read_tiff(path: Path, channels: int, alpha: bool) -> Array:
    """Read the first page, as stored: (H, W, channels), or one more plane with straight alpha.

    Raises
    ------
    OSError, ValueError
        The file is cut short or damaged.
    """
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        _check_complete(page, file.filehandle.size)
        pixels = _by_tifffile(page)
        if pixels is None and page.bitspersample <= 8:
            return _by_pillow(path, page, channels, alpha)
        if pixels is None:
            pixels = _by_opencv(path, page)
        associated = alpha and _alpha_kind(page) == _ASSOCIATED
    pixels = pixels[:, :, : channels + alpha]
    return _straight(pixels) if associated else pixels


def _alpha_kind(page: Any) -> int | None:
    """Return whether the first extra sample is associated or unassociated alpha, None if it is neither.

    A fourth sample of RGB that the file does not mention is alpha: OpenCV writes it so.
    """
    kinds = [int(k) for k in page.extrasamples]
    if not kinds and page.photometric == tifffile.PHOTOMETRIC.RGB and page.samplesperpixel == 4:
        return _UNASSOCIATED
    return kinds[0] if kinds and kinds[0] in (_ASSOCIATED, _UNASSOCIATED) else None


def _check_complete(page: Any, size: int) -> None:
    """Refuse a file that ends before its pixels do: decoders fill the rest with black."""
    needed = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False) if n]
    if not needed or max(needed) > size:
        raise OSError("TIFF is cut short")


def _by_tifffile(page: Any) -> Array | None:
    """Read a page with tifffile; None where it leaves the compression or the colours to others."""
    if page.photometric.name not in _PLAIN or page.compression == tifffile.COMPRESSION.LZW:
        return None
    try:
        pixels: Array = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        return None
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    elif pixels.dtype.kind == "f":
        with np.errstate(over="ignore"):
            pixels = pixels.astype(np.float32)
    pixels = pixels if pixels.ndim == 3 else pixels[:, :, None]
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        pixels = np.concatenate([_full(pixels) - pixels[:, :, :1], pixels[:, :, 1:]], 2)
    return pixels


def _full(pixels: Array) -> Any:
    """Return white, in the pixels' own type."""
    return pixels.dtype.type(1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max)


def _straight(pixels: Array) -> Array:
    """Divide colours by the alpha they were multiplied with."""
    alpha = pixels[:, :, -1:].astype(np.float32) / _full(pixels)
    colours = pixels[:, :, :-1] / np.where(alpha > 0, alpha, 1)
    if pixels.dtype.kind != "f":
        colours = np.round(np.minimum(colours, _full(pixels)))
    return np.concatenate([colours.astype(pixels.dtype), pixels[:, :, -1:]], 2)


def _by_pillow(path: Path, page: Any, channels: int, alpha: bool) -> Array:
    mode = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA"}[channels, alpha]
    with opened(io.BytesIO(_unturned(path, page))) as image:
        image.load()
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _by_opencv(path: Path, page: Any) -> Array:
    plain = page.photometric != tifffile.PHOTOMETRIC.MINISWHITE
    found = None
    if plain:
        found = cv2.imdecode(np.frombuffer(_unturned(path, page), np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise PhotoError(
            f"{path}: its pixels ({page.compression.name}) cannot be decoded here; it is damaged, or save it "
            "uncompressed or as deflate"
        )
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}
    pixels: Array = found if found.ndim == 3 else found[:, :, None]
    return pixels[:, :, order[pixels.shape[2]]]


def _unturned(path: Path, page: Any) -> bytes:
    """Return the file with orientation 1: Pillow would turn the pixels, OpenCV fails on 5 to 8."""
    data = bytearray(path.read_bytes())
    tag = page.tags.get(0x0112)
    if tag is not None:
        short = tag.dtype == tifffile.DATATYPE.SHORT
        struct.pack_into(page.parent.byteorder + ("H" if short else "I"), data, tag.valueoffset, 1)
    return bytes(data)
