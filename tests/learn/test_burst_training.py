"""The recurrent network: begins as the mean, learns, and torch and onnxruntime say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from typer.testing import CliRunner

import composer
from composer.cli import app
from composer.learn.bursting import begun, load_burst, merging_of, picture_of
from composer.media.encode import write_image
from composer.records import to_encoded, to_linear

torch = pytest.importorskip("torch")
from composer.learn.burst_network import MEMORY, SEEN, STATE, Merge, beginning, mean_of  # noqa: E402
from composer.learn.burst_training import Bursts, Recipe, by_heart, errors_of  # noqa: E402
from composer.learn.exporting import write_network  # noqa: E402
from composer.learn.loop import Session, train  # noqa: E402
from composer.learn.photographs import Split  # noqa: E402

PHOTO = skimage.data.astronaut()
SPLIT = Split.of([np.ascontiguousarray(np.rot90(PHOTO, k)) for k in range(4)] + [PHOTO[::-1], PHOTO[:, ::-1]])


def frames(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 3, 32, 40)).astype(np.float32)


def test_untaught_it_gives_the_mean() -> None:
    net, seen = Merge(8), frames(4)
    torch.nn.init.constant_(net.weigh.bias, 30.0)  # from "nearly" to "fully", for all frames
    state, merge = begun(seen[0]), merging_of(net)
    noise, shown = np.full((3, 32, 40), 0.1, np.float32), np.ones((1, 32, 40), np.float32)
    for frame in seen[1:]:
        state = merge(np.concatenate([seen[0], frame, noise, shown, state]))
    assert state.shape == (STATE, 32, 40)
    np.testing.assert_allclose(
        picture_of(state), np.moveaxis(to_encoded(to_linear(seen).mean(0)), 0, 2), atol=1e-5
    )
    np.testing.assert_allclose(state[4] / state[3] ** 2, 0.25, rtol=1e-5)


def test_what_a_photo_does_not_show_does_not_count() -> None:
    seen = frames(2)
    noise, shown = np.full((3, 32, 40), 0.1, np.float32), np.zeros((1, 32, 40), np.float32)
    state = merging_of(Merge(8))(np.concatenate([*seen, noise, shown, begun(seen[0])]))
    np.testing.assert_allclose(picture_of(state), np.moveaxis(seen[0], 0, 2), atol=1e-5)


def test_both_begin_alike() -> None:
    first = frames(1)
    state = beginning(torch.from_numpy(first))[0].numpy()
    np.testing.assert_allclose(state, begun(first[0]), atol=1e-6)
    assert len(state) == 5 + MEMORY
    np.testing.assert_allclose(mean_of(torch.from_numpy(state)[None])[0], first[0], atol=1e-5)


def test_errors_are_those_of_a_single_frame_where_nothing_else_counts() -> None:
    net = Merge(8)
    torch.nn.init.constant_(net.weigh.bias, -30.0)
    burst = torch.from_numpy(frames(3))[None]
    errors, _, weight = errors_of(net, burst, burst, torch.full((1, 3, 32, 40), 0.2))
    np.testing.assert_allclose(errors.detach(), 1.0, atol=0.01)
    assert weight < 1e-6


def test_torch_and_onnxruntime_agree(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path, net = tmp_path / "burst.safetensors", Merge(8)
    for p in net.parameters():
        torch.nn.init.normal_(p, 0, 0.1)
    write_network(
        path, net, {"kind": "burst", "width": "8"}, outputs=("state",), shape=(SEEN, 32, 40), align=2
    )
    first, other = frames(2)[:, :, :30, :36]
    still = np.full((4, 30, 36), 0.1, np.float32)
    planes = np.concatenate([first, other, still, begun(first)])
    one, two = (load_burst(str(path), how)(planes) for how in ("torch", "onnx"))
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_one_batch_is_learnt_by_heart(tmp_path: Path) -> None:
    found = train(Bursts(by_heart(Recipe(steps=40, width=8)), SPLIT), Session(tmp_path, overfit=True))
    assert found["share_left"] < 0.6


def test_a_run_leaves_weights_for_fuse(tmp_path: Path) -> None:
    data, out = tmp_path / "photos", tmp_path / "run"
    data.mkdir()
    for k in range(6):
        write_image(data / f"{k}.png", PHOTO[40 * k : 40 * k + 140, :160])
    found = composer.train_burst(data, out, steps=1, batch=1, width=8, workers=1)
    assert found["moving_4_burst_db"] > found["moving_4_mean_db"] - 3
    assert {p.name for p in out.iterdir()} == {
        "checkpoint.safetensors", "burst.safetensors", "burst.onnx", "card.md", "grid.png", "log.jsonl",
    }  # fmt: skip
    photos = [PHOTO[:64, :80], PHOTO[:64, :80]]
    weights = out / "burst.safetensors"
    assert composer.fuse(photos, method="burst", weights=weights).image.shape == (64, 80, 3)


def test_the_command_learns_from_photographs_alone(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", "burst", "--out", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert "burst learns from photographs alone" in done.output
