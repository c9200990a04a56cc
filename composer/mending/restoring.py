"""Faults that are mended by a change of what is there, rather than by filling: a function for each kind.

Fills come first, then restorers in the order of `RESTORERS`. Each is handed what the one before has made, in
the picture's own type, and returns as much; what it leaves alone stays bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.media.jpeg import Coding
from composer.media.picture import as_float
from composer.mending.banding import levelled
from composer.mending.blocks import coding_seen
from composer.mending.deblocking import deblock, quality_of
from composer.mending.fading import levels, spread
from composer.mending.fringes import measured, rescaled
from composer.mending.levelling import level_seam
from composer.mending.noise import GRAIN, denoise, estimate
from composer.records import Context, Fault

Array = NDArray[Any]

__all__ = ["RESTORERS", "Restored", "Restorer", "Setting", "restore_faults"]


@dataclass(frozen=True)
class Setting:
    """What finders and restorers are told beside the pixels.

    Attributes
    ----------
    grain : float
        The noise, of 255, that is none yet.
    sensitivity : float
        By how much less sure (log-odds) what is laid over a scan may be.
    coding : Coding or None
        How the picture's file is coded, if it is a JPEG file.
    context : Context
    """

    grain: float = GRAIN
    sensitivity: float = 0.0
    coding: Coding | None = None
    context: Context = field(default_factory=Context)


@dataclass(frozen=True)
class Restored:
    """What a restorer returns.

    Attributes
    ----------
    pixels : (H, W, C) array of the type that was handed in
    operator : str
        What mended the fault.
    note : str
        What was done and how strongly, in a sentence; "" where the operator says all.
    """

    pixels: Array = field(repr=False)
    operator: str
    note: str = ""


# pixels (H, W, C) uint8, uint16 or float32; where they are valid (H, W); the fault. None leaves it.
Restorer = Callable[[Array, Array, Fault, Setting], Restored | None]


def _without_bands(pixels: Array, valid: Array, fault: Fault, setting: Setting) -> Restored | None:
    level = levelled(pixels, valid)
    note = f"rows or columns that stood out by {fault.strength:.1f} (of 255) were levelled"
    return None if level is pixels else Restored(level, "offsets", note)


def _without_noise(pixels: Array, valid: Array, fault: Fault, setting: Setting) -> Restored | None:
    noise = estimate(as_float(pixels), valid)  # anew, since what came before may have taken some of it
    if noise is None or not noise.variance.any():
        return None
    clean = denoise(pixels, valid, noise, setting.context)
    return Restored(clean, "wiener", f"noise of sigma {255 * noise.typical:.1f} (of 255) was taken out")


def _without_blocks(pixels: Array, valid: Array, fault: Fault, setting: Setting) -> Restored | None:
    coding = coding_seen(as_float(pixels), setting.coding)
    if coding is None or len(coding.steps) != pixels.shape[2]:
        return None
    clean = deblock(pixels, valid, coding, setting.context)
    what = f"JPEG compression of quality {quality_of(coding)}"
    return Restored(clean, "quantisation", f"blocks and ringing of {what} were taken out")


def _without_fringes(pixels: Array, valid: Array, fault: Fault, setting: Setting) -> Restored | None:
    factors = measured(as_float(pixels), valid)
    if not any(factors):
        return None
    red, blue = (100 * f for f in factors)
    note = f"red was {red:+.3f} % and blue {blue:+.3f} % larger than green, and is no more"
    return Restored(rescaled(pixels, factors), "scales", note)


def _without_fading(pixels: Array, valid: Array, fault: Fault, setting: Setting) -> Restored | None:
    low, high = levels(as_float(pixels), valid)
    ranges = ", ".join(f"{255 * a:.0f} to {255 * b:.0f}" for a, b in zip(low, high, strict=True))
    note = f"channels that had faded to {ranges} (of 255) were spread"
    return Restored(spread(pixels, low, high), "levels", note)


def _without_seam(pixels: Array, valid: Array, fault: Fault, setting: Setting) -> Restored | None:
    return Restored(level_seam(pixels, fault), "gradients")


RESTORERS: dict[str, Restorer] = {
    "blocking": _without_blocks,
    "banding": _without_bands,
    "noise": _without_noise,
    "fringe": _without_fringes,
    "fading": _without_fading,
    "seam": _without_seam,
}


def restore_faults(
    pixels: Array, valid: Array, faults: Sequence[Fault], setting: Setting
) -> tuple[Array, tuple[Fault, ...], tuple[str, ...]]:
    """Mend faults by restorers, kind by kind in the order of `RESTORERS`.

    Parameters
    ----------
    pixels : (H, W, C) uint8, uint16 or float32
    valid : (H, W) bool
        What is shown, and finite; the rest stays as it is.
    faults : sequence of Fault
        Those of kinds without a restorer are passed on.
    setting : Setting

    Returns
    -------
    The picture (the same array where nothing was restored), all faults, and sentences on what was mended.
    """
    met, notes = list(faults), []
    for kind, restorer in RESTORERS.items():
        for k, fault in enumerate(faults):
            if fault.kind != kind:
                continue
            found = restorer(pixels, valid, fault, setting)
            if found is not None:
                pixels = np.where(valid[:, :, None], found.pixels, pixels)
                met[k] = replace(fault, operator=found.operator)
                notes += [found.note] if found.note else []
    return pixels, tuple(met), tuple(dict.fromkeys(notes))
