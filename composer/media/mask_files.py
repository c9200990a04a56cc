"""Folders of masks: which parts of a photo must be kept, and which must not be used.

A folder holds a mask for each photo that needs one, called like the photo or its stem: white counts.
Records carry masks as the bytes of one-bit PNG files, a few kB each, so that saved plans hold them too.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from composer.backend.channels import mean_channel
from composer.errors import OptionError
from composer.media.decode import decode
from composer.media.header import read_photo
from composer.media.inputs import expand
from composer.media.masks import TOP
from composer.media.naming import naming
from composer.records import Photo, Photos

__all__ = ["with_masks"]


def with_masks(photos: Photos, include: str | Path | None, exclude: str | Path | None) -> Photos:
    """Give photos the masks of two folders.

    Raises
    ------
    OptionError
        A mask fits no photo or several, or has another shape than its photo.
    PhotoError
        A folder or mask cannot be read.
    """
    kept = _read_folder(photos, include) if include else {}
    left_out = _read_folder(photos, exclude) if exclude else {}
    items = tuple(replace(p, include=kept.get(p.name), exclude=left_out.get(p.name)) for p in photos.items)
    return replace(photos, items=items)


def _read_folder(photos: Photos, folder: str | Path) -> dict[str, bytes]:
    """Return the masks of a folder by the photos' names; those of unusable photos are passed over."""
    names = list(dict.fromkeys([p.name for p in photos.items] + [u.photo for u in photos.unused]))
    meant = naming(names)
    usable = {p.name: p for p in photos.items}
    found: dict[str, bytes] = {}
    for path in (Path(str(f)) for f in expand([Path(folder)])):
        try:
            name = names[meant(path.stem)]
        except LookupError as error:
            raise OptionError(
                f"{path}: {error.args[0].split(';')[0]}; a mask has the name or stem of one photo"
            ) from None
        if name in found:
            raise OptionError(f"{path}: a second mask for {name}; keep one")
        if name in usable:
            found[name] = _read_mask(path, usable[name])
    return found


def _read_mask(path: Path, photo: Photo) -> bytes:
    """Read one mask, check its shape against its photo's, and return it as a one-bit PNG."""
    header = read_photo(path)
    growth = photo.width / header.width
    if abs(header.height * growth - photo.height) > max(1.0, growth):
        raise OptionError(
            f"{path}: mask is {header.width} x {header.height}, its photo {photo.width} x {photo.height}; "
            "paint it over the photo, at its size or reduced"
        )
    pixels = decode(header).astype(np.float32) / TOP[header.dtype]
    white = mean_channel(pixels[:, :, : header.channels]) > 0.5
    if header.alpha:
        white &= pixels[:, :, -1] > 0.5
    file = io.BytesIO()
    Image.fromarray(white).save(file, "PNG")
    return file.getvalue()
