"""Train pix2pix as published and our refiner on the same pairs for the same CPU time, and compare them.

    python benchmarks/pix2pix.py PHOTO... --minutes 10 --json benchmarks/results/pix2pix.json --picture p.png

Every sixth photograph is held out. Both learn from composites of 256 x 256 pixels that the simulator
spoils, and see the same eleven planes, which tell where the seam runs by the mask alone. Minutes are those of
the CPU (one thread), so that other work on the machine favours neither. Then held-out composites, some by an
operator that training never saw, are measured in the seam band: with no refinement, with pix2pix inside the
mask, and with the refiner, gate and all. A second refiner, from the same seed, is trained without its
discriminator. The picture shows composite, pix2pix, refiner, truth.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch  # noqa: TID251 - to train step by step
from machine import facts

from composer.api.training import reduced_photo
from composer.learn import pix2pix_training as published
from composer.learn.loop import Moment
from composer.learn.pairs import Spoiled, planes_of_sample
from composer.learn.perceptual import st_lpips
from composer.learn.photographs import Split
from composer.learn.pix2pix import translating
from composer.learn.published import ST_LPIPS, absent
from composer.learn.refining import gated
from composer.learn.runtime import network_of
from composer.learn.simulator import Sample
from composer.learn.training import Recipe, Refinement
from composer.learn.validation import band_gradient, band_psnr, samples
from composer.media.encode import write_image

SIZE = 256  # side of a sample
Refine = Callable[[Sample], Any]


def trained(model: Any, minutes: float) -> tuple[Any, dict[str, float]]:
    """Return a model trained for so many CPU minutes, and what it took."""
    torch.manual_seed(0)
    model.build(torch.device("cpu"))
    started, step, progress = time.process_time(), 0, 0.0
    while progress < 1:
        rngs = [np.random.default_rng((0, step, k)) for k in range(model.recipe.batch)]
        parts = zip(*(model.sample(rng) for rng in rngs), strict=True)
        model.step(tuple(torch.from_numpy(np.stack(part)) for part in parts), Moment(step, progress))
        step, progress = step + 1, (time.process_time() - started) / (60 * minutes)
    spent = (time.process_time() - started) / 60
    return model, {"steps": step, "samples": step * model.recipe.batch, "cpu_minutes": round(spent, 2)}


def by_pix2pix(model: Any) -> Refine:
    translate = translating(model.net.eval())

    def refine(sample: Sample) -> Any:
        made = translate(planes_of_sample(sample))
        return sample.composite + sample.mask[:, :, None] * (made - sample.composite)

    return refine


def by_refiner(model: Any) -> Refine:
    network = network_of(model.average.eval())

    def refine(sample: Sample) -> Any:
        return gated(sample.composite, sample.mask, network(planes_of_sample(sample)))

    return refine


def measured(refine: Refine, held_out: list[Sample]) -> dict[str, float]:
    """Return figures in the seam band, and how well clean composites come back."""
    gains, slopes, after, clean, seen = [], [], [], [], []
    for sample in held_out:
        found = refine(sample)
        psnr, before = band_psnr(found, sample), band_psnr(sample.composite, sample)
        if sample.kind == "clean":
            clean.append(psnr)
            continue
        gains.append(psnr - before)
        after.append(psnr)
        slopes.append((band_gradient(found, sample), band_gradient(sample.composite, sample)))
        seen.append(st_lpips(found, sample.truth, sample.mask > 0.5))
    wrong, wrong_before = np.mean(slopes, 0)
    figures = {
        "psnr_db": np.mean(after), "gain_db": np.mean(gains), "worst_db": np.min(gains),
        "worse_by_0.1_db_share": np.mean(np.array(gains) < -0.1),
        "gradient_error_change": wrong / wrong_before - 1, "st_lpips": np.mean(seen),
        "clean_psnr_db": np.min(clean),
    }  # fmt: skip
    return {name: round(float(value), 4) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    if problem := absent(ST_LPIPS):
        parser.error(problem)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    photos = [p for p in map(reduced_photo, options.photos) if p is not None]
    split = Split.of([p for p in photos if min(p.shape[:2]) >= 2 * SIZE])
    refiner = Refinement(Recipe(size=SIZE, batch=2), split)
    ours, our_cost = trained(refiner, options.minutes)
    isola = published.Translation(published.Recipe(), Spoiled(split))
    theirs, their_cost = trained(isola, options.minutes)
    plain = Refinement(Recipe(size=SIZE, batch=2, adversary=0), split)
    alone, alone_cost = trained(plain, options.minutes)
    held_out = list(samples(split.held_out, SIZE))
    ways: dict[str, Refine] = {
        "none": lambda sample: sample.composite, "pix2pix": by_pix2pix(theirs), "refiner": by_refiner(ours),
        "without_discriminator": by_refiner(alone),
    }  # fmt: skip
    found = {
        "photographs": len(split.train), "held_out_photographs": len(split.held_out),
        "samples": len(held_out),
        "cost": {"pix2pix": their_cost, "refiner": our_cost, "without_discriminator": alone_cost},
        **{name: measured(refine, held_out) for name, refine in ways.items()},
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps({**facts(), **found}, indent=1) + "\n")
    if options.picture:
        shown = held_out[::15]
        made = [(s.composite, ways["pix2pix"](s), ways["refiner"](s), s.truth) for s in shown]
        rows = [np.hstack(pictures) for pictures in made]
        write_image(options.picture, (np.clip(np.vstack(rows), 0, 1) * 255 + 0.5).astype(np.uint8))


if __name__ == "__main__":
    main()
