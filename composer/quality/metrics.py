"""Figures of merit of a picture against its reference; all on encoded values 0..1."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

__all__ = ["colour_difference", "compared", "gradient_error", "ms_ssim", "psnr", "ssim_map"]

MOST_DB = 100.0  # what equal pictures get
_C1, _C2 = 0.01**2, 0.03**2
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def compared(picture: Array, reference: Array, mask: Array | None = None) -> dict[str, float]:
    """Return every figure by name.

    Parameters
    ----------
    picture, reference : (H, W, C) float32, 0..1
    mask : (H, W) bool or None
        Where to look; windows of SSIM and MS-SSIM are counted by their centres.

    Returns
    -------
    psnr_db, ssim, ms_ssim (1 is equal), delta_e (CIEDE2000, mean), gradient_error (grey levels).
    """
    where = np.ones(picture.shape[:2], bool) if mask is None else mask
    return {
        "psnr_db": psnr(picture, reference, where),
        "ssim": float(ssim_map(picture, reference)[0][where].mean()),
        "ms_ssim": ms_ssim(picture, reference, where),
        "delta_e": colour_difference(picture, reference, where),
        "gradient_error": gradient_error(picture, reference, where),
    }


def psnr(picture: Array, reference: Array, where: Array) -> float:
    """Return the peak signal-to-noise ratio in decibels, at most 100."""
    error = float(((picture - reference)[where].astype(np.float64) ** 2).mean())
    return min(MOST_DB, float(-10 * np.log10(max(error, 1e-12))))


def ssim_map(picture: Array, reference: Array) -> tuple[Array, Array]:
    """Return structural similarity (Wang et al., TIP 2004), and its contrast part, (H, W) each.

    On luma, with the paper's Gaussian of 1.5 pixels over 11 x 11.
    """
    x, y = (_luma(p) for p in (picture, reference))
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    both = _blurred(x * y) - mean_x * mean_y
    contrast = (2 * both + _C2) / (var_x + var_y + _C2)
    return (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1) * contrast, contrast


def ms_ssim(picture: Array, reference: Array, where: Array) -> float:
    """Return multi-scale structural similarity (Wang et al., 2003): five scales, fewer if small."""
    x, y, inside = _luma(picture), _luma(reference), where.astype(np.float32)
    scales = min(5, 1 + max(0, int(np.log2(min(x.shape) / 16))))
    weights = np.array(_SCALES[:scales]) / sum(_SCALES[:scales])
    parts = []
    for k in range(scales):
        whole, contrast = ssim_map(x[:, :, None], y[:, :, None])
        chosen = whole if k == scales - 1 else contrast
        counted = inside > 0.5 if (inside > 0.5).any() else inside >= inside.max()
        parts.append(max(float(chosen[counted].mean()), 0.0))
        size = (max(1, x.shape[1] // 2), max(1, x.shape[0] // 2))
        x, y, inside = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (x, y, inside))
    return float(np.prod(np.power(parts, weights)))


def colour_difference(picture: Array, reference: Array, where: Array) -> float:
    """Return the mean CIEDE2000 difference of sRGB pictures; 1 is just visible."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    pixels = (np.broadcast_to(p, (*p.shape[:2], 3))[where][None] for p in (picture, reference))
    one, other = (rgb2lab(np.clip(p, 0, 1).astype(np.float32)) for p in pixels)
    found: Array = deltaE_ciede2000(one, other)  # type: ignore[no-untyped-call]
    return float(found.mean())


def gradient_error(picture: Array, reference: Array, where: Array) -> float:
    """Return the mean absolute error of differences between neighbouring pixels, in grey levels of 255."""
    found = []
    for axis in (0, 1):
        gap = np.abs(np.diff(picture - reference, axis=axis)).mean(2)
        found.append(gap[where[1:] if axis == 0 else where[:, 1:]])
    every = np.concatenate(found)
    return 255 * float(every.mean()) if len(every) else 0.0


def _luma(picture: Array) -> Array:
    if picture.shape[2] == 1:
        return np.ascontiguousarray(picture[:, :, 0], np.float32)
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture, np.float32), cv2.COLOR_RGB2GRAY))


def _blurred(plane: Array) -> Array:
    return np.asarray(cv2.GaussianBlur(plane, (11, 11), 1.5))
