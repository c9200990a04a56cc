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
        smallest=20, alone=1.5, clear=0.5, several=2, together=0, bias=0.68,
        weights=(
            0.33, 1.29, 0.2, -1.54, -0.1, -0.8, -0.08, -0.16, -0.71,
            -0.3, -0.22, 0.58, -0.11, 0.2, -0.14, -0.18, 0.23,
        ),
    ),
    "dust": Judge(
        smallest=2, alone=3, clear=1.5, several=2, together=-2, bias=4.96,
        weights=(
            0.43, 0.43, -0.11, 0.83, 0.46, -0.64, -1.04, 0.5, -1.02,
            -1.23, -0.58, -0.5, -0.02, 0.64, 0.11, 0.73, -2.8,
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
