"""Write pictures in all formats; to a temporary name first, moved into place when complete."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from composer.errors import OutputError
from composer.media.deepzoom import descriptor, write_tiles
from composer.media.inputs import SUFFIXES
from composer.media.jpeg_write import within_segments, write_jpeg
from composer.media.metadata import Metadata
from composer.media.opening import reason
from composer.media.png import png_chunks
from composer.media.profiles import fitting, profile_name
from composer.media.radiance import write_exr, write_hdr
from composer.media.tiff_write import alpha_plane, write_tiff

Array = NDArray[Any]

__all__ = [
    "FORMATS",
    "STREAMED",
    "check_apart",
    "check_folder",
    "check_layers",
    "check_output",
    "check_suffix",
    "discard_unfinished",
    "replacing",
    "tiles_folder",
    "write_bands",
    "write_image",
]

LIMITS = {
    "JPEG": 65500, "WebP": 16383, "PNG": 2**31 - 1, "TIFF": 2**32 - 1, "Deep Zoom": 2**31 - 1,
    "HDR": 2**31 - 1, "EXR": 2**31 - 1,
}  # fmt: skip
FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WebP",
    ".dzi": "Deep Zoom", ".hdr": "HDR", ".exr": "EXR",
}  # fmt: skip
STREAMED = "JPEG", "TIFF", "PNG", "Deep Zoom", "HDR", "EXR"  # WebP gathers the canvas first
_UNFINISHED: set[Path] = set()  # files and folders being written under temporary names
WEBP_QUALITY = 95


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
    kind = FORMATS[check_suffix(path.suffix.lower(), path)]
    check_folder(path)
    if kind == "Deep Zoom" and tiles_folder(path).exists() and not path.exists():
        raise OutputError(f"{tiles_folder(path)}: exists, and {path} does not; choose another name")
    if max(width, height) > LIMITS[kind]:
        raise OutputError(
            f"{path}: {width} x {height} pixels are more than {kind} allows ({LIMITS[kind]}); "
            "write .tif or .dzi, or make it smaller with --width"
        )
    return kind


def check_suffix(suffix: str, path: Path | str = "format") -> str:
    """Return a file name's suffix, in lower case, if pictures can be written as that.

    Raises
    ------
    OutputError
    """
    if suffix not in FORMATS:
        raise OutputError(
            f"{path}: cannot write {suffix or 'a file without suffix'}; "
            "use .jpg, .png, .tif, .webp, .dzi, .hdr or .exr"
        )
    return suffix


def check_layers(path: Path, output: Path | None = None) -> None:
    """Check that a TIFF of layers can be written beside the output.

    Raises
    ------
    OutputError
    """
    if FORMATS.get(path.suffix.lower()) != "TIFF":
        raise OutputError(f"{path}: layers are written as TIFF; give a name that ends in .tif")
    if output is not None and path.resolve() == output.resolve():
        raise OutputError(f"{path}: is the panorama's name too; choose another for the layers")
    check_folder(path)


def check_folder(path: Path) -> None:
    """Check that a file can be made at `path`; a link there stays, and leads to the file.

    Raises
    ------
    OutputError
    """
    folder = _led(path).parent
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


def check_apart(path: Path, what: str) -> None:
    """Check that a file that is no picture can be written, and has no picture's name: it may be a photo's.

    Raises
    ------
    OutputError
    """
    check_folder(path)
    if path.name == "-":
        raise OutputError(f"{path}: {what} does not go to standard output; give the name of a file")
    if path.suffix.lower() in SUFFIXES:
        raise OutputError(f"{path}: {what} is no picture; give a name with another ending")


def _led(path: Path) -> Path:
    """Return where a link leads, or the path itself: /dev/stdout and people's links are not replaced."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that takes its place when the block ends well.

    Raises
    ------
    OutputError
        The disk is full or the file cannot be written; nothing is left behind.
    """
    check_folder(path)
    target, temporary = _led(path), None
    try:
        with tempfile.NamedTemporaryFile(
            "w+b", dir=target.parent, prefix=".composer-", suffix=".part", delete=False
        ) as file:
            temporary = Path(file.name)
            _UNFINISHED.add(temporary)
            yield file  # type: ignore[misc]
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or reason(error)}); free some space, "
            "or choose another place"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
            _UNFINISHED.discard(temporary)


def discard_unfinished() -> None:
    """Remove the files that are being written: for a process that ends without unwinding."""
    for temporary in list(_UNFINISHED):
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_image(
    path: Path,
    image: Array,
    alpha: Array | None = None,
    metadata: Metadata | None = None,
    workers: int = 1,
) -> list[str]:
    """Write a picture that is in memory.

    Parameters
    ----------
    path : Path
        Its suffix chooses the format.
    image : (H, W, C) uint8, uint16 or float32
    alpha : (H, W) bool or of the image's type, or None
        Where the picture is valid; written as alpha where the format has one, else shown against black.
        Its type says whether a plane is always written (as it is), or where it has holes.
    metadata : Metadata or None
    workers : int
        Threads, for JPEG, PNG and TIFF.

    Returns
    -------
    What had to be changed for the format's sake, a sentence each.
    """
    bands = iter([(0, image, alpha if alpha is not None else np.ones(image.shape[:2], bool))])
    holes = alpha is not None and not (alpha.dtype == bool and bool(alpha.all()))
    return write_bands(path, bands, image.shape, image.dtype.name, holes, metadata, workers)


def write_bands(
    path: Path,
    bands: Iterator[tuple[int, Array, Array]],
    shape: tuple[int, ...],
    dtype: str,
    holes: bool,
    metadata: Metadata | None = None,
    workers: int = 1,
) -> list[str]:
    """Write a picture from rows of tiles; WebP gathers them first, the others write as they come.

    Parameters
    ----------
    bands : iterator of (top, image (h, W, C), valid (h, W) bool, or alpha of the image's type)
    shape : (H, W, C)
    dtype : "uint8", "uint16" or "float32"
    holes : bool
        Whether TIFF and PNG get an alpha plane; WebP gets one if a pixel turns out invalid.
    metadata : Metadata or None
    workers : int
        Threads, for JPEG, PNG and TIFF.

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
    target, notes = _target(kind, dtype), []
    if kind in ("HDR", "EXR"):
        notes += _unheld(path, kind, metadata)
        bands = ((top, _as_float(rows), _as_float(covered)) for top, rows, covered in bands)
    elif target != dtype:
        notes.append(f"{path}: {kind} cannot hold {dtype}; written as {target} (use .tif to keep it)")
        bands = ((top, _narrowed(rows, target), _narrowed(covered, target)) for top, rows, covered in bands)
    if kind == "Deep Zoom":
        _write_deep_zoom(path, bands, (width, height), metadata)
        return notes
    if kind == "JPEG":
        metadata = within_segments(path, metadata, notes)
    with replacing(path) as file:
        if kind == "TIFF":
            write_tiff(file, bands, (height, width, channels), dtype, holes, metadata, workers)
        elif kind == "HDR":
            write_hdr(file, bands, (height, width, channels))
        elif kind == "EXR":
            write_exr(file, bands, (height, width, channels), holes)
        elif kind == "JPEG":
            rows = (_on_black(part, covered) for _, part, covered in bands)
            write_jpeg(file, rows, (height, width, channels), metadata, workers)
        elif kind == "PNG":
            _write_png(file, bands, (height, width, channels + holes), target, metadata, workers)
        else:
            _write_webp(file, *_gathered(bands, shape, target), metadata)
    return notes


def _target(kind: str, dtype: str) -> str:
    """Return the sample type that a format gives to pixels of `dtype`."""
    if kind in ("HDR", "EXR"):
        return "float32"
    if kind == "TIFF" or dtype == "uint8":
        return dtype
    return "uint16" if kind == "PNG" else "uint8"


def _gathered(
    bands: Iterator[tuple[int, Array, Array]], shape: tuple[int, ...], dtype: str
) -> tuple[Array, Array]:
    """Put rows of tiles together, and where they are valid; black where not."""
    image, valid = np.zeros(shape, dtype), np.zeros(shape[:2], bool)
    for top, rows, covered in bands:
        here = slice(top, top + len(rows))
        image[here] = _on_black(rows, covered) if covered.dtype == bool else rows
        if covered.dtype != valid.dtype:
            valid = valid.astype(covered.dtype)
        valid[here] = covered
    return image, valid


def _on_black(rows: Array, covered: Array) -> Array:
    """Show rows against black where they are not valid."""
    if covered.dtype == bool:
        return rows if covered.all() else _masked(rows, covered)
    top = np.float32(1 if covered.dtype.kind == "f" else np.iinfo(covered.dtype).max)
    shown = rows * (covered / top)[:, :, None]
    return shown if rows.dtype.kind == "f" else np.rint(shown).astype(rows.dtype)


def _masked(rows: Array, covered: Array) -> Array:
    """Return rows (h, w, C) that are black where a mask (h, w) says so."""
    found = np.zeros_like(rows)
    cv2.copyTo(rows, covered.view(np.uint8), found)
    return found


def _narrowed(image: Array, target: str) -> Array:
    """Reduce float32 0..1 or uint16 to a narrower type, rounded and clipped; NaN becomes 0, bool stays."""
    if image.dtype == bool:
        return image
    top = np.iinfo(target).max
    full = 1.0 if image.dtype.kind == "f" else float(np.iinfo(image.dtype).max)
    scaled = np.nan_to_num(image.astype(np.float32) * (top / full)) + 0.5
    narrowed: Array = np.clip(scaled, 0, top).astype(target)
    return narrowed


def _as_float(image: Array) -> Array:
    """Return stored values as float32 0..1; floats and bool as they are."""
    if image.dtype == bool or image.dtype.kind == "f":
        return image
    return image * np.float32(1 / np.iinfo(image.dtype).max)


def _write_deep_zoom(
    path: Path, bands: Iterator[tuple[int, Array, Array]], size: tuple[int, int], metadata: Metadata
) -> None:
    """Write a Deep Zoom pyramid: the folder of tiles first, then the file that describes it."""

    def rows() -> Iterator[Array]:
        for _, part, covered in bands:
            yield _on_black(part, covered)

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
            _UNFINISHED.add(Path(temporary))
            try:
                made.mkdir()
                yield made
                if path.exists():
                    path.rename(old)
                made.rename(path)
            finally:
                _UNFINISHED.discard(Path(temporary))
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or reason(error)}); free some space, "
            "or choose another place"
        ) from error


