"""Training the refiner on a folder of photographs: pairs are made as it goes, by the toolkit's operators."""

from __future__ import annotations

import hashlib
import json
import logging
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from composer.errors import Cancelled, TrainingError
from composer.learn.network import INPUTS, Discriminator, Refiner
from composer.learn.runtime import SIDE, network_of
from composer.learn.simulator import Sample, planes_of, simulate
from composer.learn.validation import validated, write_grid
from composer.learn.weights import read_weights, write_weights
from composer.media.encode import replacing
from composer.records import Event

Array = NDArray[Any]

__all__ = ["Recipe", "Split", "train_refiner"]

CHECKPOINT = "checkpoint.safetensors"
SEEN, GAIN = 0.06, 0.1 / 255  # errors that count fully; what is gained where the gate is to open


@dataclass(frozen=True)
class Recipe:
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
    adversary_from: float = 0.6
    drop_other: float = 0.15
    drop_seam: float = 0.4
    seed: int = 0


@dataclass(frozen=True)
class Split:
    """Photographs (H, W, 3) uint8 to train on, those held out, and a hash of all."""

    train: tuple[Array, ...]
    held_out: tuple[Array, ...]
    digest: str

    @staticmethod
    def of(photos: list[Array]) -> Split:
        """Hold out every sixth photograph.

        Raises
        ------
        TrainingError
        """
        if len(photos) < 6:
            raise TrainingError(f"{len(photos)} photographs are too few to train on; give at least 6")
        digest = hashlib.sha256(b"".join(hashlib.sha256(p.tobytes()).digest() for p in photos))
        kept = [p for k, p in enumerate(photos) if k % 6 != 5]
        return Split(tuple(kept), tuple(photos[5::6]), digest.hexdigest())


