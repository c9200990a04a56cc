"""One photograph in memory, as verbs that change pictures take and write them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend.channels import mean_channel
from composer.errors import OutputError
from composer.media.decode import decode
from composer.media.encode import check_output, replacing, write_image
from composer.media.header import photo_from_array, pictures_in, read_photo
from composer.media.masks import TOP
from composer.media.metadata import carried, icc_profile, read_metadata
from composer.media.profiles import srgb
from composer.records import Photo

Array = NDArray[Any]

__all__ = [
    "Picture",
    "as_float",
    "as_stored",
    "check_target",
    "keep_picture",
    "read_mask",
    "read_picture",
    "write_picture",
]


@dataclass(frozen=True)
class Picture:
    """A photograph's pixels, decoded.

    Attributes
    ----------
    photo : Photo
        What its header says.
    pixels : (H, W, C) array of the type that `photo` names
    alpha : (H, W) array of the same type, or None
    profile : bytes or None
        The ICC profile that colours are in; None is sRGB.
    """

    photo: Photo
    pixels: Array = field(repr=False)
    alpha: Array | None = field(default=None, repr=False)
    profile: bytes | None = field(default=None, repr=False)


def read_picture(
    source: str | Path | Array, name: str, max_memory: int = 2 << 30, like: Picture | None = None
) -> Picture:
    """Read a picture whole.

    Parameters
    ----------
    source : path, or array (H, W[, C]), uint8, uint16 or float32, alpha last
    name : str
        What messages call an array.
    max_memory : int
        Bytes that its pixels may take.
    like : Picture or None
        Colours are converted to this picture's profile; None leaves them as stored.

    Raises
    ------
    PhotoError, ImageTooLarge
    """
    file = isinstance(source, (str, Path))
    photo = read_photo(source, max_memory) if file else photo_from_array(source, name, hashed=False)  # type: ignore[arg-type]
    wanted = None if like is None or like.photo.path is None else like.profile or srgb()
    pixels = decode(photo, wanted)
    alpha = pixels[:, :, -1] if photo.alpha else None
    return Picture(photo, pixels[:, :, : photo.channels], alpha, wanted or icc_profile(photo))


def read_mask(source: str | Path | Array, name: str = "mask") -> Array:
    """Read a mask as (H, W) float32, 1 where it is white: bool arrays, or any picture; colours are averaged.

    Floats may be of any precision, and integers that are 0 and 1 only say no and yes.

    Raises
    ------
    PhotoError
    """
    if isinstance(source, np.ndarray) and source.dtype.kind in "bf":
        source = source.astype(np.float32)
    picture = read_picture(source, name)
    white = mean_channel(as_float(picture.pixels))
    if picture.pixels.dtype.kind == "u" and picture.pixels.max() == 1:
        white = white * np.float32(TOP[picture.photo.dtype])
    return white if picture.alpha is None else white * as_float(picture.alpha)


def as_float(pixels: Array) -> Array:
    """Return stored values as float32 0..1; floats as they are."""
    if pixels.dtype == np.float32:
        return pixels
    found = pixels.astype(np.float32)
    found *= np.float32(1 / TOP[pixels.dtype.name])  # in one step NumPy converts by small buffers
    return found


def as_stored(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return float32 values 0..1 as a photo stores them: integers rounded and clipped, floats as they are."""
    if dtype == np.float32:
        return values
    top = TOP[dtype.name]
    return np.clip(np.rint(values * np.float32(top)), 0, top).astype(dtype)


def check_target(output: Path, inputs: Iterable[object]) -> None:
    """Check that a picture can be written and is none of the inputs, before any work is done.

    Inputs are photos, masks and others as they were given: what is no path counts for nothing.

    Raises
    ------
    OutputError
    """
    check_output(output)
    if any(Path(i).resolve() == output.resolve() for i in inputs if isinstance(i, (str, Path))):
        raise OutputError(f"{output}: is one of the inputs; choose another name or folder for the result")


def write_picture(
    output: Path, pixels: Array, alpha: Array | None, like: Picture, workers: int = 1
) -> list[str]:
    """Write a result with the metadata and colour profile of the picture that it comes from.

    Returns
    -------
    What had to be changed for the format's sake, and what of the file is left out, a sentence each.

    Raises
    ------
    OutputError
    """
    height, width = pixels.shape[:2]
    same_view = (width, height) == (like.photo.width, like.photo.height)
    metadata = carried(read_metadata(like.photo), width, height, same_view)
    metadata = replace(metadata, icc=like.profile)
    count = 1 if like.photo.path is None else pictures_in(like.photo.path)
    notes = [f"{like.photo.name}: holds {count} pictures; only the first was taken"] if count > 1 else []
    return [*notes, *write_image(output, pixels, alpha, metadata, workers)]


def keep_picture(output: Path, picture: Picture) -> list[str]:
    """Write a picture as it was read: a copy of its file where the format is to be the same.

    Returns
    -------
    What had to be changed for the format's sake, a sentence each.

    Raises
    ------
    OutputError
    """
    path = picture.photo.path
    if path is None or path.suffix.lower() != output.suffix.lower():
        return write_picture(output, picture.pixels, picture.alpha, picture)
    with path.open("rb") as given, replacing(output) as file:
        shutil.copyfileobj(given, file)
    return []
