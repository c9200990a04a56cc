"""The loop that trains every model: time, going on, log, warnings. The model says what a step is.

A step's samples depend on the seed and the step's number only, so weights, optimisers and torch's random
state are all that a run needs to go on bit for bit.
"""

from __future__ import annotations

import importlib.util
import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from composer.errors import Cancelled, OptionError, OutputError, TrainingError
from composer.learn import checkpoints
from composer.learn.checkpoints import Parts
from composer.learn.processes import agreed, average, count, rank, together
from composer.learn.weights import read_weights
from composer.media.encode import replacing, write_image
from composer.records import Event

Array = NDArray[Any]
Batch = tuple[Tensor, ...]

__all__ = ["Budget", "Model", "Moment", "Session", "descend", "follow", "train"]

CHECKPOINT = "checkpoint.safetensors"
SAVE_EVERY_S = 120.0
OVERFIT_S, LEARNT = 24.0, 0.6  # for one batch learnt by heart at most; the share of the loss left at most
RECENT = 100  # steps that warnings look back on
EXPORTING = "next the weights are written; an ONNX file takes a minute or two"
LOADER_BOUND = 0.4  # share of the time spent waiting for samples that is worth a warning


@dataclass(frozen=True)
class Budget:
    """What every recipe has: minutes of all sessions, or steps if not 0; samples a step; the seed.

    Raises
    ------
    OptionError
        A training that never ends, or cannot begin.
    """

    minutes: float = 20.0
    steps: int = 0
    batch: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.minutes < math.inf or self.steps < 0 or self.seed < 0:
            raise OptionError("minutes must be above 0, steps and seed not below")


@dataclass(frozen=True)
class Moment:
    """Where a run is: steps taken before this one, and the share of the run that is over."""

    step: int
    progress: float


class Model(Protocol):
    """What is trained.

    Attributes
    ----------
    about : dict of str
        Metadata of its weights: "kind", what it takes to build the network again, what was trained on.
    recipe : Budget
        Or a dataclass derived from it.
    fixed : tuple of str
        Fields of the recipe that a run must keep when it is gone on with.
    digest : str
        Hash of the data.
    """

    about: dict[str, str]
    digest: str

    @property
    def recipe(self) -> Budget: ...  # noqa: D102

    @property
    def fixed(self) -> tuple[str, ...]: ...  # noqa: D102

    def build(self, device: torch.device) -> Parts:
        """Make networks and optimisers; returns by name all whose state is to be saved."""

    def sample(self, rng: np.random.Generator) -> tuple[Array, ...]:
        """Return one sample, arrays that are stacked to a batch; every draw comes from `rng`."""

    def step(self, batch: Batch, at: Moment) -> dict[str, float]:
        """Take a step; returns losses, first the one that training brings down, or nothing if skipped."""

    def worry(self, recent: Sequence[dict[str, float]]) -> str:
        """Return what seems wrong, in words, from what the last RECENT steps returned."""

    def validate(self) -> dict[str, float]:
        """Return figures on what is held out, by name."""

    def grid(self) -> Array:
        """Return pictures of what is held out, (H, W, 3) uint8."""

    def write(self, out: Path, about: dict[str, str]) -> None:
        """Write the weights, for use."""


@dataclass(frozen=True)
class Session:
    """One session of a run.

    Attributes
    ----------
    out : path
        The run's folder.
    resume : bool
        Go on with the run in `out`.
    device, threads
        Where torch computes; bfloat16 on GPUs.
    overfit : bool
        Learn one batch by heart, as any sound model can within half a minute; only a log is kept.
    tensorboard : bool
        Write losses for TensorBoard too.
    observe, cancelled, stopped : callable
        `stopped` ends the session early and in order: the run is saved.
    """

    out: Path
    resume: bool = False
    device: str = "cpu"
    threads: int = 1
    overfit: bool = False
    tensorboard: bool = False
    observe: Callable[[Event], None] = lambda event: None
    cancelled: Callable[[], bool] = lambda: False
    stopped: Callable[[], bool] = lambda: False


def train(model: Model, session: Session) -> dict[str, float]:
    """Train a model, and leave in the session's folder: weights, a checkpoint, a log, a grid, a model card.

    Returns
    -------
    What the last validation found, by name; nothing if stopped early. With `overfit`: the loss of the first
    and of the last steps, and what share is left.

    Raises
    ------
    TrainingError
        A run is here already, or does not fit; one batch could not be learnt by heart.
    WeightsError, OutputError, Cancelled
    """
    torch.set_num_threads(session.threads)
    with together(session.device):
        return _train(model, session)


