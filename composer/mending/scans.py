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

from composer.mending.candidates import candidates, features
from composer.mending.damage import damage
from composer.mending.regions import regions
from composer.records import Fault

Array = NDArray[Any]

__all__ = ["LAID_OVER", "find_laid_over"]

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
        smallest=20, alone=2, clear=1, several=2, together=0, bias=-1.84,
        weights=(
            0.38, 1.04, 0.18, -1.62, 0.29, 0.63, -0.34, -0.32, -0.78,
            -0.59, -0.3, 0.47, -0.11, 0.04, -0.2, -2.34, -0.07, 0.2,
        ),
    ),
    "dust": Judge(
        smallest=2, alone=2.5, clear=1.5, several=3, together=-2, bias=5.90,
        weights=(
            0.5, 0.39, -0.09, 0.93, 0.19, -0.92, -1.41, 0.32, -1.37,
            -1.26, -0.9, -0.74, 0.02, 0.57, 0.34, -0.5, 0.87, -2.92,
        ),
    ),
}  # fmt: skip
LAID_OVER = tuple(JUDGES)


def find_laid_over(
    pixels: Array, valid: Array | None = None, kinds: Sequence[str] = LAID_OVER
) -> list[Fault]:
    """Find scratches, hairs and cracks ("scratch") and specks ("dust") on (H, W, C) float32, 0..1."""
    if min(pixels.shape[:2]) < 32:
        return []
    odds = damage(pixels)
    odds[:, [0, -1]] = odds[:, :, [0, -1]] = -np.inf
    if valid is not None and not valid.all():
        odds[:, cv2.erode(valid.astype(np.uint8), np.ones((EDGE, EDGE), np.uint8)) == 0] = -np.inf
    labels = [candidates(of, JUDGES[kind].smallest) for kind, of in zip(LAID_OVER, odds, strict=True)]
    measured = features(pixels, odds, labels)
    found = zip(LAID_OVER, labels, measured, strict=True)
    return [f for kind, of, seen in found if kind in kinds for f in _damage(kind, of, seen)]


def _damage(kind: str, labels: Array, measured: Array) -> list[Fault]:
    """Return the things of a kind, by labels (H, W) and features (N, F), that are damage."""
    judge = JUDGES[kind]
    scores = judge.bias + measured @ np.array(judge.weights)
    limit = judge.together if (scores > judge.clear).sum() >= judge.several else judge.alone
    kept = np.append(False, scores > limit)
    found = []
    for fault in regions(kind, kept[labels]):
        x0, y0, x1, y1 = fault.rect
        score = scores[labels[y0:y1, x0:x1][fault.mask][0] - 1]
        found.append(replace(fault, confidence=float(1 / (1 + np.exp(-score)))))
    return found
