"""Measure the detector on photographs that it was not trained on, and what refining gains where it points.

    python benchmarks/detector.py PHOTO... --weights RUN/detector.safetensors --json detector.json

Composites are spoiled as in training (composer/learn/validation.py). Areas under the ROC curve are given by
pixel and by sample, without another view and with one. `oracle_db` is the refiner's gain in the seam band
inside the true mask, `found_db` inside the detector's, `everywhere_db` with all of the picture as the mask.
`false_area` is the share of the middle of good photographs that is taken for wrong; `good` is how pieces of
good photographs come back that were refined inside either mask, beside a view of them in other light and a
little aside (the worst PSNR).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import facts

from composer.api.training import reduced_photo
from composer.learn.detecting import Detecting, load_detector, mask_of
from composer.learn.detector_training import another_view, false_area, measured, seen_of
from composer.learn.runtime import Network, load_refiner
from composer.learn.simulator import simulate
from composer.learn.validation import band_psnr, refined, samples

SIZE = 128
Photos = tuple[Any, ...]


def gains(detecting: Detecting, network: Network, photos: Photos, alone: bool) -> dict[str, float]:
    """Return decibels gained inside the true mask, the one found, and everywhere."""
    oracle, found, everywhere = [], [], []
    for sample in samples(photos, SIZE):
        if sample.kind == "clean":
            continue
        before = band_psnr(sample.composite, sample)
        masks = (
            sample.mask,
            mask_of(detecting(seen_of(sample, alone)), sample.valid),
            np.ones_like(sample.mask),
        )
        for mask, gained in zip(masks, (oracle, found, everywhere), strict=True):
            result = refined(network, replace(sample, mask=mask), alone)
            gained.append(band_psnr(result, sample) - before)
    figures = {"oracle_db": np.mean(oracle), "found_db": np.mean(found), "everywhere_db": np.mean(everywhere)}
    worse = {"found_worse_by_0.1_db_share": np.mean(np.array(found) < -0.1)}
    return {name: round(float(value), 3) for name, value in {**figures, **worse}.items()}


def good(detecting: Detecting, network: Network, photos: Photos, alone: bool) -> dict[str, float]:
    """Return the worst PSNR of good pieces that were refined inside what was found, and everywhere."""
    found, everywhere = [], []
    for k, photo in enumerate(photos):
        rng = np.random.default_rng(k)
        piece = simulate(photo, rng, 2 * SIZE, kind="clean")
        everything = np.ones_like(piece.mask)
        sample = replace(piece, composite=piece.truth, other=another_view(piece.truth, rng), mask=everything)
        mask = mask_of(detecting(seen_of(sample, alone)), sample.valid)
        found.append(band_psnr(refined(network, replace(sample, mask=mask), alone), sample))
        everywhere.append(band_psnr(refined(network, sample, alone), sample))
    return {"found_psnr_db": round(min(found), 2), "everywhere_psnr_db": round(min(everywhere), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--weights", required=True, help="of the detector")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    photos = tuple(p for p in map(reduced_photo, options.photos) if p is not None)
    detecting, network = load_detector(options.weights), load_refiner()
    found: dict[str, Any] = {"photographs": [p.name for p in options.photos]}
    for name, alone in (("alone", True), ("with_other", False)):
        areas = [false_area(detecting, photo, alone) for photo in photos]
        figures = measured(detecting, photos, SIZE, alone)
        found[name] = {
            **{key: round(value, 4) for key, value in figures.items()},
            "false_area_photographs": round(float(np.mean(areas)), 4),
            "false_area_worst": round(max(areas), 4), "refining": gains(detecting, network, photos, alone),
            "good": good(detecting, network, photos, alone),
        }  # fmt: skip
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps({**facts(), **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
