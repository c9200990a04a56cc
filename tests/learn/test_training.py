"""Training: learns, repeats, resumes bit for bit, and its weights do the same in torch and onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data

torch = pytest.importorskip("torch")
from composer.errors import TrainingError, WeightsError  # noqa: E402
from composer.learn import exporting  # noqa: E402
from composer.learn.exporting import write_network  # noqa: E402
from composer.learn.loop import Session, train  # noqa: E402
from composer.learn.network import INPUTS, Refiner  # noqa: E402
from composer.learn.photographs import Split  # noqa: E402
from composer.learn.runtime import HALO, TILE, changes, load_refiner  # noqa: E402
from composer.learn.simulator import planes_of, simulate  # noqa: E402
from composer.learn.training import Recipe, Refinement, by_heart  # noqa: E402
from composer.learn.weights import read_weights, write_weights  # noqa: E402

PHOTOS = [np.ascontiguousarray(np.rot90(skimage.data.astronaut(), k)) for k in range(4)] + [
    skimage.data.coffee(), skimage.data.chelsea(),
]  # fmt: skip
SMALL = Recipe(steps=6, batch=2, size=64, width=8, adversary_from=0.0)


def lively(width: int = 8) -> Refiner:
    """Return a network that changes something everywhere."""
    torch.manual_seed(1)
    net = Refiner(width).eval()
    for p in net.parameters():
        torch.nn.init.normal_(p, 0, 0.1)
    return net


def seen(size: int = 320) -> np.ndarray:
    sample = simulate(skimage.data.astronaut(), np.random.default_rng(0), size, kind="all")
    return planes_of(
        sample.composite, sample.mask * 0 + 1, sample.seam, sample.valid, sample.other, sample.valid
    )


@pytest.fixture
def unexported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out writing ONNX, which takes longer than these runs."""
    monkeypatch.setattr(exporting, "write_onnx", lambda path, *_, **__: path.touch())


def train_refiner(split: Split, out: Path, recipe: Recipe, **told: Any) -> dict[str, float]:
    return train(Refinement(recipe, split), Session(out, **told))


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["colour"] for line in lines]


@pytest.mark.usefixtures("unexported")
def test_a_run_stopped_and_resumed_is_the_same_run(tmp_path: Path) -> None:
    split = Split.of(PHOTOS)
    train_refiner(split, tmp_path / "whole", SMALL)
    told = [0]

    def after_three() -> bool:
        return told[0] >= 3

    def count(_: object) -> None:
        told[0] += 1

    with pytest.raises(Exception, match="stopped on request"):
        train_refiner(split, tmp_path / "parts", SMALL, observe=count, cancelled=after_three)
    assert len(losses(tmp_path / "parts")) == 3
    found = train_refiner(split, tmp_path / "parts", SMALL, resume=True)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    one, other = (
        read_weights(tmp_path / n / "refiner.safetensors", "refiner")[0] for n in ("whole", "parts")
    )
    assert all(np.array_equal(one[k], other[k]) for k in one)
    assert found["clean_psnr_db"] > 30
    assert {p.name for p in (tmp_path / "parts").iterdir()} == {
        "checkpoint.safetensors", "refiner.safetensors", "refiner.onnx", "card.md", "grid.png", "log.jsonl",
    }  # fmt: skip


@pytest.mark.usefixtures("unexported")
def test_runs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    split = Split.of(PHOTOS)
    with pytest.raises(TrainingError, match="too few"):
        Split.of(PHOTOS[:5])
    with pytest.raises(WeightsError, match="No such file"):
        train_refiner(split, tmp_path, SMALL, resume=True)
    train_refiner(split, tmp_path / "a", Recipe(steps=1, batch=1, size=64, width=8))
    with pytest.raises(TrainingError, match="already"):
        train_refiner(split, tmp_path / "a", SMALL)
    with pytest.raises(TrainingError, match="other photographs"):
        train_refiner(Split.of([*PHOTOS[1:], PHOTOS[0]]), tmp_path / "a", SMALL, resume=True)
    with pytest.raises(TrainingError, match="another width"):
        train_refiner(split, tmp_path / "a", Recipe(width=16), resume=True)


@pytest.mark.usefixtures("unexported")
def test_one_batch_can_be_learnt_by_heart(tmp_path: Path) -> None:
    recipe = by_heart(Recipe(steps=150, width=16, rate=2e-3, seed=1))
    found = train(Refinement(recipe, Split.of([PHOTOS[0]] * 6)), Session(tmp_path, overfit=True))
    assert found["share_left"] < 0.5


def test_worries_in_words() -> None:
    model = Refinement(SMALL, Split.of(PHOTOS))
    well = {"colour": 0.1, "open": 0.2, "judge": 1.5}
    assert model.worry([well] * 100) == ""
    assert "gate is closed" in model.worry([{**well, "open": 0.001}] * 100)
    assert "does not move" in model.worry([{**well, "judge": 1.99}] * 100)
    assert model.worry([{"colour": 0.1, "open": 0.2}] * 100) == ""  # the discriminator is not heard yet


def test_what_lies_beyond_the_halo_hardly_matters() -> None:
    """The grid of tiles decides what is seen; it must not be seen itself."""
    planes, net = seen(TILE + 112), lively()

    def network(part: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            change, gate = net(torch.from_numpy(part)[None])
        return torch.cat([change[0], gate[0]]).numpy()

    padded = np.pad(planes, ((0, 0), (HALO, HALO), (HALO, HALO)))
    whole = network(padded)[:, HALO:-HALO, HALO:-HALO]
    tiled = changes(network, planes, lambda work, windows: [work(w) for w in windows])
    assert np.abs(tiled - whole).max() < 0.12 * np.abs(whole).max()
    assert np.median(np.abs(tiled - whole)) < 1e-4 * np.abs(whole).max()


def test_torch_and_onnxruntime_agree(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    about = {"kind": "refiner", "width": "8"}
    path, outputs, shape = tmp_path / "r.safetensors", ("change", "gate"), (INPUTS, 96, 96)
    write_network(path, lively(), about, outputs=outputs, shape=shape)
    planes = seen(96)
    one, other = (load_refiner(str(tmp_path / "r.safetensors"), how)(planes) for how in ("torch", "onnx"))
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    arrays = {n: v.numpy() for n, v in lively().state_dict().items()}
    write_weights(tmp_path / "r.safetensors", arrays, {"kind": "refiner", "width": "16"})
    with pytest.raises(WeightsError, match="does not fit"):
        load_refiner(str(tmp_path / "r.safetensors"), "torch")
