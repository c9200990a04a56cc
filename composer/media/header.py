"""Read a photograph's header: size, sample type, orientation and focal length, without its pixels."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from composer.errors import ImageTooLarge, PhotoError
from composer.media.gravity import gravity_of
from composer.media.metadata import Exif, read_exif, read_xmp
from composer.media.opening import DAMAGE, is_tiff, opened, reason
from composer.media.radiance import is_radiance, radiance_layout
from composer.records import Photo

__all__ = ["as_array", "check_memory", "photo_from_array", "pictures_in", "read_photo"]

FULL_FRAME_DIAGONAL_MM = 43.267
BOMB_RATIO = 200  # no photograph compresses this well; white noise does not compress at all
BOMB_BYTES = 256 << 20
FOCAL_RANGE = 0.1, 100.0  # in image diagonals: from fisheyes to telescopes
ARRAYS = {"L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"}  # hold what they show
_DTYPES = {"uint8", "uint16", "float32"}


def read_photo(path: Path | str, max_memory: int = 2 << 30) -> Photo:
    """Read the header of one photograph.

    Parameters
    ----------
    path : path
    max_memory : int
        Bytes that the decoded pixels may take.

    Raises
    ------
    PhotoError
        Missing, empty, or not an image.
    ImageTooLarge
        Decoded, it would not fit into `max_memory`, or it is a decompression bomb.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise PhotoError(f"{path}: is a folder; give a photograph")
        if size == 0:
            raise PhotoError(f"{path}: is empty (0 bytes); copy it again from where it came")
        width, height, channels, dtype, alpha = _layout(path)
        decoded = width * height * (channels + alpha) * np.dtype(dtype).itemsize
        check_memory(str(path), width, height, decoded, size, max_memory)
        exif = read_exif(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        raise PhotoError(f"{path}: no such file; check the name") from None
    except PermissionError:
        raise PhotoError(f"{path}: permission denied; make it readable") from None
    except UnidentifiedImageError:
        raise PhotoError(
            f"{path}: not an image composer can read; give JPEG, PNG, TIFF, WebP, HDR or EXR"
        ) from None
    except DAMAGE as error:
        raise PhotoError(
            f"{path}: damaged header ({reason(error)}); copy it again or re-export it"
        ) from error
    focal = _focal_px(exif.camera, width, height)
    stored = exif.main.get(0x0112, 1)
    orientation = int(stored) if stored in range(1, 9) else 1
    if orientation >= 5:
        width, height = height, width
    camera = _camera_name(exif)
    return Photo(
        str(path), path, width, height, channels, dtype, alpha, orientation, focal, camera, digest,
        _gps(exif.gps), down=gravity_of(exif, read_xmp(path), orientation),
    )  # fmt: skip


def pictures_in(path: Path) -> int:
    """Return how many pictures a file holds: pages of a TIFF without previews, frames of an animation."""
    if is_radiance(path):
        return 1
    if is_tiff(path):
        from composer.media.tiff import tiff_pages

        return tiff_pages(path)
    with opened(path) as image:
        return int(getattr(image, "n_frames", 1))


def photo_from_array(pixels: NDArray[Any], name: str, hashed: bool = True) -> Photo:
    """Make a Photo of an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32.

    Pillow's images are taken as what they show. Photos that no plan will remember need not be `hashed`.

    Raises
    ------
    PhotoError
        Another shape or type.
    """
    kind, pixels = type(pixels).__name__, as_array(pixels)
    if pixels.ndim == 0:
        raise PhotoError(f"{name}: is of type {kind}; give a path or an array")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or 0 in pixels.shape:
        raise PhotoError(f"{name}: shape is {pixels.shape}; give (H, W), (H, W, 3) or (H, W, 4)")
    if pixels.dtype.name not in _DTYPES:
        raise PhotoError(f"{name}: type is {pixels.dtype}; give uint8, uint16 or float32")
    height, width, planes = pixels.shape
    alpha = planes in (2, 4)
    digest = ""
    if hashed:
        content = repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()
        digest = hashlib.sha256(content).hexdigest()
    return Photo(
        name, None, width, height, planes - alpha, pixels.dtype.name, alpha,
        sha256=digest, pixels=pixels,
    )  # fmt: skip


def as_array(source: Any) -> NDArray[Any]:
    """Return an array, or one of what an image of Pillow's shows: palettes and inks hold no colours."""
    if isinstance(source, Image.Image) and source.mode not in ARRAYS:
        clear = "transparency" in source.info or source.mode in ("PA", "RGBa", "La")
        source = source.convert("L" if source.mode == "1" else "RGBA" if clear else "RGB")
    return np.asarray(source)


def check_memory(name: str, width: int, height: int, decoded: int, stored: int, max_memory: int) -> None:
    """Refuse an image that would not fit into memory, or that is a decompression bomb.

    Raises
    ------
    ImageTooLarge
    """
    what = f"{name}: {width} x {height} pixels need {math.ceil(decoded / 2**20)} MB decoded"
    if decoded > max_memory:
        raise ImageTooLarge(
            f"{what}, more than the {max_memory >> 20} MB allowed; scale it down or raise --max-memory"
        )
    if decoded > BOMB_BYTES and decoded > BOMB_RATIO * stored:
        raise ImageTooLarge(
            f"{what} from a file of {stored / 2**20:.1f} MB: a decompression bomb, not a photograph; "
            "leave it out"
        )


def _layout(path: Path) -> tuple[int, int, int, str, bool]:
    """Return stored width, height, colour channels, sample type and whether there is alpha."""
    if is_tiff(path):
        from composer.media.tiff import tiff_layout

        return tiff_layout(path)
    if is_radiance(path):
        width, height, channels, alpha = radiance_layout(path)
        return width, height, channels, "float32", alpha
    with opened(path) as image:
        width, height = image.size
        alpha = image.getbands()[-1] in ("A", "a") or "transparency" in image.info
        grey = image.mode in ("1", "L", "LA")
        kind = image.format
    if kind != "PNG":
        return width, height, 1 if grey else 3, "uint8", alpha
    with path.open("rb") as file:
        bits, colour = file.read(26)[24:]
    return width, height, 1 if colour in (0, 4) else 3, "uint16" if bits == 16 else "uint8", alpha


def _camera_name(exif: Exif) -> str:
    """Return maker, model and focal length: what tells one lens setting from another."""
    parts = [str(exif.main.get(tag, "")).strip("\x00 ") for tag in (0x010F, 0x0110)]
    focal = _number(exif.camera.get(0x920A))
    return " ".join([*parts, f"{focal:g} mm" if focal else ""]).strip()


def _gps(detail: dict[int, Any]) -> tuple[float, float] | None:
    """Return latitude and longitude in degrees, None where EXIF does not say both."""
    found = []
    for tag, negative, limit in ((1, "S", 90), (3, "W", 180)):
        try:
            degrees, minutes, seconds = (float(k) for k in detail[tag + 1])
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return None
        angle = degrees + minutes / 60 + seconds / 3600
        if not 0 <= angle <= limit:  # NaN too
            return None
        found.append(-angle if str(detail.get(tag, "")).strip("\x00 ").upper() == negative else angle)
    return found[0], found[1]


def _number(value: Any) -> float | None:
    """Return an EXIF rational as a finite positive float, None if it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _focal_px(detail: dict[int, Any], width: int, height: int) -> float | None:
    """Return the focal length in pixels, from the 35-mm equivalent or the sensor's resolution.

    The 35-mm equivalent compares diagonals. FocalPlaneXResolution counts pixels of the original
    file, so it serves where PixelXDimension still says how wide that was.
    """
    diagonal = math.hypot(width, height)
    equivalent = _number(detail.get(0xA405))
    focal, resolution = _number(detail.get(0x920A)), _number(detail.get(0xA20E))
    unit_mm = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}.get(detail.get(0xA210, 2))
    original = _number(detail.get(0xA002))
    found = None
    if equivalent:
        found = equivalent / FULL_FRAME_DIAGONAL_MM * diagonal
    elif focal and resolution and unit_mm and original:
        found = focal * resolution / unit_mm * max(width, height) / max(original, width, height)
    low, high = FOCAL_RANGE
    return found if found and low * diagonal <= found <= high * diagonal else None
