"""`evaluate`: how good results are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.errors import OptionError
from composer.media.inputs import expand
from composer.media.picture import as_float, read_mask, read_picture
from composer.quality.metrics import compared
from composer.quality.seams import outline_distance, seam_visibility

Array = NDArray[Any]
Source = str | Path | Array

__all__ = ["evaluate"]


def evaluate(
    results: Sequence[Source] | Source,
    *,
    reference: Source | None = None,
    mask: Source | None = None,
) -> dict[str, dict[str, float]]:
    """Measure results against a reference, or what can be told without one.

    Parameters
    ----------
    results : paths, folders, patterns, or arrays (H, W[, C])
    reference : path, folder, array, or None
        What the results should be; a folder has a picture of the same stem for each. None: only the
        visibility of the mask's outline is measured.
    mask : path, array, or None
        Where to measure; its outline is taken for a seam.

    Returns
    -------
    By the result's name: `psnr_db`, `ssim`, `ms_ssim`, `delta_e` (CIEDE2000), `gradient_error` (grey levels)
    against the reference; `seam_visibility`, in standard deviations of the steps beside the mask's outline.

    Raises
    ------
    OptionError
        Nothing to measure by, sizes that differ, an empty mask, no reference of that stem.
    PhotoError
    """
    if reference is None and mask is None:
        raise OptionError("give a reference to compare with, a mask whose outline is a seam, or both")
    where = None if mask is None else read_mask(mask) > 0.5
    if where is not None and not where.any():
        raise OptionError("the mask is empty; paint white where to measure")
    found = {}
    many = [results] if isinstance(results, (str, Path, np.ndarray)) else results
    for k, source in enumerate(expand(many), 1):
        name = str(source) if isinstance(source, Path) else f"result {k}"
        picture = as_float(read_picture(source, name).pixels)
        if where is not None:
            _check(name, picture.shape, "mask", where.shape)
        wanted = None if reference is None else _reference(reference, source)
        figures: dict[str, float] = {}
        if wanted is not None:
            _check(name, picture.shape, "reference", wanted.shape)
            figures |= compared(picture, wanted, where)
        if where is not None:
            figures["seam_visibility"] = seam_visibility(picture, outline_distance(where))
        found[name] = figures
    return found


def _reference(reference: Source, result: Path | Array) -> Array:
    """Return the reference of a result, from a folder by its stem."""
    if isinstance(reference, (str, Path)) and Path(reference).is_dir() and isinstance(result, Path):
        same = [p for p in sorted(Path(reference).iterdir()) if p.stem == result.stem]
        if len(same) != 1:
            raise OptionError(f"{reference}: {len(same)} pictures are called {result.stem}; keep one")
        reference = same[0]
    return as_float(read_picture(reference, "reference").pixels)


def _check(name: str, shape: tuple[int, ...], what: str, other: tuple[int, ...]) -> None:
    size = len(other)
    if shape[:size] != other:
        raise OptionError(f"{name} is {shape[:size]}, the {what} {other}: they must match")
