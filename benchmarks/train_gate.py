"""Train the refiner's gate by itself: the part that says where a proposed change is to be made.

    python benchmarks/train_gate.py PHOTO... --minutes 30 --out FOLDER [--weights refiner.safetensors]

The rest of the network stays as it is, so a step takes a third of the time, and faults whose right state is
hard to tell (ghosts, small differences of exposure, what other operators than multiband blended well already)
are drawn more often than `composer train` draws them. What is at stake in a cell is measured beside the whole
sample's error too: in a nearly perfect composite a change of one grey level is all the difference.
Leaves a folder as that does: weights, card, log, pictures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from composer.api.training import reduced_photo
from composer.learn.checkpoints import Parts
from composer.learn.loop import Moment, Session, descend, follow, train
from composer.learn.photographs import Split
from composer.learn.runtime import shipped, torch_network
from composer.learn.simulator import simulate
from composer.learn.training import Recipe, Refinement, opening, planes
from composer.learn.weights import read_weights

SHARES = {
    "exposure": 0.24, "misregistration": 0.10, "ghost": 0.32, "inpainting": 0.08, "halo": 0.08,
    "noise": 0.03, "all": 0.10, "clean": 0.05,
}  # fmt: skip
OPERATORS = {"multiband": 0.35, "hard": 0.15, "average": 0.2, "bleed": 0.3}
SLIGHT = 0.7 / 255  # errors of a sample below this are no error


class Gating(Refinement):
    """A refiner of which only the gate learns."""

    def __init__(self, recipe: Recipe, split: Split, weights: Path) -> None:
        self.start, about = read_weights(weights, "refiner")
        self.weights = weights
        super().__init__(recipe, split)
        self.about |= {k: v for k, v in about.items() if k not in self.about}

    def build(self, device: torch.device) -> Parts:
        """Make the network, its gate free to move."""
        parts = super().build(device)
        for net in (self.net, self.average):
            torch_network(net, self.start, self.weights).requires_grad_(False)
        free = [p for part in (self.net.look, self.net.weigh, self.net.gate) for p in part.parameters()]
        for weight in free:
            weight.requires_grad_(True)
        self.optimiser = torch.optim.AdamW(free, self.recipe.rate, (0.9, 0.99))
        return {**parts, "optimiser": self.optimiser}

    def sample(self, rng: np.random.Generator) -> tuple[Any, ...]:
        """Return what the network sees of a composite, and the truth."""
        photo = self.split.train[rng.integers(len(self.split.train))]
        kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        operator = str(rng.choice(list(OPERATORS), p=list(OPERATORS.values())))
        sample = simulate(photo, rng, self.recipe.size, kind=kind, operator=operator)
        seen = planes(sample, rng.random() < self.recipe.drop_other)
        if rng.random() < self.recipe.drop_seam:
            seen[4] = 1
        return seen, np.moveaxis(sample.truth, 2, 0).copy()

    def step(self, batch: tuple[torch.Tensor, ...], at: Moment) -> dict[str, float]:
        """Take one step of the gate."""
        seen, truth = batch
        for group in self.optimiser.param_groups:
            warm = min(1.0, (at.step + 1) / 100)
            group["lr"] = self.recipe.rate * warm * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * at.progress)))
        change, gate = self.net(seen)
        loss = opening(seen, truth, change.detach(), gate, SLIGHT)
        if not descend(loss, self.optimiser, 0.5):
            return {}
        follow(self.average, self.net, at.step + 1)
        opened = (torch.sigmoid(gate) * seen[:, 3:4]).sum() / seen[:, 3:4].sum().clamp(min=1)
        return {"gate": float(loss.detach()), "open": float(opened.detach())}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=shipped("refiner"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    photos = [p for p in map(reduced_photo, options.photos) if p is not None]
    width = int(read_weights(options.weights, "refiner")[1]["width"])
    recipe = Recipe(options.minutes, width=width, rate=4e-4, seed=options.seed)
    print(
        json.dumps(train(Gating(recipe, Split.of(photos), options.weights), Session(options.out)), indent=1)
    )


if __name__ == "__main__":
    main()
