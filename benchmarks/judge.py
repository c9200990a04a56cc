"""Measure how well figures without a reference follow ST-LPIPS, which has one, on composites of known truth.

    python benchmarks/judge.py PHOTO... --json benchmarks/results/judge.json
    python benchmarks/judge.py PHOTO... --fit

Of each photograph in turn composites are made with every kind of fault, by every operator
(composer/learn/simulator.py). Those photographs count that neither training nor NIQE nor the fit saw: every
sixth. ST-LPIPS and the band's error are taken where the refiner's mask is above a half; the
figures compared with them know the seam's place, `seam_visibility` also the other view. Rank correlations are
Spearman's. --fit takes the other photographs, and prints the constants that composer/quality/seams.py needs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import facts
from numpy.typing import NDArray
from scipy.stats import spearmanr

from composer.api.training import reduced_photo
from composer.learn.perceptual import st_lpips
from composer.learn.simulator import KINDS, OPERATORS, simulate
from composer.quality.seams import POWER, SCALE, seam_step, seam_visibility

Array = NDArray[Any]

SIZE = 192
SEAMS = tuple(kind for kind in KINDS if kind != "inpainting")  # fills have no seam


def measured(photos: list[Array], count: int, seed: int) -> dict[str, Array]:
    """Return each figure of `count` composites, and their kinds and operators."""
    rows = []
    for k in range(count):
        kind, operator = SEAMS[k % len(SEAMS)], OPERATORS[k // len(SEAMS) % len(OPERATORS)]
        rng = np.random.default_rng((seed, k))
        s = simulate(photos[k % len(photos)], rng, SIZE, kind=kind, operator=operator)
        inside = s.mask > 0.5
        rows.append(
            {
                "kind": kind,
                "operator": operator,
                "st_lpips": st_lpips(s.composite, s.truth, inside),
                "band_error": float(((s.composite - s.truth)[inside] ** 2).mean()),
                "seam_visibility": seam_visibility(s.composite, s.other, s.distance),
                "seam_step": seam_step(s.composite, s.distance),
            }
        )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def correlations(found: dict[str, Array], chosen: Array) -> dict[str, Any]:
    """Return rank correlations over some of the composites."""
    pairs = [(a, b) for b in ("st_lpips", "band_error") for a in ("seam_visibility", "seam_step")]
    values = {f"{a}~{b}": float(spearmanr(found[a][chosen], found[b][chosen])[0]) for a, b in pairs}
    return {"composites": int(chosen.sum()), **{name: round(value, 3) for name, value in values.items()}}


def constants(found: dict[str, Array]) -> tuple[float, float]:
    """Return scale and power that lead from detail to ST-LPIPS: a line through their logarithms."""
    detail = (found["seam_visibility"] / SCALE) ** (1 / POWER)
    usable = (found["st_lpips"] > 1e-4) & (detail > 1e-3)
    x, y = np.log(detail[usable]), np.log(found["st_lpips"][usable])
    power, offset = np.polyfit(x, y, 1)
    return float(np.exp(offset)), float(power)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=420)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    paths = [p for k, p in enumerate(options.photos) if (k % 6 == 5) != options.fit]
    photos = [photo for photo in map(reduced_photo, paths) if photo is not None]
    found = measured(photos, options.count, 1 if options.fit else 2)
    if options.fit:
        print("SCALE, POWER = {:.3f}, {:.2f}".format(*constants(found)))
    every = np.ones(options.count, bool)
    tables: dict[str, Any] = {
        "every kind": correlations(found, every),
        "without clean ones": correlations(found, found["kind"] != "clean"),
        "steps alone: exposure and clean, cut hard": correlations(
            found, np.isin(found["kind"], ("exposure", "clean")) & (found["operator"] == "hard")
        ),
        **{kind: correlations(found, found["kind"] == kind) for kind in SEAMS if kind != "clean"},
        **{operator: correlations(found, found["operator"] == operator) for operator in OPERATORS},
    }
    typical = {
        kind: {
            name: round(float(np.median(found[name][found["kind"] == kind])), 4)
            for name in ("st_lpips", "seam_visibility", "seam_step")
        }
        for kind in SEAMS
    }
    report = {"photographs": [p.name for p in paths], "spearman": tables, "medians": typical}
    print(json.dumps(report, indent=1))
    if options.json:
        options.json.write_text(json.dumps({**facts(), **report}, indent=1) + "\n")


if __name__ == "__main__":
    main()