def _train(model: Model, session: Session) -> dict[str, float]:
    run, out = _Run(model, session), session.out
    checkpoint = out / CHECKPOINT
    if session.resume:
        run.load(checkpoint)
    elif checkpoint.exists() and not session.overfit:
        raise TrainingError(f"{checkpoint}: a run is here already; resume it, or choose another folder")
    _make(out)
    with run.logging() as log:
        saved = time.monotonic()
        for batch in run.batches():
            if run.over():
                break
            log(run.step(batch))
            if time.monotonic() - saved > SAVE_EVERY_S and not session.overfit and rank() == 0:
                saved = time.monotonic()
                run.save(checkpoint)
                write_image(out / "grid.png", model.grid())
    if session.overfit:
        return run.learnt()
    if rank() == 0:
        run.save(checkpoint)
    if session.cancelled():
        raise Cancelled(f"stopped on request; go on with --resume, {out} holds the run")
    return run.finish() if run.progress >= 1 and rank() == 0 else {}


class _Run:
    """A model, and how far it has come."""

    def __init__(self, model: Model, session: Session) -> None:
        torch.manual_seed(model.recipe.seed)
        self.model, self.session = model, session
        self.device = torch.device(session.device)
        self.parts = model.build(self.device)
        self.steps, self.seconds, self.skipped = 0, 0.0, 0
        self.started, self.before, self.waited = time.monotonic(), 0.0, 0.0
        self.recent: deque[dict[str, float]] = deque(maxlen=RECENT)
        self.losses: list[float] = []  # the first of each step, in this session

    @property
    def progress(self) -> float:
        """Share of the run that is over."""
        recipe = self.model.recipe
        by_steps = self.steps / recipe.steps if recipe.steps else 0.0
        if self.session.overfit:
            return max(by_steps, self.seconds / OVERFIT_S)
        return by_steps if recipe.steps else self.seconds / max(60 * recipe.minutes, 1e-6)

    def over(self) -> bool:
        """Return whether to stop, which all processes do at the same step."""
        stop = self.session.stopped() or self.session.cancelled()
        self.seconds, stop = agreed(self.seconds, stop, self.device)
        return stop or self.progress >= 1

    def batches(self) -> Iterator[Batch]:
        """Yield batches, each made ahead on another thread while the one before is learnt from."""
        self.started, self.before = time.monotonic(), self.seconds
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self._batch, self.steps)
            while True:
                waiting = time.monotonic()
                batch = ahead.result()
                self.waited += time.monotonic() - waiting
                ahead = pool.submit(self._batch, 0 if self.session.overfit else self.steps + 1)
                self.seconds = self.before + time.monotonic() - self.started
                yield tuple(part.to(self.device) for part in batch)

    def _batch(self, step: int) -> Batch:
        recipe = self.model.recipe
        mine = range(rank() * recipe.batch, (rank() + 1) * recipe.batch)
        rngs = [np.random.default_rng((recipe.seed, step, k)) for k in mine]
        samples = [self.model.sample(rng) for rng in rngs]
        return tuple(torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))

    def step(self, batch: Batch) -> dict[str, float]:
        """Take one step; returns the losses, or how many steps were skipped because they were not finite."""
        on_gpu = self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=on_gpu):
            found = self.model.step(batch, Moment(self.steps, self.progress))
        self.steps += 1
        if not found:
            self.skipped += 1
            return {"skipped": float(self.skipped)}
        self.recent.append(found)
        self.losses.append(next(iter(found.values())))
        return {name: round(value, 5) for name, value in found.items()}

    def worry(self) -> str:
        """Return what seems wrong with the training, in words."""
        if self.skipped > 10 and self.skipped > self.steps / 10:
            return f"{self.skipped} of {self.steps} steps were not finite; lower the rate"
        share = self.waited / max(time.monotonic() - self.started, 1e-6)
        if self.steps > RECENT and share > LOADER_BOUND and not self.session.overfit:
            return f"loader-bound: {share:.0%} of the time goes into waiting for samples"
        return self.model.worry(self.recent) if len(self.recent) == RECENT else ""

    @contextmanager
    def logging(self) -> Iterator[Callable[[dict[str, float]], None]]:
        """Yield what takes note of a step: in the log, TensorBoard and for whoever observes."""
        if rank():
            yield lambda found: None
            return
        path = self.session.out / ("overfit.jsonl" if self.session.overfit else "log.jsonl")
        board = _board(self.session.out, self.steps) if self.session.tensorboard else None
        if self.session.resume and path.exists():  # what came after the checkpoint is done again
            lines = [line for line in path.read_text().splitlines() if _step_of(line) <= self.steps]
            with replacing(path) as file:
                file.write("".join(line + "\n" for line in lines).encode())
        with path.open("a", buffering=1) as log:

            def note(found: dict[str, float]) -> None:
                worry = self.worry()
                warned = {"warning": worry} if worry else {}
                line = {"step": self.steps, "seconds": round(self.seconds, 1), **found, **warned}
                log.write(json.dumps(line) + "\n")
                if board is not None:
                    for name, value in found.items():
                        board.add_scalar(name, value, self.steps)
                self.session.observe(Event("train", min(1.0, self.progress), message=worry))

            yield note
        if board is not None:
            board.close()

    def finish(self) -> dict[str, float]:
        """Validate, and write weights, grid and model card; who observes is told, as the minutes are over."""
        out, observe, started = self.session.out, self.session.observe, time.monotonic()
        observe(Event("train", 1.0, self.seconds))
        observe(Event("validate", 0.0))
        found = self.model.validate()
        write_image(out / "grid.png", self.model.grid())
        about = {
            **self.model.about, "steps": str(self.steps), "seconds": str(round(self.seconds)),
            "data_sha256": self.model.digest, "recipe": json.dumps(asdict(self.model.recipe)),
            "torch": torch.__version__, "validation": json.dumps(found), "licence": "MIT",
        }  # fmt: skip
        validated = time.monotonic()
        observe(Event("validate", 1.0, validated - started, EXPORTING))
        observe(Event("write", 0.0))
        self.model.write(out, about)
        (out / "card.md").write_text(_card(about, found))
        observe(Event("write", 1.0, time.monotonic() - validated))
        return found

    def learnt(self) -> dict[str, float]:
        """Return how well one batch was learnt by heart.

        Raises
        ------
        TrainingError
            It was not.
        """
        some = max(1, len(self.losses) // 10)
        first, last = (float(np.mean(part or [np.nan])) for part in (self.losses[:some], self.losses[-some:]))
        left = last / max(first, 1e-12)
        if not left < LEARNT:
            raise TrainingError(
                f"{left:.0%} of the loss are left after {self.steps} steps on one batch; "
                "something is wrong with the data or the rate"
            )
        return {"loss_first": first, "loss_last": last, "share_left": left}

    def save(self, path: Path) -> None:
        """Write all that going on needs."""
        about = {
            "kind": f"{self.model.about['kind']}-checkpoint", "steps": str(self.steps),
            "seconds": repr(self.seconds), "recipe": json.dumps(asdict(self.model.recipe)),
            "data_sha256": self.model.digest,
        }  # fmt: skip
        checkpoints.save(path, self.parts, about)

    def load(self, path: Path) -> None:
        """Go on where a checkpoint was written.

        Raises
        ------
        WeightsError
        TrainingError
            It was made from other photographs, or with another recipe.
        """
        kind = f"{self.model.about['kind']}-checkpoint"
        _, about = read_weights(path, kind)
        if about["data_sha256"] != self.model.digest:
            raise TrainingError(f"{path}: was trained on other photographs; give the same folder")
        begun, now = json.loads(about["recipe"]), asdict(self.model.recipe)
        for name in self.model.fixed:
            if begun.get(name) != now[name]:
                raise TrainingError(f"{path}: has another {name}; give the one that it was begun with")
        checkpoints.load(path, self.parts, kind)
        self.steps, self.seconds = int(about["steps"]), float(about["seconds"])


def descend(loss: Tensor, optimiser: torch.optim.Optimizer, most: float = math.inf) -> bool:
    """Take a step down, gradients cut to a norm of `most`; where not all is finite, take none, say False."""
    if count() == 1 and not bool(torch.isfinite(loss)):
        return False  # of several processes all go on, and find what one of them spoiled
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    optimiser.zero_grad()
    with torch.autocast(loss.device.type, enabled=False):
        loss.backward()
        average(parameters)
        if not bool(torch.isfinite(nn.utils.clip_grad_norm_(parameters, most))):
            return False
        optimiser.step()
    torch.clear_autocast_cache()  # holds the weights before the step
    return True


def follow(slow: nn.Module, fast: nn.Module, steps: int) -> None:
    """Move the averaged weights towards the present ones: slowly, but quicker in the beginning."""
    keep = min(0.999, steps / (steps + 10))
    with torch.no_grad():
        for one, other in zip(slow.parameters(), fast.parameters(), strict=True):
            one.lerp_(other, 1 - keep)


def _make(folder: Path) -> None:
    """Make the run's folder.

    Raises
    ------
    OutputError
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error


def _step_of(line: str) -> float:
    """Return the step of a line of the log; one that was cut short is after all others."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _board(out: Path, steps: int) -> Any:
    """Return a writer for TensorBoard.

    Raises
    ------
    TrainingError
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise TrainingError("TensorBoard is not installed; run pip install tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(out / "tensorboard", purge_step=steps)


def _card(about: dict[str, str], found: dict[str, float]) -> str:
    """Return the model card, from the metadata."""
    lines = [f"# {about['kind'].capitalize()}", ""]
    lines += [f"- {name}: {value}" for name, value in about.items() if name not in ("kind", "validation")]
    lines += ["", "Held-out photographs:", "", "| figure | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in found.items()]
    return "\n".join(lines) + "\n"
