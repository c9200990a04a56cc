"""Turn what a person names into files: photographs, folders and glob patterns."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.errors import PhotoError

__all__ = ["SUFFIXES", "among", "expand", "natural"]

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".tif", ".tiff", ".webp", ".bmp", ".hdr", ".exr"}
UNREAD = {
    ".heic", ".heif", ".avif", ".jxl", ".jp2",
    ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw",
}  # fmt: skip


def among(names: Iterable[str], unread: bool = False) -> list[str]:
    """Return the names of photographs among those of a folder's files, hidden ones apart.

    With `unread` also those of kinds that composer does not read, so that their reader says so; but a raw
    file beside its JPEG is no second photograph.
    """
    shown = [Path(n) for n in names if not n.startswith(".")]
    found = [n for n in shown if n.suffix.lower() in SUFFIXES]
    stems = {n.stem for n in found}
    if unread:
        found += [n for n in shown if n.suffix.lower() in UNREAD and n.stem not in stems]
    return [str(n) for n in found]


def expand(
    sources: Iterable[str | Path | NDArray[Any]] | str | Path | NDArray[Any], unread: bool = False
) -> list[Path | NDArray[Any]]:
    """Return files and arrays in order, of many or of one; folders give their photographs, in natural order.

    With `unread` folders also give photographs of kinds that composer does not read, such as HEIC.

    Raises
    ------
    PhotoError
        A name that is nothing, a folder without photographs, a pattern that matches nothing.
    """
    if isinstance(sources, (str, Path, np.ndarray)) or not isinstance(sources, Iterable):
        sources = [sources]
    found: list[Path | NDArray[Any]] = []
    for source in sources:
        if not isinstance(source, (str, Path)):
            found.append(source)
        elif os.path.isdir(source):
            found += _in_folder(Path(source), unread)
        elif glob.has_magic(str(source)) and not os.path.lexists(source):
            found += _matching(str(source))
        else:
            found.append(Path(source))
    return found


def _in_folder(folder: Path, unread: bool) -> list[Path]:
    try:
        inside = list(folder.iterdir())
    except PermissionError:
        raise PhotoError(f"{folder}: permission denied; make the folder readable") from None
    seen = among((p.name for p in inside if p.is_file()), unread)
    if not seen:
        others = (
            "a folder in it, or stitch these with --each"
            if any(map(Path.is_dir, inside))
            else "another folder"
        )
        raise PhotoError(f"{folder}: has no photographs (JPEG, PNG, TIFF, WebP); name {others}")
    return sorted((folder / n for n in seen), key=natural)


def _matching(pattern: str) -> list[Path]:
    matched = [Path(p) for p in glob.glob(pattern, recursive=True) if os.path.isfile(p)]
    if not matched:
        raise PhotoError(f"{pattern}: matches no file; check the pattern")
    return sorted(matched, key=natural)


def natural(path: Path) -> tuple[list[list[tuple[int, int, str]]], str]:
    """Sort key under which 2.jpg comes before 10.jpg and numbers before letters, folder by folder."""
    parts = [re.split(r"(\d+)", part) for part in (*path.parts[:-1], path.stem)]
    keys = [[(0, int(p), "") if p.isdecimal() else (1, 0, p.lower()) for p in part if p] for part in parts]
    return keys, str(path)