def train_refiner(
    split: Split, out: Path, recipe: Recipe, *, resume: bool = False, device: str = "cpu", threads: int = 1,
    observe: Callable[[Event], None] = lambda event: None, cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, float]:  # fmt: skip
    """Train, and leave in `out`: weights, a checkpoint, a log, a grid of held-out samples, a model card.

    Returns
    -------
    What the last validation found, by name.

    Raises
    ------
    TrainingError, WeightsError, OutputError
    """
    torch.set_num_threads(threads)
    run = _Run(recipe, split, torch.device(device))
    checkpoint = out / CHECKPOINT
    if resume:
        run.load(checkpoint)
    elif checkpoint.exists():
        raise TrainingError(f"{checkpoint}: a run is here already; resume it, or choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    with _on_terminate() as stopped, (out / "log.jsonl").open("a") as log:
        saved = started = time.monotonic()
        before = run.seconds
        for batch in run.batches():
            run.seconds = before + time.monotonic() - started
            if run.progress >= 1 or stopped() or cancelled():
                break
            found = run.step(batch)
            log.write(json.dumps({"step": run.steps, "seconds": round(run.seconds, 1), **found}) + "\n")
            observe(Event("train", min(1.0, run.progress), message=run.worry(found)))
            if time.monotonic() - saved > 120:
                saved = time.monotonic()
                run.save(checkpoint)
                log.flush()
        run.save(checkpoint)
    if cancelled():
        raise Cancelled(f"stopped on request; go on with --resume, {out} holds the run")
    return run.finish(out)


class _Run:
    """The networks, their optimisers, and how far they have come."""

    def __init__(self, recipe: Recipe, split: Split, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.split, self.device = recipe, split, device
        self.steps, self.seconds, self.skipped, self.waited = 0, 0.0, 0, 0.0
        self.net, self.judge = Refiner(recipe.width).to(device), Discriminator().to(device)
        self.average = Refiner(recipe.width).to(device)
        self.average.load_state_dict(self.net.state_dict())
        self.optimiser = torch.optim.AdamW(self.net.parameters(), recipe.rate, (0.9, 0.99))
        self.opponent = torch.optim.AdamW(self.judge.parameters(), recipe.rate / 2, (0.5, 0.99))

    @property
    def progress(self) -> float:
        """Share of the run that is over."""
        if self.recipe.steps:
            return self.steps / self.recipe.steps
        return self.seconds / max(60 * self.recipe.minutes, 1e-6)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield planes and truth, made ahead on another thread; a step's draws depend on its number."""
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self._batch, self.steps)
            while True:
                waiting = time.monotonic()
                planes, truth = ahead.result()
                self.waited += time.monotonic() - waiting
                ahead = pool.submit(self._batch, self.steps + 1)
                yield planes.to(self.device), truth.to(self.device)

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        seeds = [(self.recipe.seed, step, k) for k in range(self.recipe.batch)]
        samples = [self._sample(np.random.default_rng(seed)) for seed in seeds]
        seen, truth = (torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))
        return seen, truth

    def _sample(self, rng: np.random.Generator) -> tuple[Array, Array]:
        photo = self.split.train[rng.integers(len(self.split.train))]
        sample = simulate(photo, rng, self.recipe.size)
        seen = planes(sample, rng.random() < self.recipe.drop_other)
        if rng.random() < self.recipe.drop_seam:
            seen[4] = np.where(sample.valid, 1.0, 0.0)  # as far as can be: `refine` is not told where it runs
        truth = np.moveaxis(sample.truth, 2, 0).copy()
        if rng.random() < 0.15:  # a picture's edge: nothing beyond it
            beyond = slice(0, int(rng.integers(1, 48)))
            side = [(..., beyond), (..., beyond, slice(None))][rng.integers(2)]
            seen[side], truth[side] = 0, 0
        return seen, truth

    def step(self, batch: tuple[Tensor, Tensor]) -> dict[str, float]:
        """Take one step of both networks; returns the losses."""
        seen, truth = batch
        for group in self.optimiser.param_groups:
            warm = min(1.0, (self.steps + 1) / 100)
            group["lr"] = self.recipe.rate * warm * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * self.progress)))
        change, gate = self.net(seen)
        losses = _losses(seen, truth, change, gate)
        total = torch.stack(list(losses.values())).sum()
        if self.progress >= self.recipe.adversary_from and self.recipe.adversary:
            adversarial, judged = self._contest(seen, truth, change)
            total = total + self.recipe.adversary * adversarial
            losses = {**losses, "adversarial": adversarial, "judge": judged}
        self.steps += 1
        if not bool(torch.isfinite(total)):
            self.skipped += 1
            return {"skipped": float(self.skipped)}
        self.optimiser.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 0.5)
        self.optimiser.step()
        keep = min(0.999, self.steps / (self.steps + 10))
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.net.parameters(), strict=True):
                slow.lerp_(fast, 1 - keep)
        opened = (torch.sigmoid(gate) * seen[:, 3:4]).sum() / seen[:, 3:4].sum().clamp(min=1)
        return {k: round(float(v.detach()), 5) for k, v in {**losses, "open": opened}.items()}

    def _contest(self, seen: Tensor, truth: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
        """Train the discriminator on this batch; returns what it and its features say of the result."""
        mask = seen[:, 3:4]
        made = seen[:, :3] + mask * change
        real, _ = self.judge(truth, seen)
        fake, _ = self.judge(made.detach(), seen)
        near = (nn.functional.adaptive_max_pool2d(mask, fake.shape[2:]) > 0.5).float()
        count = near.sum().clamp(min=1)
        judged = ((relu(1 - real) + relu(1 + fake)) * near).sum() / count
        self.opponent.zero_grad()
        judged.backward()
        self.opponent.step()
        opinion, features = self.judge(made, seen)
        with torch.no_grad():
            _, wanted = self.judge(truth, seen)
        matching = torch.stack([(a - b).abs().mean() for a, b in zip(features, wanted, strict=True)]).mean()
        return -(opinion * near).sum() / count + matching, judged

    def worry(self, found: dict[str, float]) -> str:
        """Return what seems wrong with the training, in words."""
        if self.steps > 300 and found.get("open", 1.0) < 0.01:
            return "the gate is closed: the network does nothing; train longer or raise the rate"
        share = self.waited / max(self.seconds, 1e-6)
        return f"{share:.0%} of the time goes into waiting for samples" if share > 0.4 else ""

    def finish(self, out: Path) -> dict[str, float]:
        """Validate the averaged network, and write weights, grid and model card."""
        network = network_of(self.average.eval())
        found = validated(network, self.split.held_out, self.recipe.size)
        write_grid(out / "grid.png", network, self.split.held_out, self.recipe.size)
        about = {
            "kind": "refiner", "width": str(self.recipe.width), "steps": str(self.steps),
            "seconds": str(round(self.seconds)), "photographs": str(len(self.split.train)),
            "held_out": str(len(self.split.held_out)), "data_sha256": self.split.digest,
            "recipe": json.dumps(asdict(self.recipe)), "torch": torch.__version__,
            "validation": json.dumps(found), "licence": "MIT",
        }  # fmt: skip
        weights = self.average.half().cpu().state_dict()
        write_weights(out / "refiner.safetensors", {n: v.numpy() for n, v in weights.items()}, about)
        write_onnx(out / "refiner.onnx", self.average.float())
        (out / "card.md").write_text(_card(about, found))
        return found

    def save(self, path: Path) -> None:
        """Write all that going on needs."""
        arrays = {"rng": torch.get_rng_state().numpy()}
        for name, part in self._parts().items():
            arrays |= {f"{name}/{k}": v.detach().cpu().numpy() for k, v in part.items()}
        about = {
            "kind": "refiner-checkpoint", "steps": str(self.steps), "seconds": repr(self.seconds),
            "recipe": json.dumps(asdict(self.recipe)), "data_sha256": self.split.digest,
        }  # fmt: skip
        write_weights(path, arrays, about)

    def load(self, path: Path) -> None:
        """Go on where a checkpoint was written.

        Raises
        ------
        WeightsError
        TrainingError
            It was made from other photographs or for a network of another width.
        """
        arrays, about = read_weights(path, "refiner-checkpoint")
        if about["data_sha256"] != self.split.digest:
            raise TrainingError(f"{path}: was trained on other photographs; give the same folder")
        if json.loads(about["recipe"])["width"] != self.recipe.width:
            raise TrainingError(f"{path}: has another width; give the one that it was begun with")
        for optimiser in (self.optimiser, self.opponent):
            _with_state(optimiser)
        for name, part in self._parts().items():
            for k, v in part.items():
                with torch.no_grad():
                    v.copy_(torch.from_numpy(arrays[f"{name}/{k}"].copy()))
        torch.set_rng_state(torch.from_numpy(arrays["rng"].copy()))
        self.steps, self.seconds = int(about["steps"]), float(about["seconds"])

    def _parts(self) -> dict[str, dict[str, Tensor]]:
        """Return every tensor of the run by name."""
        return {
            "net": self.net.state_dict(), "average": self.average.state_dict(),
            "judge": self.judge.state_dict(), "optimiser": _tensors(self.optimiser),
            "opponent": _tensors(self.opponent),
        }  # fmt: skip


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
    gained = (error - (truth - free).detach().abs().amax(1, keepdim=True)) * mask
    gained = nn.functional.avg_pool2d(gained, 12, 4, 4, count_include_pad=False)
    harm = 1 + 2 * (gained < 0)
    stake = nn.functional.avg_pool2d(mask, 4) * (0.02 + harm * (50 * gained.abs()).clamp(max=1))
    opens = binary_cross_entropy_with_logits(
        nn.functional.avg_pool2d(gate, 4), (gained > GAIN).float(), stake, reduction="sum"
    )
    return {
        "colour": (_charbonnier(free - truth) * weight).sum() / (3 * total),
        "gradient": 0.5 * slopes / (3 * total),
        "gate": 0.5 * opens / stake.sum().clamp(min=1.0),
        "gated": 0.3 * (_charbonnier(gated - truth) * mask).sum() / (3 * mask.sum().clamp(min=1.0)),
    }


def _charbonnier(x: Tensor) -> Tensor:
    return torch.sqrt(x * x + 1e-6) - 1e-3


def _slope(x: Tensor, axis: int) -> Tensor:
    return x.narrow(axis, 1, x.shape[axis] - 1) - x.narrow(axis, 0, x.shape[axis] - 1)


def _slope_weight(x: Tensor, axis: int) -> Tensor:
    return x.narrow(axis, 0, x.shape[axis] - 1)


def _tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {f"{k}/{n}": v for k, state in optimiser.state_dict()["state"].items() for n, v in state.items()}


def _with_state(optimiser: torch.optim.Optimizer) -> None:
    """Give an optimiser that has not stepped yet its state, to be filled from a checkpoint."""
    for group in optimiser.param_groups:
        for p in group["params"]:
            state = optimiser.state[p]
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)


@contextmanager
def _on_terminate() -> Iterator[Callable[[], bool]]:
    """Take note of SIGTERM, so that the run is saved; only where signals can be had."""
    told: list[int] = []
    try:
        before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    except ValueError:  # not the main thread
        yield lambda: False
        return
    try:
        yield lambda: bool(told)
    finally:
        signal.signal(signal.SIGTERM, before)


def _card(about: dict[str, str], found: dict[str, float]) -> str:
    """Return the model card, from the metadata."""
    lines = [f"# Refiner, width {about['width']}", ""]
    lines += [f"- {name}: {value}" for name, value in about.items() if name not in ("kind", "validation")]
    lines += ["", "Held-out photographs:", "", "| figure | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in found.items()]
    return "\n".join(lines) + "\n"


def write_onnx(path: Path, net: Refiner) -> None:
    """Write a network for onnxruntime: planes (1, 11, SIDE, SIDE) in, change and the gate's logit out."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            net.eval(), (torch.zeros(1, INPUTS, SIDE, SIDE),), dynamo=True, verbose=False,
            input_names=["planes"], output_names=["change", "gate"],
        )  # fmt: skip
    with replacing(path) as file:
        file.write(program.model_proto.SerializeToString())
