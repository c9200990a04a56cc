"""Scratches, hairs, cracks, creases and specks of scans: which of the things that may be damage are.

Each thing is judged as a whole, by what `candidates.features` measures. A photo's own wires, twigs and lights
come one by one where damage comes in numbers: so a thing must be surer where it is alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.mending.candidates import FEATURES, candidates, features
from composer.mending.damage import damage
from composer.mending.regions import regions
from composer.records import Fault

Array = NDArray[Any]

__all__ = ["LAID_OVER", "find_laid_over", "seen"]

SEEN = np.log(4)  # "ridge": of three levels, from which things count; a step of less is not seen
EDGE = 7  # pixels around what is not valid that are not looked at


@dataclass(frozen=True)
class Judge:
    """How things of a kind are told; benchmarks/judge_damage.py fits bias and weights.

    A score, the log-odds of being damage, is `bias` and the features by their `weights`. Things count beyond
    `alone`, and beyond `together` where `several` things lie beyond `clear`.
    """

    smallest: int  # pixels
    alone: float
    clear: float
    several: int
    together: float
    bias: float
    weights: tuple[float, ...]


JUDGES = {
    "scratch": Judge(
        smallest=20, alone=1.5, clear=1, several=2, together=0.5, bias=0.66,
        weights=(
            0.53, 1.2, 0.09, -2.28, 0.23, 1.06, -0.74, 0.34, -0.92, -1.01,
            -0.09, -0.83, 0.26, 0.76, 0.11, -1.55, -0.11, 0, -0.7, 0.44,
        ),
    ),
    "dust": Judge(
        smallest=2, alone=3.5, clear=2, several=4, together=-1, bias=5.10,
        weights=(
            0.61, 0.29, -0.09, -1.16, 0.69, -0.23, -0.65, -0.34, -1.45, -1.53,
            0.15, -0.01, -0.38, 0.55, -0.07, -0.7, 0.85, -2.19, 1.01, 0.12,
        ),
    ),
}  # fmt: skip
LAID_OVER = tuple(JUDGES)


def find_laid_over(
    pixels: Array, valid: Array | None = None, kinds: Sequence[str] = LAID_OVER, sensitivity: float = 0.0
) -> list[Fault]:
    """Find scratches, hairs and cracks ("scratch") and specks ("dust") on (H, W, C) float32, 0..1.

    Their log-odds are raised by `sensitivity`: where a photo is known to be damaged, less need be sure.
    """
    if min(pixels.shape[:2]) < 32:
        return []
    odds = damage(pixels)
    odds[:, [0, -1]] = odds[:, :, [0, -1]] = -np.inf
    if valid is not None and not valid.all():
        odds[:, cv2.erode(valid.astype(np.uint8), np.ones((EDGE, EDGE), np.uint8)) == 0] = -np.inf
    labels = [candidates(of, JUDGES[kind].smallest) for kind, of in zip(LAID_OVER, odds, strict=True)]
    measured = features(pixels, odds, labels)
    found = zip(LAID_OVER, labels, measured, strict=True)
    return [f for kind, of, told in found if kind in kinds for f in _damage(kind, of, told, sensitivity)]


def seen(measured: Array) -> Array:
    """Return which things of features (N, F) are far enough from what is around to be seen, (N,) bool."""
    return np.asarray(measured[:, FEATURES.index("ridge")] >= SEEN)


def _damage(kind: str, labels: Array, measured: Array, sensitivity: float) -> list[Fault]:
    """Return the things of a kind, by labels (H, W) and features (N, F), that are damage."""
    judge = JUDGES[kind]
    scores = judge.bias + sensitivity + measured @ np.array(judge.weights)
    scores[~seen(measured)] = -np.inf
    limit = judge.together if (scores > judge.clear).sum() >= judge.several else judge.alone
    kept = np.append(False, scores > limit)
    found = []
    for fault in regions(kind, kept[labels]):
        x0, y0, x1, y1 = fault.rect
        score = scores[labels[y0:y1, x0:x1][fault.mask][0] - 1]
        found.append(replace(fault, confidence=float(1 / (1 + np.exp(-score)))))
    return found
