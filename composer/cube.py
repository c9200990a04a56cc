"""The cube around a spherical panorama: its faces written for retouching, and read back as patches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.errors import OptionError
from composer.media.decode import decode
from composer.media.encode import write_bands
from composer.media.header import read_photo
from composer.media.metadata import Metadata
from composer.media.picture import check_target
from composer.records import Composition, Context
from composer.render import BlendStage, canvas_channels, output_dtype, render, render_bands
from composer.stitching.relayout import FACES, cube_face, face_patch, reaching_pole

Array = NDArray[Any]

__all__ = ["check_faces", "with_face", "write_faces"]


def check_faces(folder: Path, inputs: Iterable[object]) -> None:
    """Check that no face in a folder is one of the inputs: photos, or faces that were retouched.

    Raises
    ------
    OutputError
    """
    if folder.is_dir():
        for face, suffix in product(FACES, (".png", ".tif")):
            check_target(folder / f"{face}{suffix}", inputs)


def write_faces(composition: Composition, folder: Path, blend: BlendStage, context: Context) -> None:
    """Write the six faces as front.png, right.png, back.png, left.png, up.png and down.png.

    Float pictures are written as TIFF.

    Raises
    ------
    OptionError
        The panorama is flat.
    OutputError
    """
    _check_round(composition)
    folder.mkdir(exist_ok=True)
    suffix = ".tif" if output_dtype(composition) == "float32" else ".png"
    for face in FACES:
        canvas = cube_face(composition, face)
        bands = render_bands(canvas, blend, context)
        shape = (canvas.height, canvas.width, canvas_channels(canvas))
        about = Metadata(None, context.photos.profile, None)
        name = folder / f"{face}{suffix}"
        write_bands(name, bands, shape, output_dtype(canvas), False, about, context.workers)


def with_face(
    composition: Composition, face: str, file: Path, blend: BlendStage, context: Context
) -> Composition:
    """Return a composition with what was retouched on a cube face as a patch.

    A sphere is made to reach the pole that was retouched.

    Raises
    ------
    OptionError
        There is no such face, or the file has another size than the face.
    PhotoError
    """
    _check_round(composition)
    if face not in FACES:
        raise OptionError(f'"{face}" is not a face; give one of {", ".join(FACES)}')
    photo = read_photo(file, context.max_memory)
    canvas = cube_face(composition, face)
    if (photo.width, photo.height) != (canvas.width, canvas.height):
        raise OptionError(
            f"{file}: is {photo.width} x {photo.height}, the face is {canvas.width} x {canvas.height}; "
            "save it at the size it was written in"
        )
    before, _ = render(canvas, blend, context)
    after = decode(photo, context.photos.profile)[:, :, : photo.channels]
    if after.shape[2] != before.shape[2]:
        after = np.repeat(after[:, :, :1], before.shape[2], 2)
    whole = reaching_pole(composition, face)
    patch = face_patch(whole, face, _floats(before), _floats(after))
    if patch is None:
        return composition
    return replace(whole, patches=(*whole.patches, patch))


def _check_round(composition: Composition) -> None:
    if composition.flat:
        raise OptionError("flat scenes have no cube around them; leave out --cube and --patch")


def _floats(pixels: Array) -> Array:
    """Return pixels as float32 0..1."""
    top = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    return pixels.astype(np.float32) / np.float32(top)
