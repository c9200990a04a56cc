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
from composer.media.metadata import Metadata, parse_exif
from composer.media.opening import reason
from composer.media.png import chunks16
from composer.media.profiles import fitting

Array = NDArray[Any]

__all__ = ["check_output", "discard_unfinished", "replacing", "write_bands", "write_image"]

LIMITS = {"JPEG": 65500, "WebP": 16383, "PNG": 2**31 - 1, "TIFF": 2**32 - 1}
FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WebP",
}  # fmt: skip
TIFF_TILE = 256
CLASSIC_TIFF = 4_000_000_000
JPEG_QUALITY = 95
_UNFINISHED: set[Path] = set()  # files being written under temporary names
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
            f"{path}: cannot write {path.suffix or 'a file without suffix'}; use .jpg, .png, .tif or .webp"
        )
    check_folder(path)
    if max(width, height) > LIMITS[kind]:
        raise OutputError(
            f"{path}: {width} x {height} pixels are more than {kind} allows ({LIMITS[kind]}); "
            "write .tif, or make it smaller with --width"
        )
    return kind


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
            _UNFINISHED.add(temporary)
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
            _UNFINISHED.discard(temporary)


def discard_unfinished() -> None:
    """Remove the files that are being written: for a process that ends without unwinding."""
    for temporary in list(_UNFINISHED):
        with contextlib.suppress(OSError):
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
    """Write a picture from rows of tiles; TIFF streams them, the other formats gather them first.

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
            _write_tiff(file, bands, (height, width, channels), dtype, holes, metadata)
        return notes
    image, valid = _gathered(bands, shape, _target(kind, dtype))
    if image.dtype != dtype:
        notes.append(f"{path}: {kind} cannot hold {dtype}; written as {image.dtype} (use .tif to keep it)")
    if kind == "JPEG":
        image[~valid] = 0
        metadata = _within_segments(path, metadata, notes)
    elif not valid.all():
        image = np.concatenate([image, _alpha_plane(valid, image.dtype)], 2)
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


def _alpha_plane(valid: Array, dtype: Any) -> Array:
    """Return (h, w, 1): white where pixels are valid."""
    full = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return (valid[:, :, None] * full).astype(dtype)


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


def _write_tiff(
    file: BinaryIO,
    bands: Iterator[tuple[int, Array, Array]],
    shape: tuple[int, int, int],
    dtype: str,
    holes: bool,
    metadata: Metadata,
) -> None:
    """Write a tiled, deflated TIFF, BigTIFF where the pixels exceed 4 GB, holding one row of tiles."""
    import tifffile

    height, width, channels = shape
    planes = channels + holes
    size = height * width * planes * np.dtype(dtype).itemsize
    options: dict[str, Any] = {}
    if planes != channels:
        options["extrasamples"] = [tifffile.EXTRASAMPLE.UNASSALPHA]
    tags = [(700, 1, len(metadata.xmp), metadata.xmp, True)] if metadata.xmp else []
    with tifffile.TiffWriter(file, bigtiff=size > CLASSIC_TIFF) as writer:
        writer.write(
            _tiff_tiles(bands, planes),
            shape=(height, width, planes) if planes > 1 else (height, width),
            dtype=dtype,
            tile=(TIFF_TILE, TIFF_TILE),
            photometric="rgb" if channels == 3 else "minisblack",
            compression="zlib",
            compressionargs={"level": 4},
            predictor=dtype != "float32",
            planarconfig="contig" if planes > 1 else None,
            iccprofile=metadata.icc,
            extratags=[*tags, *_exif_tags(metadata)],
            software="composer",
            metadata=None,
            **options,
        )


def _exif_tags(metadata: Metadata) -> list[tuple[int, int, int, Any, bool]]:
    """Return the EXIF fields that fit into a TIFF's own directory: maker, model, date, artist, copyright."""
    if not metadata.exif:
        return []
    exif = parse_exif(metadata.exif).main
    tags: list[tuple[int, int, int, Any, bool]] = [(0x0112, 3, 1, 1, True)]
    for tag in (0x010E, 0x010F, 0x0110, 0x0132, 0x013B, 0x8298):
        if exif.get(tag):
            text = str(exif[tag]).rstrip("\0").encode("latin-1", "replace")  # as Pillow decoded it
            tags.append((tag, 2, len(text) + 1, text + b"\0", True))
    return tags


def _tiff_tiles(bands: Iterator[tuple[int, Array, Array]], planes: int) -> Iterator[Array]:
    """Cut rows of pixels into TIFF tiles, row by row, whatever the height of the rows that come in."""
    waiting: list[Array] = []
    count = 0
    for _, rows, covered in bands:
        if planes > rows.shape[2]:
            rows = np.concatenate([rows, _alpha_plane(covered, rows.dtype)], 2)
        waiting.append(rows)
        count += len(rows)
        if count >= TIFF_TILE:
            block = np.concatenate(waiting)
            whole = count // TIFF_TILE * TIFF_TILE
            yield from _tiles_of(block[:whole])
            waiting, count = [block[whole:]], count - whole
    if count:
        yield from _tiles_of(np.concatenate(waiting))


def _tiles_of(block: Array) -> Iterator[Array]:
    for y in range(0, len(block), TIFF_TILE):
        for x in range(0, block.shape[1], TIFF_TILE):
            tile = block[y : y + TIFF_TILE, x : x + TIFF_TILE]
            padding = ((0, TIFF_TILE - tile.shape[0]), (0, TIFF_TILE - tile.shape[1]), (0, 0))
            tile = np.pad(tile, padding)
            yield tile if tile.shape[2] > 1 else tile[:, :, 0]
