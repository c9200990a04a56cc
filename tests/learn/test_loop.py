"""The loop, on a model that learns a colour: goes on bit for bit, stops in order, and says what is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from composer.errors import OptionError, OutputError, TrainingError, WeightsError  # noqa: E402
from composer.learn import loop  # noqa: E402
from composer.learn.loop import Budget, Moment, Session, descend, train  # noqa: E402
from composer.learn.weights import read_weights, write_weights  # noqa: E402
from composer.records import Event  # noqa: E402


@dataclass(frozen=True)
class Recipe(Budget):
    width: int = 3


class Colour:
    """Learns the mean of noisy samples; draws from torch's random state too, as dropout does."""

    fixed: tuple[str, ...] = ("width",)

    dropout = 0.1

    def __init__(self, recipe: Recipe, digest: str = "d", spoil: Callable[[int], bool] = lambda k: False):
        self.recipe, self.digest, self.spoil = recipe, digest, spoil
        self.about = {"kind": "colour", "width": str(recipe.width)}
        self.concern = ""

    def build(self, device: Any) -> dict[str, Any]:
        self.net = torch.nn.Sequential(torch.nn.Linear(self.recipe.width, 1), torch.nn.Dropout(self.dropout))
        self.optimiser = torch.optim.Adam(self.net.parameters(), 0.05)
        return {"net": self.net, "optimiser": self.optimiser}

    def sample(self, rng: np.random.Generator) -> tuple[Any, ...]:
        x = rng.random(self.recipe.width).astype(np.float32)
        return x, x.sum(keepdims=True)

    def step(self, batch: Any, at: Moment) -> dict[str, float]:
        x, wanted = batch
        loss = ((self.net(x) - wanted) ** 2).mean() * (float("nan") if self.spoil(at.step) else 1)
        return {"error": float(loss.detach())} if descend(loss, self.optimiser) else {}

    def worry(self, recent: Sequence[dict[str, float]]) -> str:
        return self.concern

    def validate(self) -> dict[str, float]:
        return {"bias": float(self.net[0].bias.detach()[0])}

    def grid(self) -> Any:
        return np.zeros((4, 4, 3), np.uint8)

    def write(self, out: Path, about: dict[str, str]) -> None:
        arrays = {n: v.detach().numpy() for n, v in self.net.state_dict().items()}
        write_weights(out / "colour.safetensors", arrays, about)


def log_of(folder: Path, name: str = "log.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def after(steps: int) -> tuple[Callable[[Event], None], Callable[[], bool]]:
    """Return what counts steps, and what says that so many are over."""
    told: list[Event] = []
    return told.append, lambda: len(told) >= steps


def test_a_run_stopped_in_order_and_gone_on_with_is_the_same_run(tmp_path: Path) -> None:
    whole = train(Colour(Recipe(steps=20)), Session(tmp_path / "whole"))
    observe, stopped = after(7)
    assert (
        train(Colour(Recipe(steps=20)), Session(tmp_path / "parts", observe=observe, stopped=stopped)) == {}
    )
    parts = train(Colour(Recipe(steps=20)), Session(tmp_path / "parts", resume=True))
    assert whole == parts
    errors = [[line["error"] for line in log_of(tmp_path / name)] for name in ("whole", "parts")]
    assert errors[0] == errors[1]
    assert len(errors[0]) == 20
    one, other = (read_weights(tmp_path / n / "colour.safetensors", "colour")[0] for n in ("whole", "parts"))
    assert all(np.array_equal(one[k], other[k]) for k in one)
    assert "bias" in (tmp_path / "whole" / "card.md").read_text()


def test_what_was_logged_after_the_checkpoint_is_not_logged_twice(tmp_path: Path) -> None:
    train(Colour(Recipe(steps=5)), Session(tmp_path))
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 6, "error": 1.0}\n{"step": 7, "er')  # killed between two checkpoints
    train(Colour(Recipe(steps=8)), Session(tmp_path, resume=True))
    assert [line["step"] for line in log_of(tmp_path)] == list(range(1, 9))


def test_steps_that_are_not_finite_are_skipped_and_told(tmp_path: Path) -> None:
    found = train(Colour(Recipe(steps=40), spoil=lambda k: k % 2 == 0), Session(tmp_path))
    lines = log_of(tmp_path)
    assert np.isfinite(found["bias"])
    assert [line["step"] for line in lines if "skipped" in line] == list(range(1, 41, 2))
    assert "20 of 39 steps were not finite" in lines[38]["warning"]


@pytest.mark.parametrize(
    "wrong", [{"minutes": math.nan}, {"minutes": 0}, {"minutes": math.inf}, {"steps": -1}, {"seed": -1}]
)
def test_trainings_without_end_or_beginning_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="minutes must be above 0"):
        Recipe(**wrong)


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        train(Colour(Recipe(steps=1)), Session(tmp_path / "a"))