def _unheld(path: Path, kind: str, metadata: Metadata) -> list[str]:
    """Say what of the metadata files of linear light do not hold."""
    colours = profile_name(metadata.icc)
    held = {"EXIF": metadata.exif, "XMP": metadata.xmp, f"profile ({colours})": colours != "sRGB"}
    lost = [name for name, value in held.items() if value]
    return [f"{path}: {', '.join(lost)} left out, {kind} has no place for it (.tif has)"] if lost else []


def _write_webp(file: BinaryIO, image: Array, valid: Array, metadata: Metadata) -> None:
    if valid.dtype != bool or not valid.all():
        image = np.concatenate([image, alpha_plane(valid, image.dtype)], 2)
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    if picture.mode in ("L", "LA"):
        picture = picture.convert("RGB" if picture.mode == "L" else "RGBA")
    picture.save(
        file, "WEBP", quality=WEBP_QUALITY, method=2, exif=metadata.exif or b"",
        icc_profile=metadata.icc, xmp=metadata.xmp or b"",
    )  # fmt: skip


def _write_png(
    file: BinaryIO,
    bands: Iterator[tuple[int, Array, Array]],
    shape: tuple[int, int, int],
    dtype: str,
    metadata: Metadata,
    workers: int,
) -> None:
    def rows() -> Iterator[Array]:
        for _, part, covered in bands:
            alpha = part.shape[2] < shape[2]
            yield np.concatenate([part, alpha_plane(covered, dtype)], 2) if alpha else part

    file.writelines(png_chunks(rows(), shape, dtype, metadata.icc, metadata.exif, metadata.xmp, workers))
