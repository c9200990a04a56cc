"""ICC profiles (ICC.1:2022): which pixels they fit, and conversion from one to another."""

from __future__ import annotations

import functools
import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

Array = NDArray[Any]
Shaper = tuple[Array, Array]

__all__ = ["convert", "fitting", "profile_name", "srgb"]

ROWS = 256
NODES = 65536


@functools.cache
def srgb() -> bytes:
    """Return the profile that untagged photographs are taken to have."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def fitting(profile: bytes | None, channels: int) -> bytes | None:
    """Return a profile if it describes grey (1) or RGB (3) pixels, as asked; else None (a CMYK file's)."""
    space = profile[16:20] if profile else None
    return profile if space == {1: b"GRAY", 3: b"RGB "}[channels] else None


def profile_name(profile: bytes | None) -> str:
    """Return what a profile calls itself; none is sRGB, as are all whose name begins like that."""
    from PIL import ImageCms

    if profile is None or profile == srgb():
        return "sRGB"
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip()
    except (ImageCms.PyCMSError, OSError):
        name = ""
    return "sRGB" if name.startswith("sRGB") else name or "one without a name"


def convert(pixels: Array, own: bytes | None, profile: bytes) -> Array:
    """Convert (H, W, 3 or 4) pixels between RGB profiles, relative colorimetric; None is sRGB.

    8-bit goes through LittleCMS. Pillow offers it no deeper samples, so 16-bit and float are computed
    here from curves and matrix, or for profiles made of tables from the change to a 33^3 lattice. With
    an unreadable profile colours stay as they are stored.
    """
    own = own or srgb()
    if own == profile:
        return pixels
    colours, alpha = pixels[:, :, :3], pixels[:, :, 3:]
    before, after = (None, None) if pixels.dtype == np.uint8 else (_shaper(own), _shaper(profile))
    if before is not None and after is not None:
        return _joined(_shaped(colours, before, after), alpha)
    transform = _transform(own, profile)
    if transform is None:
        return pixels
    if pixels.dtype == np.uint8:
        return _joined(np.asarray(_apply(transform, colours)), alpha)
    return _joined(_by_lattice(transform, colours), alpha)


def _joined(colours: Array, alpha: Array) -> Array:
    return np.concatenate([colours, alpha], 2) if alpha.shape[2] else colours


def _shaper(profile: bytes) -> Shaper | None:
    """Return a matrix profile's curves (3, NODES) and its matrix to XYZ, None for other kinds."""
    try:
        count = struct.unpack_from(">I", profile, 128)[0]
        entries = [struct.unpack_from(">4sII", profile, 132 + 12 * k) for k in range(min(count, 100))]
        tags = {name: profile[offset : offset + size] for name, offset, size in entries}
        if profile[20:24] != b"XYZ " or b"A2B0" in tags or b"B2A0" in tags:
            return None
        curves = np.stack([_curve(tags[c + b"TRC"]) for c in (b"r", b"g", b"b")])
        columns = [np.array(struct.unpack_from(">3i", tags[c + b"XYZ"], 8)) for c in (b"r", b"g", b"b")]
    except (struct.error, KeyError, ValueError):
        return None
    matrix = np.stack(columns, 1) / 65536
    usable = np.isfinite(curves).all() and (curves[:, -1] > curves[:, 0]).all()
    return (curves, matrix) if usable and np.linalg.cond(matrix) < 1e6 else None


def _curve(tag: bytes) -> Array:
    """Evaluate a tone curve, encoded to linear, at NODES steps (ICC.1:2022, 10.6 and 10.18)."""
    x = np.linspace(0, 1, NODES)
    if tag[:4] == b"curv":
        count = struct.unpack_from(">I", tag, 8)[0]
        values = np.frombuffer(tag, ">u2", count, 12).astype(float)
        if count == 0:
            return x
        if count == 1:
            return np.asarray(x ** (values[0] / 256))
        y = np.interp(x, np.linspace(0, 1, count), values / 65535)
    elif tag[:4] == b"para":
        kind = struct.unpack_from(">H", tag, 8)[0]
        given = [v / 65536 for v in struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12)]
        g, a, b, c, d, e, f = _parameters(given)
        y = np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)
    else:
        raise ValueError("unknown curve")
    return np.maximum.accumulate(np.clip(y, 0, 1))


def _parameters(given: list[float]) -> list[float]:
    """Return g a b c d e f of the longest form of a parametric curve: (a x + b)^g + e, below d c x + f."""
    if len(given) == 1:
        return [*given, 1, 0, 0, 0, 0, 0]
    if len(given) == 5:
        return [*given, 0, 0]
    if len(given) == 7:
        return given
    g, a, b, *lift = given
    floor = lift[0] if lift else 0.0
    return [g, a, b, 0, -b / a if a else 0, floor, floor]


def _shaped(colours: Array, before: Shaper, after: Shaper) -> Array:
    """Convert by curve, matrix and inverse curve; what a float has outside 0..1 is carried over."""
    matrix = np.linalg.solve(after[1], before[1])
    whole = colours.dtype == np.uint16
    nodes = np.linspace(0, 1, NODES)
    result = np.empty(colours.shape, colours.dtype)
    for top in range(0, len(colours), ROWS):
        band = colours[top : top + ROWS]
        inside = band if whole else np.clip(np.nan_to_num(band), 0, 1)
        curve = before[0]
        linear = [curve[c][inside[..., c]] if whole else np.interp(inside[..., c], nodes, curve[c])
                  for c in range(3)]  # fmt: skip
        mixed = np.stack(linear, -1) @ matrix.T
        moved = np.stack([np.interp(mixed[..., c], after[0][c], nodes) for c in range(3)], -1)
        result[top : top + ROWS] = np.round(moved * 65535) if whole else moved + (band - inside)
    return result


def _transform(own: bytes, profile: bytes) -> ImageCmsTransform | None:
    from PIL import ImageCms

    try:
        return ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(own)), ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            "RGB", "RGB", renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )  # fmt: skip
    except (ImageCms.PyCMSError, OSError):
        return None


def _apply(transform: ImageCmsTransform, colours: Array) -> Image.Image:
    from PIL import ImageCms

    image = ImageCms.applyTransform(Image.fromarray(np.ascontiguousarray(colours)), transform)
    assert image is not None
    return image


def _by_lattice(transform: ImageCmsTransform, colours: Array) -> Array:
    """Interpolate the *change* that a transform makes in a 33^3 table, so fine steps survive."""
    from scipy.ndimage import map_coordinates

    top = 65535.0 if colours.dtype == np.uint16 else 1.0
    grid = np.round(np.linspace(0, 255, 33)).astype(np.uint8)
    lattice = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), -1).reshape(33, -1, 3)
    change = (np.asarray(_apply(transform, lattice), np.float32) - lattice) / 255
    change = change.reshape(33, 33, 33, 3)
    result = np.empty_like(colours)
    for start in range(0, len(colours), ROWS):
        band = colours[start : start + ROWS].astype(np.float32) / top
        where = np.clip(np.moveaxis(band, 2, 0) * 32, 0, 32)
        shift = [map_coordinates(change[..., c], where, order=1) for c in range(3)]
        moved = band + np.stack(shift, -1)
        if colours.dtype == np.uint16:
            moved = np.clip(np.round(moved * top), 0, top)
        result[start : start + ROWS] = moved.astype(colours.dtype)
    return result
