"""`harmonize`: a pasted region's colours made to fit its surroundings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.api.jobs import begun, one_thread_each
from composer.backend import to_device, to_numpy
from composer.backend.channels import finite_pixels
from composer.backend.memory import peak_mb
from composer.backend.parallel import over
from composer.errors import OptionError
from composer.harmony.colour import composited
from composer.harmony.fitting import Fit, fit, mean_colour
from composer.harmony.statistics import Samples, around, samples
from composer.harmony.transfer import METHODS
from composer.media.masks import TOP
from composer.media.picture import Picture, as_float, check_target, read_mask, read_picture, write_picture
from composer.records import Context, Event, Rect
from composer.results import Harmonized

Array = NDArray[Any]
Source = str | Path | Array

__all__ = ["harmonize"]

BAND = 256  # rows at a time
NEAR = 1.2  # region sizes: weights of surroundings beyond are less than 1/2000


def harmonize(
    photo: Source,
    mask: Source | None = None,
    background: Source | None = None,
    *,
    method: str = "auto",
    strength: float = 1.0,
    offset: tuple[int, int] | None = None,
    output: str | Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    max_memory: int | None = None,
    observe: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Harmonized:
    """Make a pasted region's colours fit its surroundings, or paste a foreground so that it fits.

    Parameters
    ----------
    photo : path, or array (H, W[, C]), uint8, uint16 or float32
        A composite; with a background: the foreground.
    mask : path, array (H, W) of the photo's size, or None
        White where the pasted region is; grey counts in part. None: the foreground's alpha.
    background : path, array, or None
        Where to paste the foreground; it is laid over in linear light.
    method : "auto", "reinhard", "linear" or "histogram"
        Undo the likely error of exposure and white balance; or match, whatever the region shows, mean and
        spread of each channel (Reinhard et al. 2001), means and covariance (Monge-Kantorovich, Pitie and
        Kokaram 2007), or histograms. The last three suit regions of the same material as what is around.
    strength : float
        How far colours go, 0..1.
    offset : (x, y) or None
        The foreground's top-left corner in the background, in whole pixels. None: both have one size.
    output : path or None
        Where to write; None keeps the picture in memory.
    device, workers, max_memory, observe, cancelled
        As for `stitch`.

    Returns
    -------
    Harmonized
        Of the background's (the composite's) size and type. Pixels where the mask is black are its own, bit
        for bit. An empty mask changes nothing, which a note says.

    Raises
    ------
    OptionError
        Sizes do not match, or there are no surroundings: the mask is white wherever there is a picture.
    PhotoError, OutputError, DeviceError, Cancelled

    Examples
    --------
    >>> import numpy as np, composer
    >>> photo = np.full((40, 40, 3), 120, np.uint8)
    >>> photo[10:20, 10:20] = 60
    >>> result = composer.harmonize(photo, photo[:, :, 0] == 60, method="reinhard")
    >>> int(result.image[15, 15, 0])
    120
    """
    _check_options(method, strength, mask, background, offset)
    context, watch = begun(device, workers, max_memory, observe, cancelled)
    target = Path(output) if output is not None else None
    with one_thread_each():
        with _timed(context, "read"):
            job = _read(photo, mask, background, offset, context)
            if target is not None:
                check_target(target, (photo, mask, background))
        with _timed(context, "fit"):
            found = _fitted(job, method, strength)
        notes = [] if found is not None else ["the mask is black, or off the background: nothing was changed"]
        with _timed(context, "harmonize"):
            pixels, alpha = _painted(job, found.change if found else None, context)
        if target is not None:
            with _timed(context, "write"):
                notes += write_picture(target, pixels, alpha, job.back, context.workers)
    image = pixels if alpha is None else np.concatenate([pixels, alpha[:, :, None]], 2)
    before, after, near = found.means if found else (None, None, None)
    return Harmonized(
        output=target, pixels=image if target is None else None, method=method, strength=strength,
        before=before, after=after, around=near, notes=tuple(notes), stages=tuple(watch.stages.items()),
        peak_mb=peak_mb(),
    )  # fmt: skip


def _check_options(
    method: str, strength: float, mask: object, background: object, offset: tuple[int, int] | None
) -> None:
    if method not in METHODS:
        raise OptionError(f'method is "{method}"; give one of {", ".join(METHODS)}')
    if not 0 <= strength <= 1:
        raise OptionError(f"strength is {strength}; give a number from 0 to 1")
    if background is None and mask is None:
        raise OptionError("no mask was given; say with a mask what was pasted")
    if background is None and offset is not None:
        raise OptionError("an offset was given and no background; drop it, or give a background")


@dataclass(frozen=True)
class _Job:
    """What to paste where: `share` is how much the front covers of `rect`, in the back's pixels."""

    front: Picture
    back: Picture
    share: Array
    rect: Rect
    corner: tuple[int, int]

    def front_part(self, rect: Rect) -> Array:
        """Return the front's pixels in a rectangle of the back, grey in colour where the back is."""
        x, y = self.corner
        pixels = self.front.pixels[rect.y0 - y : rect.y1 - y, rect.x0 - x : rect.x1 - x]
        return pixels if pixels.shape[2] == self.back.photo.channels else np.repeat(pixels, 3, 2)


