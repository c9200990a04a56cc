"""HDR: several exposures of one scene merged to its linear light."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend import lookup
from composer.backend.channels import max_channel
from composer.errors import OptionError
from composer.fusion.response import NODES, debevec, robertson, spread_samples, srgb, trust
from composer.media.metadata import read_exif
from composer.records import Photo

Array = NDArray[Any]

__all__ = ["METHODS", "estimated_seconds", "exposure_seconds", "merge"]

METHODS = ("debevec", "robertson", "srgb")
EXPOSURE_TIME, F_NUMBER, ISO = 0x829A, 0x829D, 0x8827
SHUTTER_SPEED = 0x9201  # logarithm to base two of 1 / seconds
INSIDE = 0.08, 0.92  # of white: values that tell an exposure ratio
BARELY = 0.02, 0.98  # values that tell one of exposures far apart
LEAST_COMMON = 50  # pixels
BAND = 1 << 20  # pixels at a time
FAINT = 1e-6  # what the last resort counts beside any other photo
FAINTEST = 1e-9  # of what no photo tells well: white in the only one that shows it
DARK = 0.1  # what the longest exposure's darkest values count


def exposure_seconds(photos: Sequence[Photo]) -> tuple[float, ...] | None:
    """Return how long each photo was exposed, as EXIF says; None where it says nothing of one of them.

    A photo with another sensitivity or aperture than the first gets the seconds that would have exposed it
    as much with the first's.
    """
    found = [_settings(p) for p in photos]
    if not found or any(f[0] is None for f in found):
        return None
    seconds = []
    for time, sensitivity, aperture in found:
        assert time is not None
        if sensitivity and found[0][1]:
            time *= sensitivity / found[0][1]
        if aperture and found[0][2]:
            time *= (found[0][2] / aperture) ** 2
        seconds.append(time)
    return tuple(seconds)


def _settings(photo: Photo) -> tuple[float | None, float | None, float | None]:
    """Return exposure time, ISO and f-number, None where unknown."""
    if photo.path is None:
        return None, None, None
    camera = read_exif(photo.path).camera
    time = _positive(camera.get(EXPOSURE_TIME))
    if time is None and SHUTTER_SPEED in camera:
        time = _positive(2.0 ** -float(camera[SHUTTER_SPEED]))
    sensitivity = camera.get(ISO)
    sensitivity = sensitivity[0] if isinstance(sensitivity, tuple) and sensitivity else sensitivity
    return time, _positive(sensitivity), _positive(camera.get(F_NUMBER))


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if 0 < number < float("inf") else None


def estimated_seconds(images: Sequence[Array]) -> tuple[float, ...]:
    """Estimate exposures from the photos, taken as sRGB, by medians of ratios of light; the darkest's is 1.

    Raises
    ------
    OptionError
        Two neighbouring exposures share no tones.
    """
    nodes = spread_samples(images)
    order = np.argsort(nodes.mean((0, 2)), kind="stable")
    light = np.interp(nodes, np.arange(NODES), srgb(1)[:, 0])
    limits = [(low * (NODES - 1), high * (NODES - 1)) for low, high in (INSIDE, BARELY)]
    tells = [(nodes > low) & (nodes < high) for low, high in limits]
    logs = np.zeros(len(images))
    for dark, bright in pairwise(order):
        shared = (inside[:, dark] & inside[:, bright] for inside in tells)
        both = next((b for b in shared if b.sum() >= LEAST_COMMON), None)
        if both is None:
            raise OptionError(
                f"photos {dark + 1} and {bright + 1} share too few tones to tell their exposures apart: "
                "give photos with exposure times in EXIF, or closer steps"
            )
        logs[bright] = logs[dark] + np.median((light[:, bright] - light[:, dark])[both])
    return tuple(float(k) for k in np.exp(logs))


def merge(
    images: Sequence[Array],
    seconds: Sequence[float] | None,
    method: str = "debevec",
    *,
    shown: Sequence[Array | None] | None = None,
) -> Array:
    """Merge exposures of one scene, aligned, to linear light.

    Parameters
    ----------
    images : sequence of (H, W, C) uint8 or uint16
    seconds : sequence of float, or None
        Exposure times, or whatever they are in proportion to; None estimates them, and takes the photos to be
        sRGB.
    method : "debevec", "robertson" or "srgb"
        Recover the camera's response (Debevec and Malik 1997; Robertson et al. 2003) and average by the
        paper's weights, or take the photos to be sRGB as they say, averaged by Debevec's weights. A pixel's
        channels weigh the same, as the brightest does: else colours come from several photos, and turn where
        these differ in white balance or response.
    shown : sequence of (H, W) bool or None, or None
        Where each image shows something; None is everywhere. Where none does, all count.

    Returns
    -------
    (H, W, C) float32, positive and linear; 1 is about white of the middle exposure. What is white in all
    photos is what the shortest exposure shows at the least, what is black in all what the longest shows.

    Raises
    ------
    OptionError
    """
    if seconds is None and len(images) > 1:
        _check(images, (1.0,) * len(images), method)
        seconds = estimated_seconds(images)
        method = "srgb"  # which tells the times, and so nothing of a response
    times = (1.0,) if seconds is None else tuple(float(s) for s in seconds)
    _check(images, times, method)
    logs = np.log(np.asarray(times, np.float64))
    logs -= np.median(logs)
    channels = int(images[0].shape[-1])
    if method == "srgb" or np.ptp(logs) == 0:  # one exposure tells nothing of the response
        response = srgb(channels)
    else:
        response = (debevec if method == "debevec" else robertson)(spread_samples(images), logs)
    tables = [_tables(response, logs, k, images[0].dtype, method) for k in range(len(images))]
    out = np.empty(images[0].shape, np.float32)
    height, width = images[0].shape[:2]
    rows = max(1, BAND // int(width))
    counted = _counted(shown or [None] * len(images), int(height))
    for y in range(0, int(height), rows):
        here = slice(y, y + rows)
        above, below = np.zeros_like(out[here]), np.zeros_like(out[here, :, :1])
        for image, (values, weights), counts in zip(images, tables, counted, strict=True):
            weight = lookup(max_channel(image[here])[:, :, None], weights) * counts[here]
            above += lookup(image[here], values) * weight
            below += weight
        out[here] = above / below if method == "robertson" else np.exp(above / below)
    return out


def _counted(shown: Sequence[Array | None], rows: int) -> list[Array]:
    """Return what each image counts, (H, 1 or W, 1): everywhere where none shows anything."""
    some = [np.ones((rows, 1), bool) if s is None else s for s in shown]
    nobody = ~np.logical_or.reduce(np.broadcast_arrays(*some))
    return [(s | nobody if s.shape[1] > 1 else s)[:, :, None].astype(np.float32) for s in some]


def _check(images: Sequence[Array], seconds: Sequence[float], method: str) -> None:
    if method not in METHODS:
        raise OptionError(f'method is "{method}"; give one of {", ".join(METHODS)}')
    if not images or len(seconds) != len(images):
        raise OptionError(f"{len(images)} photos and {len(seconds)} exposure times: give one a photo")
    if any(not 0 < s < float("inf") for s in seconds):
        raise OptionError(f"exposure times are {list(seconds)}; give seconds above 0")
    kinds = {(i.shape, i.dtype.name) for i in images}
    if len(kinds) != 1 or images[0].ndim != 3:
        raise OptionError(f"photos differ in size or type ({sorted(kinds)}); give photos of one camera")
    if images[0].dtype.name not in ("uint8", "uint16"):
        raise OptionError(f"photos are {images[0].dtype}; exposures are merged from 8-bit or 16-bit ones")


def _tables(
    response: Array, logs: Array, photo: int, dtype: np.dtype[Any], method: str
) -> tuple[Array, Array]:
    """Return what a photo's stored values stand for (codes, C), and what they weigh (codes, 1).

    Debevec and Malik average logarithms (equation 6), Robertson et al. light, by the variance of its error
    (equation 10). The shortest counts faintly where it is white, for pixels that are white in all; the
    longest counts where it is dark, since what others show there is noise. Nothing counts for naught: of some
    places, at the edges, only one photo shows anything.
    """
    nodes = np.linspace(0, NODES - 1, int(np.iinfo(dtype).max) + 1)
    curve = np.stack([np.interp(nodes, np.arange(NODES), c) for c in response.T], axis=1)
    weight = trust(nodes)
    if logs[photo] == logs.min():
        weight = np.where(nodes > NODES / 2, np.maximum(weight, FAINT), weight)
    if logs[photo] == logs.max():
        weight = np.where(nodes <= NODES / 2, np.maximum(weight, DARK), weight)
    weight = np.maximum(weight, FAINTEST)
    values = curve - logs[photo]
    if method == "robertson":
        weight, values = weight * np.exp(2 * logs[photo]), np.exp(values)
    return values.astype(np.float32), weight[:, None].astype(np.float32)
