"""A border between two pictures of one scene is mended; one between others stays as it is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import composer
from composer.cli import app
from composer.errors import OptionError
from composer.learn.joining import REACH, border, brought_to, same_scene
from composer.samples import picture

pytest.importorskip("onnxruntime")

SCENE = picture("coffee.png")[60:270, 150:380, :3]
MASK = cv2.circle(np.zeros((200, 220), np.uint8), (110, 100), 50, 255, -1)


def view(dx: float, dy: float, gain: float = 1.0) -> np.ndarray:
    y, x = np.mgrid[:200, :220].astype(np.float32)
    moved = cv2.remap(SCENE, x + np.float32(dx + 5), y + np.float32(dy + 5), cv2.INTER_CUBIC)
    return np.clip(moved * gain, 0, 255).astype(np.uint8)


def steps(found: np.ndarray) -> float:
    """Return how the picture differs from the scene with its place passing evenly across the border."""
    distance, mask = border(MASK > 0)
    way = np.clip(0.5 + distance / (2 * REACH), 0, 1)
    way = way * way * (3 - 2 * way)
    y, x = np.mgrid[:200, :220].astype(np.float32)
    truth = cv2.remap(SCENE, x + 5 + way * np.float32(2), y + 5 - way, cv2.INTER_CUBIC)
    return float(np.abs(found.astype(np.float32) - truth)[mask > 0.5].mean())


def test_a_displaced_source_is_led_to_the_target() -> None:
    target, source = view(0, 0), view(2, -1, 1.1)
    plain = composer.clone(source, target, MASK, workers=1)
    found = composer.clone(source, target, MASK, refine=True, workers=1)
    assert found.notes == ()
    assert steps(found.image) < 0.85 * steps(plain.image)
    far = np.abs(border(MASK > 0)[0]) >= REACH
    assert np.array_equal(found.image[far], plain.image[far])


@pytest.mark.parametrize("mode", ["normal", "alpha"])
def test_another_scene_stays_as_it_was_cloned(mode: str) -> None:
    target, source = view(0, 0), picture("chelsea.png")[:200, :220]
    plain = composer.clone(source, target, MASK, mode=mode, workers=1)
    found = composer.clone(source, target, MASK, mode=mode, refine=True, workers=1)
    assert np.array_equal(found.image, plain.image)
    assert "same scene" in found.notes[0]


def test_the_same_picture_stays_the_same() -> None:
    found = composer.clone(view(0, 0), view(0, 0), MASK, refine=True, workers=1)
    assert np.array_equal(found.image, view(0, 0))


def test_an_offset_and_a_border_beyond_the_target() -> None:
    target, source = view(0, 0).astype(np.uint16) * 257, view(60, 0)[:, :160]
    mask = np.zeros((200, 160), np.uint8)
    mask[60:140, 70:] = 255
    plain = composer.clone(source, target, mask, offset=(60, 0), mode="alpha", workers=1).image
    found = composer.clone(source, target, mask, offset=(60, 0), mode="alpha", refine=True, workers=1).image
    assert found.dtype == np.uint16
    assert np.array_equal(found[:, :100], plain[:, :100])


def test_modes_without_a_border_are_refused() -> None:
    with pytest.raises(OptionError, match="refine is for modes"):
        composer.clone(view(0, 0), view(0, 0), MASK, mode="mixed", refine=True)


def test_the_command_does_the_same(tmp_path: Path) -> None:
    names = [tmp_path / f"{name}.png" for name in ("source", "target", "mask", "out")]
    for name, pixels in zip(names, (view(1.5, 0), view(0, 0), MASK), strict=False):
        Image.fromarray(pixels).save(name)
    command = ["clone", str(names[0]), str(names[1]), "--mask", str(names[2]), "-o", str(names[3])]
    result = CliRunner().invoke(app, [*command, "--refine", "--workers", "1"])
    assert result.exit_code == 0, result.output
    found = composer.clone(view(1.5, 0), view(0, 0), MASK, refine=True, workers=1).image
    assert np.array_equal(np.asarray(Image.open(names[3])), found)


def test_light_is_the_targets_and_scenes_are_told_apart() -> None:
    target, source = (view(0, 0, g).astype(np.float32) / 255 for g in (1.0, 0.8))
    distance, _ = border(MASK > 0)
    lit = brought_to(target, source, np.maximum(-distance, 0))
    near = (distance < 0) & (distance > -REACH)
    assert np.abs(lit - target)[near].mean() < 0.5 * np.abs(source - target)[near].mean()
    assert same_scene(target, view(2, 2, 0.8) / np.float32(255), near)
    assert not same_scene(target, picture("chelsea.png")[:200, :220] / np.float32(255), near)
