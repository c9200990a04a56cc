"""Decode photographs as what they are: 8-bit, 16-bit or float, grey or colour, with alpha."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from composer.errors import PhotoError
from composer.media.header import opened
from composer.records import Context, Photo

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

Array = NDArray[Any]

__all__ = ["PhotoStore", "decode", "icc_profile"]


def decode(photo: Photo, profile: bytes | None = None) -> Array:
    """Decode a photograph's pixels, upright.

    Parameters
    ----------
    photo : Photo
    profile : bytes or None
        ICC profile to convert to; None leaves colours as stored. A file without a profile is sRGB.

    Returns
    -------
    (H, W, C) array, or (H, W, C + 1) with alpha last, of the type that `photo` names.

    Raises
    ------
    PhotoError
        The file is damaged or has changed since its header was read.
    """
    if photo.pixels is not None:
        return photo.pixels
    assert photo.path is not None
    pixels, own = _read(photo, photo.path)
    pixels = _upright(pixels, photo.orientation)
    planes = photo.channels + photo.alpha
    if pixels.shape != (photo.height, photo.width, planes):
        raise PhotoError(
            f"{photo.name}: decodes to {pixels.shape}, its header says "
            f"{(photo.height, photo.width, planes)}; export it again"
        )
    if profile is not None and own != profile and photo.channels == 3:
        pixels = _convert(pixels, own, profile)
    return np.ascontiguousarray(pixels)


def icc_profile(photo: Photo) -> bytes | None:
    """Return the ICC profile stored in a photograph's file, None if it has none."""
    if photo.path is None:
        return None
    with opened(photo.path) as image:
        found = image.info.get("icc_profile")
    return found or None


def _read(photo: Photo, path: Path) -> tuple[Array, bytes | None]:
    """Read stored pixels and ICC profile."""
    try:
        with opened(path) as image:
            profile = image.info.get("icc_profile")
            if image.format == "TIFF":
                return _read_tiff(photo, path), profile
            if photo.dtype == "uint16":
                return _read_png16(photo, path), profile
            image.load()
            return _from_pillow(image, photo), profile
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise PhotoError(
            f"{path}: cannot be decoded ({error}); the file is damaged or cut short, copy it again"
        ) from error


def _from_pillow(image: Image.Image, photo: Photo) -> Array:
    """Return an 8-bit Pillow image as an array, palette, CMYK and bilevel turned to grey or RGB."""
    mode = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA"}
    wanted = mode[photo.channels, photo.alpha]
    if image.mode != wanted:
        image = image.convert(wanted)
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _read_png16(photo: Photo, path: Path) -> Array:
    """Read a 16-bit PNG with OpenCV (Pillow would make it 8-bit), after Pillow checked its CRCs."""
    data = path.read_bytes()
    with opened(io.BytesIO(data)) as image:
        image.verify()
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise PhotoError(f"{path}: cannot be decoded as 16-bit PNG; export it again")
    return _from_opencv(found, photo)


def _from_opencv(found: Array, photo: Photo) -> Array:
    """Turn OpenCV's BGR(A) or grey into our order; grey with alpha comes as BGRA."""
    pixels = found if found.ndim == 3 else found[:, :, None]
    if pixels.shape[2] == 4:
        pixels = pixels[:, :, [2, 1, 0, 3]]
    elif pixels.shape[2] == 3:
        pixels = pixels[:, :, ::-1]
    if photo.channels == 1 and pixels.shape[2] >= 3:
        pixels = pixels[:, :, [0, 3] if photo.alpha else [0]]
    return pixels


