"""The doctor notices what is wrong."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from composer import doctor


def test_two_opencv_wheels_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "4.12.0" if name == "opencv-python" else real(name))
    (finding,) = [f for f in doctor.examine() if f.what == "opencv"]
    assert finding.good is False
    assert "share one folder" in finding.said


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    findings = {f.what: f for f in doctor.examine()}
    assert findings["scipy"].good is False
    assert "pip install scipy" in findings["scipy"].said
    assert findings["torch"].good is None


def test_every_extra_that_it_names_exists_and_brings_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    for package, extra in doctor.EXTRAS.items():
        assert any(re.match(rf"{package}\b", wanted) for wanted in extras[extra])
    assert "onnxruntime" in doctor.EXTRAS
