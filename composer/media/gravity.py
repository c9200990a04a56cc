"""Which way was down when a photo was taken, as cameras that feel it write into their files."""

from __future__ import annotations

import math
import re
import struct
from typing import Any

from composer.media.metadata import Exif

__all__ = ["gravity_of"]

Vector = tuple[float, float, float]

MAKER_NOTE, LENS_MODEL = 0x927C, 0xA434
APPLE, ACCELERATION = b"Apple iOS\0", 8
STILL = 0.9, 1.1  # in g: a phone that was shaken felt more than gravity
_ANGLES = (
    (rb"drone-dji:GimbalPitchDegree", rb"drone-dji:GimbalRollDegree"),
    (rb"GPano:PosePitchDegrees", rb"GPano:PoseRollDegrees"),
)  # degrees above the horizon, and clockwise
# column right and row down of the upright picture, in columns and rows of the stored one, by orientation
_TURNS = {
    1: ((1, 0), (0, 1)), 2: ((-1, 0), (0, 1)), 3: ((-1, 0), (0, -1)), 4: ((1, 0), (0, -1)),
    5: ((0, 1), (1, 0)), 6: ((0, -1), (1, 0)), 7: ((0, -1), (-1, 0)), 8: ((0, 1), (-1, 0)),
}  # fmt: skip


def gravity_of(exif: Exif, xmp: bytes | None, orientation: int) -> Vector | None:
    """Return the direction of gravity in a photo's camera, None where the file does not tell.

    Parameters
    ----------
    exif : Exif
        Phones of Apple write what they felt into the maker's note (an acceleration vector).
    xmp : bytes or None
        Drones of DJI write the angles of their gimbal, others those of the GPano scheme.
    orientation : int
        EXIF orientation of the stored pixels, 1 to 8.

    Returns
    -------
    (x right, y down, z forward) of length 1, in the upright picture.
    """
    felt = _felt(exif)
    if felt is not None:
        (a, b), (c, d) = _TURNS[orientation]
        return a * felt[0] + b * felt[1], c * felt[0] + d * felt[1], felt[2]
    if orientation != 1:
        return None  # nobody says whether the angles are those of the stored picture
    return _posed(xmp or b"")


def _felt(exif: Exif) -> Vector | None:
    """Return gravity as a phone's back camera felt it, in the stored picture.

    Held upright, the phone's axes are right, up and towards the person; the stored picture's columns go down
    the phone, its rows to the left.
    """
    note = exif.camera.get(MAKER_NOTE)
    if not isinstance(note, bytes) or not note.startswith(APPLE):
        return None
    if "front" in str(exif.camera.get(LENS_MODEL, "")).lower():
        return None
    vector = _apple_rationals(note, ACCELERATION, 3)
    if vector is None:
        return None
    x, y, z = vector
    size = math.hypot(x, y, z)
    return (-y / size, -x / size, -z / size) if STILL[0] < size < STILL[1] else None


def _apple_rationals(note: bytes, wanted: int, count: int) -> list[float] | None:
    """Return signed rationals of a maker's note: a TIFF directory, big-endian, offsets from its start."""
    try:
        (entries,) = struct.unpack_from(">H", note, 14)
        for k in range(entries):
            tag, kind, number, offset = struct.unpack_from(">HHII", note, 16 + 12 * k)
            if (tag, kind, number) == (wanted, 10, count):
                parts = struct.unpack_from(f">{2 * count}i", note, offset)
                return [parts[2 * j] / parts[2 * j + 1] for j in range(count)]
    except (struct.error, ZeroDivisionError):
        return None
    return None


def _posed(xmp: bytes) -> Vector | None:
    """Return gravity by a camera's angles above the horizon and clockwise."""
    for names in _ANGLES:
        pitch, roll = (_number(xmp, name) for name in names)
        if pitch is not None and roll is not None:
            p, r = math.radians(pitch), math.radians(roll)
            return math.cos(p) * math.sin(r), math.cos(p) * math.cos(r), -math.sin(p)
    return None


def _number(xmp: bytes, name: bytes) -> float | None:
    found: Any = re.search(name + rb"""(?:\s*=\s*["']|\s*>)\s*([-+]?\d+(?:\.\d*)?)\s*["'<]""", xmp)
    return float(found[1]) if found else None
