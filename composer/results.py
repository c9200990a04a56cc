"""What the verbs return."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from composer.learn.refining import Refusal
from composer.media.decode import decode
from composer.media.header import read_photo
from composer.media.picture import as_float
from composer.records import Composition, Fault, Unused

Array = NDArray[Any]
NOTEBOOK = 1024  # pixels of a picture's longer side that notebooks show

__all__ = [
    "Changed",
    "Cloned",
    "Edited",
    "Evaluation",
    "Fused",
    "Harmonized",
    "Panorama",
    "Refined",
    "Repaired",
    "Stitched",
]


class _Shown:
    """A result that is a picture: `numpy.asarray` gives it, and notebooks show it where it is in memory."""

    pixels: Array | None

    @property
    def image(self) -> Array:
        raise NotImplementedError

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return the picture as an array."""
        return np.array(self.image, dtype, copy=copy)

    def _repr_png_(self) -> bytes | None:
        if self.pixels is None:
            return None
        height, width = self.pixels.shape[:2]
        factor = min(1.0, NOTEBOOK / max(height, width))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        small = np.asarray(cv2.resize(as_float(self.pixels), size, interpolation=cv2.INTER_AREA))
        codes = (np.clip(np.nan_to_num(small), 0, 1) * 255 + 0.5).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(codes[:, :, 0] if codes.shape[2:] == (1,) else codes).save(file, "PNG")
        return file.getvalue()


@dataclass(frozen=True)
class Panorama(_Shown):
    """One panorama: its composition, and the picture in memory or the file it was written to.

    `numpy.asarray` of it is the picture.

    Attributes
    ----------
    composition : Composition
    output : Path or None
    notes : tuple of str
        What the output's format, or that of a saved project, could not keep, and photos that do not fit in.
    preview : (h, w, 4) uint8 or None
        The picture, small, and where it is valid; made for a report.
    """

    composition: Composition = field(repr=False)
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

    def _repr_png_(self) -> bytes | None:
        return self.panoramas[0]._repr_png_() if len(self.panoramas) == 1 else None

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
                    "notes": list(p.notes),
                }
                for p in self.panoramas
            ],
            "unused": [{"photo": u.photo, "reason": u.reason} for u in self.unused],
            "stages": [{"name": n, "seconds": round(s, 3)} for n, s in self.stages],
            "peak_mb": round(self.peak_mb, 1),
        }


@dataclass(frozen=True, kw_only=True)
class Edited(_Shown):
    """One picture that a verb made; `numpy.asarray` of it is the picture.

    Attributes
    ----------
    output : Path or None
        The file that it was written to.
    pixels : (H, W, C) array or None
        The picture, alpha last if it has one; None where it was written.
    notes : tuple of str
        What the output's format could not keep, or what was not done.
    stages : tuple of (name, seconds)
    peak_mb : float
    """

    output: Path | None = None
    pixels: Array | None = field(default=None, repr=False, compare=False)
    notes: tuple[str, ...] = ()
    stages: tuple[tuple[str, float], ...] = ()
    peak_mb: float = 0.0

    @property
    def image(self) -> Array:
        """The picture (H, W, C), alpha last if it has one; read back from the file if it was written."""
        if self.pixels is not None:
            return self.pixels
        assert self.output is not None
        return decode(read_photo(self.output, max_memory=sys.maxsize))

    def summary(self) -> dict[str, Any]:
        """Return the result as plain values, as `--summary` writes them."""
        return {
            "output": str(self.output) if self.output else None,
            "notes": list(self.notes),
            "stages": [{"name": n, "seconds": round(s, 3)} for n, s in self.stages],
            "peak_mb": round(self.peak_mb, 1),
        }


