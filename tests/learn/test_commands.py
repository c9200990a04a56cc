"""`composer train` as a command: signals, going on, and one batch learnt by heart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import skimage.data
from PIL import Image
from typer.testing import CliRunner

from composer.api import training
from composer.cli import app

pytest.importorskip("torch")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(6):
        Image.fromarray(skimage.data.astronaut()[8 * k : 280 + 8 * k, :280]).save(folder / f"{k}.png")
    return folder


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)], ids=str
)
def test_a_signal_saves_and_ends_well(number: int, status: int, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["train", "refiner", "--data", str(photos), "--out", str(out), "--size", "64", "--batch", "1"]
    command = [sys.executable, "-m", "composer", *arguments, "--width", "8", "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        log = out / "log.jsonl"
        while process.poll() is None and not (log.exists() and log.stat().st_size):
            time.sleep(0.05)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert "--resume" in said
    assert {p.name for p in out.iterdir()} == {"checkpoint.safetensors", "log.jsonl"}


def test_one_batch_is_learnt_by_heart(photos: Path, tmp_path: Path) -> None:
    arguments = ["train", "refiner", "--data", str(photos), "--out", str(tmp_path / "run"), "--width", "16"]
    result = CliRunner().invoke(app, [*arguments, "--overfit-batch", "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "share_left" in result.output


def test_photographs_too_small_are_told(photos: Path, tmp_path: Path) -> None:
    arguments = ["train", "refiner", "--data", str(photos), "--out", str(tmp_path / "run"), "--size", "144"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "0 of 6 photographs have 288 pixels" in result.output


@pytest.mark.parametrize(("gain", "told"), [(0.0, True), (2.0, False)])
def test_a_network_that_does_nothing_yet_is_told(
    gain: float, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "refiner.safetensors").touch()
    monkeypatch.setattr(training, "train_refiner", lambda *_, **__: {"gain_db": gain})
    result = CliRunner().invoke(app, ["train", "refiner", "--data", "photos", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert ("more --minutes" in result.output) == told
