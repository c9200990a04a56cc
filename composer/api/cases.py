"""Results with what they are measured by: a reference, a mask, another photo; one for all or one for each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend.channels import finite_pixels
from composer.errors import OptionError
from composer.media.inputs import among, expand
from composer.media.picture import Picture, as_float, read_mask, read_picture

Array = NDArray[Any]
Source = str | Path | Array
Sources = Sequence[Source] | Source

__all__ = [
    "Case",
    "Pair",
    "Source",
    "Sources",
    "case_of",
    "expanded",
    "name_of",
    "pairs",
    "passed_over",
    "pixels_of",
]


@dataclass(frozen=True)
class Pair:
    """A result, and by what it is to be measured: None if not asked for, a text that says what is wrong."""

    name: str
    result: Path | Array
    reference: Path | Array | str | None
    mask: Path | Array | str | None
    other: Path | Array | str | None


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
    return expand(sources)


def passed_over(sources: Sources | None) -> list[str]:
    """Return a sentence on each folder that has folders of photographs in it, which are not looked into."""
    named = sources if isinstance(sources, (list, tuple)) else [sources]
    notes = []
    for folder in (Path(n) for n in named if isinstance(n, (str, Path)) and Path(n).is_dir()):
        inner = sorted(p for p in folder.iterdir() if p.is_dir() and os.access(p, os.R_OK | os.X_OK))
        holding = [p for p in inner if among(q.name for q in p.iterdir())]
        if holding:
            more = f" and {len(holding) - 1} more" if len(holding) > 1 else ""
            notes.append(f"{holding[0]}{more}: a folder in {folder}, not looked into; give its own name")
    return notes


def pairs(results: list[Path | Array], given: Mapping[str, Sources | None]) -> list[Pair]:
    """Return each result with its reference, mask and other photo.

    Raises
    ------
    OptionError
        As many of them as results are wanted, or one, and there are neither.
    PhotoError
    """
    found = [_paired(results, given[what], what) for what in ("reference", "mask", "other")]
    return [
        Pair(name_of(r, k), r, *beside) for k, (r, *beside) in enumerate(zip(results, *found, strict=True))
    ]


def name_of(source: Path | Array, place: int) -> str:
    """Return what a result is called: its path, or its place."""
    return str(source) if isinstance(source, Path) else f"result {place + 1}"


def case_of(pair: Pair) -> Case:
    """Read a result and what it is measured by.

    Raises
    ------
    OptionError
        None or several of its stem, sizes that differ, nowhere to measure.
    PhotoError
    """
    reference, mask, other = (_there(pair.name, what) for what in (pair.reference, pair.mask, pair.other))
    picture = read_picture(pair.result, pair.name)
    pixels, valid = pixels_of(picture)
    wanted, seen = _beside(pair.name, picture, reference, "reference", valid)
    second, other_valid = _beside(pair.name, picture, other, "other", valid)
    inside = None if mask is None else read_mask(mask) > 0.5
    if inside is not None:
        _check(pair.name, valid.shape, "mask", inside.shape)
    where = seen if inside is None else seen & inside
    if not where.any():
        raise OptionError(f"{pair.name}: the mask is empty where pictures are; paint white where to measure")
    return Case(pair.name, picture, pixels, wanted, second, inside, valid, where, other_valid)


def _there(name: str, source: Path | Array | str | None) -> Path | Array | None:
    """Return a picture; a text says why there is none."""
    if isinstance(source, str):
        raise OptionError(f"{name}: {source}")
    return source


def _beside(
    name: str, picture: Picture, source: Path | Array | None, what: str, valid: Array
) -> tuple[Array | None, Array]:
    """Return a picture to compare with, and where both show something."""
    if source is None:
        return None, valid
    pixels, seen = pixels_of(read_picture(source, what, like=picture))
    _check(name, picture.pixels.shape, what, pixels.shape)
    return pixels, valid & seen


def _paired(results: list[Path | Array], given: Sources | None, what: str) -> list[Path | Array | str | None]:
    """Return what belongs to each result: one for all, by place, or by stem; a text where that is not one."""
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
    found: list[Path | Array | str | None] = []
    for k, result in enumerate(results):
        if isinstance(result, Path) and by_stem:
            same = by_stem.get(result.stem, [])
            some = f"{len(same)} pictures of {what} have its stem; give one"
            found.append(same[0] if len(same) == 1 else some)
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