@dataclass(frozen=True)
class _Found:
    change: Fit
    means: tuple[tuple[float, float, float], ...]


def _read(
    photo: Source, mask: Source | None, background: Source | None, offset: tuple[int, int] | None,
    context: Context,
) -> _Job:  # fmt: skip
    """Read the pictures and find the rectangle of the back that the mask covers."""
    back = read_picture(photo if background is None else background, "background", context.max_memory)
    front = back if background is None else read_picture(photo, "photo", context.max_memory, back)
    height, width = front.pixels.shape[:2]
    name = front.photo.name
    if front.alpha is None and mask is None:
        raise OptionError(f"{name}: has no alpha and no mask was given; say with a mask what to paste")
    share = np.ones((height, width), np.float32) if mask is None else read_mask(mask)
    if share.shape != (height, width):
        raise OptionError(
            f"mask is {share.shape[1]} x {share.shape[0]}, {name} {width} x {height} pixels: they must match"
        )
    if not np.isfinite(share).all():
        raise OptionError("the mask has values that are not numbers; give 0 to 1, or a picture")
    if offset is None and back.pixels.shape[:2] != (height, width):
        raise OptionError(
            f"{name} is {width} x {height}, the background {back.photo.width} x {back.photo.height} pixels: "
            "say with an offset where it lies"
        )
    if front.photo.channels > back.photo.channels:
        raise OptionError(f"{back.photo.name}: is grey and {name} in colour; give both in colour")
    share = np.clip(share, 0, 1)
    if front is not back and front.alpha is not None:
        share = share * as_float(front.alpha)
    x, y = (int(k) for k in offset or (0, 0))
    return _Job(front, back, *_cut(share, (x, y), back), (x, y))


def _cut(share: Array, corner: tuple[int, int], back: Picture) -> tuple[Array, Rect]:
    """Cut a mask to what is white in it and on the back; the rectangle in the back's pixels."""
    x, y = corner
    left, top = max(0, -x), max(0, -y)
    seen = share[top : max(0, back.photo.height - y), left : max(0, back.photo.width - x)]
    rows, columns = (np.flatnonzero((seen > 0).any(axis=k)) for k in (1, 0))
    if not len(rows):
        return np.zeros((0, 0), np.float32), Rect(0, 0, 0, 0)
    (y0, y1), (x0, x1) = ((int(k[0]), int(k[-1]) + 1) for k in (rows, columns))
    shift_x, shift_y = x + left, y + top
    return seen[y0:y1, x0:x1], Rect(x0 + shift_x, y0 + shift_y, x1 + shift_x, y1 + shift_y)


