"""Fit how composer/mending/impulses.py tells hot and dead pixels from a photo's own: print bias and weights.

    python benchmarks/fit_pixels.py PHOTO...

Of each photo there are two pictures with pixels planted and one without.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from faults import read
from judge_damage import logistic
from numpy.typing import NDArray
from planting import plant

from composer.mending.impulses import lone_pixels

Array = NDArray[Any]

SEEDS = 2, 3
SHARE = 0.3  # of a photo's own pixels that are taken
FAINT = 3.0  # contrast below which a planted pixel counts as neither


def examples(path: Path, index: int) -> tuple[Array, Array]:
    """Return features (N, F) of what stands out in a photo's pictures, and which of it was planted."""
    photo, random = read(path), np.random.default_rng(index)
    found = []
    for seed in (0, *SEEDS):
        pixels, truths = plant(photo, "pixel", 1000 * seed + index) if seed else (photo, [])
        ys, xs, measured = lone_pixels(pixels)
        planted = {(t.y, t.x): t.contrast for t in truths}
        contrast = np.array([planted.get(at, 0.0) for at in zip(ys.tolist(), xs.tolist(), strict=True)])
        taken = (contrast >= FAINT) | ((contrast == 0) & (random.random(len(ys)) < SHARE))
        found.append((measured[taken], contrast[taken] > 0))
    seen, truth = zip(*found, strict=True)
    return np.concatenate(seen), np.concatenate(truth)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    cv2.setNumThreads(1)
    found = [examples(path, k) for k, path in enumerate(sorted(parser.parse_args().photos))]
    seen, truth = (np.concatenate(part) for part in zip(*found, strict=True))
    bias, weights = logistic(seen, truth.astype(float))
    print(len(truth), int(truth.sum()), round(bias + float(np.log(SHARE)), 2), np.round(weights, 2).tolist())


if __name__ == "__main__":
    main()
