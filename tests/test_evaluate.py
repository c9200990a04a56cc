"""`evaluate`: what is measured by what, pairing, what is left out, sets, the page, the command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from typer.testing import CliRunner

import composer
from composer.api import evaluating
from composer.cli import app
from composer.errors import ComposerError, OptionError, OutputError, WeightsError
from tests.learn.published import needs_lite0, needs_st_lpips
from tests.test_report import Page

PICTURE = skimage.data.astronaut()[:288, :288]
SMALL = PICTURE[:96, :96]
HALF = np.zeros((288, 288), bool)
HALF[:, 144:] = True


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("results", "truth", "masks"):
        (tmp_path / name).mkdir()
    for name, factor in (("a", 0.5), ("b", 1.0)):
        Image.fromarray(PICTURE).save(tmp_path / "truth" / f"{name}.png")
        Image.fromarray((PICTURE * factor).astype(np.uint8)).save(tmp_path / "results" / f"{name}.png")
        Image.fromarray(HALF).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path


def test_results_are_paired_by_stem(folders: Path) -> None:
    found = composer.evaluate(
        folders / "results", reference=folders / "truth", mask=folders / "masks", figures=("psnr_db", "ssim")
    )
    dark, equal = (found.figures[str(folders / "results" / f"{name}.png")] for name in "ab")
    assert dark["psnr_db"] < 20
    assert equal == {"psnr_db": 100, "ssim": pytest.approx(1)}
    given = [folders / "truth" / "b.png", folders / "truth" / "a.png"]
    assert composer.evaluate(
        folders / "results", reference=given, mask=HALF, figures=("psnr_db", "ssim")
    ).figures[str(folders / "results" / "b.png")] == {"psnr_db": 100, "ssim": pytest.approx(1)}


def test_what_has_no_partner_is_set_aside(folders: Path) -> None:
    asked = {"reference": folders / "truth", "figures": ["psnr_db"]}
    results, page = folders / "results", folders / "page.html"
    (folders / "truth" / "b.png").unlink()
    (results / "c.png").write_bytes(b"no picture")
    found = composer.evaluate(results, report=page, **asked)
    assert list(found.figures) == [str(results / "a.png")]
    assert list(found.set_aside) == [str(results / "b.png"), str(results / "c.png")]
    assert "0 pictures of reference have its stem" in found.set_aside[str(results / "b.png")]
    assert "Set aside: " in Page(page.read_text()).text
    command = ["evaluate", str(results), "--reference", str(folders / "truth"), "--figure", "psnr_db"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 3
    assert f"set aside  {results / 'b.png'}: 0 pictures of reference" in done.output
    (folders / "truth" / "a.png").unlink()
    Image.fromarray(PICTURE).save(folders / "truth" / "z.png")
    with pytest.raises(OptionError, match=r"none of 3 results can be measured; the first: .*0 pictures"):
        composer.evaluate(results, **asked)


def test_folders_in_folders_are_named(folders: Path) -> None:
    for name in ("a", "b", "empty"):
        (folders / "results" / name).mkdir()
    for name in ("a", "b"):
        (folders / "results" / name / "c.png").write_bytes(b"no picture")
    inside = folders / "results" / "a"
    said = f"{inside} and 1 more: a folder in {folders / 'results'}, not looked into; give its own name"
    assert composer.evaluate([folders / "results"], figures=["niqe"]).notes[0] == said


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "result 1: is of type NoneType; give a path"),
        ([], "there are no results"),
        ([None], "NoneType"),
    ],
)
def test_what_is_no_picture_is_told(given: object, message: str) -> None:
    with pytest.raises(ComposerError, match=message):
        composer.evaluate(given)


def test_pillow_images_are_pictures() -> None:
    shown = Image.fromarray(PICTURE)
    assert (
        composer.evaluate(shown, reference=shown, figures=["psnr_db"]).figures["result 1"]["psnr_db"] == 100
    )


def test_arrays_are_paired_by_place() -> None:
    found = composer.evaluate([PICTURE, PICTURE // 2], reference=[PICTURE, PICTURE // 2], figures=["psnr_db"])
    assert found.figures == {"result 1": {"psnr_db": 100}, "result 2": {"psnr_db": 100}}
    with pytest.raises(OptionError, match="2 of reference for 1 results"):
        composer.evaluate([PICTURE], reference=[PICTURE, PICTURE])


def test_what_is_measured_depends_on_what_is_given() -> None:
    alone = composer.evaluate(PICTURE)
    assert set(alone.figures["result 1"]) == {"niqe"}
    assert set(composer.evaluate(PICTURE, mask=HALF).figures["result 1"]) == {"niqe", "seam_step"}
    both = composer.evaluate(PICTURE, mask=HALF, other=np.roll(PICTURE, 1, 1))
    assert list(both.figures["result 1"]) == ["seam_visibility", "seam_step", "niqe"]
    small = composer.evaluate(PICTURE[:191])
    assert small.figures == {"result 1": {}}
    assert "niqe is left out" in small.notes[0]


def test_only_what_is_valid_counts() -> None:
    broken = PICTURE.astype(np.float32) / 255
    broken[:10] = np.nan
    hidden = np.dstack([PICTURE, np.full(PICTURE.shape[:2], 255, np.uint8)])
    hidden[20:30, :, 3], hidden[20:30, :, :3] = 0, 0
    for result in (broken, hidden):
        whole = composer.evaluate(result, reference=PICTURE, figures=["psnr_db", "delta_e"])
        assert whole.figures["result 1"] == {"psnr_db": 100, "delta_e": pytest.approx(0, abs=1e-4)}


def test_errors() -> None:
    for asked, message in (
        ({"reference": PICTURE[:32]}, "must match"),
        ({"mask": HALF[:32]}, "must match"),
        ({"mask": HALF & False}, "empty"),
        ({"figures": ["beauty"]}, "beauty is no figure; choose among psnr_db"),
        ({"figures": ["ssim"]}, "ssim is measured by reference; give reference too"),
        ({"figures": ["seam_visibility"], "mask": HALF}, "measured by mask and other; give other too"),
        ({"sets": True}, "compared with a reference"),
        ({"sets": True, "mask": HALF}, "compared whole"),
    ):
        with pytest.raises(OptionError, match=message):
            composer.evaluate(PICTURE, **asked)
    with pytest.raises(OutputError, match=r"ends in \.html"):
        composer.evaluate(PICTURE, report="page.txt")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        evaluating, "absent", lambda file: "x not installed; run pip install 'composer-cv[metrics]'"
    )
    found = composer.evaluate(PICTURE, reference=PICTURE)
    assert "st_lpips" not in found.figures["result 1"]
    assert "composer-cv[metrics]" in found.notes[0]
    with pytest.raises(WeightsError, match=r"st_lpips: .*composer-cv\[metrics\]"):
        composer.evaluate(PICTURE, reference=PICTURE, figures=["st_lpips"])
    with pytest.raises(WeightsError, match=r"composer-cv\[metrics\]"):
        composer.evaluate(PICTURE, reference=PICTURE, sets=True)


@needs_st_lpips
def test_st_lpips_is_measured() -> None:
    found = composer.evaluate([SMALL, SMALL[::-1].copy()], reference=SMALL, figures=["st_lpips"])
    assert found.figures["result 1"] == {"st_lpips": 0}
    assert found.figures["result 2"]["st_lpips"] > 0.2
    grey = composer.evaluate(SMALL[:, :, 0], reference=SMALL[:, :, 0], figures=["st_lpips"])
    assert grey.figures["result 1"] == {"st_lpips": 0}
    assert "24 pixels" in composer.evaluate(SMALL[:20], reference=SMALL[:20], figures=["st_lpips"]).notes[0]


@needs_lite0
def test_of_sets_too_what_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    for name in ("made", "real"):
        (tmp_path / name / "old").mkdir(parents=True)
        for k in range(10):
            Image.fromarray(PICTURE[8 * k : 8 * k + 64, :64]).save(tmp_path / name / f"{k}.png")
    (tmp_path / "made" / "broken.png").write_bytes(b"no picture")
    (tmp_path / "real" / "old" / "a.jpg").write_bytes(b"no picture")
    found = composer.evaluate(tmp_path / "made", reference=str(tmp_path / "real"), sets=True)
    assert found.sets["precision"] == 1
    assert list(found.set_aside) == [str(tmp_path / "made" / "broken.png")]
    assert f"{tmp_path / 'real' / 'old'}: a folder in {tmp_path / 'real'}, not looked into" in found.notes[0]


@needs_lite0
def test_sets_are_compared() -> None:
    rng = np.random.default_rng(0)
    pieces = [PICTURE[y : y + 64, x : x + 96] for y, x in rng.integers(0, 96, (10, 2))]
    found = composer.evaluate(pieces, reference=pieces, sets=True)
    assert found.figures == {}
    assert found.sets["precision"] == found.sets["recall"] == 1
    assert found.sets["kid"] < found.sets["kid_error"]
    assert "10 pictures only" in found.notes[0]


def test_the_page_and_the_command(folders: Path) -> None:
    page, summary = folders / "page.html", folders / "summary.json"
    asked = ["evaluate", str(folders / "results"), "--reference", str(folders / "truth")]
    asked += ["--mask", str(folders / "masks"), "--figure", "psnr_db", "--figure", "seam_visibility"]
    asked += ["--other", str(folders / "truth")]
    done = CliRunner().invoke(app, [*asked, "--report", str(page), "--summary", str(summary)])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[-4].split() == ["psnr_db", "seam_visibility"]
    assert lines[-2].split()[0] == "100.000"
    assert lines[-1].split()[-1] == "mean"
    told = json.loads(summary.read_text())["results"]
    assert set(told[str(folders / "results" / "a.png")]) == {"psnr_db", "seam_visibility"}
    text = page.read_text()
    shown = Page(text)
    assert text.count('src="data:image/jpeg;base64,') == 8
    assert "PSNR (dB)" in shown.text
    assert "error x 5" in shown.text
    assert not re.search(r'(src|href)="(?!data:)', text)


def test_the_command_says_what_is_wrong(folders: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", str(folders / "results"), "--figure", "beauty"])
    assert done.exit_code == 1
    assert "beauty is no figure" in done.output
