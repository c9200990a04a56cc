"""Which way was down: maker's notes of phones, angles of drones and of GPano."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from composer.media.gravity import gravity_of
from composer.media.header import read_photo
from composer.media.metadata import Exif

DRONE = '<a drone-dji:GimbalRollDegree="{1}" drone-dji:GimbalPitchDegree="{0}"/>'
SPHERE = (
    "<GPano:PosePitchDegrees>{0}</GPano:PosePitchDegrees><GPano:PoseRollDegrees> {1} </GPano:PoseRollDegrees>"
)


def note(x: float, y: float, z: float) -> bytes:
    """Return a maker's note as Apple's phones write it, with one other entry."""
    parts = [int(v * 10000) for v in (x, y, z)]
    entries = struct.pack(">HHII", 1, 9, 1, 14) + struct.pack(">HHII", 8, 10, 3, 14 + 2 + 24 + 4)
    numbers = struct.pack(">6i", *(n for p in parts for n in (p, 10000)))
    return b"Apple iOS\0\0\x01MM" + struct.pack(">H", 2) + entries + bytes(4) + numbers


def felt(x: float, y: float, z: float, orientation: int, lens: str = "iPhone back camera") -> Any:
    return gravity_of(Exif(camera={0x927C: note(x, y, z), 0xA434: lens}), None, orientation)


@pytest.mark.parametrize(
    ("vector", "orientation", "down"),
    [
        ((-1, 0, 0), 1, (0, 1, 0)),  # lying on its left side, the usual landscape
        ((0, -1, 0), 6, (0, 1, 0)),  # upright
        ((1, 0, 0), 3, (0, 1, 0)),  # landscape the other way round
        ((0, 1, 0), 8, (0, 1, 0)),  # upside down
        ((0, 0, -1), 6, (0, 0, 1)),  # on a table, the back camera below
        ((0, -0.8, -0.6), 6, (0, 0.8, 0.6)),  # upright and leant forward: it looks down
        ((0.6, -0.8, 0), 6, (0.6, 0.8, 0)),  # upright and leant to its right: the camera's right goes down
    ],
)
def test_what_a_phone_felt(vector: tuple[float, ...], orientation: int, down: tuple[float, ...]) -> None:
    assert felt(*vector, orientation) == pytest.approx(down, abs=1e-6)


def test_what_a_phone_did_not_feel() -> None:
    assert felt(-1.6, 0, 0, 1) is None  # shaken
    assert felt(-1, 0, 0, 1, "iPhone front camera") is None
    assert gravity_of(Exif(camera={0x927C: note(-1, 0, 0)[:30]}), None, 1) is None
    assert gravity_of(Exif(camera={0x927C: b"Nikon\0" + note(-1, 0, 0)}), None, 1) is None
    assert gravity_of(Exif(), None, 1) is None


@pytest.mark.parametrize("text", [DRONE, SPHERE])
@pytest.mark.parametrize(
    ("pitch", "roll", "down"),
    [
        (0, 0, (0, 1, 0)),
        (-90, 0, (0, 0, 1)),
        ("+30.00", "0.0", (0, 0.75**0.5, -0.5)),
        (0, 90, (1, 0, 0)),
        (0, -30, (-0.5, 0.75**0.5, 0)),
    ],
)
def test_angles(text: str, pitch: float, roll: float, down: tuple[float, ...]) -> None:
    found = gravity_of(Exif(), text.format(pitch, roll).encode(), 1)
    assert found == pytest.approx(down, abs=1e-9)
    assert gravity_of(Exif(), text.format(pitch, roll).encode(), 6) is None


def test_angles_that_say_nothing() -> None:
    assert gravity_of(Exif(), b'drone-dji:GimbalPitchDegree="-3"', 1) is None
    assert gravity_of(Exif(), DRONE.format("nan", 0).encode(), 1) is None


def test_files_tell_it(tmp_path: Path) -> None:
    image, path = Image.new("RGB", (30, 20)), tmp_path / "a.jpg"
    image.save(path, xmp=DRONE.format("-30.0", "+0.00").encode())
    assert read_photo(path).down == pytest.approx((0, 0.75**0.5, 0.5))
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x927C] = note(0.02, -0.99, 0.05)
    exif[0x112] = 6
    image.save(path, exif=exif)
    found = read_photo(path).down
    assert found is not None
    assert np.dot(found, (0, 1, 0)) > 0.99
    image.save(path)
    assert read_photo(path).down is None
