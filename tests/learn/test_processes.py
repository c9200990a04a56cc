"""Two processes that train together equal one with twice the batch, and skip the same steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
from composer.errors import DeviceError
from composer.learn.loop import Session, train
from composer.learn.processes import training_device
from composer.learn.weights import read_weights
from tests.learn.test_loop import Recipe
from tests.learn.together import Steady

ROOT = Path(__file__).parents[2]


def test_two_processes_equal_one_with_twice_the_batch(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "tests.learn.together", str(tmp_path / "two"), "6", "3"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-8000:]
    train(Steady(Recipe(steps=6, batch=6), spoil=lambda step: step == 2), Session(tmp_path / "one"))
    one, two = (read_weights(tmp_path / n / "colour.safetensors", "colour")[0] for n in ("one", "two"))
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, atol=1e-6)
    lines = [json.loads(line) for line in (tmp_path / "two" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]  # one process writes
    assert "skipped" in lines[2]


def test_training_runs_where_pytorch_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert training_device("cpu") == "cpu"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert training_device("auto") == training_device("cuda") == "cuda"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert training_device("auto") == "cpu"
    with pytest.raises(DeviceError, match=r"PyTorch .* finds none; install PyTorch for CUDA"):
        training_device("cuda")
    with pytest.raises(DeviceError, match="give auto, cpu or cuda"):
        training_device("gpu")
