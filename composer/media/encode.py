"""Write pictures: JPEG, PNG, TIFF, WebP; to a temporary name first, moved into place when complete."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from composer.errors import OutputError
from composer.media.deepzoom import descriptor, write_tiles
from composer.media.metadata import Metadata
from composer.media.opening import reason
from composer.media.png import chunks16
from composer.media.profiles import fitting
from composer.media.tiff_write import alpha_plane, write_tiff

Array = NDArray[Any]

__all__ = [
    "STREAMED",
    "check_folder",
    "check_layers",
    "check_output",
    "replacing",
    "tiles_folder",
    "write_bands",
    "write_image",
]

LIMITS = {"JPEG": 65500, "WebP": 16383, "PNG": 2**31 - 1, "TIFF": 2**32 - 1, "Deep Zoom": 2**31 - 1}
FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WebP",
    ".dzi": "Deep Zoom",
}  # fmt: skip
STREAMED = ("TIFF", "Deep Zoom")  # written while rows come; the others gather the canvas first
JPEG_QUALITY = 95
JPEG_SEGMENT = 65000  # a marker's 64 kB less what Pillow puts in front


def check_output(path: Path, width: int = 1, height: int = 1) -> str:
    """Check that a picture can be written, before any work is done.

    Returns
    -------
    The format's name.

    Raises
    ------
    OutputError
        Unknown suffix, missing or unwritable folder, or a picture too large for the format.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise OutputError(
            f"{path}: cannot write {path.suffix or 'a file without suffix'}; "
            "use .jpg, .png, .tif, .webp or .dzi"
        )
    check_folder(path)
    if kind == "Deep Zoom" and tiles_folder(path).exists() and not path.exists():
        raise OutputError(f"{tiles_folder(path)}: exists, and {path} does not; choose another name")
    if max(width, height) > LIMITS[kind]:
        raise OutputError(
            f"{path}: {width} x {height} pixels are more than {kind} allows ({LIMITS[kind]}); "
            "write .tif or .dzi, or make it smaller with --width"
        )
    return kind


def check_layers(path: Path) -> None:
    """Check that a TIFF of layers can be written.

    Raises
    ------
    OutputError
    """
    if FORMATS.get(path.suffix.lower()) != "TIFF":
        raise OutputError(f"{path}: layers are written as TIFF; give a name that ends in .tif")
    check_folder(path)


