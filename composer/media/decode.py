"""Decode photographs as what they are: 8-bit, 16-bit or float, grey or colour, with alpha."""

from __future__ import annotations

import mmap
import tempfile
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from composer.backend import to_device
from composer.errors import OutputError, PhotoError
from composer.media.masks import without_excluded
from composer.media.metadata import icc_profile
from composer.media.opening import DAMAGE, is_jpeg, is_tiff, opened, reason
from composer.media.png import read_chunks
from composer.media.profiles import convert, srgb
from composer.media.radiance import is_radiance, read_radiance
from composer.records import Context, Photo

Array = NDArray[Any]
Key = tuple[str, str, int, str]

__all__ = ["PhotoStore", "coarse", "decode", "store_of", "upright"]

COARSE_MEGAPIXELS = 0.25  # what plans look at
STRIP = 1 << 19  # bytes of Pillow's: small enough for the processor's cache
DEVICE_MEMORY = 4 << 30  # for photos on a GPU


def coarse(photo: Photo, megapixels: float = COARSE_MEGAPIXELS) -> int:
    """Return the largest of 1, 2, 4, 8 by which a photo can be reduced to be reduced again to megapixels.

    Twice as many are left, since an average over little more than a pixel moves edges about.
    """
    spare = photo.width * photo.height / (2e6 * megapixels)
    return max((n for n in (2, 4, 8) if n * n <= spare), default=1)


def decode(photo: Photo, profile: bytes | None = None, shrink: int = 1) -> Array:
    """Decode a photograph's pixels, upright.

    Parameters
    ----------
    photo : Photo
    profile : bytes or None
        ICC profile to convert colours to; None leaves them as stored. A file without a profile is sRGB.
    shrink : 1, 2, 4 or 8
        A JPEG file is decoded at 1/shrink of its size, by smaller transforms of its blocks; only for those.

    Returns
    -------
    (H, W, C) array, or (H, W, C + 1) with alpha last, of the type that `photo` names; sizes are rounded.

    Raises
    ------
    PhotoError
        The file is damaged or has changed since its header was read.
    """
    pixels = photo.pixels if photo.path is None else _read(photo, photo.path, shrink)
    assert pixels is not None
    if profile is not None and photo.channels == 3:
        pixels = convert(pixels, icc_profile(photo), profile)
    return np.ascontiguousarray(pixels)


def _read(photo: Photo, path: Path, shrink: int) -> Array:
    """Read a file's pixels, turned upright, and check that they are what the header promised."""
    try:
        if is_tiff(path):
            from composer.media.tiff import read_tiff

            pixels = read_tiff(path, photo.channels, photo.alpha)
        elif is_radiance(path):
            pixels = read_radiance(path)
        else:
            pixels = _read_other(photo, path, shrink)
    except DAMAGE as error:
        raise PhotoError(
            f"{path}: cannot be decoded ({reason(error)}); it is damaged or cut short, copy it again"
            + (
                ", or read what is left of it by composer repair --salvage"
                if path.suffix.lower() in (".jpg", ".jpeg")
                else ""
            )
        ) from error
    pixels = upright(pixels, photo.orientation)
    promised = (*_reduced_size(photo, shrink), photo.channels + photo.alpha)
    if pixels.shape != promised or pixels.dtype.name != photo.dtype:
        raise PhotoError(
            f"{path}: decodes to {pixels.shape} {pixels.dtype}, its header said {promised} {photo.dtype}; "
            "leave it alone while composer runs, or export it again"
        )
    return pixels


def _reduced_size(photo: Photo, shrink: int) -> tuple[int, int]:
    """Return the height and width of a photo reduced by a whole number."""
    return max(1, round(photo.height / shrink)), max(1, round(photo.width / shrink))


def _read_other(photo: Photo, path: Path, shrink: int) -> Array:
    """Read JPEG, PNG, WebP or BMP with Pillow, but 16-bit PNG with OpenCV: Pillow would make it 8-bit."""
    mode = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA"}
    with opened(path) as image:
        deep = False
        for kind, data in read_chunks(path) if image.format == "PNG" else ():  # Pillow takes wrong checksums
            deep = deep or (kind == b"IHDR" and data[8] == 16)
        if deep:
            return _read_png16(photo, path, image.info.get("transparency"))
        wanted = mode[photo.channels, photo.alpha]
        picture = image if shrink == 1 else _drafted(image, shrink)
        picture.load()
        return _pixels_of(picture if picture.mode == wanted else picture.convert(wanted))


