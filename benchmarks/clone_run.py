"""Clone once with one tool in a process of its own, and print what it took as one JSON line.

    python benchmarks/clone_run.py TOOL MODE SIZE [--steps N] [--save FILE.npy]

TOOL is composer, cv2, or fpie-BACKEND. The scene: two photographs from scikit-image, enlarged and with
noise, and an irregular mask of 41 %, smooth noise above a threshold. The call is timed twice: the first
includes what is imported and compiled on the way.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
CALLS = 2


def photograph(name: str, size: int, seed: int) -> Array:
    import skimage.data

    enlarged = cv2.resize(getattr(skimage.data, name)(), (size, size), interpolation=cv2.INTER_CUBIC)
    return cv2.add(enlarged, np.random.default_rng(seed).integers(0, 12, enlarged.shape, np.uint8))


def scene(size: int) -> tuple[Array, Array, Array]:
    """Return source, target and mask (uint8, 0 along the border, which fpie and cv2 ask for)."""
    noise = np.random.default_rng(0).random((256, 256), np.float32)
    smooth = cv2.resize(cv2.GaussianBlur(noise, None, 10), (size, size), interpolation=cv2.INTER_CUBIC)
    mask = np.where(smooth > np.quantile(smooth, 0.59), 255, 0).astype(np.uint8)
    mask[[0, -1]] = mask[:, [0, -1]] = 0
    return photograph("astronaut", size, 1), photograph("coffee", size, 2), mask


def with_composer(mode: str, source: Array, target: Array, mask: Array, _: int) -> Callable[[], Array]:
    def call() -> Array:
        import composer

        return composer.clone(source, target, mask, mode=mode).image

    return call


def with_cv2(mode: str, source: Array, target: Array, mask: Array, _: int) -> Callable[[], Array]:
    x, y, width, height = cv2.boundingRect(mask)
    flag = {"normal": cv2.NORMAL_CLONE, "mixed": cv2.MIXED_CLONE}[mode]
    centre = x + width // 2, y + height // 2
    # a copy, since it inverts the mask that it is given
    return lambda: cv2.seamlessClone(source, target, mask.copy(), centre, flag)


def with_fpie(backend: str) -> Callable[..., Callable[[], Array]]:
    def prepare(mode: str, source: Array, target: Array, mask: Array, steps: int) -> Callable[[], Array]:
        from fpie.process import EquProcessor

        gradient = {"normal": "src", "mixed": "max"}[mode]

        def call() -> Array:
            processor = EquProcessor(gradient, backend)
            processor.reset(source, mask.copy(), target.astype(np.float32), (0, 0), (0, 0))
            found, _ = processor.step(steps)
            return found

        return call

    return prepare


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("mode")
    parser.add_argument("size", type=int)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--save")
    given = parser.parse_args()
    pictures = scene(given.size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tool, _, backend = given.tool.partition("-")
    prepare = {"composer": with_composer, "cv2": with_cv2}.get(tool) or with_fpie(backend)
    call = prepare(given.mode, *pictures, given.steps)
    walls, processors = [], []
    for _ in range(CALLS):
        wall, processor = time.perf_counter(), time.process_time()
        found = call()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    if given.save:
        np.save(given.save, found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outside = int((found != pictures[1])[pictures[2] == 0].any(1).sum())
    told = {"first_s": walls[0], "s": walls[1], "first_cpu_s": processors[0], "cpu_s": processors[1]}
    print(json.dumps({**told, "peak_mb": peak / 1024, "before_mb": before / 1024, "outside": outside}))


if __name__ == "__main__":
    main()
