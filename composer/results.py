"""What the verbs return."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.learn.refining import Refusal
from composer.media.decode import decode
from composer.media.header import read_photo
from composer.records import Composition, Unused

Array = NDArray[Any]

__all__ = ["Panorama", "Refined", "Stitched"]


@dataclass(frozen=True)
class Panorama:
    """One panorama: its composition, and the picture in memory or the file it was written to.

    Attributes
    ----------
    composition : Composition
    output : Path or None
    notes : tuple of str
        What the output's format, or that of a saved project, could not keep.
    preview : (h, w, 4) uint8 or None
        The picture, small, and where it is valid; made for a report.
    """

    composition: Composition
    output: Path | None = None
    pixels: Array | None = field(default=None, repr=False, compare=False)
    valid: Array | None = field(default=None, repr=False, compare=False)
    notes: tuple[str, ...] = ()
    preview: Array | None = field(default=None, repr=False, compare=False)

    @property
    def image(self) -> Array:
        """The picture (H, W, C), of the photos' type; read back from the file if it was written."""
        if self.pixels is not None:
            return self.pixels
        assert self.output is not None
        photo = read_photo(self.output, max_memory=sys.maxsize)
        return decode(photo)[:, :, : photo.channels]

    @property
    def photos(self) -> tuple[str, ...]:
        """Names of the photos in it."""
        return tuple(la.photo.name for la in self.composition.layers)

    @property
    def rms_px(self) -> float:
        """Root mean square distance of matched points, in pixels of the photos."""
        return self.composition.rms_px


@dataclass(frozen=True)
class Stitched:
    """What `stitch` returns: panoramas, the photos left out and why, and seconds by stage."""

    panoramas: tuple[Panorama, ...]
    unused: tuple[Unused, ...] = ()
    stages: tuple[tuple[str, float], ...] = ()
    peak_mb: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Return the result as plain values, as `--summary` writes them."""
        return {
            "panoramas": [
                {
                    "output": str(p.output) if p.output else None,
                    "photos": list(p.photos),
                    "width": p.composition.width,
                    "height": p.composition.height,
                    "projection": p.composition.projection,
                    "fov_deg": [round(a, 2) for a in p.composition.fov_deg],
                    "rms_px": round(p.rms_px, 3),
                }
                for p in self.panoramas
            ],
            "unused": [{"photo": u.photo, "reason": u.reason} for u in self.unused],
            "stages": [{"name": n, "seconds": round(s, 3)} for n, s in self.stages],
            "peak_mb": round(self.peak_mb, 1),
        }


@dataclass(frozen=True)
class Refined:
    """What `refine` returns: `numpy.asarray` of it is the picture.

    Attributes
    ----------
    image : (H, W, C) array of the composite's type
    output : Path or None
    refusals : tuple of Refusal
        Parts of the mask that were left alone because the change could not be explained.
    changed : float
        Share of the mask's pixels that were changed.
    notes : tuple of str
        What the output's format could not keep.
    """

    image: Array = field(repr=False)
    output: Path | None = None
    refusals: tuple[Refusal, ...] = ()
    changed: float = 0.0
    notes: tuple[str, ...] = ()
    stages: tuple[tuple[str, float], ...] = ()
    peak_mb: float = 0.0

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return the picture."""
        return np.array(self.image, dtype, copy=copy)

    def summary(self) -> dict[str, Any]:
        """Return the result as plain values, as `--summary` writes them."""
        return {
            "output": str(self.output) if self.output else None,
            "changed": round(self.changed, 4),
            "refused": [{"rect": list(r.rect), "reason": r.reason} for r in self.refusals],
            "stages": [{"name": n, "seconds": round(s, 3)} for n, s in self.stages],
            "peak_mb": round(self.peak_mb, 1),
        }
