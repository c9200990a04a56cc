"""Open image files: which kind they are, without Pillow's size limit, its plugins and its warnings."""

from __future__ import annotations

import contextlib
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import cv2
from PIL import Image

__all__ = ["DAMAGE", "is_jpeg", "is_tiff", "opened", "quietly", "reason"]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
# what decoders raise on bytes that are not what they expect
DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError,
    RuntimeError, struct.error, zlib.error, cv2.error,
)  # fmt: skip
_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Silence Python warnings about damaged metadata; the filters are global, so one thread at a time."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def opened(path: Path | str | IO[bytes]) -> Iterator[Image.Image]:
    """Open an image with Pillow, header only, without Pillow's own size limit (ours is in bytes)."""
    with quietly():
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


def is_tiff(path: Path) -> bool:
    """Tell whether a file starts like a TIFF or BigTIFF."""
    with path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_jpeg(path: Path) -> bool:
    """Tell whether a file starts like a JPEG."""
    with path.open("rb") as file:
        return file.read(3) == b"\xff\xd8\xff"


def reason(error: BaseException) -> str:
    """Return an error's text on one line, shortened."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
