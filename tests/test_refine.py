"""`refine` from end to end: nothing outside the mask, every type, and never a silent failure."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import composer
from composer.api import refining
from composer.cli import app
from composer.errors import OptionError, OutputError, WeightsError
from composer.learn import runtime
from composer.learn.simulator import Sample, simulate
from composer.learn.validation import band_psnr
from composer.learn.weights import write_weights
from composer.samples import picture, room

needs_runtime = pytest.mark.skipif(
    not any(importlib.util.find_spec(m) for m in ("onnxruntime", "torch")),
    reason="neither onnxruntime nor torch is installed",
)


def spoiled(kind: str = "exposure", operator: str = "hard", seed: int = 3) -> Sample:
    return simulate(picture("astronaut.png"), np.random.default_rng(seed), 192, kind=kind, operator=operator)


def eight(values: np.ndarray) -> np.ndarray:
    return np.rint(values * 255).astype(np.uint8)


@needs_runtime
def test_a_hard_seam_between_exposures_becomes_less_wrong() -> None:
    gains = []
    for seed in range(4):
        sample = spoiled(seed=seed)
        composite = eight(sample.composite)
        found = composer.refine(composite, sample.mask, other=eight(sample.other))
        before, after = (band_psnr(p / np.float32(255), sample) for p in (composite, found.image))
        gains.append(after - before)
    assert np.mean(gains) > 1
    assert min(gains) > -0.1


@needs_runtime
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_types_and_what_is_outside_the_mask_stay(dtype: str, channels: int) -> None:
    sample = spoiled("all")
    top = 1.0 if dtype == "float32" else np.iinfo(dtype).max
    planes = np.dstack([sample.composite, np.ones(sample.mask.shape)])[:, :, :channels]
    composite = (planes * top).astype(dtype)
    found = composer.refine(composite, sample.mask, other=(sample.other * top).astype(dtype)).image
    assert (found.dtype, found.shape) == (composite.dtype, composite.shape)
    assert np.array_equal(found[sample.mask == 0], composite[sample.mask == 0])


def test_an_empty_mask_is_told_and_needs_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(refining, "load_refiner", None)
    photo, black = picture("coffee.png")[:40, :50], np.zeros((40, 50), np.uint8)
    found = composer.refine(photo, black)
    assert np.array_equal(found.image, photo)
    assert not np.shares_memory(found.image, photo)
    assert found.notes == ("the mask is empty; paint white where to look",)
    for name, pixels in (("photo", photo), ("black", black)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    names = [str(tmp_path / f"{name}.png") for name in ("photo", "black", "out")]
    result = CliRunner().invoke(app, ["refine", names[0], "--mask", names[1], "-o", names[2]])
    assert (result.exit_code, "the mask is empty" in result.output) == (0, True)


@needs_runtime
def test_nothing_to_do_changes_nothing() -> None:
    photo = picture("coffee.png")[:200, :300]
    assert np.array_equal(composer.refine(photo, np.ones((200, 300)) > 0, strength=0).image, photo)
    alone, beside = (composer.refine(photo, np.ones((200, 300)) > 0, other=o) for o in (None, photo))
    assert "give one as other" in alone.notes[0]
    assert beside.notes == ()
    same = beside.image
    assert np.abs(same.astype(int) - photo).mean() < 0.2


@needs_runtime
def test_any_number_of_workers_gives_the_same_bytes() -> None:
    sample = spoiled("all")
    wide = np.tile(eight(sample.composite), (2, 2, 1))
    mask = np.tile(sample.mask, (2, 2))
    other = np.tile(eight(sample.other), (2, 2, 1))
    one, three = (composer.refine(wide, mask, other=other, workers=n).image for n in (1, 3))
    assert np.array_equal(one, three)


@needs_runtime
def test_the_command_is_the_function(tmp_path: Path) -> None:
    sample = spoiled()
    for name, pixels in (("c", sample.composite), ("o", sample.other), ("m", sample.mask)):
        Image.fromarray(eight(pixels)).save(tmp_path / f"{name}.png")
    out = tmp_path / "out.png"
    arguments = ["refine", "c.png", "--mask", "m.png", "--other", "o.png", "-o", "out.png"]
    where = [str(tmp_path / a) if a.endswith(".png") else a for a in arguments]
    result = CliRunner().invoke(app, [*where, "--summary", str(tmp_path / "s.json")])
    assert result.exit_code == 0, result.output
    same = composer.refine(tmp_path / "c.png", tmp_path / "m.png", other=tmp_path / "o.png").image
    with Image.open(out) as image:
        assert np.array_equal(np.asarray(image), same)


@needs_runtime
def test_stitching_refines_along_seams_only() -> None:
    plain, refined = (composer.stitch(room(), refine=on, width=500).panoramas[0] for on in (False, True))
    assert np.array_equal(plain.valid, refined.valid)
    changed = (plain.image != refined.image).any(2)
    assert changed.mean() < 0.3


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    photo = picture("coffee.png")[:100, :100]
    mask = np.ones((100, 100), bool)
    with pytest.raises(OptionError, match="strength"):
        composer.refine(photo, mask, strength=2)
    with pytest.raises(OptionError, match="must match"):
        composer.refine(photo, mask[:50])
    with pytest.raises(OptionError, match="must match"):
        composer.refine(photo, mask, other=photo[:50])
    Image.fromarray(photo).save(tmp_path / "a.png")
    with pytest.raises(OutputError, match="one of the inputs"):
        composer.refine(tmp_path / "a.png", mask, tmp_path / "a.png")


def test_without_a_runtime_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime.load_refiner.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"composer-cv\[onnx\]"):
        composer.refine(picture("coffee.png"), np.ones((400, 600), bool))
    with pytest.raises(WeightsError, match=r"composer-cv\[onnx\]"):
        composer.stitch(["not there.jpg"], refine=True)


def test_weights_of_another_kind_are_named(tmp_path: Path) -> None:
    path = tmp_path / "detector.safetensors"
    write_weights(path, {"a": np.zeros(3, np.float32)}, {"kind": "detector"})
    path.with_suffix(".onnx").write_bytes(b"a network")
    with pytest.raises(WeightsError, match='holds "detector", not "refiner"'):
        composer.refine(np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), bool), weights=path)