def _fitted(job: _Job, method: str, strength: float) -> _Found | None:
    """Find how the region's colours change; None where there is no region."""
    rect, picture = job.rect, job.back.photo
    front, usable = job.front_part(rect), job.share
    if job.front is job.back and job.front.alpha is not None:  # else it is in the share already
        usable = usable * as_float(job.front.alpha[rect.y0 : rect.y1, rect.x0 : rect.x1])
    region = samples(front, usable)
    if region is None:
        return None
    wide = rect.grown(round(NEAR * max(rect.width, rect.height)) + 8)
    wide = Rect(max(0, wide.x0), max(0, wide.y0), min(picture.width, wide.x1), min(picture.height, wide.y1))
    here = slice(wide.y0, wide.y1), slice(wide.x0, wide.x1)
    mask = np.zeros((wide.height, wide.width), np.float32)
    mask[rect.y0 - wide.y0 : rect.y1 - wide.y0, rect.x0 - wide.x0 : rect.x1 - wide.x0] = job.share
    there = np.ones_like(mask) if job.back.alpha is None else as_float(job.back.alpha[here])
    back = job.back.pixels[here]
    surroundings = samples(back, around(mask, there))
    if surroundings is None:
        raise OptionError("the mask is white wherever there is a picture: nothing is left to fit it to")
    change = fit(region, surroundings, method, strength, _limits(front, back))
    after = Samples(np.asarray(change(region.colours)), region.weights)
    return _Found(change, tuple(mean_colour(k) for k in (region, after, surroundings)))


def _limits(*pictures: Array) -> tuple[float, float]:
    """Return the range that colours may have: 0..1, or what float pictures reach beyond."""
    finite = [p[np.isfinite(p)] for p in pictures if p.dtype == np.float32]
    found = [k for p in finite if p.size for k in (float(p.min()), float(p.max()))]
    return min([0.0, *found]), max([1.0, *found])


def _painted(job: _Job, change: Fit | None, context: Context) -> tuple[Array, Array | None]:
    """Return the result's pixels and alpha: the back's, with the changed front over them."""
    pixels, alpha = job.back.pixels.copy(), job.back.alpha
    paste = job.front is not job.back
    alpha = alpha.copy() if alpha is not None and paste else alpha
    if change is None:
        return pixels, alpha
    left, top, right, bottom = job.rect

    def paint(rows: Rect) -> None:
        here = slice(rows.y0, rows.y1), slice(rows.x0, rows.x1)
        share = job.share[rows.y0 - top : rows.y1 - top]
        under = as_float(alpha[here]) if alpha is not None and paste else None
        parts = [as_float(job.front_part(rows)), as_float(pixels[here]), share, under]
        front, back, shown, below = (k if k is None else to_device(k, context.device) for k in parts)
        seen, covered = composited(change(front), back, shown, below)
        where = (share > 0) & finite_pixels(parts[0])  # type: ignore[arg-type]
        pixels[here][where] = _stored(to_numpy(seen)[where], pixels.dtype)
        if alpha is not None and covered is not None:
            alpha[here][where] = _stored(to_numpy(covered)[where], alpha.dtype)

    bands = [Rect(left, y, right, min(y + BAND, bottom)) for y in range(top, bottom, BAND)]
    over(context, "harmonize", paint, bands)
    return pixels, alpha


def _stored(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return values 0..1 as a picture stores them."""
    if dtype.kind == "f":
        return values.astype(dtype)
    white = TOP[dtype.name]
    return np.clip(np.rint(values * white), 0, white).astype(dtype)


@contextmanager
def _timed(context: Context, stage: str) -> Iterator[None]:
    """Tell how long a stage took."""
    start = time.perf_counter()
    yield
    context.observe(Event(stage, 1.0, time.perf_counter() - start))
