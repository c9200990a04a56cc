"""Colours over any array namespace: linear light, Oklab, a range that is kept softly, compositing."""

from __future__ import annotations

from typing import Any

from composer.backend import namespace

__all__ = ["composited", "from_linear", "from_oklab", "luma", "softly_within", "to_linear_light", "to_oklab"]

# Ottosson, "A perceptual color space for image processing" (2020): linear sRGB to cones, their roots to Lab
_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_LIGHTS = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)
_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
_ROOTS = (
    (1.0, 0.3963377774, 0.2158037573),
    (1.0, -0.1055613458, -0.0638541728),
    (1.0, -0.0894841775, -1.2914855480),
)
_LUMA = (0.2126, 0.7152, 0.0722)
SHOULDER = 0.9  # where a picture that exceeds white begins to bend
_SMALL = 1e-6


def to_linear_light(encoded: Any) -> Any:
    """Turn sRGB-encoded float32 into linear light, odd about zero: `records.to_linear` for any device."""
    xp = namespace(encoded)
    size = xp.abs(encoded)
    light = xp.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** 2.4)
    return xp.sign(encoded) * light


def from_linear(light: Any) -> Any:
    """Turn linear light into sRGB-encoded float32, odd about zero: `records.to_encoded` for any device."""
    xp = namespace(light)
    size = xp.abs(light)
    return xp.sign(light) * xp.where(size <= 0.0031308, size * 12.92, 1.055 * size ** (1 / 2.4) - 0.055)


def to_oklab(encoded: Any) -> Any:
    """Return Oklab (..., 3) of sRGB-encoded colours (..., 3)."""
    xp = namespace(encoded)
    cones = _turned(to_linear_light(encoded), _CONES)
    return _turned(xp.sign(cones) * xp.abs(cones) ** (1 / 3), _LAB)


def from_oklab(lab: Any) -> Any:
    """Return sRGB-encoded colours (..., 3) of Oklab (..., 3)."""
    return from_linear(_turned(_turned(lab, _ROOTS) ** 3, _LIGHTS))


def _turned(colours: Any, matrix: tuple[tuple[float, ...], ...]) -> Any:
    """Multiply each colour by a matrix; plain sums, as small matrix products round differently by device."""
    xp = namespace(colours)
    a, b, c = (colours[..., k] for k in range(3))
    return xp.stack([a * row[0] + b * row[1] + c * row[2] for row in matrix], axis=-1)


def luma(colours: Any) -> Any:
    """Return the luma (..., 1) of encoded colours (..., C) by Rec. 709's weights; grey as it is."""
    if colours.shape[-1] == 1:
        return colours
    return sum(colours[..., k : k + 1] * share for k, share in enumerate(_LUMA))


def softly_within(colours: Any, reached: tuple[float, float], limits: tuple[float, float]) -> Any:
    """Bring colours (..., C) into a range without turning their hues or tearing at its ends.

    Luma bends towards the ends by Reinhard's extended curve, so that `reached` falls on `limits`; it stays
    as it is where nothing is exceeded. What then still lies outside moves towards its own grey.
    """
    xp = namespace(colours)
    low, high = limits
    grey = luma(colours)
    middle, half = (low + high) / 2, (high - low) / 2
    above = middle + half * _bent((grey - middle) / half, (reached[1] - middle) / half)
    below = middle - half * _bent((middle - grey) / half, (middle - reached[0]) / half)
    bent = xp.clip(xp.where(grey > middle, above, below), low, high)
    chroma = colours - grey
    most = xp.max(chroma, axis=-1, keepdims=True)
    least = xp.min(chroma, axis=-1, keepdims=True)
    room = xp.minimum(
        (high - bent) / xp.clip(most, _SMALL, None), (bent - low) / xp.clip(-least, _SMALL, None)
    )
    return xp.clip(bent + chroma * xp.clip(room, None, 1.0), low, high)


def _bent(size: Any, reached: float) -> Any:
    """Map 0..reached onto 0..1, as it is up to the shoulder (Reinhard et al. 2002, equation 4)."""
    if reached <= 1:
        return size
    xp = namespace(size)
    beyond = xp.clip((size - SHOULDER) / (1 - SHOULDER), 0.0, None)
    end = (reached - SHOULDER) / (1 - SHOULDER)
    curve = beyond * (1 + beyond / end**2) / (1 + beyond)
    return xp.where(size > SHOULDER, SHOULDER + (1 - SHOULDER) * curve, size)


def composited(front: Any, back: Any, share: Any, under: Any | None = None) -> tuple[Any, Any | None]:
    """Lay one picture over another in linear light (Porter and Duff, 1984, "over").

    Parameters
    ----------
    front, back : (h, w, C) sRGB-encoded float32
    share : (h, w) float32, the front's alpha
    under : (h, w) float32 or None
        The back's alpha; None is opaque.

    Returns
    -------
    Encoded colours, straight; their alpha, None where the back is opaque.
    """
    xp = namespace(front)
    share = share[..., None]
    rest = 1 - share if under is None else (1 - share) * under[..., None]
    alpha = share + rest
    mixed = to_linear_light(front) * share + to_linear_light(back) * rest
    seen = xp.where(share >= 1, front, from_linear(mixed / xp.clip(alpha, _SMALL, None)))
    return seen, None if under is None else alpha[..., 0]
