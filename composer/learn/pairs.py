"""Pairs of pictures to learn a translation from: spoiled composites and their truth, or a user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.errors import TrainingError
from composer.learn.band import seam_of_mask
from composer.learn.photographs import Split
from composer.learn.simulator import Sample, simulate
from composer.learn.training import planes
from composer.learn.validation import samples
from composer.media.inputs import expand
from composer.media.picture import as_float, read_picture

Array = NDArray[Any]
Pair = tuple[Array, Array]

__all__ = ["Held", "Pairs", "Pictures", "Spoiled", "planes_of_sample"]

ROOM = 1 << 30  # bytes of decoded pictures that are kept
JITTER = 286 / 256  # enlarged by up to so much, as in the paper
FEW = 24  # held-out pairs that are looked at, at most
Held = tuple[Array, Array, Array]  # planes (C, H, W), truth (H, W, 3), where it counts (H, W) bool


class Pairs(Protocol):
    """Where pairs come from; `inputs` is the number of planes, `about` goes into the weights' metadata."""

    inputs: int
    digest: str
    about: dict[str, str]

    def sample(self, rng: np.random.Generator, size: int) -> Pair:
        """Return planes (C, size, size) and truth (3, size, size), float32 0..1."""

    def held_out(self, size: int) -> Iterator[Held]:
        """Yield what was not trained on, the same every time."""


class Spoiled:
    """Composites that the simulator spoiled; what is seen are the refiner's eleven planes."""

    inputs = 11

    def __init__(self, split: Split) -> None:
        self.split, self.digest = split, split.digest
        self.about = {"photographs": str(len(split.train)), "held_out": str(len(split.held_out))}

    def sample(self, rng: np.random.Generator, size: int) -> Pair:
        """Return one composite's planes, and what it should have been."""
        sample = simulate(self.split.train[rng.integers(len(self.split.train))], rng, size)
        return planes_of_sample(sample), np.moveaxis(sample.truth, 2, 0).copy()

    def held_out(self, size: int) -> Iterator[Held]:
        """Yield some of the samples that the refiner is validated on."""
        for sample in list(samples(self.split.held_out, size))[::4][:FEW]:
            yield planes_of_sample(sample), sample.truth, sample.mask > 0.5


class Pictures:
    """Pictures in folders A/ and B/, paired by stem, or side by side in one file, A on the left.

    Raises
    ------
    TrainingError
        Too few pairs, a picture without a partner, or partners of different size.
    PhotoError
    """

    inputs = 3

    def __init__(self, folder: Path) -> None:
        found = _paired(folder)
        if len(found) < 6:
            raise TrainingError(f"{folder}: {len(found)} pairs are too few to train on; give at least 6")
        names = [path for pair in found for path in dict.fromkeys(pair)]
        self.digest = hashlib.sha256(
            b"".join(hashlib.sha256(p.read_bytes()).digest() for p in names)
        ).hexdigest()
        self.train, self.kept_back = [p for k, p in enumerate(found) if k % 6 != 5], found[5::6]
        self.about = {"pairs": str(len(self.train)), "held_out": str(len(self.kept_back))}
        self._room, self._kept = ROOM, dict[tuple[Path, Path], Pair]()

    def sample(self, rng: np.random.Generator, size: int) -> Pair:
        """Return a piece of a pair, enlarged a little and mirrored at random."""
        one, other = self._read(self.train[rng.integers(len(self.train))])
        least = size / min(one.shape[:2])  # what is smaller is enlarged
        scale = max(1.0, least) * float(rng.uniform(1, JITTER))
        side = min(int(np.ceil(size / scale)), *one.shape[:2])
        y, x = (int(rng.integers(0, full - side + 1)) for full in one.shape[:2])
        mirrored = rng.random() < 0.5
        parts = []
        for picture in (one, other):
            piece = as_float(np.ascontiguousarray(picture[y : y + side, x : x + side]))
            piece = cv2.resize(piece, (size, size), interpolation=cv2.INTER_LINEAR)
            parts.append(np.moveaxis(piece[:, ::-1] if mirrored else piece, 2, 0).astype(np.float32))
        return parts[0].copy(), parts[1].copy()

    def held_out(self, size: int) -> Iterator[Held]:
        """Yield pairs whole, or their middle where they are large."""
        for names in self.kept_back[:FEW]:
            one, other = (as_float(_middle(p, 3 * size)).astype(np.float32) for p in self._read(names))
            yield np.moveaxis(one, 2, 0), other, np.ones(one.shape[:2], bool)

    def _read(self, names: tuple[Path, Path]) -> Pair:
        if names not in self._kept:
            pair = _read(*names)
            self._room -= sum(p.nbytes for p in pair)
            if self._room < 0:
                return pair
            self._kept[names] = pair
        return self._kept[names]


def planes_of_sample(sample: Sample) -> Array:
    """Return what `refine` sees of a sample: where the seam runs, it takes from the mask."""
    seen = planes(sample, alone=False)
    seen[4] = seam_of_mask(sample.mask, sample.composite, sample.other)
    return seen


def _paired(folder: Path) -> list[tuple[Path, Path]]:
    """Return the files of each pair; twice the same where they lie side by side."""
    sides = [folder / "A", folder / "B"]
    if not all(side.is_dir() for side in sides):
        return [(p, p) for p in _files(folder)]
    by_stem = [{p.stem: p for p in _files(side)} for side in sides]
    alone = sorted(set(by_stem[0]) ^ set(by_stem[1]))
    if alone:
        raise TrainingError(
            f"{folder}: {alone[0]} is in one of A and B only; each needs a partner of that name"
        )
    return [(by_stem[0][stem], by_stem[1][stem]) for stem in sorted(by_stem[0])]


def _files(folder: Path) -> list[Path]:
    return [p for p in expand([folder]) if isinstance(p, Path)]


def _read(one: Path, other: Path) -> Pair:
    """Read a pair, (H, W, 3) each, of the type they are stored in."""
    pictures = [_colours(read_picture(name, "pair").pixels) for name in dict.fromkeys((one, other))]
    if len(pictures) == 1:
        half = pictures[0].shape[1] // 2
        pictures = [pictures[0][:, :half], pictures[0][:, -half:]]
    if pictures[0].shape != pictures[1].shape:
        sizes = " and ".join(f"{p.shape[1]} x {p.shape[0]}" for p in pictures)
        raise TrainingError(f"{one} and {other.name}: are {sizes}; partners must have one size")
    return pictures[0], pictures[1]


def _colours(pixels: Array) -> Array:
    found = np.nan_to_num(pixels) if pixels.dtype.kind == "f" else pixels
    return np.ascontiguousarray(np.broadcast_to(found, (*found.shape[:2], 3)))


def _middle(picture: Array, most: int) -> Array:
    y, x = (max(0, (full - most) // 2) for full in picture.shape[:2])
    return picture[y : y + most, x : x + most]
