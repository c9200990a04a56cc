"""The records that pass between stages, and every convention, on one page.

Conventions
-----------
Arrays    (H, W, C), always three axes, C is 1 or 3, RGB, *encoded* values as in the file's colour
          profile (photos with another profile are converted to the first photo's). Stored as uint8,
          uint16 or float32; operators see float32 in 0..1, a tile at a time.
          Files of linear light (.hdr, .exr) are encoded when read and made linear when written;
          float values may exceed 1.
Light     Exposure is solved in linear light; pyramids work on encoded values. `to_linear` and
          `to_encoded` are the one pair that converts.
Alpha     Straight, a separate (H, W) plane; it limits validity.
Masks     (H, W), white means "work here". Validity is never called a mask.
Points    (x, y); pixel centres have whole numbers, so a photo covers -0.5 .. width - 0.5.
          `scale_points` is the one function that moves points between resolutions.
Camera    x right, y down, z forward; a world direction d is seen at camera.rotation @ d.
          Hugin's angles: rotation.T = Ry(yaw) Rx(pitch) Rz(roll), all signs positive.
Lens      Hugin's polynomial: r_src = (a r^3 + b r^2 + c r + 1 - a - b - c) r, with r measured from
          the optical centre in units of half the shorter side. At angle t from its axis an ideal lens
          shows f tan t (rectilinear), f t (equidistant) or 2 f sin(t/2) (equisolid).
Canvas    Pixel (X, Y) lies at (x, y) = (X + origin_x, Y + origin_y) / scale. With longitude l to the
          right and latitude t downwards:
          sphere (l, t), cylinder (l, tan t), mercator (l, asinh tan t),
          pannini (2 tan(l/2), tan t / cos^2(l/2)), plane (x/z, y/z),
          stereographic 2 (x, y) / (1 + z) of a direction (x, y, z) of length 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Camera",
    "Composition",
    "Context",
    "Event",
    "Fault",
    "Layer",
    "Link",
    "Locality",
    "Optics",
    "Patch",
    "Photo",
    "Photos",
    "Plan",
    "Projection",
    "Rect",
    "Tile",
    "Unused",
    "scale_points",
    "to_encoded",
    "to_linear",
]

Array = NDArray[Any]
Projection = Literal[
    "plane", "cylinder", "sphere", "mercator", "stereographic", "pannini", "affine", "homography"
]
FLAT = ("affine", "homography")  # mosaics of flat scenes: cameras hold homographies, not rotations
Optics = Literal["rectilinear", "equidistant", "equisolid"]


class Rect(NamedTuple):
    """A rectangle of canvas pixels: columns x0 <= x < x1, rows y0 <= y < y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Rows."""
        return self.y1 - self.y0

    def grown(self, margin: int) -> Rect:
        """Return the rectangle with `margin` pixels more on every side."""
        return Rect(self.x0 - margin, self.y0 - margin, self.x1 + margin, self.y1 + margin)


NOWHERE = Rect(0, 0, 0, 0)


@dataclass(frozen=True)
class Photo:
    """One photograph: where its pixels are and what its header says.

    Attributes
    ----------
    name : str
        What messages call it (a path, or "photo 3" for an array).
    path : Path or None
        The file; None where `pixels` holds an array handed in by the caller.
    width, height : int
        Pixels, after the EXIF orientation is applied.
    channels : int
        1 or 3.
    dtype : str
        "uint8", "uint16" or "float32".
    alpha : bool
        Whether the file has an alpha plane.
    orientation : int
        EXIF orientation of the stored pixels, 1 to 8.
    focal_px : float or None
        Focal length in pixels that the EXIF data promise, None where they say nothing.
    camera : str
        Maker, model and focal length as text: photos that agree share a lens.
    optics, distortion, circle_px
        What is known of the lens beforehand, as in `Camera`.
    sha256 : str
        Hash of the file's (or array's) bytes.
    gps : (latitude, longitude) or None
        Degrees, north and east positive, where EXIF data give them.
    down : (x, y, z) or None
        Direction of gravity in the camera's axes, of length 1, where the file tells.
    pixels : array or None
        (H, W, C) or (H, W, C + 1) with alpha, for photos handed in as arrays.
    include, exclude : bytes or None
        Masks of what must be kept and must not be used, as the bytes of PNG files (see `media.masks`).
    """

    name: str
    path: Path | None
    width: int
    height: int
    channels: int
    dtype: str
    alpha: bool = False
    orientation: int = 1
    focal_px: float | None = None
    camera: str = ""
    sha256: str = ""
    gps: tuple[float, float] | None = None
    down: tuple[float, float, float] | None = None
    pixels: Array | None = field(default=None, repr=False, compare=False)
    optics: Optics = "rectilinear"
    distortion: tuple[float, float, float] = (0.0, 0.0, 0.0)
    circle_px: float | None = None
    include: bytes | None = field(default=None, repr=False)
    exclude: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Photos:
    """The photographs of one job, in the order given, and those that were unusable from the start."""

    items: tuple[Photo, ...]
    unused: tuple[Unused, ...] = ()


@dataclass(frozen=True)
class Unused:
    """A photograph that is in no panorama, and why."""

    photo: str
    reason: str


@dataclass(frozen=True)
class Camera:
    """A camera's orientation and lens.

    Attributes
    ----------
    rotation : (3, 3) float64
        World to camera. On flat mosaics: the homography (on affine scans with third row 0 0 1) from canvas
        plane to photo plane, both in units of `focal_px`.
    focal_px : float
        Focal length in pixels.
    distortion : (a, b, c)
        Hugin's radial polynomial; zeros for a perfect lens.
    offset : (x, y)
        Optical centre less the photo's centre, in pixels (Hugin's d and e).
    optics : str
        How the lens draws angles: "rectilinear", or a fisheye "equidistant" or "equisolid".
    circle_px : float or None
        Radius about the optical centre beyond which a circular fisheye's photo is black.
    """

    rotation: Array
    focal_px: float
    distortion: tuple[float, float, float] = (0.0, 0.0, 0.0)
    offset: tuple[float, float] = (0.0, 0.0)
    optics: Optics = "rectilinear"
    circle_px: float | None = None


@dataclass(frozen=True)
class Layer:
    """A photo in its place: how it is warped to the canvas and how its brightness is corrected.

    Attributes
    ----------
    photo : Photo
    camera : Camera
    gain : (R, G, B)
        Factors in linear light that bring the photo to the composition's exposure.
    vignetting : (v1, v2, v3)
        Natural logarithm of the lens's fall-off in linear light: v1 r^2 + v2 r^4 + v3 r^6, with r
        in units of half the photo's diagonal.
    rect : Rect
        Canvas pixels that the photo can touch. On a closed panorama x may lie outside the canvas:
        it is understood modulo the width.
    mesh : (rows, columns, 2) float32 or None
        What local alignment adds to positions (x, y) in the photo, in its pixels, at nodes spread evenly
        from one edge of the photo to the other.
    factors : (rows, columns, C) float32 or None
        What gradient-domain blending multiplies the corrected values by, at nodes spread in the same way.
    bracket : int or None
        Number of the layer that stands for a bracket of views that look the same way: seams are found for
        that one, and the blend fuses all that name it.
    """

    photo: Photo
    camera: Camera
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    vignetting: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rect: Rect = NOWHERE
    mesh: Array | None = field(default=None, repr=False, compare=False)
    factors: Array | None = field(default=None, repr=False, compare=False)
    bracket: int | None = None


@dataclass(frozen=True)
class Link:
    """Two layers that were matched: how many points they share, and how well these agree afterwards."""

    i: int
    j: int
    matches: int
    rms_px: float


@dataclass(frozen=True)
class Patch:
    """Pixels made by a patch operator, pasted over the canvas by render.

    `pixels` (h, w, C) float32 in 0..1, `alpha` (h, w) float32 in 0..1, `by` names the operator.
    """

    rect: Rect
    pixels: Array
    alpha: Array
    by: str


@dataclass(frozen=True)
class Fault:
    """Something wrong with a photo, and what was done about it.

    Attributes
    ----------
    kind : str
        "mask" or "box" where a person pointed at it, "lost blocks" of a damaged file, else one of
        `composer.mending.faults.KINDS`.
    rect : Rect
        In pixels of the photo.
    confidence : float
        0..1; 1 for what a person pointed at.
    operator : str
        What mended it; "" where nothing could.
    mask : (h, w) bool or None
        Where in `rect` it is; None is everywhere.
    strength : float or None
        How strong it is, in the unit of its kind: of noise the standard deviation, of 255.
    """

    kind: str
    rect: Rect
    confidence: float = 1.0
    operator: str = ""
    mask: Array | None = field(default=None, repr=False, compare=False)
    strength: float | None = None


@dataclass(frozen=True)
class Composition:
    """All that render needs to make a picture: layers, canvas, seams and patches.

    Attributes
    ----------
    layers : tuple of Layer
    projection : str
        One of `Projection`.
    width, height : int
        Canvas size in pixels.
    scale : float
        Canvas pixels per unit of (x, y): per radian in the middle.
    origin : (float, float)
        Canvas coordinates of pixel (0, 0), in pixels.
    closed : bool
        Whether column 0 follows the last column (a full circle).
    white : float
        The corrected value that is shown as white: beyond 1 where photos were brightened past it.
    seam_step : float
        Canvas pixels per cell of `seams`: a power of two until the canvas is rescaled.
    seams : (ceil(H / step), ceil(W / step)) int16 or None
        Index of the layer that owns each cell.
    low_bands : (h, w, C) float32 or None
        What blending over wide bands adds to the picture, one value for `low_bands_step` pixels; cell k
        speaks for pixel k * low_bands_step + (seam_step - 1) / 2.
    patches : tuple of Patch
    rms_px : float
        Root mean square distance of matched points after adjustment, in pixels of the photos.
    links : tuple of Link
        The matches between layers that the cameras were adjusted to.
    project : str
        The text of the Hugin project that it was read from: what composer does not know of it is kept.
    """

    layers: tuple[Layer, ...]
    projection: Projection
    width: int
    height: int
    scale: float
    origin: tuple[float, float]
    closed: bool = False
    white: float = 1.0
    seam_step: float = 1
    seams: Array | None = field(default=None, repr=False, compare=False)
    low_bands_step: float = 1
    low_bands: Array | None = field(default=None, repr=False, compare=False)
    patches: tuple[Patch, ...] = ()
    rms_px: float = 0.0
    links: tuple[Link, ...] = ()
    project: str = field(default="", repr=False)

    @property
    def flat(self) -> bool:
        """Whether this is a mosaic of a flat scene."""
        return self.projection in FLAT

    @property
    def fov_deg(self) -> tuple[float, float]:
        """Field of view in degrees across and down the middle of the view; (0, 0) for flat scenes."""
        if self.flat:
            return 0.0, 0.0
        found = []
        for angle, start, size in zip(
            _ANGLES[self.projection], self.origin, (self.width, self.height), strict=True
        ):
            ends = (start - 0.5) / self.scale, (start - 0.5 + size) / self.scale
            found.append(float(np.degrees(angle(ends[1]) - angle(ends[0]))))
        return found[0], found[1]


def _same(x: float) -> float:
    return x


def _gudermannian(y: float) -> float:
    return math.atan(math.sinh(y))


def _twice(x: float) -> float:
    return 2 * math.atan(x / 2)


_ANGLES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "plane": (math.atan, math.atan),
    "cylinder": (_same, math.atan),
    "sphere": (_same, _same),
    "mercator": (_same, _gudermannian),
    "pannini": (_twice, math.atan),
    "stereographic": (_twice, _twice),
}  # longitude and latitude of canvas x and y, on the axes


@dataclass(frozen=True)
class Plan:
    """What plan stages hand to render: one composition for each panorama, and the photos left out."""

    compositions: tuple[Composition, ...]
    unused: tuple[Unused, ...] = ()


@dataclass(frozen=True)
class Tile:
    """A rectangle of canvas at full resolution.

    Attributes
    ----------
    rect : Rect
        Where it lies; x may run past the canvas on a closed panorama.
    image : (h, w, C) float32, 0..1
    valid : (h, w) bool
    weight : (h, w) float32 or None
        On a layer's tile: how strongly the seams give the pixel to this layer.
    bracket : int or None
        On a layer's tile: the layer's.
    runner_up, runner_up_valid : arrays or None
        On a blended tile: what the layer across the nearest seam shows at each pixel.
    seam_distance : (h, w) float32 or None
        On a blended tile: pixels to that seam as far as the tile sees, negative on the side of the layer
        with the lower index.
    synthetic : (h, w) bool or None
        Pixels that no photograph saw.
    """

    rect: Rect
    image: Any
    valid: Any
    weight: Any = None
    runner_up: Any = None
    runner_up_valid: Any = None
    seam_distance: Any = None
    synthetic: Any = None
    bracket: int | None = None


@dataclass(frozen=True)
class Locality:
    """What a local operator works on: rectangles on multiples of `align`, with `halo` pixels around them."""

    halo: int = 0
    align: int = 1

    def needed(self, rect: Rect) -> Rect:
        """Return what the operator must be handed to make a rectangle."""
        step = self.align
        return Rect(
            rect.x0 // step * step, rect.y0 // step * step,
            -(-rect.x1 // step) * step, -(-rect.y1 // step) * step,
        ).grown(self.halo)  # fmt: skip


@dataclass(frozen=True)
class Event:
    """Something to tell the user: `fraction` of `stage` is done; `seconds` is set when it has ended."""

    stage: str
    fraction: float
    seconds: float | None = None
    message: str = ""
    value: object = None


def _ignore(event: Event) -> None:
    """Observe nothing."""


def _never() -> bool:
    """Do not cancel."""
    return False


@dataclass(frozen=True)
class Context:
    """What every stage is handed beside its input.

    Attributes
    ----------
    device : str
        "cpu" or "cuda" (already resolved from "auto").
    workers : int
        Threads over photos and tiles. Results do not depend on it.
    seed : int
        For whatever draws random numbers.
    max_memory : int
        Bytes that decoded photos and a canvas held in memory may take together.
    observe : callable
        Called with an `Event` after each step.
    cancelled : callable
        Asked between steps; True stops the work.
    photos : object
        The `media.PhotoStore` that decodes photographs.
    """

    device: str = "cpu"
    workers: int = 1
    seed: int = 0
    max_memory: int = 2 << 30
    observe: Callable[[Event], None] = _ignore
    cancelled: Callable[[], bool] = _never
    photos: Any = None


def scale_points(points: Array, factor: float | Array) -> Array:
    """Move (..., 2) points to an image `factor` (one, or x and y) times as large, pixel edges in place."""
    return (np.asarray(points) + 0.5) * factor - 0.5


def to_linear(encoded: Array) -> Array:
    """Turn sRGB-encoded values 0..1 into linear light (IEC 61966-2-1)."""
    encoded = np.asarray(encoded, np.float32)
    high = np.power(np.maximum(encoded + 0.055, 0) / 1.055, 2.4)
    return np.where(encoded <= 0.04045, encoded / 12.92, high).astype(np.float32)


def to_encoded(linear: Array) -> Array:
    """Turn linear light 0..1 into sRGB-encoded values (IEC 61966-2-1)."""
    linear = np.asarray(linear, np.float32)
    high = 1.055 * np.power(np.maximum(linear, 0), 1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, linear * 12.92, high).astype(np.float32)
