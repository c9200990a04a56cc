"""Training the refiner on a folder of photographs: pairs are made as it goes, by the toolkit's operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from composer.learn.checkpoints import Parts
from composer.learn.exporting import write_network
from composer.learn.loop import Budget, Moment, descend, follow
from composer.learn.network import INPUTS, Discriminator, Refiner
from composer.learn.photographs import Split
from composer.learn.runtime import ALIGNED, SIDE, network_of
from composer.learn.simulator import Sample, planes_of, simulate
from composer.learn.validation import grid, validated

Array = NDArray[Any]

__all__ = ["Recipe", "Refinement", "by_heart", "opening", "planes"]

SEEN, GAIN = 0.06, 0.1 / 255  # errors that count fully; what is gained where the gate is to open
HARM = 5.0  # how much more the gate is blamed for what gets worse than for what it does not mend
BLIND = 2.0  # the hinge loss of a discriminator that cannot tell made from real


@dataclass(frozen=True)
class Recipe(Budget):
    """How to train.

    Attributes
    ----------
    minutes : float
        Time to train for, all sessions together; the learning rate follows it.
    steps : int
        So many steps instead, if not 0: runs can then be repeated bit for bit.
    batch, size : int
        Samples a step, and their side in pixels, a multiple of 16.
    width : int
        Channels of the network.
    rate : float
        Highest learning rate of AdamW.
    adversary : float
        Weight of the discriminator's opinion, which is heard from `adversary_from` of the time on.
    drop_other : float
        Share of samples whose other view is kept back, so that one network serves single pictures too.
    drop_seam : float
        Share of samples that do not tell where the seam runs.
    seed : int
    """

    minutes: float = 20.0
    steps: int = 0
    batch: int = 8
    size: int = 128
    width: int = 48
    rate: float = 8e-4
    adversary: float = 0.02
    adversary_from: float = 0.5
    drop_other: float = 0.15
    drop_seam: float = 0.1
    seed: int = 0


def by_heart(recipe: Recipe) -> Recipe:
    """Return a recipe for learning one small batch by heart."""
    steps = recipe.steps or 250
    return replace(recipe, batch=2, size=64, steps=steps, adversary=0, drop_other=0, drop_seam=0)


class Refinement:
    """The refiner as the loop trains it, beside its discriminator and with its averaged weights."""

    fixed: tuple[str, ...] = ("width",)

    def __init__(self, recipe: Recipe, split: Split) -> None:
        self.recipe, self.split, self.digest = recipe, split, split.digest
        self.about = {
            "kind": "refiner", "width": str(recipe.width), "photographs": str(len(split.train)),
            "held_out": str(len(split.held_out)),
        }  # fmt: skip

    def build(self, device: torch.device) -> Parts:
        """Make networks and optimisers."""
        recipe = self.recipe
        self.net, self.judge = Refiner(recipe.width).to(device), Discriminator().to(device)
        self.average = Refiner(recipe.width).to(device)
        self.average.load_state_dict(self.net.state_dict())
        self.optimiser = torch.optim.AdamW(self.net.parameters(), recipe.rate, (0.9, 0.99))
        self.opponent = torch.optim.AdamW(self.judge.parameters(), recipe.rate / 2, (0.5, 0.99))
        return {
            "net": self.net, "average": self.average, "judge": self.judge, "optimiser": self.optimiser,
            "opponent": self.opponent,
        }  # fmt: skip

    def sample(self, rng: np.random.Generator) -> tuple[Array, ...]:
        """Return what the network sees of a composite, and the truth."""
        photo = self.split.train[rng.integers(len(self.split.train))]
        sample = simulate(photo, rng, self.recipe.size)
        seen = planes(sample, rng.random() < self.recipe.drop_other)
        if rng.random() < self.recipe.drop_seam:
            seen[4] = 1  # a mask does not always tell where it runs
        truth = np.moveaxis(sample.truth, 2, 0).copy()
        if rng.random() < 0.15:  # a picture's edge: nothing beyond it
            beyond = slice(0, int(rng.integers(1, 48)))
            side = [(..., beyond), (..., beyond, slice(None))][rng.integers(2)]
            seen[side], truth[side] = 0, 0
        return seen, truth

    def step(self, batch: tuple[Tensor, ...], at: Moment) -> dict[str, float]:
        """Take one step of both networks; returns the losses."""
        seen, truth = batch
        for group in self.optimiser.param_groups:
            warm = min(1.0, (at.step + 1) / 100)
            group["lr"] = self.recipe.rate * warm * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * at.progress)))
        change, gate = self.net(seen)
        losses = _losses(seen, truth, change, gate)
        total = torch.stack(list(losses.values())).sum()
        if at.progress >= self.recipe.adversary_from and self.recipe.adversary:
            adversarial, judged = self._contest(seen, truth, change)
            total = total + self.recipe.adversary * adversarial
            losses = {**losses, "adversarial": adversarial, "judge": judged}
        if not descend(total, self.optimiser, 0.5):
            return {}
        follow(self.average, self.net, at.step + 1)
        opened = (torch.sigmoid(gate) * seen[:, 3:4]).sum() / seen[:, 3:4].sum().clamp(min=1)
        return {k: float(v.detach()) for k, v in {**losses, "open": opened}.items()}

    def _contest(self, seen: Tensor, truth: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
        """Train the discriminator on this batch; returns what it and its features say of the result."""
        mask = seen[:, 3:4]
        made = seen[:, :3] + mask * change
        real, _ = self.judge(truth, seen)
        fake, _ = self.judge(made.detach(), seen)
        near = (nn.functional.adaptive_max_pool2d(mask, fake.shape[2:]) > 0.5).float()
        count = near.sum().clamp(min=1)
        judged = ((relu(1 - real) + relu(1 + fake)) * near).sum() / count
        descend(judged, self.opponent)
        opinion, features = self.judge(made, seen)
        with torch.no_grad():
            _, wanted = self.judge(truth, seen)
        matching = torch.stack([(a - b).abs().mean() for a, b in zip(features, wanted, strict=True)]).mean()
        return -(opinion * near).sum() / count + matching, judged

    def worry(self, recent: Sequence[dict[str, float]]) -> str:
        """Return what seems wrong with the training, in words."""
        opened = np.mean([found["open"] for found in recent])
        if opened < 0.01:
            return "the gate is closed: the network does nothing; train longer or raise the rate"
        judged = [found.get("judge", 0.0) for found in recent]
        if min(judged) > 0.98 * BLIND and max(judged) < 1.02 * BLIND:
            return "the discriminator does not move: it cannot tell made from real, and teaches nothing"
        return ""

    def validate(self) -> dict[str, float]:
        """Return what the averaged network gains on held-out photographs."""
        return validated(network_of(self.average.eval()), self.split.held_out, self.recipe.size)

    def grid(self) -> Array:
        """Return held-out samples as the averaged network leaves them."""
        return grid(network_of(self.average.eval()), self.split.held_out, self.recipe.size)

    def write(self, out: Path, about: dict[str, str]) -> None:
        """Write the averaged network for torch and onnxruntime."""
        write_network(
            out / "refiner.safetensors", self.average, about, outputs=("change", "gate"),
            shape=(INPUTS, SIDE, SIDE), align=ALIGNED,
        )  # fmt: skip


def planes(sample: Sample, alone: bool) -> Array:
    """Return what the network sees of a sample; `alone` keeps the other view and the seam's place back."""
    other_valid = sample.other_valid & (not alone)
    seam = np.ones_like(sample.seam) if alone else sample.seam
    return planes_of(
        sample.composite, sample.mask, seam, sample.valid, sample.other, other_valid, sample.synthetic
    )


