"""Turn what a person names into files: photographs, folders and glob patterns."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from composer.errors import PhotoError

__all__ = ["expand"]

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".tif", ".tiff", ".webp", ".bmp"}


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
            continue
        path = Path(source)
        if path.is_dir():
            inside = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()]
            if not inside:
                raise PhotoError(f"{path}: has no photographs (JPEG, PNG, TIFF, WebP); name another folder")
            found += sorted((p for p in inside if not p.name.startswith(".")), key=natural)
        elif not path.exists() and glob.has_magic(str(source)):
            matched = [Path(p) for p in glob.glob(str(source), recursive=True)]
            if not matched:
                raise PhotoError(f"{source}: matches no file; check the pattern")
            found += sorted((p for p in matched if p.is_file()), key=natural)
        else:
            found.append(path)
    return found


def natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort key under which 2.jpg comes before 10.jpg."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(p), "") if p.isdigit() else (-1, p.lower()) for p in parts if p], str(path)
