"""Folders of photographs, each stitched by itself."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import composer
from composer.cli import app
from composer.errors import OptionError, OutputError, PipelineError
from composer.pipeline import stitching
from composer.samples import photograph


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    for name, yaws in {"one": (-20, 20), "far/two": (60, 95), "lonely": (0,)}.items():
        (folder / name).mkdir(parents=True)
        for k, yaw in enumerate(yaws):
            Image.fromarray(photograph(yaw).pixels).save(folder / name / f"{k}.jpg", quality=95)
    return folder


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_each_folder_becomes_its_panorama(scenes: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "out", tmp_path / "page.html"
    words = ("stitch", scenes, "--each", "-o", out, "--width", 300, "--workers", 1, "--report", page)
    status, said = call(*words)
    assert status == 3
    assert "set aside  lonely: fewer than two usable photos" in said
    assert "2 done, 1 set aside" in said
    composer.stitch(scenes / "far" / "two", tmp_path / "same.jpg", width=300)
    assert (out / "far" / "two.jpg").read_bytes() == (tmp_path / "same.jpg").read_bytes()
    with (out / "summary.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(r["name"], r["photos"], r["width"]) for r in table] == [
        ("far/two", "2", "300"), ("lonely", "", ""), ("one", "2", "300"),
    ]  # fmt: skip
    text = page.read_text()
    assert text.count('<img class="after"') == 2
    assert "fewer than two usable photos" in text
    assert "2 done (2 of them before)" in call(*words)[1]


def test_a_pipeline_on_each(scenes: Path, tmp_path: Path) -> None:
    chain = tmp_path / "p.toml"
    chain.write_text(stitching("none", {"lay-out": {"width": 200}}).to_toml())
    words = (
        "run",
        chain,
        scenes / "one",
        "--each",
        "-o",
        tmp_path / "out",
        "--format",
        "png",
        "--workers",
        1,
    )
    assert call(*words)[0] == 0
    with Image.open(tmp_path / "out" / "one.png") as image:
        assert image.width == 200
    assert "1 done (1 of them before)" in call(*words)[1]
    chain.write_text(stitching("feather", {"lay-out": {"width": 210}}).to_toml())
    assert "1 done;" in call(*words)[1]


def test_what_each_refuses(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert call("stitch", scenes, "--each", "-o", out, "--save", tmp_path / "p")[0] == 2
    assert call("stitch", scenes, "-o", out, "--format", "png")[0] == 2
    with pytest.raises(OutputError, match="give its name"):
        composer.stitch_each(scenes, tmp_path / "out.jpg")
    with pytest.raises(OutputError, match="cannot write"):
        composer.stitch_each(scenes, out, format="gif")
    with pytest.raises(OptionError, match="save is no option for many"):
        composer.stitch_each(scenes, out, {"save": "plan"})
    (tmp_path / "p.toml").write_text('[[stage]]\nuse = "level"')
    with pytest.raises(PipelineError):
        composer.stitch_each(scenes, out, pipeline=tmp_path / "p.toml")
    assert not out.exists()