@dataclass(frozen=True, kw_only=True)
class Changed(Edited):
    """What `run` returns where a pipeline changes pictures one by one.

    Attributes
    ----------
    touched : bool
        Whether any stage changed anything.
    told : tuple of (name, dict)
        What each stage says of the picture.
    """

    touched: bool
    told: tuple[tuple[str, dict[str, Any]], ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return the result as plain values, as `--summary` writes them."""
        told = [{"stage": name, **facts} for name, facts in self.told]
        return {**super().summary(), "changed": self.touched, "told": told}


@dataclass(frozen=True, kw_only=True)
class Cloned(Edited):
    """What `clone` returns.

    Attributes
    ----------
    mode : str
    residual : float or None
        How far, at most, pixels are estimated to lie from the equations' solution, in grey levels of 255;
        None where nothing was solved.
    """

    mode: str
    residual: float | None = None

    def summary(self) -> dict[str, Any]:
        """Return the result as plain values, as `--summary` writes them."""
        residual = None if self.residual is None else round(self.residual, 4)
        return {**super().summary(), "mode": self.mode, "residual_grey_levels": residual}


@dataclass(frozen=True, kw_only=True)
class Fused(Edited):
    """What `fuse` returns.

    Attributes
    ----------
    method : str
    photos : tuple of str
        Names of the photos in it.
    reference : str
        The photo that gave frame, type and metadata.
    moved_px : tuple of float
        How far alignment moved each photo, at the corner moved most.
    unused : tuple of Unused
        Photos that were set aside, and why.
    """

    method: str
    photos: tuple[str, ...]
    reference: str
    moved_px: tuple[float, ...]
    unused: tuple[Unused, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return the result as plain values, as `--summary` writes them."""
        moved = zip(self.photos, self.moved_px, strict=True)
        return {
            **super().summary(),
            "method": self.method,
            "reference": self.reference,
            "photos": [{"photo": photo, "moved_px": round(px, 2)} for photo, px in moved],
            "unused": [{"photo": u.photo, "reason": u.reason} for u in self.unused],
        }


@dataclass(frozen=True, kw_only=True)
class Harmonized(Edited):
    """What `harmonize` returns.

    Attributes
    ----------
    method, strength
        How colours were changed.
    before, after, around : (R, G, B) or None
        Mean encoded colour of the region as it was and as it is, and of its surroundings, 0..1; None where
        there was no region.
    """

    method: str
    strength: float
    before: tuple[float, float, float] | None
    after: tuple[float, float, float] | None
    around: tuple[float, float, float] | None

    def summary(self) -> dict[str, Any]:
        """Return the result as plain values, as `--summary` writes them."""
        colours = {"before": self.before, "after": self.after, "around": self.around}
        means = {name: [round(k, 4) for k in c] if c else None for name, c in colours.items()}
        return {**super().summary(), "method": self.method, "strength": self.strength, **means}


@dataclass(frozen=True, kw_only=True)
class Refined(Edited):
    """What `refine` returns.

    Attributes
    ----------
    refusals : tuple of Refusal
        Parts of the mask that were left alone because the change could not be explained.
    changed : float
        Share of the mask's pixels that were changed.
    """

    refusals: tuple[Refusal, ...] = ()
    changed: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Return the result as plain values, as `--summary` writes them."""
        refused = [{"rect": list(r.rect), "reason": r.reason} for r in self.refusals]
        return {**super().summary(), "changed": round(self.changed, 4), "refused": refused}


@dataclass(frozen=True, kw_only=True)
class Repaired(Edited):
    """What `repair` returns.

    Attributes
    ----------
    mask : (H, W) bool
        What was to be mended; what is wrong with the whole picture, as noise is, is not in it.
    faults : tuple of Fault
        Each fault, and what mended it.
    """

    mask: Array = field(repr=False, compare=False)
    faults: tuple[Fault, ...] = field(default=(), repr=False)  # there may be thousands

    def summary(self) -> dict[str, Any]:
        """Return the result as plain values, as `--summary` writes them."""
        faults = [
            {
                "kind": f.kind,
                **{"x": f.rect.x0, "y": f.rect.y0, "width": f.rect.width, "height": f.rect.height},
                "confidence": round(f.confidence, 3),
                "operator": f.operator or None,
                **({} if f.strength is None else {"strength": round(f.strength, 3)}),
            }
            for f in self.faults
        ]
        height, width = self.mask.shape
        sizes = {"width": width, "height": height, "marked_px": int(self.mask.sum())}
        return {**super().summary(), **sizes, "faults": faults}


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` returns.

    Attributes
    ----------
    figures : dict of dict
        By the result's name, by the figure's name.
    sets : dict
        By name, where sets of pictures were compared.
    notes : tuple of str
        What was left out, and why.
    set_aside : dict
        By its name, why a result could not be measured.
    report : Path or None
        The page that was written.
    """

    figures: dict[str, dict[str, float]]
    sets: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    set_aside: dict[str, str] = field(default_factory=dict)
    report: Path | None = None

    def summary(self) -> dict[str, Any]:
        """Return the figures as plain values, as `--summary` writes them."""
        return {
            "results": self.figures, "sets": self.sets, "notes": list(self.notes),
            "set_aside": self.set_aside,
        }  # fmt: skip
