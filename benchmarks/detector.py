"""Measure the detector on photographs that it was not trained on, and what refining gains where it points.

    python benchmarks/detector.py PHOTO... --json benchmarks/results/detector.json

Composites are spoiled as in training (composer/learn/validation.py). Areas under the ROC curve are given by
pixel and by sample, without another view and with one. "oracle" is the refiner's gain in the seam band inside
the true mask, "found" inside the detector's; `false_area` is the share of good photographs that is taken for
wrong, and `clean_psnr_db` how good composites come back that were refined where it points.
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
from composer.learn.detector_training import false_area, measured, seen_of
from composer.learn.runtime import Network, load_refiner
from composer.learn.simulator import Sample
from composer.learn.validation import band_psnr, refined, samples

SIZE = 128


def gains(detecting: Detecting, network: Network, some: list[Sample], alone: bool) -> dict[str, float]:
    """Return decibels gained inside the true mask and inside the one found, and the worst clean composite."""
    oracle, found, clean = [], [], []
    for sample in some:
        mask = mask_of(detecting(seen_of(sample, alone)), sample.valid)
        before = band_psnr(sample.composite, sample)
        by_found = band_psnr(refined(network, replace(sample, mask=mask), alone), sample)
        if sample.kind == "clean":
            clean.append(by_found)
            continue
        oracle.append(band_psnr(refined(network, sample, alone), sample) - before)
        found.append(by_found - before)
    worse = float(np.mean(np.array(found) < -0.1))
    figures = {"oracle_db": np.mean(oracle), "found_db": np.mean(found), "worse_by_0.1_db_share": worse}
    return {name: round(float(v), 3) for name, v in {**figures, "clean_psnr_db": np.min(clean)}.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--weights", default="", help="of the detector; those in the package by default")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    photos = tuple(p for p in map(reduced_photo, options.photos) if p is not None)
    detecting, network = load_detector(options.weights), load_refiner()
    some = list(samples(photos, SIZE))
    found: dict[str, Any] = {"photographs": [p.name for p in options.photos]}
    for name, alone in (("alone", True), ("with_other", False)):
        areas = [false_area(detecting, photo, alone) for photo in photos]
        figures = measured(detecting, photos, SIZE, alone)
        found[name] = {
            **{key: round(value, 4) for key, value in figures.items()},
            "false_area_photographs": round(float(np.mean(areas)), 4),
            "false_area_worst": round(max(areas), 4), "refining": gains(detecting, network, some, alone),
        }  # fmt: skip
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps({**facts(), **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
