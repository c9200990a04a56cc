"""Training the detector, on the same spoiled composites as the refiner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from composer.learn.checkpoints import Parts
from composer.learn.detecting import SURE, TILE, Detecting, detecting_of, fault_map, planes_of
from composer.learn.detector import PLANES, Detector, dice
from composer.learn.exporting import write_network
from composer.learn.loop import Budget, Moment, descend, follow
from composer.learn.photographs import Split
from composer.learn.simulator import Sample, simulate
from composer.learn.validation import samples

Array = NDArray[Any]

__all__ = [
    "Detection",
    "Recipe",
    "another_view",
    "auroc",
    "by_heart",
    "false_area",
    "faults_of",
    "measured",
    "seen_of",
]

WRONG = 3 / 255  # errors beyond, in the mean of a few pixels, are faults: noise alone is none
CLEAN = 0.2  # share of samples beside those of the simulator that have nothing wrong


@dataclass(frozen=True)
class Recipe(Budget):
    """How to train: see `training.Recipe`; `drop_other` is the share of samples without another view."""

    size: int = 128
    width: int = 24
    rate: float = 2e-3
    drop_other: float = 0.35


def by_heart(recipe: Recipe) -> Recipe:
    """Return a recipe for learning one small batch by heart."""
    return replace(recipe, batch=2, size=64, steps=recipe.steps or 200)


class Detection:
    """The detector as the loop trains it, with its averaged weights."""

    fixed: tuple[str, ...] = ("width",)

    def __init__(self, recipe: Recipe, split: Split) -> None:
        self.recipe, self.split, self.digest = recipe, split, split.digest
        self.about = {
            "kind": "detector", "width": str(recipe.width), "photographs": str(len(split.train)),
            "held_out": str(len(split.held_out)),
        }  # fmt: skip

    def build(self, device: torch.device) -> Parts:
        """Make networks and optimiser."""
        self.net, self.average = (Detector(self.recipe.width).to(device) for _ in range(2))
        self.average.load_state_dict(self.net.state_dict())
        self.optimiser = torch.optim.AdamW(self.net.parameters(), self.recipe.rate, (0.9, 0.99))
        return {"net": self.net, "average": self.average, "optimiser": self.optimiser}

    def sample(self, rng: np.random.Generator) -> tuple[Array, ...]:
        """Return what the network sees of a composite, and where it is wrong."""
        photo = self.split.train[rng.integers(len(self.split.train))]
        kind = "clean" if rng.random() < CLEAN else ""
        sample = simulate(photo, rng, self.recipe.size, kind=kind)
        if kind and rng.random() < 0.7:
            sample = replace(sample, other=another_view(sample.truth, rng))
        seen = seen_of(sample, alone=rng.random() < self.recipe.drop_other)
        if rng.random() < 0.3:  # views overlap in part only
            seen[(slice(4, 8), *_side(rng, self.recipe.size // 2))] = 0
        wrong = faults_of(sample)[None].astype(np.float32)
        if rng.random() < 0.15:  # a picture's edge: nothing beyond it
            beyond = (slice(None), *_side(rng, 48))
            seen[beyond], wrong[beyond] = 0, 0
        return seen, wrong

    def step(self, batch: tuple[torch.Tensor, ...], at: Moment) -> dict[str, float]:
        """Take one step; returns the losses."""
        seen, wrong = batch
        for group in self.optimiser.param_groups:
            warm = min(1.0, (at.step + 1) / 50)
            group["lr"] = self.recipe.rate * warm * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * at.progress)))
        logits = self.net(seen).float()
        losses = {"bce": binary_cross_entropy_with_logits(logits, wrong), "dice": dice(logits, wrong)}
        if not descend(losses["bce"] + 0.5 * losses["dice"], self.optimiser, 1.0):
            return {}
        follow(self.average, self.net, at.step + 1)
        found = {**losses, "found": (logits > 0).float().mean(), "wrong": wrong.mean()}
        return {name: float(value.detach()) for name, value in found.items()}

    def worry(self, recent: Sequence[dict[str, float]]) -> str:
        """Return what seems wrong with the training, in words."""
        if max(found["found"] for found in recent) == 0:
            return "nothing is ever found; train longer or raise the rate"
        return ""

    def validate(self) -> dict[str, float]:
        """Return how well faults are told from what is good on held-out photographs."""
        detecting, photos = detecting_of(self.average.eval()), self.split.held_out
        found: dict[str, float] = {}
        for name, alone in (("alone", True), ("with_other", False)):
            found |= {
                f"{k}_{name}": v for k, v in measured(detecting, photos, self.recipe.size, alone).items()
            }
        for name, alone in (("alone", True), ("with_other", False)):
            areas = [false_area(detecting, photo, alone) for photo in photos]
            found[f"false_area_photos_{name}"] = float(np.mean(areas))
            found[f"false_area_worst_photo_{name}"] = max(areas)
        return {name: round(value, 4) for name, value in found.items()}

    def grid(self) -> Array:
        """Return held-out samples: composite, where it is wrong, what is found without and with another."""
        detecting, rows = detecting_of(self.average.eval()), []
        for sample in list(samples(self.split.held_out, self.recipe.size))[::6]:
            maps = [faults_of(sample), *(detecting(seen_of(sample, alone)) for alone in (True, False))]
            rows.append(np.hstack([sample.composite, *(np.repeat(m[:, :, None], 3, 2) for m in maps)]))
        return np.asarray(np.vstack(rows) * 255 + 0.5).astype(np.uint8)

    def write(self, out: Path, about: dict[str, str]) -> None:
        """Write the averaged network for torch and onnxruntime."""
        path, shape = out / "detector.safetensors", (PLANES, 64, 80)
        write_network(path, self.average, about, outputs=("logits",), shape=shape, align=8)


def seen_of(sample: Sample, alone: bool) -> Array:
    """Return what the network sees of a sample; `alone` keeps the other view back."""
    return planes_of(sample.composite, sample.valid, sample.other, sample.other_valid & (not alone))


def _side(rng: np.random.Generator, most: int) -> tuple[slice, slice]:
    """Return rows and columns along one of the four sides, at most so many pixels wide."""
    width = int(rng.integers(1, most))
    strip = slice(0, width) if rng.random() < 0.5 else slice(-width, None)
    return (strip, slice(None)) if rng.random() < 0.5 else (slice(None), strip)


def faults_of(sample: Sample) -> Array:
    """Return where a sample is wrong, (S, S) bool: by more than WRONG in the mean of a few pixels."""
    gap = cv2.GaussianBlur(sample.composite - sample.truth, None, 1.5)
    wrong = (np.abs(gap).max(2) > WRONG) & (sample.mask > 0)
    return np.asarray(cv2.dilate(wrong.astype(np.uint8), np.ones((5, 5), np.uint8))) > 0


def another_view(view: Array, rng: np.random.Generator) -> Array:
    """Return a view as another photograph may show it: in other light, a little aside, which is no fault."""
    light = np.exp(rng.uniform(-0.1, 0.1) + rng.uniform(-0.04, 0.04, 3)).astype(np.float32)
    aside = np.roll(view, rng.integers(-3, 4, 2), (0, 1))
    noise = rng.standard_normal(view.shape).astype(np.float32) * np.float32(rng.uniform(0, 3 / 255))
    return np.asarray(np.clip(aside * light + noise, 0, 1), np.float32)


def measured(detecting: Detecting, photos: tuple[Array, ...], size: int, alone: bool) -> dict[str, float]:
    """Return areas under the ROC curve, by pixel and by sample, and what is found at the threshold."""
    maps, truths = [], []
    for sample in samples(photos, size):
        maps.append(detecting(seen_of(sample, alone)))
        truths.append(faults_of(sample))
    likely, wrong = np.stack(maps), np.stack(truths)
    scores = np.sort(likely.reshape(len(likely), -1), 1)[:, -size * size // 100 :].mean(1)
    spoiled = wrong.mean((1, 2)) > 0.005
    found = likely > SURE
    return {
        "auroc_pixels": auroc(likely.ravel(), wrong.ravel()), "auroc_samples": auroc(scores, spoiled),
        "share_found": float(found[wrong].mean()), "false_area_clean": float(found[~spoiled].mean()),
    }  # fmt: skip


def auroc(scores: Array, wanted: Array) -> float:
    """Return the area under the ROC curve: how often what is wanted scores higher than what is not."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    some, none = int(wanted.sum()), int((~wanted).sum())
    return float((ranks[wanted].sum() - some * (some + 1) / 2) / max(some * none, 1))


def false_area(detecting: Detecting, photo: Array, alone: bool) -> float:
    """Return the share of a good photograph's middle that is found wrong, beside another view or alone."""
    y, x = (max(0, (side - TILE) // 2) for side in photo.shape[:2])
    colours = photo[y : y + TILE, x : x + TILE] / np.float32(255)
    everywhere = np.ones(colours.shape[:2], bool)
    other = None if alone else another_view(colours, np.random.default_rng(0))
    planes = planes_of(colours, everywhere, other, everywhere)
    likely = fault_map(detecting, planes, lambda work, tiles: [work(tile) for tile in tiles])
    return float((likely > SURE).mean())
