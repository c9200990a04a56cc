"""Double images: found where one lies over a photograph, and not in what repeats itself or is clean."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import composer
from composer.mending.echoes import find_ghosts
from composer.mending.regions import covered
from composer.samples import picture

Array = NDArray[Any]
HIDDEN = slice(90, 290), slice(200, 420)  # rows and columns


def scene(name: str = "coffee.png") -> Array:
    return picture(name).astype(np.float32) / 255


def doubled(pixels: Array, across: float, down: float, share: float = 0.45) -> tuple[Array, Array]:
    """Lay a displaced copy over a part; return where, too."""
    where = np.zeros(pixels.shape[:2], np.float32)
    where[HIDDEN] = 1
    move = np.array([[1, 0, across], [0, 1, down]], np.float32)
    copy = cv2.warpAffine(
        pixels, move, pixels.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    copy = copy.reshape(pixels.shape)
    soft = share * cv2.GaussianBlur(where, None, 3)[:, :, None]
    mixed = np.clip(pixels + soft * (copy - pixels), 0, 1)
    return np.round(mixed * 255).astype(np.float32) / 255, where > 0


@pytest.mark.parametrize(("across", "down"), [(7.3, 2.6), (-4.1, 5.0), (15.0, -9.5)])
@pytest.mark.parametrize("channels", [3, 1])
def test_an_echo_is_found_in_its_place(across: float, down: float, channels: int) -> None:
    pixels = scene() if channels == 3 else scene().mean(2, keepdims=True)
    bad, where = doubled(pixels, across, down)
    faults = find_ghosts(bad)
    assert len(faults) == 1
    assert faults[0].kind == "ghost"
    assert faults[0].strength == pytest.approx(np.hypot(across, down), abs=1.0)
    found = covered(faults, where.shape)
    assert (found & where).sum() > 0.4 * (found | where).sum()


@pytest.mark.parametrize("name", ["coffee.png", "astronaut.png", "chelsea.png"])
def test_clean_photographs_have_none(name: str) -> None:
    assert not find_ghosts(scene(name))


def test_what_repeats_itself_is_no_echo() -> None:
    """Bricks, each of a brightness of its own, are like their neighbours at one distance and at twice it."""
    rng = np.random.default_rng(0)
    bricks = np.kron(rng.uniform(0.3, 0.6, (40, 30)), np.ones((7, 10)))
    bricks[::7] = bricks[:, ::10] = 0.9
    noisy = cv2.GaussianBlur(bricks, None, 0.7)[:, :, None] + rng.normal(0, 2 / 255, (280, 300, 1))
    assert not find_ghosts(noisy.astype(np.float32))


def test_nothing_is_said_of_what_is_hidden_or_too_small() -> None:
    bad, where = doubled(scene(), 7.3, 2.6)
    assert not find_ghosts(bad, ~where)
    assert find_ghosts(bad, np.ones_like(where))
    assert not find_ghosts(bad[100:180, 220:300])
    assert not find_ghosts(np.full((200, 200, 3), 0.5, np.float32))


def test_a_donor_mends_it_and_nothing_else_does() -> None:
    photo = picture("coffee.png")
    bad = (doubled(scene(), 7.3, 2.6)[0] * 255 + 0.5).astype(np.uint8)
    alone = composer.repair(bad, faults="ghost")
    assert np.array_equal(alone.image, bad)
    assert "double image found" in alone.notes[0]
    donor = np.ascontiguousarray(photo[10:, 5:])
    mended = composer.repair(bad, faults="ghost", donors=[donor])
    assert [f.operator for f in mended.faults] == ["donor"]
    before, after = (np.abs(p.astype(int) - photo)[HIDDEN].mean() for p in (bad, mended.image))
    assert after < 0.3 * before


def test_it_is_looked_for_by_name_only() -> None:
    bad = (doubled(scene(), 7.3, 2.6)[0] * 255 + 0.5).astype(np.uint8)
    assert not [f for f in composer.repair(bad).faults if f.kind == "ghost"]
    found = composer.repair(bad, faults="ghost", find_only=True)
    assert found.mask[HIDDEN].mean() > 0.5