def _read_tiff(photo: Photo, path: Path) -> Array:
    """Read a TIFF's first page with tifffile, or where it lacks the codec with Pillow or OpenCV."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        plain = page.photometric in (
            tifffile.PHOTOMETRIC.MINISBLACK,
            tifffile.PHOTOMETRIC.MINISWHITE,
            tifffile.PHOTOMETRIC.RGB,
        )
        if not plain or page.compression == tifffile.COMPRESSION.LZW:
            return _read_tiff_otherwise(photo, path)
        try:
            pixels = page.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return _read_tiff_otherwise(photo, path)
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, 2)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            pixels = pixels.max() - pixels if pixels.dtype == bool else np.iinfo(pixels.dtype).max - pixels
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.dtype.kind == "f":
        pixels = pixels.astype(np.float32)
    pixels = pixels if pixels.ndim == 3 else pixels[:, :, None]
    return pixels[:, :, : photo.channels + photo.alpha]


def _read_tiff_otherwise(photo: Photo, path: Path) -> Array:
    """Read a TIFF whose compression or colour space tifffile leaves to others."""
    if photo.dtype == "uint8":
        with opened(path) as image:
            image.load()
            return _from_pillow(image, photo)
    data = np.frombuffer(path.read_bytes(), np.uint8)
    found = cv2.imdecode(data, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if found is None:
        raise PhotoError(f"{path}: its TIFF compression is not readable here; save it as deflate")
    return _from_opencv(found, photo)


def _upright(pixels: Array, orientation: int) -> Array:
    """Apply an EXIF orientation (1 to 8) to stored pixels."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _convert(pixels: Array, own: bytes | None, profile: bytes) -> Array:
    """Convert colours between ICC profiles, relative colorimetric; other than 8-bit by a 33^3 table."""
    from PIL import ImageCms

    def parsed(data: bytes | None) -> Any:
        return ImageCms.ImageCmsProfile(io.BytesIO(data)) if data else ImageCms.createProfile("sRGB")

    try:
        transform = ImageCms.buildTransform(
            parsed(own), parsed(profile), "RGB", "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )  # fmt: skip
    except (ImageCms.PyCMSError, OSError):
        return pixels  # an unreadable profile: leave the colours as they are stored
    colours, alpha = pixels[:, :, :3], pixels[:, :, 3:]
    if pixels.dtype == np.uint8:
        converted = np.asarray(_apply(transform, colours))
    else:
        converted = _apply_table(transform, colours)
    return np.concatenate([converted, alpha], 2) if alpha.shape[2] else converted


def _apply(transform: ImageCmsTransform, colours: Array) -> Image.Image:
    from PIL import ImageCms

    image = ImageCms.applyTransform(Image.fromarray(np.ascontiguousarray(colours)), transform)
    assert image is not None
    return image


def _apply_table(transform: ImageCmsTransform, colours: Array) -> Array:
    """Interpolate the *change* that a transform makes in a 33^3 table, so fine steps survive."""
    from scipy.ndimage import map_coordinates

    top = 65535.0 if colours.dtype == np.uint16 else 1.0
    grid = np.round(np.linspace(0, 255, 33)).astype(np.uint8)
    lattice = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), -1).reshape(33, -1, 3)
    change = (np.asarray(_apply(transform, lattice), np.float32) - lattice) / 255
    change = change.reshape(33, 33, 33, 3)
    result = np.empty_like(colours)
    for start in range(0, len(colours), 256):
        band = colours[start : start + 256].astype(np.float32) / top
        where = np.clip(np.moveaxis(band, 2, 0) * 32, 0, 32)
        shift = [map_coordinates(change[..., c], where, order=1) for c in range(3)]
        moved = band + np.stack(shift, -1)
        if colours.dtype == np.uint16:
            moved = np.clip(np.round(moved * top), 0, top)
        result[start : start + 256] = moved.astype(colours.dtype)
    return result


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
        self._left = max_memory
        self._kept: dict[tuple[str, str, int], Array] = {}
        self._locks: dict[tuple[str, str, int], threading.Lock] = {}
        self._lock = threading.Lock()

    @classmethod
    def for_photos(cls, photos: tuple[Photo, ...], max_memory: int) -> PhotoStore:
        """Make a store that converts all photos to the first photo's profile, where profiles differ."""
        profiles = [icc_profile(p) for p in photos]
        if len(set(profiles)) <= 1:
            return cls(None, max_memory)
        first = profiles[0]
        if first is None:
            from PIL import ImageCms

            first = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        return cls(first, max_memory)

    def pixels(self, photo: Photo, shrink: int = 1) -> Array:
        """Return decoded pixels, 1/shrink as wide (area average), read-only.

        Raises
        ------
        PhotoError
            The file is damaged.
        """
        key = (photo.name, photo.sha256, shrink)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._kept:
                if shrink == 1:
                    found = decode(photo, self.profile)
                else:
                    found = _shrunk(self.pixels(photo), shrink)
                self._kept[key] = self._keep(found)
        return self._kept[key]

    def _keep(self, pixels: Array) -> Array:
        """Keep an array in memory while the budget lasts, else in a scratch file."""
        with self._lock:
            fits = pixels.nbytes <= self._left
            self._left -= pixels.nbytes if fits else 0
        if not fits:
            import tempfile

            file = tempfile.TemporaryFile(prefix="composer-")
            pixels.tofile(file)
            pixels = np.memmap(file, pixels.dtype, "r", shape=pixels.shape)
        pixels.flags.writeable = False
        return pixels


def _shrunk(pixels: Array, shrink: int) -> Array:
    """Average blocks of shrink x shrink pixels; what is left at right and bottom edges is averaged too."""
    height, width = pixels.shape[:2]
    size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return small if small.ndim == 3 else small[:, :, None]


def store_of(context: Context) -> PhotoStore:
    """Return the job's photo store."""
    store = context.photos
    assert isinstance(store, PhotoStore), "Context.photos must be a PhotoStore"
    return store