def _losses(seen: Tensor, truth: Tensor, change: Tensor, gate: Tensor) -> dict[str, Tensor]:
    """Return the losses by name.

    The change is judged without the gate, where there is something to mend above all: judged as a whole,
    it would learn to do nothing, since most of a mask needs nothing.
    """
    composite, mask, seam = seen[:, :3], seen[:, 3:4], seen[:, 4:5]
    error = (truth - composite).abs().amax(1, keepdim=True)
    weight = mask * (0.1 + (error / SEEN).clamp(0, 1))
    total = weight.sum().clamp(min=1.0)
    free = composite + mask * change
    gated = composite + mask * torch.sigmoid(gate) * change
    near = weight * (1 + 4 * (seam.abs() < 0.1).float())
    slopes = sum(
        (_charbonnier(_slope(free, a) - _slope(truth, a)) * _slope_weight(near, a)).sum() for a in (2, 3)
    )
    return {
        "colour": (_charbonnier(free - truth) * weight).sum() / (3 * total),
        "gradient": 0.5 * slopes / (3 * total),
        "gate": 0.5 * opening(seen, truth, change.detach(), gate),
        "gated": 0.3 * (_charbonnier(gated - truth) * mask).sum() / (3 * mask.sum().clamp(min=1.0)),
    }


def opening(seen: Tensor, truth: Tensor, change: Tensor, gate: Tensor, slight: float = 0.0) -> Tensor:
    """Return the loss of the gate, which is to open where a change gains something, and nowhere else.

    What is at stake is how far the error (of all three channels together) changes; if `slight` is not 0, also
    how far its square does, beside the mean square of the sample's errors and of `slight`.
    """
    composite, mask = seen[:, :3], seen[:, 3:4]
    before, after = (
        (truth - picture).square().mean(1, keepdim=True).sqrt() * mask
        for picture in (composite, composite + mask * change)
    )
    gained = nn.functional.avg_pool2d(before - after, 12, 4, 4, count_include_pad=False)
    size = (50 * gained.abs()).clamp(max=1)
    if slight:
        all_of_it = before.square().sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp(min=1)
        beside = (before.square() - after.square()).abs() / (all_of_it + slight**2)
        beside = nn.functional.avg_pool2d(beside, 12, 4, 4, count_include_pad=False)
        size = torch.maximum(size, beside.clamp(max=1))
    size = size * torch.where(gained < 0, HARM, 1.0)
    stake = nn.functional.avg_pool2d(mask, 4) * (0.02 + size)
    found = binary_cross_entropy_with_logits(
        nn.functional.avg_pool2d(gate, 4), (gained > GAIN).float(), stake, reduction="sum"
    )
    return found / stake.sum().clamp(min=1.0)


def _charbonnier(x: Tensor) -> Tensor:
    return torch.sqrt(x * x + 1e-6) - 1e-3


def _slope(x: Tensor, axis: int) -> Tensor:
    return x.narrow(axis, 1, x.shape[axis] - 1) - x.narrow(axis, 0, x.shape[axis] - 1)


def _slope_weight(x: Tensor, axis: int) -> Tensor:
    return x.narrow(axis, 0, x.shape[axis] - 1)
