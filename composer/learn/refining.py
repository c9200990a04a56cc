"""From what the network says to a picture: bounded, gated, tested, and nothing outside the mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.records import Rect

Array = NDArray[Any]

__all__ = ["Refusal", "accepted", "believed", "gated"]

GATE, FULLY = 0.55, 0.25  # how sure the network must be of a gain, and how much surer to change all
BELIEVED, WHOLLY = 0.65, 0.1  # how sure, and how much surer, of all that it proposes around a pixel
AROUND = 129  # pixels each way that this is asked of
DEAD = 1 / 255  # changes below this are not made
MOST = 0.35  # largest change
SPREAD = 5  # pixels: a changed value must occur so near in a source, give or take SLACK
SLACK = 6 / 255
STRANGE = 0.2  # share of changed pixels that may have values which no source has there
LIVELIER = 1.25  # how much stronger edges may become than in either source


@dataclass(frozen=True)
class Refusal:
    """A part of the mask that was left as it was, and why."""

    rect: Rect
    reason: str


def believed(change: Array, sure: Array, mask: Array) -> Array:
    """Return how sure the network is (h, w), and nothing where it is not of most it proposes around.

    What it proposes along a seam is right or wrong together: where it believes half of it, a composite that
    was nearly perfect is more likely spoiled than mended.

    Parameters
    ----------
    change : (3, h, w) float32
    sure, mask : (h, w) float32
    """
    size = np.square(change).sum(0) * mask**2 + np.float32(1e-8)
    total, of_all = (
        cv2.boxFilter(p, -1, (AROUND, AROUND), normalize=False, borderType=cv2.BORDER_CONSTANT)
        for p in (size * sure, size)
    )
    return np.asarray(sure * np.clip((total / of_all - BELIEVED) / WHOLLY, 0, 1), np.float32)


def gated(composite: Array, mask: Array, change: Array, strength: float = 1.0) -> Array:
    """Return (h, w, 3) float32: the composite with what the network would change.

    Parameters
    ----------
    composite : (h, w, 3) float32, 0..1
    mask : (h, w) float32, 0..1
    change : (4, h, w) float32
        What to add, and how sure the network is that it gains something.
    strength : float
        Share of the change that is made, 0..1.
    """
    sure = np.clip((change[3] - GATE) / FULLY, 0, 1)
    wanted = np.moveaxis(change[:3], 0, 2) * (mask * sure * np.float32(strength))[:, :, None]
    wanted = np.clip(wanted, -MOST, MOST)
    kept = np.sign(wanted) * np.maximum(np.abs(wanted) - DEAD, 0)
    return np.clip(composite + kept, np.minimum(composite, 0), np.maximum(composite, 1)).astype(np.float32)


def accepted(
    composite: Array, result: Array, mask: Array, other: Array | None, other_valid: Array | None
) -> tuple[Array, list[Refusal]]:
    """Take back what cannot be explained by the sources, a connected part of the mask at a time.

    No reference is needed: a changed pixel should have a value that one of the sources has nearby, and edges
    should not become stronger than they are in either.

    Returns
    -------
    result : (h, w, 3)
    refusals : list of Refusal
    """
    count, labels, boxes, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8), connectivity=8)
    result, refusals = result.copy(), []
    for k in range(1, count):
        x, y, width, height = (int(v) for v in boxes[k, :4])
        rect = Rect(x, y, x + width, y + height)
        around = rect.grown(SPREAD)
        cut = slice(max(around.y0, 0), around.y1), slice(max(around.x0, 0), around.x1)
        mine = labels[cut] == k
        sources = [composite[cut]]
        if other is not None and other_valid is not None and bool(other_valid[cut][mine].mean() > 0.5):
            sources.append(np.where(other_valid[cut][:, :, None], other[cut], composite[cut]))
        reason = _strange(result[cut], sources, mine)
        if reason:
            result[cut] = np.where(mine[:, :, None], composite[cut], result[cut])
            refusals.append(Refusal(rect, reason))
    return result, refusals


def _strange(result: Array, sources: list[Array], mine: Array) -> str:
    """Return why a part of the result cannot be right; "" where nothing speaks against it."""
    changed = mine & (np.abs(result - sources[0]).max(2) > 2 / 255)
    if not changed.any():
        return ""
    kernel = np.ones((2 * SPREAD + 1, 2 * SPREAD + 1), np.uint8)
    lowest = np.min([cv2.erode(s, kernel) for s in sources], 0) - SLACK
    highest = np.max([cv2.dilate(s, kernel) for s in sources], 0) + SLACK
    outside = ((result < lowest) | (result > highest)).any(2)
    share = float(outside[changed].mean())
    if share > STRANGE:
        return f"{share:.0%} of what was changed has colours that no source has nearby"
    edges = [float(_slopes(p)[changed].mean()) for p in (result, *sources)]
    if edges[0] > LIVELIER * max(edges[1:]) + 1 / 255:
        return f"edges became {edges[0] / max(max(edges[1:]), 1e-6):.1f} times as strong as in any source"
    return ""


def _slopes(picture: Array) -> Array:
    grey = np.ascontiguousarray(picture.mean(2))
    across, down = (cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx, scale=0.25) for dx in (1, 0))
    return np.asarray(np.hypot(across, down))