def _pixels_of(picture: Image.Image) -> Array:
    """Return a picture of 8-bit samples (H, W, C), taken over in strips: whole, Pillow copies it twice."""
    width, height = picture.size
    found = np.empty((height, width, len(picture.getbands())), np.uint8)
    rows = max(1, STRIP // (4 * width))
    for top in range(0, height, rows):
        strip = np.asarray(picture.crop((0, top, width, min(top + rows, height))))
        found[top : top + rows] = strip.reshape(-1, width, found.shape[2])
    return found


def _drafted(image: Image.Image, shrink: int) -> Image.Image:
    """Decode a JPEG at 1/shrink; where that leaves part of a pixel over, the edges are put back in place."""
    width, height = image.size
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    image.draft(None, (width // shrink, height // shrink))
    image.load()
    if width % shrink == 0 and height % shrink == 0:
        return image
    box = (0.0, 0.0, width / shrink, height / shrink)
    return image.resize(size, Image.Resampling.BILINEAR, box)


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


def upright(pixels: Array, orientation: int) -> Array:
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

    Plans look at small versions, which a JPEG file gives without all of its pixels.

    Parameters
    ----------
    profile : bytes or None
        ICC profile that all photos are converted to.
    max_memory : int
        Bytes of decoded photos to keep in memory; the rest goes to unnamed scratch files.
    whole : bool
        Whether small versions are made of the whole photographs, as where those are decoded anyway.
    """

    def __init__(self, profile: bytes | None = None, max_memory: int = 1 << 30, whole: bool = False) -> None:
        self.profile, self.whole = profile, whole
        self._left, self._left_on_device = max_memory, DEVICE_MEMORY
        self._kept: dict[Key, Any] = {}
        self._counted: dict[Key, int] = {}
        self._maps: dict[Key, mmap.mmap] = {}
        self._locks: dict[Key, threading.Lock] = {}
        self._lock = threading.Lock()

    @classmethod
    def for_photos(cls, photos: tuple[Photo, ...], max_memory: int) -> PhotoStore:
        """Make a store that converts colours to the first colour photo's profile, where profiles differ."""
        profiles = [icc_profile(p) for p in photos if p.channels == 3]
        if len(set(profiles)) <= 1:
            return cls(None, max_memory)
        return cls(profiles[0] or srgb(), max_memory)

    def pixels(self, photo: Photo, shrink: int = 1, device: str = "cpu") -> Any:
        """Return decoded pixels, 1/shrink as wide (averages), read-only, on "cpu" or "cuda".

        A device keeps the photos it was given while they fit into 4 GiB.

        Raises
        ------
        PhotoError
            The file is damaged.
        OutputError
            No room for scratch files.
        """
        key = _key(photo, shrink, device)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            found = self._kept.get(key)
            if found is None and device != "cpu":
                return self._uploaded(key, self.pixels(photo, shrink), device)
            if found is None:
                found = self._keep(key, without_excluded(self._made(photo, shrink), photo), photo)
        return found

    def rest(self, photo: Photo, shrink: int = 1) -> None:
        """Let go of the memory that a photo in a scratch file takes while it is read; it comes back."""
        mapped = self._maps.get(_key(photo, shrink, "cpu"))
        if mapped is not None:
            mapped.madvise(mmap.MADV_DONTNEED)

    def forget(self, photo: Photo, but: int = 0) -> None:
        """Drop all versions of a photo from memory, scratch files and devices, but one reduced by `but`."""
        with self._lock:
            for key in [k for k in self._kept if k[:2] == (photo.name, photo.sha256) and k[2] != but]:
                gone = self._kept.pop(key)
                self._maps.pop(key, None)
                self._left += self._counted.pop(key, 0)
                if key[3] != "cpu":
                    self._left_on_device += gone.nbytes

    def _made(self, photo: Photo, shrink: int) -> Array:
        """Decode a photo, or reduce it: from the version that plans look at where that is larger."""
        if shrink == 1:
            return decode(photo, self.profile)
        if self.whole or photo.path is None or not is_jpeg(photo.path):
            return _shrunk(self.pixels(photo), photo, shrink)
        if shrink > coarse(photo):
            return _shrunk(self.pixels(photo, coarse(photo)), photo, shrink)
        return _shrunk(decode(photo, self.profile, 1 << shrink.bit_length() - 1), photo, shrink)

    def _uploaded(self, key: Key, pixels: Array, device: str) -> Any:
        """Copy pixels to a device, and remember the copy while the budget lasts."""
        copy = to_device(pixels, device)
        with self._lock:
            if pixels.nbytes <= self._left_on_device:
                self._left_on_device -= pixels.nbytes
                self._kept[key] = copy
        return copy

    def _keep(self, key: Key, pixels: Array, photo: Photo) -> Array:
        """Keep an array in memory while the budget lasts, else in a scratch file; the caller's is there."""
        with self._lock:
            cost = 0 if pixels is photo.pixels else pixels.nbytes
            fits = cost <= self._left
            self._counted[key] = cost if fits else 0
            self._left -= self._counted[key]
        kept = pixels.view()
        if not fits:
            self._maps[key] = _scratch(pixels)
            kept = np.frombuffer(self._maps[key], pixels.dtype).reshape(pixels.shape)
        kept.flags.writeable = False
        self._kept[key] = kept
        return kept


def _key(photo: Photo, shrink: int, device: str) -> Key:
    return photo.name, photo.sha256, shrink, device


def _scratch(pixels: Array) -> mmap.mmap:
    """Return an unnamed file with an array's bytes, mapped."""
    try:
        with tempfile.TemporaryFile(prefix="composer-") as file:
            pixels.tofile(file)
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise OutputError(
            f"{tempfile.gettempdir()}: no room for scratch files ({reason(error)}); free some space, "
            "set TMPDIR to another folder, or raise --max-memory"
        ) from error


def _shrunk(pixels: Array, photo: Photo, shrink: int) -> Array:
    """Reduce a photo's pixels to 1/shrink of its size by averaging areas, its edges in place."""
    height, width = _reduced_size(photo, shrink)
    if pixels.shape[:2] == (height, width):
        return pixels
    small: Array = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return small if small.ndim == 3 else small[:, :, None]


def store_of(context: Context) -> PhotoStore:
    """Return the job's photo store."""
    store = context.photos
    assert isinstance(store, PhotoStore), "Context.photos must be a PhotoStore"
    return store
