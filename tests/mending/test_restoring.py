"""Restorers: their order, what they leave alone, what they tell; through the verb and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import composer
from composer.cli import app
from composer.errors import OptionError
from composer.mending import restoring
from composer.mending.restoring import RESTORERS, Restored, Setting, restore_faults
from composer.records import Fault, Rect
from composer.samples import picture

Array = NDArray[Any]


def grainy(sigma: float = 20) -> Array:
    clean = picture("coffee.png")[100:260, 200:400]
    added = clean + np.random.default_rng(1).normal(0, sigma, clean.shape)
    return np.clip(np.rint(added), 0, 255).astype(np.uint8)


def brighter(pixels: Array, valid: Array, fault: Fault, setting: Setting) -> Restored:
    return Restored(pixels + 1, "brightening", f"by {fault.strength}")


def test_faults_are_met_in_the_order_of_restorers(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def noted(name: str, does: bool) -> Any:
        def restorer(pixels: Array, valid: Array, fault: Fault, setting: Setting) -> Restored | None:
            seen.append((name, fault.strength))
            return brighter(pixels, valid, fault, setting) if does else None

        return restorer

    monkeypatch.setattr(restoring, "RESTORERS", {"b": noted("b", True), "a": noted("a", False)})
    faults = [Fault(k, Rect(0, 0, 2, 2), strength=s) for k, s in (("a", 1), ("b", 2), ("c", 3), ("b", 2))]
    pixels = np.zeros((2, 2, 1), np.uint8)
    valid = np.array([[True, False], [True, True]])
    found, met, notes = restore_faults(pixels, valid, faults, Setting())
    assert seen == [("b", 2), ("b", 2), ("a", 1)]
    assert [f.operator for f in met] == ["", "brightening", "", "brightening"]
    assert notes == ("by 2",)
    assert found[:, :, 0].tolist() == [[2, 0], [2, 2]]


def test_nothing_to_restore_gives_the_same_array() -> None:
    pixels = np.zeros((2, 2, 1), np.uint8)
    fault = Fault("hole", Rect(0, 0, 1, 1))
    assert restore_faults(pixels, np.ones((2, 2), bool), [fault], Setting())[0] is pixels


def test_every_restorer_has_a_finder() -> None:
    from composer.mending.faults import KINDS

    assert set(RESTORERS) <= set(KINDS)


def test_repair_tells_what_it_did() -> None:
    result = composer.repair(grainy())
    (fault,) = result.faults
    assert (fault.kind, fault.operator) == ("noise", "wiener")
    assert fault.strength == pytest.approx(20, rel=0.1)
    assert not result.mask.any()
    assert "noise of sigma" in result.notes[0]
    assert result.summary()["faults"][0]["strength"] == pytest.approx(20, rel=0.1)


def test_holes_are_filled_first_and_alpha_opens() -> None:
    pixels = np.dstack([grainy(), np.full((160, 200), 255, np.uint8)])
    pixels[40:60, 50:90] = 0
    result = composer.repair(pixels, faults=("hole", "noise"))
    assert {f.kind for f in result.faults if f.operator} == {"hole", "noise"}
    assert (result.image[:, :, 3] == 255).all()
    assert result.image[40:60, 50:90, :3].any(2).all()


def test_grain_is_left_alone_and_kinds_can_be_left_out() -> None:
    pixels = grainy(8)
    for options in ({"grain": 12.0}, {"without": "noise"}, {"find_only": True}, {"faults": "line"}):
        assert np.array_equal(composer.repair(pixels, **options).image, pixels)
    assert not np.array_equal(composer.repair(pixels).image, pixels)
    with pytest.raises(OptionError, match="grain is -1"):
        composer.repair(pixels, grain=-1)


def test_the_command_does_as_the_verb(tmp_path: Path) -> None:
    Image.fromarray(grainy()).save(tmp_path / "a.png")
    words = ["repair", str(tmp_path / "a.png"), "--faults", "noise", "--grain", "3", "--quiet"]
    words += ["-o", str(tmp_path / "b.png"), "--summary", str(tmp_path / "b.json")]
    assert CliRunner().invoke(app, words).exit_code == 0
    found = np.asarray(Image.open(tmp_path / "b.png"))
    assert np.array_equal(found, composer.repair(grainy(), faults="noise", grain=3).image)
    assert json.loads((tmp_path / "b.json").read_text())["faults"][0]["operator"] == "wiener"
