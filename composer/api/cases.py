"""Results with what they are measured by: a reference, a mask, another photo; one for all or one for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend.channels import finite_pixels
from composer.errors import OptionError
from composer.media.inputs import expand
from composer.media.picture import Picture, as_float, read_mask, read_picture

Array = NDArray[Any]
Source = str | Path | Array
Sources = Sequence[Source] | Source

__all__ = ["Case", "Source", "Sources", "cases", "expanded", "pixels_of"]


@dataclass(frozen=True)
class Case:
    """A result and what it is measured by.

    Attributes
    ----------
    name : str
    picture : Picture
        The result.
    pixels, reference, other : (H, W, C) float32
        0 where nothing is shown; reference and other may be None.
    mask : (H, W) bool or None
    valid, where, other_valid : (H, W) bool
        Where the result shows something; where to measure: there, in the mask, and where the reference does;
        where the other photo shows something too.
    """

    name: str
    picture: Picture
    pixels: Array
    reference: Array | None
    other: Array | None
    mask: Array | None
    valid: Array
    where: Array
    other_valid: Array


def expanded(sources: Sources) -> list[Path | Array]:
    """Return files and arrays in order, of one or several names."""
    return expand([sources] if isinstance(sources, (str, Path, np.ndarray)) else sources)


def cases(results: list[Path | Array], given: Mapping[str, Sources | None]) -> Iterator[Case]:
    """Yield each result with its reference, mask and other photo.

    Raises
    ------
    OptionError
        None or several of a result's stem, sizes that differ, nowhere to measure.
    PhotoError
    """
    paired = [_paired(results, given[what], what) for what in ("reference", "mask", "other")]
    for k, (source, reference, mask, other) in enumerate(zip(results, *paired, strict=True), 1):
        name = str(source) if isinstance(source, Path) else f"result {k}"
        picture = read_picture(source, name)
        pixels, valid = pixels_of(picture)
        wanted, seen = _beside(name, picture, reference, "reference", valid)
        second, other_valid = _beside(name, picture, other, "other", valid)
        inside = None if mask is None else read_mask(mask) > 0.5
        if inside is not None:
            _check(name, valid.shape, "mask", inside.shape)
        where = seen if inside is None else seen & inside
        if not where.any():
            raise OptionError(f"{name}: the mask is empty where pictures are; paint white where to measure")
        yield Case(name, picture, pixels, wanted, second, inside, valid, where, other_valid)


def _beside(
    name: str, picture: Picture, source: Path | Array | None, what: str, valid: Array
) -> tuple[Array | None, Array]:
    """Return a picture to compare with, and where both show something."""
    if source is None:
        return None, valid
    pixels, seen = pixels_of(read_picture(source, what, like=picture))
    _check(name, picture.pixels.shape, what, pixels.shape)
    return pixels, valid & seen


def _paired(results: list[Path | Array], given: Sources | None, what: str) -> list[Path | Array | None]:
    """Return what belongs to each result: one for all, by place, or by stem."""
    if given is None:
        return [None] * len(results)
    many = expanded(given)
    folder = isinstance(given, (str, Path)) and Path(given).is_dir()
    if len(many) == 1 and not folder:
        return [many[0]] * len(results)
    by_stem: dict[str, list[Path]] = {}
    for path in many:
        if isinstance(path, Path):
            by_stem.setdefault(path.stem, []).append(path)
    found: list[Path | Array | None] = []
    for k, result in enumerate(results):
        if isinstance(result, Path) and by_stem:
            same = by_stem.get(result.stem, [])
            if len(same) != 1:
                raise OptionError(f"{result}: {len(same)} pictures of {what} have its stem; give one")
            found.append(same[0])
        elif len(many) == len(results):
            found.append(many[k])
        else:
            raise OptionError(f"{len(many)} of {what} for {len(results)} results; give as many, or one")
    return found


def _check(name: str, shape: tuple[int, ...], what: str, other: tuple[int, ...]) -> None:
    if shape != other:
        raise OptionError(f"{name} is {shape}, {what} {other}: they must match")


def pixels_of(picture: Picture) -> tuple[Array, Array]:
    """Return a picture's pixels as float32, 0 where there are none, and where there are."""
    pixels = as_float(picture.pixels)
    valid = finite_pixels(picture.pixels)
    if picture.alpha is not None:
        valid &= as_float(picture.alpha) > 0.5
    return np.where(valid[:, :, None], pixels, np.float32(0)), valid
