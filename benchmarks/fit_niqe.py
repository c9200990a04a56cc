"""Fit the model of clean photographs that NIQE judges by, and write it into the package.

    python benchmarks/fit_niqe.py PHOTO...

Every sixth photograph (the 6th, 12th, ...) is left out, as in training, so that it can be judged.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from composer.media.picture import as_float, read_picture
from composer.quality.niqe import fitted, niqe

HOME = Path(__file__).resolve().parent.parent / "composer" / "quality" / "niqe.npz"


def main() -> None:
    paths = [Path(p) for p in sys.argv[1:]]
    photos = [as_float(read_picture(p, "").pixels) for p in paths]
    mean, covariance = fitted([p for k, p in enumerate(photos) if k % 6 != 5])
    np.savez(HOME, mean=mean.astype(np.float32), covariance=covariance.astype(np.float32))
    for path, photo in list(zip(paths, photos, strict=True))[5::6]:
        print(f"{path.name}  {niqe(photo):.2f}")


if __name__ == "__main__":
    main()
