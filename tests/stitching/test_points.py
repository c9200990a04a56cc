"""Control points and lines that a person gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import composer
from composer.align.homography import Pair
from composer.align.lens import project
from composer.errors import NothingToStitch, OptionError
from composer.records import Camera, Photo
from composer.samples import DISTORTION, View, photograph, rotation
from composer.stitching.cameras import level
from composer.stitching.points import (
    ControlPoint,
    Line,
    constraints,
    read_points,
    with_control_points,
)

NAMES = ["dir/one.jpg", "dir/two b.jpg", "other/one.png"]
PHOTOS = tuple(Photo(n, None, 400, 300, 3, "uint8") for n in NAMES)


def test_statements_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text(
        "# by hand\n\npoint one.jpg 1 2.5 'two b' 3 4 # a corner\n"
        "vertical 'two b.jpg' 5 6 5 60\nhorizontal dir/one.jpg 0 7 90 8\n"
    )
    points, lines = read_points(path, NAMES)
    assert points == [ControlPoint(NAMES[0], (1, 2.5), NAMES[1], (3, 4))]
    assert lines == [Line(NAMES[1], True, ((5, 6), (5, 60))), Line(NAMES[0], False, ((0, 7), (90, 8)))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("point one.jpg 1 2 three 3 4", "line 1: no photo is called three"),
        ("\npoint one 1 2 'two b' 3 4", "line 2: one may be dir/one.jpg or other/one.png"),
        ("point one.jpg 1 2 one.jpg 3 4", "both are the same"),
        ("point one.jpg 1 x 'two b' 3 4", "could not convert"),
        ("vertical one.jpg 1 2 1 2", "two different points"),
        ("slanted one.jpg 1 2 1 2", "cannot be understood"),
        ("point 'one.jpg 1 2", "No closing quotation"),
    ],
)
def test_what_cannot_be_understood_is_said_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.txt").write_text(text)
    with pytest.raises(OptionError, match=message):
        read_points(tmp_path / "p.txt", NAMES)
    with pytest.raises(OptionError, match="cannot be read"):
        read_points(tmp_path / "none.txt", NAMES)


def test_points_join_their_pair_or_make_one() -> None:
    ends = np.random.default_rng(0).uniform(0, 300, (2, 20, 2))
    pair = Pair(0, 1, ends[0], ends[1], np.eye(3), 20)
    given = [
        ControlPoint(NAMES[1], (9, 8), NAMES[0], (7, 6)),
        ControlPoint(NAMES[2], (5, 5), NAMES[0], (1, 2)),
    ]
    first, second = with_control_points([pair], given, PHOTOS)
    assert first.points_i[-1].tolist() == [7, 6]
    assert first.points_j[-1].tolist() == [9, 8]
    assert (second.i, second.j) == (0, 2)
    assert (second.matrix @ [1, 2, 1]).tolist() == [5, 5, 1]


def test_lines_say_where_the_vertical_is() -> None:
    turns = [rotation(y, 8, 12) for y in (-20, 10)]  # all rolled by 12 degrees: habit would be wrong
    cameras = tuple(Camera(t, 300.0) for t in turns)
    lines = []
    for k, (upright, directions) in enumerate(
        [(True, [[-0.8, -0.2, 1], [-0.8, 0.3, 1]]), (False, [[0.3, 0, 1], [-0.1, 0, 1]])]
    ):
        x, y, z = (np.array(directions) @ turns[k].T).T
        u, v, _ = project(np, PHOTOS[k], cameras[k], (x, y, z))
        lines.append(Line(NAMES[k], upright, ((u[0], v[0]), (u[1], v[1]))))
    square = constraints(lines, PHOTOS, cameras)
    turned = level(turns, square)
    down = turned[0].T @ turns[0] @ [0, 1, 0]
    assert abs(down @ [0, 1, 0]) == pytest.approx(1, abs=1e-6)
    assert abs((level(turns)[0].T @ turns[0] @ [0, 1, 0])[1]) < 0.999


def test_a_person_joins_photos_that_matching_cannot(tmp_path: Path) -> None:
    views = [photograph(0, 0, 0), photograph(30, 0, 0)]
    blurred = [replace(v, pixels=cv2.GaussianBlur(v.pixels, (0, 0), 25)) for v in views]
    for k, view in enumerate(blurred):
        Image.fromarray(view.pixels).save(tmp_path / f"{k}.png")
    with pytest.raises(NothingToStitch):
        composer.stitch(tmp_path, device="cpu")
    rows = ["point 0 {:.2f} {:.2f} 1 {:.2f} {:.2f}".format(*p) for p in shared_points(*views)]
    (tmp_path / "p.txt").write_text("\n".join(rows))
    result = composer.stitch(tmp_path, points=tmp_path / "p.txt", projection="cylinder", device="cpu")
    (panorama,) = result.panoramas
    assert len(panorama.photos) == 2
    one, other = (la.camera.rotation for la in panorama.composition.layers)
    truth = views[0].rotation @ views[1].rotation.T
    off = np.degrees(np.arccos((np.trace(one @ other.T @ truth.T) - 1) / 2))
    assert off < 2  # degrees: eight points leave focal length and lens loose
    assert panorama.rms_px < 0.5


def shared_points(one: View, other: View) -> NDArray[np.float64]:
    """Return (N, 4): where both photos see the same eight directions."""
    x, y = np.meshgrid([12.0, 15, 18, 20], [-12.0, 9])
    yaw, pitch = np.radians([x.ravel(), y.ravel()])
    directions = np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], 1)
    found = []
    for view in (one, other):
        height, width = view.pixels.shape[:2]
        camera = Camera(view.rotation, view.focal_px, DISTORTION)
        x, y, z = (directions @ view.rotation.T).T
        u, v, inside = project(np, Photo("", None, width, height, 3, "uint8"), camera, (x, y, z))
        assert inside.all()
        found += [u, v]
    return np.stack(found, 1)
