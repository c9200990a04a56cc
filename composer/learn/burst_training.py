"""Training the recurrent network on bursts made from photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from composer.learn.burst_network import SEEN, Merge, beginning, encoded, linear
from composer.learn.bursting import begun, merging_of, picture_of
from composer.learn.bursts import Burst, Shake, simulate_burst
from composer.learn.checkpoints import Parts
from composer.learn.exporting import write_network
from composer.learn.loop import Budget, Moment, descend, follow
from composer.learn.photographs import Split
from composer.records import to_encoded, to_linear

Array = NDArray[Any]

__all__ = ["Bursts", "Recipe", "by_heart", "errors_of"]

FRAMES = 8  # of a burst, at most, in training
REST = 0.1  # of noise's power, what is left once it has been taken out of the merged picture
QUIET = 1 / 255  # errors that nobody sees
HIGHEST_DB = 80.0


@dataclass(frozen=True)
class Recipe(Budget):
    """How to train.

    Attributes
    ----------
    size : int
        Of samples in pixels, a multiple of 2.
    width : int
        Of the network.
    rate : float
        Of AdamW at its highest.
    moving : float
        Share of bursts through which something passes.
    """

    size: int = 64
    width: int = 32
    rate: float = 1.5e-3
    moving: float = 0.6


def by_heart(recipe: Recipe) -> Recipe:
    """Return a recipe for learning one small batch by heart."""
    return replace(recipe, batch=2, size=32, moving=1.0, rate=5e-3, steps=recipe.steps or 100)


class Bursts:
    """The recurrent network as the loop trains it, with its averaged weights."""

    fixed: tuple[str, ...] = ("width",)

    def __init__(self, recipe: Recipe, split: Split) -> None:
        self.recipe, self.split, self.digest = recipe, split, split.digest
        self.about = {
            "kind": "burst", "width": str(recipe.width), "photographs": str(len(split.train)),
            "held_out": str(len(split.held_out)),
        }  # fmt: skip

    def build(self, device: torch.device) -> Parts:
        """Make networks and optimiser."""
        self.net, self.average = (Merge(self.recipe.width).to(device) for _ in range(2))
        self.average.load_state_dict(self.net.state_dict())
        self.optimiser = torch.optim.AdamW(self.net.parameters(), self.recipe.rate, (0.9, 0.99))
        return {"net": self.net, "average": self.average, "optimiser": self.optimiser}

    def sample(self, rng: np.random.Generator) -> tuple[Array, ...]:
        """Return frames, the same without noise, and how strong that is."""
        photos = self.split.train
        scene, other = (photos[rng.integers(len(photos))] for _ in range(2))
        shake = Shake.drawn(rng, self.recipe.moving)
        burst = simulate_burst((scene, other), rng, self.recipe.size, FRAMES, shake)
        return np.moveaxis(burst.frames, 3, 1), np.moveaxis(burst.clean, 3, 1), _channels(burst.deviation)

    def step(self, batch: tuple[Tensor, ...], at: Moment) -> dict[str, float]:
        """Take one step; returns the losses."""
        for group in self.optimiser.param_groups:
            warm = min(1.0, (at.step + 1) / 20)
            group["lr"] = self.recipe.rate * warm * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * at.progress)))
        errors, equal, weight = errors_of(self.net, *batch)
        if not descend(errors.mean(), self.optimiser, 1.0):
            return {}
        follow(self.average, self.net, at.step + 1)
        return {
            "wrong": float(errors.mean().detach()), "wrong_of_mean": float(equal.mean()), "weight": weight,
        }  # fmt: skip

    def worry(self, recent: Sequence[dict[str, float]]) -> str:
        """Return what seems wrong with the training, in words."""
        if np.mean([found["weight"] for found in recent]) < 0.02:
            return "frames hardly count: nothing but the first is left; lower the rate"
        return ""

    def validate(self) -> dict[str, float]:
        """Return PSNR on held-out photographs: of the first frame, of the mean, and of the weighted mean."""
        found: dict[str, list[float]] = {}
        for name, burst in self._held_out():
            pictures = {"first": burst.frames[0], "mean": _mean(burst.frames), "burst": self._merged(burst)}
            for what, picture in pictures.items():
                found.setdefault(f"{name}_{what}_db", []).append(_psnr(picture, burst.clean[0]))
        return {name: round(float(np.mean(values)), 3) for name, values in found.items()}

    def grid(self) -> Array:
        """Return held-out bursts: the first frame, the mean, the weighted mean, the truth."""
        rows = []
        for _, burst in list(self._held_out())[2::4][:6]:
            rows.append(
                np.hstack([burst.frames[0], _mean(burst.frames), self._merged(burst), burst.clean[0]])
            )
        return np.asarray(np.vstack(rows).clip(0, 1) * 255 + 0.5).astype(np.uint8)

    def write(self, out: Path, about: dict[str, str]) -> None:
        """Write the averaged network for torch and onnxruntime."""
        path, shape = out / "burst.safetensors", (SEEN, 64, 80)
        write_network(path, self.average, about, outputs=("state",), shape=shape, align=2)

    def _merged(self, burst: Burst) -> Array:
        merge, first = merging_of(self.average.eval()), np.moveaxis(burst.frames[0], 2, 0)
        noise, shown = _channels(burst.deviation), np.ones((1, *first.shape[1:]), np.float32)
        state = begun(first)
        for frame in burst.frames[1:]:
            state = merge(np.concatenate([first, np.moveaxis(frame, 2, 0), noise, shown, state]))
        return picture_of(state)

    def _held_out(self) -> Iterator[tuple[str, Burst]]:
        """Yield bursts of held-out photographs, still and moving, short and long."""
        photos = self.split.held_out
        for k, photo in enumerate(photos):
            for moving in (False, True):
                for count in (2, 4, 8, 16):
                    rng = np.random.default_rng((k, moving))
                    shake = replace(Shake.drawn(rng), moving=moving, parallax=float(moving))
                    pair = photo, photos[(k + 1) % len(photos)]
                    name = f"{'moving' if moving else 'still'}_{count}"
                    yield name, simulate_burst(pair, rng, 2 * self.recipe.size, count, shake)


def errors_of(net: Merge, frames: Tensor, clean: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return the error to expect after each frame but the first, that of a mean of all, and the mean weight.

    In units of what is left of a single frame's noise: what the weights make of frames without noise is off
    by so much, and of noise itself they leave so much, of which most is taken out afterwards.
    """
    first, shown = frames[:, 0], torch.ones_like(noise[:, :1])
    state, light = beginning(first), linear(clean[:, 0])
    usual, unit = light, REST * noise**2 + QUIET**2
    errors: list[Tensor] = []
    equal: list[Tensor] = []
    for k in range(1, frames.shape[1]):
        before, frame = state[:, 3:4], linear(clean[:, k])
        state = net(torch.cat([first, frames[:, k], noise, shown, state], 1)).float()
        count, squares = state[:, 3:4], state[:, 4:5]
        light, usual = light + (count - before) * frame, usual + frame
        for found, sum_, number, share in (
            (errors, light, count, squares / count**2), (equal, usual, k + 1, 1 / (k + 1)),
        ):  # fmt: skip
            off = encoded(sum_ / number) - clean[:, 0]
            found.append(torch.sqrt((off**2 + REST * noise**2 * share) / unit))
    weight = float((count.detach().mean() - 1) / (frames.shape[1] - 1))
    return torch.stack(errors), torch.stack(equal).detach(), weight


def _channels(picture: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(picture, 2, 0))


def _mean(frames: Array) -> Array:
    return to_encoded(to_linear(frames).mean(0))


def _psnr(picture: Array, truth: Array) -> float:
    error = float(((np.clip(picture, 0, 1) - truth) ** 2).mean())
    return min(HIGHEST_DB, float(-10 * np.log10(max(error, 1e-12))))
