"""Tone mapping: linear light of any range to what a screen shows.

Every operator makes a picture's luminance fit 0..1; colours keep their ratios in linear light, and where one
would exceed white, move towards their own grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend import gaussian, namespace, pyr_down, pyr_up, resize
from composer.backend.channels import max_channel
from composer.errors import OptionError
from composer.records import to_encoded

Array = NDArray[Any]

__all__ = ["OPERATORS", "tone_map"]

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
DEEPEST = 1e-6  # of the brightest: nothing darker is told apart
ENDS = 0.002, 0.998  # quantiles that are taken for darkest and brightest: lamps and dead pixels lie beyond
MOST_LOOKED_AT = 1_000_000  # pixels that quantiles are taken from
KEY = 0.18  # what the picture's middle becomes
BIAS = 0.85  # of Drago's logarithms
CONTRAST = 5.0  # natural logarithm of what the large scale may span: Durand's 50, and some for the eye
EDGE = 0.4 * math.log(10)  # natural logarithm of light: larger steps are edges
REACH = 0.02  # of the picture's size: Durand's spatial Gaussian
CELLS = 3.0  # coarse cells a sigma
DETAIL = math.log(2.5)  # of local Laplacians: smaller steps are detail
FLATTENED = 0.35  # what is left of larger steps
SHOWN = 4.6  # natural logarithm of the range that a local picture is given: 100 to 1
SATURATION = 0.85  # of local pictures: flattened light makes colours look stronger


def tone_map(radiance: Array, operator: str = "reinhard") -> Array:
    """Show linear light of any range on a screen.

    Parameters
    ----------
    radiance : (H, W, C) float32, linear, C 1 or 3; what is negative or no number counts as black
    operator : str
        "reinhard": one photographic curve for all, its key and white from the picture (Reinhard et al. 2002,
        equation 4). "drago": logarithms whose base adapts (Drago et al. 2003). "mantiuk": contrasts at all
        scales, compressed (Mantiuk et al. 2006, by OpenCV). "durand": the large scale compressed, edges and
        detail kept (Durand and Dorsey 2002, bilateral filter). "local-laplacian": the same without halos at
        edges, by local Laplacian filters (Paris et al. 2011, fast form of Aubry et al. 2014).

    Returns
    -------
    (H, W, C) float32, 0..1, sRGB-encoded.

    Raises
    ------
    OptionError
    """
    if operator not in OPERATORS:
        raise OptionError(f'operator is "{operator}"; give one of {", ".join(OPERATORS)}')
    light = np.maximum(np.nan_to_num(radiance, nan=0, posinf=0, neginf=0), 0).astype(np.float32, copy=False)
    luminance = light @ _LUMINANCE if light.shape[2] == 3 else light[:, :, 0]
    top = float(luminance.max())
    if top <= 0:
        return np.zeros_like(light)
    luminance = np.maximum(luminance, top * DEEPEST)
    shown, saturation = OPERATORS[operator](light, luminance)
    return to_encoded(_coloured(light, luminance, np.clip(shown, 0, 1), saturation))


def _coloured(light: Array, before: Array, after: Array, saturation: float) -> Array:
    """Give colours a new luminance; those that then exceed white move towards grey of the same luminance."""
    if light.shape[2] == 1:
        return after[:, :, None]
    out = light * (1 / before)[:, :, None]
    if saturation != 1:
        np.power(out, np.float32(saturation), out=out)
        out /= np.maximum(out @ _LUMINANCE, 1e-9)[:, :, None]
    out *= after[:, :, None]
    apart = max_channel(out) - after
    room = np.minimum((1 - after) / np.maximum(apart, 1e-9), 1)
    out -= after[:, :, None]
    out *= room[:, :, None]
    out += after[:, :, None]
    return np.clip(out, 0, 1)


def _ends(values: Array, at: tuple[float, ...] = ENDS) -> list[float]:
    """Return quantiles of an evenly spread share of the pixels."""
    step = max(1, int(math.sqrt(values.size / MOST_LOOKED_AT)))
    return [float(k) for k in np.quantile(values[::step, ::step], at)]


def _reinhard(light: Array, luminance: Array) -> tuple[Array, float]:
    logs = np.log(luminance)
    low, high = _ends(logs)
    middle = float(logs.mean(dtype=np.float64))
    # Reinhard, "Parameter estimation for photographic tone reproduction" (2002)
    key = KEY * 4 ** ((2 * middle - low - high) / max(high - low, 1e-3))
    scaled = luminance * np.float32(key / math.exp(middle))
    white = np.float32(max(key * math.exp(high - middle), 1.0))
    return scaled * (1 + scaled / white**2) / (1 + scaled), 1.0


def _drago(light: Array, luminance: Array) -> tuple[Array, float]:
    logs = np.log(luminance)
    middle = float(logs.mean(dtype=np.float64))
    scaled = luminance * np.float32(math.exp(-middle))  # adapted to the mean of logarithms
    most = math.exp(_ends(logs)[1] - middle)
    power = np.float32(math.log(BIAS) / math.log(0.5))
    base = np.log(2 + 8 * (np.minimum(scaled, most) / np.float32(most)) ** power)
    return np.log1p(scaled) / (base * np.float32(math.log10(most + 1))), 1.0


def _mantiuk(light: Array, luminance: Array) -> tuple[Array, float]:
    import cv2

    top = luminance.max()
    if luminance.min() == top:  # nothing to compress, and its solver would find nothing to solve
        return np.ones_like(luminance), 1.0
    colours = (light if light.shape[2] == 3 else np.repeat(light, 3, 2)) / top
    logging = cv2.utils.logging
    level = logging.setLogLevel(logging.LOG_LEVEL_ERROR)  # it warns of a change to come in OpenCV itself
    try:
        mapping = cv2.createTonemapMantiuk(gamma=1.0, scale=0.85, saturation=1.0)
        made = mapping.process(np.maximum(colours, np.float32(DEEPEST)))
    finally:
        logging.setLogLevel(level)
    shown = np.nan_to_num(made @ _LUMINANCE)
    return np.maximum(shown, 0) / max(_ends(shown)[1], 1e-9), 1.0


def _durand(light: Array, luminance: Array) -> tuple[Array, float]:
    logs = np.log(luminance)
    base = bilateral(logs, REACH * max(logs.shape), EDGE)
    low, high = _ends(base)
    share = np.float32(min(1.0, CONTRAST / max(high - low, 1e-3)))
    shown = (base - high) * share + (logs - base)
    return _exposed(shown), SATURATION


def _local_laplacian(light: Array, luminance: Array) -> tuple[Array, float]:
    logs = np.log(luminance)
    shown = local_laplacian(logs, DETAIL, FLATTENED)
    low, high = _ends(shown)
    return np.exp((shown - high) * np.float32(min(1.0, SHOWN / max(high - low, 1e-3)))), SATURATION


def _exposed(logs: Array) -> Array:
    """Return light whose brightest, some lamps apart, is white."""
    return np.exp(logs - np.float32(_ends(logs)[1]))


OPERATORS: dict[str, Callable[[Array, Array], tuple[Array, float]]] = {
    "reinhard": _reinhard,
    "drago": _drago,
    "mantiuk": _mantiuk,
    "durand": _durand,
    "local-laplacian": _local_laplacian,
}


def bilateral(image: Any, sigma_px: float, sigma: float) -> Any:
    """Smooth an image but not its edges, at the cost of a few Gaussians at low resolution.

    Durand and Dorsey (SIGGRAPH 2002, section 5): the filter is linear for each of several intensities, which
    are sigma / 2 apart, and interpolated between them; Gaussians run on reduced images.

    Parameters
    ----------
    image : (H, W) float32
    sigma_px, sigma : float
        Widths of the Gaussians in space and in value.
    """
    xp = namespace(image)
    height, width = image.shape
    shrink = max(1.0, sigma_px / CELLS)
    small = (max(1, round(height / shrink)), max(1, round(width / shrink)))
    low, high = float(xp.min(image)), float(xp.max(image))
    count = max(2, math.ceil((high - low) / (sigma / 2)) + 1)
    step = max((high - low) / (count - 1), 1e-6)
    out = xp.zeros_like(image)
    for k in range(count):
        level = low + k * step
        weight = xp.exp(-0.5 * ((image - level) / sigma) ** 2)
        parts = xp.stack([weight, weight * (image - level)], axis=-1)
        parts = gaussian(_averaged(parts, small), sigma_px / shrink)
        mean = parts[..., 1] / xp.clip(parts[..., 0], 1e-12, None)
        near = xp.clip(1 - xp.abs(image - level) / step, 0.0, None)
        out = out + near * (resize(mean, (height, width)) + level)
    return out


def _averaged(image: Any, shape: tuple[int, int]) -> Any:
    """Reduce an image, blurred as it must be."""
    while image.shape[0] >= 2 * shape[0] and image.shape[1] >= 2 * shape[1]:
        image = pyr_down(image)
    return resize(image, shape)


def local_laplacian(image: Any, sigma: float, beta: float) -> Any:
    """Compress an image's large steps and keep its detail, without halos.

    Local Laplacian filters (Paris, Hasinoff and Kautz, SIGGRAPH 2011) with alpha 1, in the form of Aubry et
    al. (TOG 2014, section 4): pyramids of the image remapped about a few intensities, and interpolated.

    Parameters
    ----------
    image : (H, W) float32
    sigma : float
        Steps up to this stay as they are.
    beta : float
        What is left of what exceeds it.
    """
    xp = namespace(image)
    levels = max(1, int(math.log2(max(2, min(image.shape)))) - 1)
    guide = [image]
    for _ in range(levels):
        guide.append(pyr_down(guide[-1]))
    low, high = float(xp.min(image)), float(xp.max(image))
    count = max(2, math.ceil((high - low) / sigma) + 1)
    step = max((high - low) / (count - 1), 1e-6)
    made = [xp.zeros_like(g) for g in guide[:-1]]
    for k in range(count):
        apart = image - (low + k * step)
        fine = xp.clip(apart, -sigma, sigma)
        fine = fine + (apart - fine) * beta
        for n in range(levels):
            coarse = pyr_down(fine)
            detail = fine - pyr_up(coarse, fine.shape)
            made[n] = made[n] + xp.clip(1 - xp.abs(guide[n] - low - k * step) / step, 0.0, None) * detail
            fine = coarse
    middle = (low + high) / 2
    out = middle + (guide[-1] - middle) * beta
    for detail in reversed(made):
        out = pyr_up(out, detail.shape) + detail
    return out
