"""Decode photographs as what they are: 8-bit, 16-bit or float, grey or colour, with alpha."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend import to_device
from composer.errors import OutputError, PhotoError
from composer.media.masks import without_excluded
from composer.media.metadata import icc_profile
from composer.media.opening import DAMAGE, is_tiff, opened, reason
from composer.media.png import read_chunks
from composer.media.profiles import convert, srgb
from composer.records import Context, Photo

Array = NDArray[Any]

__all__ = ["PhotoStore", "decode", "store_of"]


def decode(photo: Photo, profile: bytes | None = None) -> Array:
    """Decode a photograph's pixels, upright.

    Parameters
    ----------
    photo : Photo
    profile : bytes or None
        ICC profile to convert colours to; None leaves them as stored. A file without a profile is sRGB.

    Returns
    -------
    (H, W, C) array, or (H, W, C + 1) with alpha last, of the type that `photo` names.

    Raises
    ------
    PhotoError
        The file is damaged or has changed since its header was read.
    """
    pixels = photo.pixels if photo.path is None else _read(photo, photo.path)
    assert pixels is not None
    if profile is not None and photo.channels == 3:
        pixels = convert(pixels, icc_profile(photo), profile)
    return np.ascontiguousarray(pixels)


def _read(photo: Photo, path: Path) -> Array:
    """Read a file's pixels, turned upright, and check that they are what the header promised."""
    try:
        if is_tiff(path):
            from composer.media.tiff import read_tiff

            pixels = read_tiff(path, photo.channels, photo.alpha)
        else:
            pixels = _read_other(photo, path)
    except DAMAGE as error:
        raise PhotoError(
            f"{path}: cannot be decoded ({reason(error)}); it is damaged or cut short, copy it again"
        ) from error
    pixels = _upright(pixels, photo.orientation)
    promised = (photo.height, photo.width, photo.channels + photo.alpha)
    if pixels.shape != promised or pixels.dtype.name != photo.dtype:
        raise PhotoError(
            f"{path}: decodes to {pixels.shape} {pixels.dtype}, its header said {promised} {photo.dtype}; "
            "leave it alone while composer runs, or export it again"
        )
    return pixels


def _read_other(photo: Photo, path: Path) -> Array:
    """Read JPEG, PNG, WebP or BMP with Pillow, but 16-bit PNG with OpenCV: Pillow would make it 8-bit."""
    mode = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA"}
    with opened(path) as image:
        deep = False
        for kind, data in read_chunks(path) if image.format == "PNG" else ():  # Pillow takes wrong checksums
            deep = deep or (kind == b"IHDR" and data[8] == 16)
        if deep:
            return _read_png16(photo, path, image.info.get("transparency"))
        image.load()
        wanted = mode[photo.channels, photo.alpha]
        pixels = np.asarray(image if image.mode == wanted else image.convert(wanted))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _read_png16(photo: Photo, path: Path, transparent: Any) -> Array:
    """Read a 16-bit PNG; OpenCV gives BGR(A), also for grey with alpha, and no alpha for a grey value."""
    found = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise PhotoError(f"{path}: cannot be decoded as 16-bit PNG; export it again")
    pixels: Array = found if found.ndim == 3 else found[:, :, None]
    if pixels.shape[2] >= 3:
        pixels = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
        return pixels if photo.channels == 3 else pixels[:, :, [0, 3]]
    if photo.alpha:
        alpha = np.where(pixels == transparent, 0, 65535).astype(np.uint16)
        pixels = np.concatenate([pixels, alpha], 2)
    return pixels


def _upright(pixels: Array, orientation: int) -> Array:
    """Apply an EXIF orientation (1 to 8) to stored pixels."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


class PhotoStore:
    """Decoded photographs of one job: each is decoded once and kept, in memory or in a scratch file.

    Parameters
    ----------
    profile : bytes or None
        ICC profile that all photos are converted to.
    max_memory : int
        Bytes of decoded photos to keep in memory; the rest goes to unnamed scratch files.
    """

    def __init__(self, profile: bytes | None = None, max_memory: int = 2 << 30) -> None:
        self.profile = profile
        self._left = self._left_on_device = max_memory
        self._kept: dict[tuple[str, str, int, str], Any] = {}
        self._locks: dict[tuple[str, str, int, str], threading.Lock] = {}
        self._lock = threading.Lock()

    @classmethod
    def for_photos(cls, photos: tuple[Photo, ...], max_memory: int) -> PhotoStore:
        """Make a store that converts colours to the first colour photo's profile, where profiles differ."""
        profiles = [icc_profile(p) for p in photos if p.channels == 3]
        if len(set(profiles)) <= 1:
            return cls(None, max_memory)
        return cls(profiles[0] or srgb(), max_memory)

    def pixels(self, photo: Photo, shrink: int = 1, device: str = "cpu") -> Any:
        """Return decoded pixels, 1/shrink as wide (area average), read-only, on "cpu" or "cuda".

        A device keeps the photos it was given while they fit into as much memory as the host's.

        Raises
        ------
        PhotoError
            The file is damaged.
        OutputError
            No room for scratch files.
        """
        key = (photo.name, photo.sha256, shrink, device)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._kept and device != "cpu":
                return self._uploaded(key, self.pixels(photo, shrink), device)
            if key not in self._kept:
                whole = shrink == 1
                found = decode(photo, self.profile) if whole else _shrunk(self.pixels(photo), shrink)
                self._kept[key] = self._keep(without_excluded(found, photo))
        return self._kept[key]

    def _uploaded(self, key: tuple[str, str, int, str], pixels: Array, device: str) -> Any:
        """Copy pixels to a device, and remember the copy while the budget lasts."""
        copy = to_device(pixels, device)
        with self._lock:
            if pixels.nbytes <= self._left_on_device:
                self._left_on_device -= pixels.nbytes
                self._kept[key] = copy
        return copy

    def _keep(self, pixels: Array) -> Array:
        """Keep an array in memory while the budget lasts, else in a scratch file."""
        with self._lock:
            fits = pixels.nbytes <= self._left
            self._left -= pixels.nbytes if fits else 0
        kept = pixels.view() if fits else _scratch(pixels)
        kept.flags.writeable = False
        return kept


def _scratch(pixels: Array) -> Array:
    """Return an array's copy in an unnamed file, mapped."""
    try:
        with tempfile.TemporaryFile(prefix="composer-") as file:
            pixels.tofile(file)
            return np.memmap(file, pixels.dtype, "r", shape=pixels.shape)
    except OSError as error:
        raise OutputError(
            f"{tempfile.gettempdir()}: no room for scratch files ({reason(error)}); free some space, "
            "set TMPDIR to another folder, or raise --max-memory"
        ) from error


def _shrunk(pixels: Array, shrink: int) -> Array:
    """Average blocks of shrink x shrink pixels; what is left at right and bottom edges is averaged too."""
    height, width = pixels.shape[:2]
    size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    small: Array = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return small if small.ndim == 3 else small[:, :, None]


def store_of(context: Context) -> PhotoStore:
    """Return the job's photo store."""
    store = context.photos
    assert isinstance(store, PhotoStore), "Context.photos must be a PhotoStore"
    return store
