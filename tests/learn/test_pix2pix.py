"""pix2pix: the published sizes, pairs in folders and side by side, and the same preprocessing in use."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import tifffile
from PIL import Image
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
import composer  # noqa: E402
from composer.cli import app  # noqa: E402
from composer.errors import OptionError, TrainingError  # noqa: E402
from composer.learn.loop import Session, train  # noqa: E402
from composer.learn.pairs import Pictures, Spoiled  # noqa: E402
from composer.learn.photographs import Split  # noqa: E402
from composer.learn.pix2pix import Generator, Patches, translating  # noqa: E402
from composer.learn.pix2pix_training import Recipe, Translation, by_heart  # noqa: E402
from composer.learn.weights import write_weights  # noqa: E402

PHOTO = skimage.data.astronaut()
SPLIT = Split.of([np.ascontiguousarray(np.rot90(PHOTO, k)) for k in range(4)] + [PHOTO[::-1], PHOTO[:, ::-1]])


def paired(folder: Path, count: int = 6, kind: str = "folders") -> Path:
    """Write pairs of 16 bits: B is A, darker."""
    for side in ("A", "B") if kind == "folders" else ("",):
        (folder / side).mkdir(parents=True, exist_ok=True)
    for k in range(count):
        one = PHOTO[20 * k : 20 * k + 60, :90].astype(np.uint16) * 257
        if kind == "folders":
            tifffile.imwrite(folder / "A" / f"{k}.tif", one)
            tifffile.imwrite(folder / "B" / f"{k}.tif", one // 2)
        else:
            tifffile.imwrite(folder / f"{k}.tif", np.hstack([one, one // 2]))
    return folder


def weights(path: Path, inputs: int = 3) -> Path:
    torch.manual_seed(0)
    arrays = {n: v.half().numpy() for n, v in Generator(inputs, 8).state_dict().items()}
    write_weights(path, arrays, {"kind": "pix2pix", "width": "8", "inputs": str(inputs)})
    return path


def test_sizes_are_those_of_the_paper() -> None:
    def count(net: torch.nn.Module) -> int:
        return sum(p.numel() for p in net.parameters() if p.dim() > 1)

    with torch.device("meta"):
        assert count(Generator()) == 54_404_096  # the authors' 54.414 M less biases and norms
        assert count(Patches()) == 2_766_848  # of 2.769 M
        assert Patches()(torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


def test_a_patch_is_seventy_pixels() -> None:
    net = Patches(3, 8)
    net.norms = torch.nn.ModuleList(torch.nn.Identity() for _ in net.norms)
    seen = torch.rand(1, 3, 256, 256, requires_grad=True)
    net(seen, torch.rand(1, 3, 256, 256))[0, 0, 15, 15].backward()
    rows = torch.nonzero(seen.grad.abs().sum((0, 1, 3)))
    assert int(rows.max() - rows.min()) + 1 == 70


@pytest.mark.parametrize("kind", ["folders", "side by side"])
def test_pairs_are_found_and_keep_together(tmp_path: Path, kind: str) -> None:
    pairs = Pictures(paired(tmp_path, kind=kind))
    assert (len(pairs.train), len(pairs.kept_back)) == (5, 1)
    for seed in range(5):
        one, other = pairs.sample(np.random.default_rng(seed), 64)  # larger than the pictures' height
        assert one.shape == other.shape == (3, 64, 64)
        assert np.abs(one / 2 - other).max() < 1e-4
    ((seen, truth, where),) = pairs.held_out(64)
    assert seen.shape == (3, 60, 90)
    assert truth.shape == (60, 90, 3)
    assert where.all()


def test_pairs_that_do_not_match_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="too few"):
        Pictures(paired(tmp_path / "few", 5))
    folder = paired(tmp_path / "alone")
    (folder / "B" / "3.tif").unlink()
    with pytest.raises(TrainingError, match="3 is in one of A and B only"):
        Pictures(folder)
    folder = paired(tmp_path / "size")
    tifffile.imwrite(folder / "B" / "0.tif", np.zeros((60, 80, 3), np.uint16))
    pairs = Pictures(folder)
    with pytest.raises(TrainingError, match="90 x 60 and 80 x 60"):
        [pairs.sample(np.random.default_rng(seed), 64) for seed in range(20)]


def test_what_the_refiner_sees_is_translated_too() -> None:
    seen, truth = Spoiled(SPLIT).sample(np.random.default_rng(0), 64)
    assert seen.shape == (11, 64, 64)
    assert truth.shape == (3, 64, 64)
    assert (seen[4] == 1).all()


def test_it_trains_goes_on_and_is_applied(tmp_path: Path) -> None:
    pairs = Pictures(paired(tmp_path / "pairs"))
    run = tmp_path / "run"
    train(Translation(Recipe(steps=2, width=8), pairs), Session(run))
    found = train(Translation(Recipe(steps=4, width=8), pairs), Session(run, resume=True))
    assert found.keys() == {"psnr_db", "gain_db", "worse_by_0.1_db_share"}
    photo = PHOTO[:70, :100].astype(np.uint16) * 257
    result = composer.refine(photo, weights=run / "pix2pix.safetensors")
    assert result.image.dtype == np.uint16
    assert "pix2pix" in result.notes[0]


def test_resuming_is_exact_with_dropout(tmp_path: Path) -> None:
    pairs, told = Pictures(paired(tmp_path / "pairs")), list[object]()

    def model() -> Translation:
        return Translation(Recipe(steps=4, width=8), pairs)

    whole = train(model(), Session(tmp_path / "whole"))
    train(model(), Session(tmp_path / "parts", observe=told.append, stopped=lambda: len(told) >= 2))
    assert whole == train(model(), Session(tmp_path / "parts", resume=True))
    ends = [(tmp_path / n / "checkpoint.safetensors").read_bytes()[-100_000:] for n in ("whole", "parts")]
    assert ends[0] == ends[1]


def test_one_pair_is_learnt_by_heart(tmp_path: Path) -> None:
    recipe = by_heart(Recipe(width=8, steps=40))
    found = train(Translation(recipe, Spoiled(SPLIT)), Session(tmp_path, overfit=True))
    assert found["share_left"] < 0.6


def test_worries_in_words() -> None:
    model = Translation(Recipe(), Spoiled(SPLIT))
    assert model.worry([{"judge": 0.5}] * 100) == ""
    assert "does not move" in model.worry([{"judge": 0.693}] * 100)
    assert "never wrong" in model.worry([{"judge": 0.001}] * 100)


@pytest.mark.parametrize("inputs", [3, 11])
def test_the_mask_holds_and_results_repeat(tmp_path: Path, inputs: int) -> None:
    path, mask = weights(tmp_path / "p.safetensors", inputs), np.zeros((90, 130), np.float32)
    mask[20:60, 30:70] = 1
    photo = PHOTO[:90, :130]
    one, same = (composer.refine(photo, mask, other=photo[::-1], weights=path).image for _ in range(2))
    assert np.array_equal(one, same)
    assert np.array_equal(one[mask == 0], photo[mask == 0])
    assert (one[mask == 1] != photo[mask == 1]).any()
    assert np.array_equal(composer.refine(photo, mask, strength=0, weights=path).image, photo)


def test_what_is_seen_in_use_is_what_was_seen_in_training() -> None:
    seen: list[torch.Tensor] = []

    class Spy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = torch.nn.Parameter(torch.ones(()))

        def forward(self, planes: torch.Tensor) -> torch.Tensor:
            seen.append(planes)
            return planes

    planes = np.random.default_rng(0).random((3, 100, 300)).astype(np.float32)
    back = translating(Spy())(planes)
    assert seen[0].shape == (1, 3, 256, 512)
    assert float(seen[0].min()) >= -1
    np.testing.assert_allclose(np.moveaxis(back, 2, 0), planes, atol=1e-6)


def test_the_command_trains_it_on_pairs(tmp_path: Path) -> None:
    for side in ("A", "B"):
        (tmp_path / side).mkdir()
        for k in range(6):
            Image.fromarray(cv2.resize(PHOTO[k:], (64, 48))).save(tmp_path / side / f"{k}.png")
    arguments = ["train", "refiner", "--model", "pix2pix", "--pairs", str(tmp_path), "--width", "8"]
    run = tmp_path / "run"
    result = CliRunner().invoke(app, [*arguments, "--steps", "1", "--out", str(run), "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "pix2pix.safetensors" in result.output
    out = tmp_path / "out.png"
    arguments = ["refine", str(tmp_path / "A" / "0.png"), "-o", str(out)]
    result = CliRunner().invoke(app, [*arguments, "--weights", str(run / "pix2pix.safetensors")])
    assert result.exit_code == 0, result.output
    assert "nothing was bounded" in result.output
    assert out.exists()


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="instead"):
        composer.train_refiner(None, tmp_path)
    with pytest.raises(OptionError, match="instead"):
        composer.train_refiner(None, tmp_path, pairs=tmp_path)
    with pytest.raises(OptionError, match="multiple of 256"):
        composer.train_refiner(None, tmp_path, model="pix2pix", pairs=tmp_path, size=128)
    with pytest.raises(OptionError, match="choose one of"):
        composer.train_refiner(tmp_path, tmp_path, model="vae")
    with pytest.raises(OptionError, match="no mask"):
        composer.refine(PHOTO)
