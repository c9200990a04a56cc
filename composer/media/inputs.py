"""Turn what a person names into files: photographs, folders and glob patterns."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from composer.errors import PhotoError

__all__ = ["expand"]

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".tif", ".tiff", ".webp", ".bmp", ".hdr", ".exr"}


def expand(sources: Iterable[str | Path | NDArray[Any]]) -> list[Path | NDArray[Any]]:
    """Return files and arrays in order; folders give their photographs, in natural order.

    Raises
    ------
    PhotoError
        A name that is nothing, a folder without photographs, a pattern that matches nothing.
    """
    found: list[Path | NDArray[Any]] = []
    for source in sources:
        if not isinstance(source, (str, Path)):
            found.append(source)
        elif os.path.isdir(source):
            found += _in_folder(Path(source))
        elif glob.has_magic(str(source)) and not os.path.lexists(source):
            found += _matching(str(source))
        else:
            found.append(Path(source))
    return found


def _in_folder(folder: Path) -> list[Path]:
    try:
        names = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()]
    except PermissionError:
        raise PhotoError(f"{folder}: permission denied; make the folder readable") from None
    seen = [p for p in names if not p.name.startswith(".")]
    if not seen:
        raise PhotoError(f"{folder}: has no photographs (JPEG, PNG, TIFF, WebP); name another folder")
    return sorted(seen, key=natural)


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
