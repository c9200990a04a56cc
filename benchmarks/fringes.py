"""Plant lateral colour on photographs and undo it; count which are changed as they are, and by how much.

    python benchmarks/fringes.py PHOTO... --json benchmarks/results/fringes.json

Photographs are reduced to 1200 pixels. PSNR is that of 8-bit RGB without the outermost 8 pixels; of the
photographs as they are it is that of the result beside the photograph.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import facts
from numpy.typing import NDArray
from planting import plant

import composer

Array = NDArray[Any]
SIDE = 1200


def read(path: Path) -> Array:
    whole = cv2.imread(str(path), cv2.IMREAD_COLOR)[:, :, ::-1]
    scale = min(1.0, SIDE / max(whole.shape))
    return cv2.resize(whole, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def psnr(found: Array, truth: Array) -> float:
    error = (found.astype(np.float32) - truth)[8:-8, 8:-8]
    return float(min(99.0, -10 * np.log10(max(float((error**2).mean()), 1e-9) / 255**2)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    each = []
    for k, path in enumerate(given.photos):
        truth = read(path)
        planted, (fault,) = plant(truth.astype(np.float32) / 255, "fringe", k)
        bad = np.round(planted * 255).astype(np.uint8)
        begun = time.process_time()
        mended = composer.repair(bad, faults="fringe", workers=1)
        seconds = (time.process_time() - begun) / truth[..., 0].size * 1e6
        clean = composer.repair(truth, faults="fringe", workers=1)
        found = [f.strength for f in clean.faults]
        each.append({
            "photo": path.name, "planted_px": round(fault.contrast / 8, 2), "found": len(mended.faults),
            "before": round(psnr(bad, truth), 2), "after": round(psnr(mended.image, truth), 2),
            "clean_px": round(found[0], 2) if found else 0.0,
            "clean_psnr": round(psnr(clean.image, truth), 2), "cpu_s_per_megapixel": round(seconds, 2),
        })  # fmt: skip
        print(each[-1], flush=True)
    means = {
        "photos": len(each),
        "found": sum(e["found"] for e in each),
        "planted_above_half_a_pixel": sum(e["planted_px"] >= 0.5 for e in each),
        **{n: round(float(np.mean([e[n] for e in each])), 2) for n in ("before", "after")},
        "made_worse": sum(e["after"] < e["before"] for e in each),
        "clean_changed": sum(e["clean_px"] > 0 for e in each),
        "clean_psnr_least": min(e["clean_psnr"] for e in each),
        "cpu_s_per_megapixel": round(float(np.mean([e["cpu_s_per_megapixel"] for e in each])), 2),
    }
    print(means)
    if given.json:
        given.json.write_text(json.dumps({**facts(), "means": means, "each": each}, indent=1) + "\n")


if __name__ == "__main__":
    main()
