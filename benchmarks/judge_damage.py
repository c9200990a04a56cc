"""Fit how composer/mending/scans.py tells damage from a photo's own things: print its biases and weights.

    python benchmarks/judge_damage.py PHOTO... --scenes 4

Scenes are drawn by damaging.py, as for the network, and by planting.py, and photos are taken as they are too.
Photos that the network did not learn from tell more.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from damaging import FAINT, Scene, sample
from numpy.typing import NDArray
from planting import Planted, plant

from composer.mending.candidates import FEATURES, candidates, features
from composer.mending.damage import damage
from composer.mending.scans import JUDGES, LAID_OVER, seen

Array = NDArray[Any]

SEED = 1_000_000
SIDE = 512  # px of a scene
PLANTED = 3, 2  # pictures of each photo with scratches planted, and with specks
SHARE = 1 / 3  # of a thing's pixels on what was drawn
RIDGE = 3.0


def scenes(photo: Array, seed: int, count: int) -> Iterator[Scene]:
    """Yield `count` scenes drawn from a photo (H, W, 3) uint8, it with each kind planted, and as it is."""
    side = min(SIDE, *(n - 3 for n in photo.shape[:2]))
    for n in range(count):
        yield sample(photo, 1000 * seed + n, side)
    pixels = photo.astype(np.float32) / 255
    for k, (kind, times) in enumerate(zip(LAID_OVER, PLANTED, strict=True)):
        for n in range(times):
            yield _planted(k, *plant(pixels, kind, 1000 * seed + n))
    yield _planted(0, pixels, [])


def _planted(kind: int, pixels: Array, faults: list[Planted]) -> Scene:
    """Return a scene of what was planted."""
    shape = (2, *pixels.shape[:2])
    scene = Scene(pixels, np.zeros(shape, bool), np.ones(shape, np.float32))
    for fault in faults:
        at = np.s_[fault.y : fault.y + fault.mask.shape[0], fault.x : fault.x + fault.mask.shape[1]]
        if fault.contrast >= FAINT:
            scene.truth[kind][at] |= fault.mask
        else:
            scene.weight[0][at][fault.mask] = scene.weight[1][at][fault.mask] = 0
    return scene


def judged(scene: Scene) -> list[tuple[Array, Array]]:
    """Return the features of each kind's candidates, and which are damage: 1, 0, or -1 for neither."""
    odds = damage(scene.pixels)
    labels = [candidates(of, JUDGES[kind].smallest) for kind, of in zip(LAID_OVER, odds, strict=True)]
    found = []
    for k, (of, measured) in enumerate(zip(labels, features(scene.pixels, odds, labels), strict=True)):
        area = np.maximum(np.bincount(of.ravel()), 1)
        right, unclear = (
            np.bincount(of.ravel(), where.ravel(), len(area))[1:] / area[1:]
            for where in (scene.truth[k], (scene.weight[k] == 0) | scene.truth[1 - k])
        )
        truth = np.where(right >= SHARE, 1, np.where((right > 0) | (unclear > 0), -1, 0))
        found.append((measured, np.where(seen(measured), truth, -1)))
    return found


def logistic(seen: Array, truth: Array) -> tuple[float, Array]:
    """Return bias and weights of log-odds, by Newton's steps with a ridge on standardised features."""
    mean, spread = seen.mean(0), seen.std(0) + 1e-9
    design = np.concatenate([np.ones((len(seen), 1)), (seen - mean) / spread], 1)
    ridge = RIDGE * np.diag([0.0] + [1.0] * seen.shape[1])
    weights = np.zeros(design.shape[1])
    for _ in range(30):
        sure = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        bend = (design * (sure * (1 - sure))[:, None]).T @ design + ridge
        weights -= np.linalg.solve(bend, design.T @ (sure - truth) + ridge @ weights)
    raw = weights[1:] / spread
    return float(weights[0] - raw @ mean), raw


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--scenes", type=int, default=4, help="of each photo")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    found: list[list[tuple[Array, Array]]] = []
    for index, path in enumerate(sorted(given.photos)):
        photo = np.ascontiguousarray(cv2.imread(str(path), cv2.IMREAD_COLOR)[:, :, ::-1])
        found += [judged(scene) for scene in scenes(photo, SEED + index, given.scenes)]
    for k, kind in enumerate(LAID_OVER):
        measured = np.concatenate([s[k][0] for s in found])
        truth = np.concatenate([s[k][1] for s in found])
        bias, weights = logistic(measured[truth >= 0], truth[truth >= 0])
        print(kind, len(truth), int((truth == 1).sum()), round(bias, 2))
        print(dict(zip(FEATURES, np.round(weights, 2).tolist(), strict=True)))


if __name__ == "__main__":
    main()
