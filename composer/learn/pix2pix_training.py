"""Training pix2pix as published: L1 beside what a discriminator of patches says (Isola et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

from composer.learn.checkpoints import Parts
from composer.learn.loop import Budget, Moment, descend
from composer.learn.pairs import Pairs
from composer.learn.pix2pix import Generator, Patches, translating
from composer.learn.weights import write_weights

Array = NDArray[Any]

__all__ = ["Recipe", "Translation", "by_heart"]

BLIND = float(np.log(2))  # the loss of a discriminator that cannot tell made from real
HIGHEST_DB = 80.0


@dataclass(frozen=True)
class Recipe(Budget):
    """How to train: the paper's figures.

    Attributes
    ----------
    batch : int
        Samples a step, 1 to 10 in the paper.
    size : int
        Their side in pixels, a multiple of 256.
    width : int
        Channels after the first halving.
    rate : float
        Of Adam, with momenta 0.5 and 0.999.
    weight : float
        Of the mean absolute error beside the discriminator's opinion.
    """

    batch: int = 1
    size: int = 256
    width: int = 64
    rate: float = 2e-4
    weight: float = 100.0


def by_heart(recipe: Recipe) -> Recipe:
    """Return a recipe for learning one pair by heart, with a narrow network."""
    return replace(recipe, batch=1, size=256, width=min(recipe.width, 16), steps=recipe.steps or 100)


class Translation:
    """pix2pix as the loop trains it."""

    fixed: tuple[str, ...] = ("width",)

    def __init__(self, recipe: Recipe, pairs: Pairs) -> None:
        self.recipe, self.pairs, self.digest = recipe, pairs, pairs.digest
        self.about = {
            "kind": "pix2pix", "width": str(recipe.width), "inputs": str(pairs.inputs), **pairs.about,
        }  # fmt: skip

    def build(self, device: torch.device) -> Parts:
        """Make networks and optimisers."""
        inputs, width = self.pairs.inputs, self.recipe.width
        self.net, self.judge = Generator(inputs, width).to(device), Patches(inputs, width).to(device)
        rate, momenta = self.recipe.rate, (0.5, 0.999)
        self.optimiser = torch.optim.Adam(self.net.parameters(), rate, momenta)
        self.opponent = torch.optim.Adam(self.judge.parameters(), rate, momenta)
        return {
            "net": self.net, "judge": self.judge, "optimiser": self.optimiser, "opponent": self.opponent,
        }  # fmt: skip

    def sample(self, rng: np.random.Generator) -> tuple[Array, ...]:
        """Return what is given, and what is to be made of it."""
        return self.pairs.sample(rng, self.recipe.size)

    def step(self, batch: tuple[torch.Tensor, ...], at: Moment) -> dict[str, float]:
        """Take one step of the discriminator, then of the generator; returns the losses."""
        seen, truth = (2 * part - 1 for part in batch)
        self.net.train()
        made = self.net(seen)
        real, fake = _opinion(self.judge(seen, truth), True), _opinion(self.judge(seen, made.detach()), False)
        judged = 0.5 * (real + fake)
        if not descend(judged, self.opponent):
            return {}
        fooled, wrong = _opinion(self.judge(seen, made), True), l1_loss(made.float(), truth)
        if not descend(fooled + self.recipe.weight * wrong, self.optimiser):
            return {}
        found = {"l1": wrong, "fooled": fooled, "judge": judged}
        return {name: float(value.detach()) for name, value in found.items()}

    def worry(self, recent: Sequence[dict[str, float]]) -> str:
        """Return what seems wrong with the training, in words."""
        judged = [found["judge"] for found in recent]
        if min(judged) > 0.98 * BLIND and max(judged) < 1.02 * BLIND:
            return "the discriminator does not move: it cannot tell made from real, and teaches nothing"
        if max(judged) < 0.01:
            return "the discriminator is never wrong: the generator learns from L1 alone"
        return ""

    def validate(self) -> dict[str, float]:
        """Return what is gained on held-out pairs where it counts, against leaving them as they are."""
        translate, gains, results = translating(self.net.eval()), [], []
        for seen, truth, where in self.pairs.held_out(self.recipe.size):
            before, after = (_psnr(p, truth, where) for p in (np.moveaxis(seen[:3], 0, 2), translate(seen)))
            gains.append(after - before)
            results.append(after)
        return {
            "psnr_db": round(float(np.mean(results)), 3), "gain_db": round(float(np.mean(gains)), 3),
            "worse_by_0.1_db_share": round(float(np.mean(np.array(gains) < -0.1)), 3),
        }  # fmt: skip

    def grid(self) -> Array:
        """Return held-out pairs, cut to one size: what is given, what is made of it, what it should be."""
        translate, rows, size = translating(self.net.eval()), [], self.recipe.size
        for seen, truth, _ in list(self.pairs.held_out(size))[:6]:
            row = np.zeros((size, 3, size, 3), np.float32)
            for k, picture in enumerate((np.moveaxis(seen[:3], 0, 2), translate(seen), truth)):
                part = picture[:size, :size]
                row[: part.shape[0], k, : part.shape[1]] = part
            rows.append(row.reshape(size, 3 * size, 3))
        return np.asarray(np.vstack(rows).clip(0, 1) * 255 + 0.5).astype(np.uint8)

    def write(self, out: Path, about: dict[str, str]) -> None:
        """Write the generator; torch runs it, onnxruntime does not."""
        weights = {name: value.detach().cpu().half().numpy() for name, value in self.net.state_dict().items()}
        write_weights(out / "pix2pix.safetensors", weights, about)


def _opinion(logits: torch.Tensor, real: bool) -> torch.Tensor:
    wanted = torch.full_like(logits, float(real))
    return binary_cross_entropy_with_logits(logits, wanted)


def _psnr(picture: Array, truth: Array, where: Array) -> float:
    error = float(((picture - truth)[where] ** 2).mean())
    return min(HIGHEST_DB, float(-10 * np.log10(max(error, 1e-12))))
