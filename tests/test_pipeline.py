"""Pipelines: checked before a pixel is read, the same from code and from TOML."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

import composer
from composer.blend.stages import Multiband
from composer.errors import PipelineError
from composer.pipeline import STAGES, Pipeline, find_stage, stitching
from composer.records import Context, Locality, Plan, Tile
from composer.samples import room
from composer.stitching.canvas_stages import FindSeams
from composer.stitching.stages import FindFeatures, MatchPhotos


@dataclass(frozen=True)
class Negative:
    """A stage of somebody else's, named by import path."""

    strength: float = 1.0

    def locality(self) -> Locality:
        return Locality()

    def apply(self, tile: Tile) -> Tile:
        return replace(tile, image=(1 - tile.image) * self.strength)


@dataclass(frozen=True)
class TakesPlan:
    takes: ClassVar[type] = Plan
    gives: ClassVar[type] = Plan

    def __call__(self, plan: Plan, context: Context) -> Plan:
        return plan


def test_a_pipeline_survives_toml(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    view = {"projection": "sphere", "crop": "rectangle", "width": 700, "yaw": 20, "pitch": -5.0}
    for options in ({}, {"blend": "feather"}, {"options": {"lay-out": view}}):
        pipeline = stitching(**options)  # type: ignore[arg-type]
        path.write_text(pipeline.to_toml())
        assert Pipeline.from_toml(path) == pipeline


def test_every_registered_stage_can_be_made() -> None:
    for name in STAGES:
        assert find_stage(name)()


def test_run_gives_what_stitch_gives(tmp_path: Path) -> None:
    for k, pixels in enumerate(room()):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    path = tmp_path / "p.toml"
    path.write_text(stitching().to_toml())
    ran = composer.run(path, sorted(tmp_path.glob("*.png")), device="cpu").panoramas[0]
    stitched = composer.stitch(sorted(tmp_path.glob("*.png")), device="cpu").panoramas[0]
    assert np.array_equal(ran.image, stitched.image)


def test_a_stage_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(
        stitching().to_toml() + '\n[[stage]]\nuse = "tests.test_pipeline:Negative"\nstrength = 1\n'
    )
    negative = composer.run(path, room(), device="cpu").panoramas[0]
    plain = composer.stitch(room(), device="cpu").panoramas[0]
    assert plain.valid is not None
    total = negative.image.astype(int)[plain.valid] + plain.image[plain.valid]
    assert np.abs(total - 255).max() <= 1


def test_a_stage_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "lying_here.py").write_text("from tests.test_pipeline import Negative as Mine\n")
    (tmp_path / "p.toml").write_text(stitching().to_toml() + '\n[[stage]]\nuse = "lying_here:Mine"\n')
    assert isinstance(Pipeline.from_toml(tmp_path / "p.toml").stages[-1], Negative)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ((MatchPhotos(), FindFeatures()), "takes FeatureSet, but is given Photos"),
        ((FindFeatures(), Multiband()), "blends a Plan, but is given FeatureSet"),
        (stitching().stages[:-1], "has no blend"),
        ((*stitching().stages, Multiband()), "second blend"),
        ((*stitching().stages, FindSeams()), "comes after the blend"),
        ((*stitching().stages[:-1], Negative(), Multiband()), "put a blend before it"),
        ((object(),), "is not a stage"),
    ],
)
def test_stages_that_do_not_fit_are_refused(stages: tuple[object, ...], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Pipeline(stages)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml", "not TOML"),
        ("a = 1", "list of"),
        ('[[stage]]\nuse = "nosuch"', "no stage is called"),
        ('[[stage]]\nuse = "no.such:Thing"', "cannot be imported"),
        ('[[stage]]\nuse = "./own:Thing"', "cannot be imported"),
        ('[[stage]]\nuse = ":"', "cannot be imported"),
        ("[[stage]]\nratio = 1", "needs use"),
        ('[[stage]]\nuse = "match"\nratoi = 0.7', 'has no option "ratoi"; it has ratio'),
        ('[[stage]]\nuse = "match"\nkeep = "six"', "type int"),
        ('[[stage]]\nuse = "lay-out"\nprojection = "globe"', "one of auto"),
    ],
)
def test_bad_files_are_refused_with_the_remedy(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(PipelineError, match=message):
        composer.run(path, ["does-not-exist.jpg", "nor-this.jpg"])


def test_a_folder_is_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="cannot be read"):
        Pipeline.from_toml(tmp_path)


def test_options_are_set_by_name() -> None:
    pipeline = stitching().with_options({"match.keep": "9", "lay-out.projection": "sphere"})
    options = dict(pipeline.described())
    assert options["match"]["keep"] == 9
    assert options["lay-out"]["projection"] == "sphere"
    dotted = stitching(refine=True).with_options({"refine.gan.strength": "0.5"})
    assert dotted.tile_stages[-1].strength == 0.5
    with pytest.raises(PipelineError, match='no stage "mach"'):
        stitching().with_options({"mach.keep": "9"})