def test_what_comes_after_the_minutes_is_told(tmp_path: Path) -> None:
    told: list[Event] = []
    train(Colour(Recipe(steps=3)), Session(tmp_path, observe=told.append))
    assert [e.stage for e in told if e.seconds is not None] == ["train", "validate", "write"]
    assert "ONNX file" in told[-3].message


def test_worries_are_logged_and_observed(tmp_path: Path) -> None:
    model, told = Colour(Recipe(steps=loop.RECENT + 1, batch=1)), list[Event]()
    model.concern = "all is lost"
    train(model, Session(tmp_path, observe=told.append))
    steps = [e for e in told if e.stage == "train" and e.seconds is None]
    assert steps[-1].message == "all is lost"
    assert [bool(e.message) for e in steps] == [False] * (loop.RECENT - 1) + [True] * 2


def test_waiting_for_samples_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOADER_BOUND", -1.0)
    train(Colour(Recipe(steps=loop.RECENT + 1, batch=1)), Session(tmp_path))
    assert log_of(tmp_path)[-1]["warning"].startswith("loader-bound: ")


def test_one_batch_is_learnt_by_heart(tmp_path: Path) -> None:
    found = train(Colour(Recipe(steps=150)), Session(tmp_path, overfit=True))
    assert found["share_left"] < 0.5
    assert [p.name for p in tmp_path.iterdir()] == ["overfit.jsonl"]


def test_checkpoints_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    train(Colour(Recipe(steps=2)), Session(tmp_path))
    with pytest.raises(TrainingError, match="other photographs"):
        train(Colour(Recipe(steps=3), digest="e"), Session(tmp_path, resume=True))
    with pytest.raises(TrainingError, match="another width"):
        train(Colour(Recipe(steps=3, width=4)), Session(tmp_path, resume=True))
    path = tmp_path / "checkpoint.safetensors"
    whole = path.read_bytes()
    arrays, about = read_weights(path, "colour-checkpoint")
    path.write_bytes(whole[:-4])
    with pytest.raises(WeightsError, match="not a whole"):
        train(Colour(Recipe(steps=3)), Session(tmp_path, resume=True))
    path.write_bytes(b"\x80\x04" + whole)
    with pytest.raises(WeightsError, match="pickle"):
        train(Colour(Recipe(steps=3)), Session(tmp_path, resume=True))
    for wrong in ({**arrays, "net/0.weight": np.zeros((1, 9), np.float32)}, {"rng": arrays["rng"]}):
        write_weights(path, wrong, about)
        with pytest.raises(WeightsError, match="does not fit"):
            train(Colour(Recipe(steps=3)), Session(tmp_path, resume=True))


def test_tensorboard_is_written_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(Colour(Recipe(steps=2)), Session(tmp_path, tensorboard=True))
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents*"))


def test_tensorboard_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match="pip install tensorboard"):
        train(Colour(Recipe(steps=2)), Session(tmp_path, tensorboard=True))


def test_one_batch_that_cannot_be_learnt_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="of the loss are left after 3 steps"):
        train(Colour(Recipe(steps=3)), Session(tmp_path, overfit=True))
    with pytest.raises(TrainingError, match="something is wrong"):
        train(Colour(Recipe(steps=3), spoil=lambda k: True), Session(tmp_path, overfit=True))
