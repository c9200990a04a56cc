"""Pipelines that change pictures one by one: one photo, and folders of them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import composer
from composer.cli import app
from composer.errors import OptionError, OutputError, PhotoError, PipelineError
from composer.pipeline import Pipeline, find_stage, stitching
from composer.results import Edited
from composer.samples import picture, room

MEND = '[[stage]]\nuse = "repair"\nfaults = "pixel"\n'
TURN = '[[stage]]\nuse = "tests.test_run:TurnOver"\n'


@dataclass(frozen=True)
class TurnOver:
    """A stage of somebody else's."""

    times: int = 1
    seconds: float = 0.0

    def edit(self, picture: NDArray[Any], context: composer.Context) -> Edited:
        time.sleep(self.seconds)
        return Edited(pixels=picture[:: (-1) ** self.times], notes=("over",) * (self.times % 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photographs, of which one has dead pixels, and a broken file."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    photo = picture("coffee.png")[100:260, 100:300].copy()
    Image.fromarray(photo).save(folder / "clean.jpg", quality=95)
    Image.fromarray(photo[::-1]).save(folder / "sub" / "clean.png")
    photo[40:120:20, 50] = 255 - photo[40:120:20, 50] // 128 * 255
    Image.fromarray(photo).save(folder / "dead.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8nothing")
    return folder


def chain(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "p.toml"
    path.write_text(text)
    return path


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def pixels(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        return np.array(image)


def test_one_photo_from_code_and_command(folder: Path, tmp_path: Path) -> None:
    pipeline, out = chain(tmp_path, MEND + TURN), tmp_path / "out.png"
    result = composer.run(pipeline, folder / "dead.png")
    mended = composer.repair(folder / "dead.png", faults="pixel").image
    assert np.array_equal(np.asarray(result), mended[::-1])
    assert result.touched
    assert result.notes == ("tests.test_run:TurnOver: over",)
    assert [name for name, _ in result.stages] == ["repair", "tests.test_run:TurnOver"]
    status, said = call("run", pipeline, folder / "dead.png", "-o", out, "--summary", tmp_path / "s.json")
    assert (status, "changed" in said) == (0, True)
    assert np.array_equal(pixels(out), mended[::-1])
    told = json.loads((tmp_path / "s.json").read_text())["told"]
    assert told[0]["stage"] == "repair"
    assert told[0]["faults"]


def test_what_no_stage_changes_is_copied(folder: Path, tmp_path: Path) -> None:
    result = composer.run(chain(tmp_path, MEND), folder / "clean.jpg", tmp_path / "same.jpg")
    assert not result.touched
    assert (tmp_path / "same.jpg").read_bytes() == (folder / "clean.jpg").read_bytes()


def test_alpha_and_deep_pixels_go_through(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 60000, (20, 30, 4), np.uint16)
    result = composer.run(Pipeline((TurnOver(),)), deep, tmp_path / "a.png")
    assert result.image.dtype == np.uint16
    assert np.array_equal(result.image, deep[::-1])


def test_a_tile_that_meets_itself() -> None:
    photo = picture("coffee.png")[:90, :120]
    made = composer.run(Pipeline((find_stage("tile")(),)), photo)
    assert np.array_equal(made.image, composer.clone(photo, mode="tile").image)


def test_a_folder_photo_by_photo(folder: Path, tmp_path: Path) -> None:
    pipeline, out, page = chain(tmp_path, MEND + TURN), tmp_path / "out", tmp_path / "page.html"
    words = ("run", pipeline, folder, "-o", out, "--workers", 1, "--report", page)
    status, said = call(*words)
    assert status == 3
    assert "set aside  broken.jpg" in said
    assert "3 done, 1 set aside" in said
    assert np.array_equal(pixels(out / "sub" / "clean.png"), pixels(folder / "sub" / "clean.png")[::-1])
    composer.run(pipeline, folder / "dead.png", tmp_path / "dead.png")
    assert (out / "dead.png").read_bytes() == (tmp_path / "dead.png").read_bytes()
    with (out / "summary.csv").open(newline="") as file:
        rows = {r["name"]: r for r in csv.DictReader(file)}
    assert {n: (r["state"], r["changed"]) for n, r in rows.items()} == {
        "broken.jpg": ("set aside", ""), "clean.jpg": ("done", "yes"), "dead.png": ("done", "yes"),
        "sub/clean.png": ("done", "yes"),
    }  # fmt: skip
    assert page.read_text().count('<img class="after"') == 3
    assert "3 done (3 of them before)" in call(*words)[1]


def test_what_is_done_again_and_what_is_kept(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.jpg").unlink()
    pipeline, out = chain(tmp_path, TURN), tmp_path / "out"
    composer.run_each(pipeline, folder, out, workers=1)
    assert all(o.kept for o in composer.run_each(pipeline, folder, out, workers=1).outcomes)
    assert not any(
        o.kept for o in composer.run_each(chain(tmp_path, TURN + "times = 2\n"), folder, out).outcomes
    )
    (name,) = {key for key, _ in Pipeline.from_toml(pipeline).described()}
    again = composer.run_each(pipeline, folder, out, settings={f"{name}.times": "1"}, format="png")
    assert sorted(o.item.output.name for o in again.done) == ["clean.png", "clean.png", "dead.png"]


def test_a_stage_that_was_rewritten_works_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "in").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "in" / "a.png")
    own = tmp_path / "of_ones_own.py"
    own.write_text("from tests.test_run import TurnOver as Base\n\nclass Mine(Base):\n    pass\n")
    pipeline = chain(tmp_path, '[[stage]]\nuse = "of_ones_own:Mine"\n')

    def kept() -> bool:
        return composer.run_each(pipeline, tmp_path / "in", tmp_path / "out", workers=1).outcomes[0].kept

    assert [kept(), kept()] == [False, True]
    own.write_text(own.read_text() + "    told = 1\n")
    assert not kept()


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for k in range(12):
        Image.new("L", (8, 8), k).save(folder / f"{k}.png")
    pipeline = chain(tmp_path, TURN + "seconds = 0.1\n")
    words = ("run", str(pipeline), str(folder), "-o", str(out), "--workers", "2", "--quiet")
    process = subprocess.Popen([sys.executable, "-m", "composer", *words], env=os.environ)
    deadline = time.monotonic() + 60
    while len(list(out.glob("*.png"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    before = len(list(out.glob("*.png")))
    assert before < 12
    batch = composer.run_each(pipeline, folder, out, workers=1)
    assert sum(o.kept for o in batch.outcomes) >= before
    assert [pixels(out / f"{k}.png").max() for k in range(12)] == list(range(12))


def test_pipelines_that_take_photos_together_work_on_folders(tmp_path: Path) -> None:
    scene = tmp_path / "in" / "scene"
    scene.mkdir(parents=True)
    for k, photo in enumerate(room()[:2]):
        Image.fromarray(photo).save(scene / f"{k}.png")
    pipeline = chain(tmp_path, stitching("none", {"lay-out": {"width": 200}}).to_toml())
    batch = composer.run_each(pipeline, tmp_path / "in", tmp_path / "out", format="png", workers=1)
    assert [o.item.output.name for o in batch.done] == ["scene.png"]


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    single, out = chain(tmp_path, TURN), tmp_path / "out"
    assert call("run", single, folder, "--each", "-o", out)[0] == 2
    assert call("run", single, folder / "dead.png", "-o", tmp_path / "a.png", "--format", "png")[0] == 2
    assert call("run", single, folder, "-o", out, "--summary", tmp_path / "s.json")[0] == 2
    with pytest.raises(PhotoError, match="no photographs are given"):
        composer.run_each(single, [], out)
    assert "no photographs are given" in call("run", single, "-o", tmp_path / "a.jpg")[1]
    with pytest.raises(OutputError, match="give its name"):
        composer.run_each(single, folder, tmp_path / "a.jpg")
    with pytest.raises(OptionError, match="use run_each"):
        composer.stitch_each(folder, out, pipeline=single)
    with pytest.raises(OptionError, match="2 photos for a pipeline that takes one"):
        composer.run(single, [folder / "dead.png", folder / "clean.jpg"])
    with pytest.raises(OptionError, match="use run"):
        composer.stitch([folder / "dead.png"], pipeline=Pipeline.from_toml(single))
    with pytest.raises(OptionError, match="no kind of fault"):
        composer.run_each(chain(tmp_path, '[[stage]]\nuse = "repair"\nfaults = "moths"\n'), folder, out)
    with pytest.raises(PipelineError, match="make two pipelines"):
        Pipeline((TurnOver(), *stitching().stages))
    with pytest.raises(PipelineError, match="pipeline of its own"):
        Pipeline((*stitching().stages, TurnOver()))
    assert not out.exists()