def check_folder(path: Path) -> None:
    """Check that a file can be made next to `path`.

    Raises
    ------
    OutputError
    """
    folder = path.parent
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; give a file name")
    if not folder.is_dir():
        raise OutputError(f"{path}: folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: folder {folder} is not writable; choose another")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: is a device or pipe; give the name of a file")
    if path.exists() and not os.access(path, os.W_OK):
        raise OutputError(f"{path}: exists and is write-protected; choose another name")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that takes its place when the block ends well.

    Raises
    ------
    OutputError
        The disk is full or the file cannot be written; nothing is left behind.
    """
    check_folder(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            "w+b", dir=path.parent, prefix=".composer-", suffix=".part", delete=False
        ) as file:
            temporary = Path(file.name)
            yield file  # type: ignore[misc]
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or reason(error)}); free some space, "
            "or choose another place"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_image(
    path: Path, image: Array, alpha: Array | None = None, metadata: Metadata | None = None
) -> list[str]:
    """Write a picture that is in memory.

    Parameters
    ----------
    path : Path
        Its suffix chooses the format.
    image : (H, W, C) uint8, uint16 or float32
    alpha : (H, W) bool or None
        Where the picture is valid; written as alpha where the format has one, else black.

    Returns
    -------
    What had to be changed for the format's sake, a sentence each.
    """
    bands = iter([(0, image, alpha if alpha is not None else np.ones(image.shape[:2], bool))])
    holes = alpha is not None and not bool(alpha.all())
    return write_bands(path, bands, image.shape, image.dtype.name, holes, metadata)


def write_bands(
    path: Path,
    bands: Iterator[tuple[int, Array, Array]],
    shape: tuple[int, ...],
    dtype: str,
    holes: bool,
    metadata: Metadata | None = None,
) -> list[str]:
    """Write a picture from rows of tiles; TIFF and Deep Zoom stream them, the others gather them first.

    Parameters
    ----------
    bands : iterator of (top, image (h, W, C), valid (h, W))
    shape : (H, W, C)
    dtype : "uint8", "uint16" or "float32"
    holes : bool
        Whether a TIFF gets an alpha plane; the others get one if a pixel turns out invalid.

    Returns
    -------
    What had to be changed for the format's sake, a sentence each.

    Raises
    ------
    OutputError
    """
    height, width, channels = shape
    kind = check_output(path, width, height)
    metadata = metadata or Metadata()
    metadata = replace(metadata, icc=fitting(metadata.icc, 3 if kind == "WebP" else channels))
    notes: list[str] = []
    if kind == "TIFF":
        with replacing(path) as file:
            write_tiff(file, bands, (height, width, channels), dtype, holes, metadata)
        return notes
    target = _target(kind, dtype)
    if target != dtype:
        notes.append(f"{path}: {kind} cannot hold {dtype}; written as {target} (use .tif to keep it)")
    if kind == "Deep Zoom":
        _write_deep_zoom(path, bands, (width, height), metadata)
        return notes
    image, valid = _gathered(bands, shape, target)
    if kind == "JPEG":
        image[~valid] = 0
        metadata = _within_segments(path, metadata, notes)
    elif not valid.all():
        image = np.concatenate([image, alpha_plane(valid, image.dtype)], 2)
    writers: dict[str, Callable[[BinaryIO, Array, Metadata], None]] = {
        "JPEG": _write_jpeg, "PNG": _write_png, "WebP": _write_webp,
    }  # fmt: skip
    with replacing(path) as file:
        writers[kind](file, image, metadata)
    return notes


def _target(kind: str, dtype: str) -> str:
    """Return the sample type that a format other than TIFF gives to pixels of `dtype`."""
    return "uint8" if dtype == "uint8" or kind != "PNG" else "uint16"


def _gathered(
    bands: Iterator[tuple[int, Array, Array]], shape: tuple[int, ...], target: str
) -> tuple[Array, Array]:
    """Put rows of tiles together, narrowed to another type, and where they are valid."""
    image, valid = np.zeros(shape, target), np.zeros(shape[:2], bool)
    for top, rows, covered in bands:
        here = slice(top, top + len(rows))
        image[here] = rows if rows.dtype == target else _narrowed(rows, target)
        valid[here] = covered
    return image, valid


def _narrowed(image: Array, target: str) -> Array:
    """Reduce float32 0..1 or uint16 to a narrower type, rounded and clipped; NaN becomes 0."""
    top = np.iinfo(target).max
    full = 1.0 if image.dtype.kind == "f" else float(np.iinfo(image.dtype).max)
    scaled = np.nan_to_num(image.astype(np.float32) * (top / full)) + 0.5
    narrowed: Array = np.clip(scaled, 0, top).astype(target)
    return narrowed


def _write_deep_zoom(
    path: Path, bands: Iterator[tuple[int, Array, Array]], size: tuple[int, int], metadata: Metadata
) -> None:
    """Write a Deep Zoom pyramid: the folder of tiles first, then the file that describes it."""

    def rows() -> Iterator[Array]:
        for _, part, covered in bands:
            part = part if part.dtype == np.uint8 else _narrowed(part, "uint8")
            yield part if covered.all() else part * covered[:, :, None]

    with _replacing_folder(tiles_folder(path)) as folder:
        write_tiles(folder, rows(), size, metadata.icc)
    with replacing(path) as file:
        file.write(descriptor(size))


def tiles_folder(path: Path) -> Path:
    """Return the folder where a Deep Zoom file keeps its tiles."""
    return path.with_name(f"{path.stem}_files")


@contextlib.contextmanager
def _replacing_folder(path: Path) -> Iterator[Path]:
    """Make a temporary folder beside `path` that takes its place when the block ends well."""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".composer-", suffix=".part") as temporary:
            made, old = Path(temporary, "new"), Path(temporary, "old")
            made.mkdir()
            yield made
            if path.exists():
                path.rename(old)
            made.rename(path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or reason(error)}); free some space, "
            "or choose another place"
        ) from error


def _within_segments(path: Path, metadata: Metadata, notes: list[str]) -> Metadata:
    """Leave out metadata that a JPEG's segment of 64 kB cannot hold, with a note."""
    exif, xmp = (
        data if data is None or len(data) < JPEG_SEGMENT else None for data in (metadata.exif, metadata.xmp)
    )
    for name, before, after in (("EXIF", metadata.exif, exif), ("XMP", metadata.xmp, xmp)):
        if before is not None and after is None:
            size = len(before) // 1000
            notes.append(f"{path}: {size} kB of {name} left out, JPEG holds 65 (use .tif or .png to keep it)")
    return Metadata(exif, metadata.icc, xmp)


def _pillow(image: Array) -> Image.Image:
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def _write_jpeg(file: BinaryIO, image: Array, metadata: Metadata) -> None:
    options: dict[str, Any] = {"xmp": metadata.xmp} if metadata.xmp else {}
    _pillow(image).save(
        file, "JPEG", quality=JPEG_QUALITY, subsampling=0, exif=metadata.exif or b"",
        icc_profile=metadata.icc, **options,
    )  # fmt: skip


def _write_webp(file: BinaryIO, image: Array, metadata: Metadata) -> None:
    picture = _pillow(image)
    if picture.mode in ("L", "LA"):
        picture = picture.convert("RGB" if picture.mode == "L" else "RGBA")
    picture.save(
        file, "WEBP", quality=JPEG_QUALITY, method=2, exif=metadata.exif or b"",
        icc_profile=metadata.icc, xmp=metadata.xmp or b"",
    )  # fmt: skip


def _write_png(file: BinaryIO, image: Array, metadata: Metadata) -> None:
    if image.dtype == np.uint16:
        file.writelines(chunks16(image, metadata.icc, metadata.exif, metadata.xmp))
        return
    info = PngImagePlugin.PngInfo()
    if metadata.xmp:
        info.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
    _pillow(image).save(
        file, "PNG", compress_level=3, pnginfo=info, exif=metadata.exif or b"", icc_profile=metadata.icc
    )
