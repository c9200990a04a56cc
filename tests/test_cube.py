"""Panoramas laid out anew, and cube faces out for retouching and back in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import composer
from composer.errors import OptionError, OutputError
from composer.samples import circle


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ring")
    for k, view in enumerate(circle(10)):
        Image.fromarray(view.pixels).save(folder / f"{k}.png")
    composer.stitch(folder, projection="sphere", save=folder / "ring.plan", width=1024, device="cpu")
    return folder / "ring.plan"


def pixels_of(path: Path) -> NDArray[np.float64]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(float)


def test_a_plan_laid_out_anew_is_the_picture_stitched_so(plan: Path) -> None:
    again = composer.stitch(load=plan, projection="plane", fov=80.0, yaw=30.0, width=500, device="cpu")
    fresh = composer.stitch(
        plan.parent.glob("*.png"), projection="plane", fov=80.0, yaw=30.0, width=500, device="cpu"
    )
    a, b = again.panoramas[0], fresh.panoramas[0]
    assert a.composition.projection == "plane"
    assert a.composition.fov_deg[0] == pytest.approx(80, abs=0.2)
    assert a.image.shape[1] == b.image.shape[1]
    height = min(a.image.shape[0], b.image.shape[0])
    one, other = a.image[:height].astype(float), b.image[:height].astype(float)
    gain = np.sum(one * other) / np.sum(one * one)  # exposure was solved over fewer photos
    assert np.median(np.abs(one * gain - other)) <= 2  # seams lie elsewhere, the rest is the same


def test_laying_out_the_same_way_changes_nothing_but_rounding(plan: Path) -> None:
    kept = composer.stitch(load=plan, device="cpu").panoramas[0]
    again = composer.stitch(load=plan, projection="sphere", width=1024, device="cpu").panoramas[0]
    height = min(kept.image.shape[0], again.image.shape[0])
    off = np.abs(kept.image[:height].astype(float) - again.image[:height])
    assert np.median(off) == 0
    assert np.percentile(off, 95) <= 3


def test_no_face_takes_the_place_of_a_photo_or_of_a_retouched_face(plan: Path, tmp_path: Path) -> None:
    for k, name in enumerate(("back", "front", "alone")):
        (tmp_path / f"{name}.png").write_bytes((plan.parent / f"{k}.png").read_bytes())
    photos = [tmp_path / f"{name}.png" for name in ("back", "front")]
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(OutputError, match=r"front\.png: is one of the inputs"):
        composer.stitch(photos, tmp_path / "a.jpg", cube=tmp_path, device="cpu")
    with pytest.raises(OutputError, match=r"front\.png: is one of the inputs"):
        composer.stitch(load=plan, cube=tmp_path, patches={"down": tmp_path / "front.png"}, device="cpu")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_faces_show_the_panorama_and_come_back_where_they_were(plan: Path, tmp_path: Path) -> None:
    (tmp_path / "cube").mkdir()  # as a first run left it
    before = composer.stitch(load=plan, cube=tmp_path / "cube", device="cpu").panoramas[0]
    faces = {p.stem: pixels_of(p) for p in (tmp_path / "cube").iterdir()}
    assert sorted(faces) == ["back", "down", "front", "left", "right", "up"]
    size = len(faces["front"])
    assert all(f.shape == (size, size, 3) for f in faces.values())
    edges = np.abs(faces["front"][:, -1] - faces["right"][:, 0])
    assert np.median(edges[size // 3 : 2 * size // 3]) < 12  # one pixel apart
    marked = faces["right"].astype(np.uint8)
    marked[size // 2 - 20 : size // 2 + 20, size // 2 - 20 : size // 2 + 20] = (255, 0, 255)
    Image.fromarray(marked).save(tmp_path / "right.png")
    after = composer.stitch(
        load=plan, patches={"right": tmp_path / "right.png"}, save=tmp_path / "patched.plan", device="cpu"
    ).panoramas[0]
    changed = np.abs(after.image.astype(int) - before.image).max(2) > 60
    rows, columns = np.nonzero(changed)
    width = before.image.shape[1]
    assert columns.mean() == pytest.approx(width * 0.75, abs=2)
    horizon = -before.composition.origin[1]
    assert rows.mean() == pytest.approx(horizon, abs=2)
    assert np.array_equal(before.image[:, : width // 2], after.image[:, : width // 2])
    saved = composer.stitch(load=tmp_path / "patched.plan", device="cpu").panoramas[0]
    assert np.array_equal(saved.image, after.image)


def test_a_nadir_painted_in_makes_the_sphere_reach_it(plan: Path, tmp_path: Path) -> None:
    before = composer.stitch(load=plan, cube=tmp_path / "cube", device="cpu").panoramas[0].composition
    size = len(pixels_of(tmp_path / "cube" / "down.png"))
    Image.new("RGB", (size, size), (10, 200, 30)).save(tmp_path / "down.png")
    after = composer.stitch(load=plan, patches={"down": tmp_path / "down.png"}, device="cpu").panoramas[0]
    bottom = (after.composition.origin[1] - 0.5 + after.composition.height) / after.composition.scale
    assert bottom == pytest.approx(np.pi / 2, abs=1 / before.scale)
    assert after.composition.origin[1] == before.origin[1]
    assert np.abs(after.image[-20:].astype(int) - (10, 200, 30)).max() <= 2


def test_what_cannot_be_put_back(plan: Path, tmp_path: Path) -> None:
    Image.new("RGB", (30, 30)).save(tmp_path / "small.png")
    with pytest.raises(OptionError, match="save it at the size"):
        composer.stitch(load=plan, patches={"down": tmp_path / "small.png"}, device="cpu")
    with pytest.raises(OptionError, match="is not a face"):
        composer.stitch(load=plan, patches={"below": tmp_path / "small.png"}, device="cpu")
