"""Hugin's projects: the same picture from nona, there and back, and what is refused."""

from __future__ import annotations

import math
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tifffile
from PIL import Image

from composer.align.projection import placed
from composer.align.warp import warp_layer
from composer.errors import ComposerError, PhotoError
from composer.media.archive import load_plan, save_plan
from composer.media.decode import decode
from composer.media.header import photo_from_array, read_photo
from composer.media.pto import load_project, project_text, save_project
from composer.records import FLAT, Camera, Composition, Layer, Optics, Patch, Photo, Plan, Projection, Rect
from composer.stitching.layout import view_rotation
from tests.media.pictures import picture

WIDTH, HEIGHT = 300, 200
PROJECTIONS = [p for p in get_args(Projection) if p not in FLAT]
LENS = {"distortion": (0.01, -0.03, 0.02), "offset": (3.0, -2.0)}
needs_nona = pytest.mark.skipif(shutil.which("nona") is None, reason="nona is not installed")


def turned(yaw: float, pitch: float, roll: float) -> Any:
    return view_rotation(*(math.radians(a) for a in (yaw, pitch, roll))).T


def ramp(path: Path, orientation: int = 1) -> Photo:
    """Write a 16-bit photo whose red says x and whose green says y, of the pixels as stored."""
    x, y = np.meshgrid((np.arange(WIDTH) + 0.5) / WIDTH, (np.arange(HEIGHT) + 0.5) / HEIGHT)
    pixels = np.round(np.stack([x, y, np.full_like(x, 0.5)], -1) * 65535).astype(np.uint16)
    tifffile.imwrite(path, pixels, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    return read_photo(path)


def small(path: Path, seed: int = 0) -> Photo:
    Image.fromarray(picture(40, 60, seed=seed)).save(path)
    return read_photo(path)


def from_nona(project: Path) -> tuple[Any, Rect]:
    """Return nona's picture of a project's only photo, (h, w, 4), and where it lies on the full canvas."""
    out = project.parent / "warped"
    command = ["nona", "-z", "NONE", "-m", "TIFF_m", "-o", str(out), str(project)]
    subprocess.run(command, check=True, capture_output=True, cwd=project.parent)
    with tifffile.TiffFile(f"{out}0000.tif") as file:
        tags, pixels = file.pages[0].tags, file.asarray()
        named = [tags[n].value for n in ("XPosition", "YPosition", "XResolution")]
    left, top = (round(a[0] / a[1] * named[2][0] / named[2][1]) for a in named[:2])
    return pixels, Rect(left, top, left + pixels.shape[1], top + pixels.shape[0])


def both(composition: Composition, project: Path) -> tuple[Any, Any, Any, Any]:
    """Return nona's picture and ours as 0..1, and where each shows the photo."""
    save_project(project, Plan((composition,)))
    theirs, rect = from_nona(project)
    line = next(x for x in project.read_text().splitlines() if x.startswith("p "))
    left, _, top, _ = (int(s) for s in line.split(" S")[1].split()[0].split(","))
    rect = Rect(rect.x0 - left, rect.y0 - top, rect.x1 - left, rect.y1 - top)
    layer = composition.layers[0]
    ours = warp_layer(composition, layer, rect, decode(layer.photo))
    return theirs[..., :3] / 65535, ours.image, theirs[..., 3] > 0, ours.valid


def worst_px(composition: Composition, project: Path) -> float:
    """Return how far apart nona and we take a pixel from, at most, away from the photo's edges."""
    theirs, ours, *valid = both(composition, project)
    size = np.array([WIDTH, HEIGHT])
    at = ours[..., :2] * size
    seen = np.logical_and(*valid) & ((at > 4) & (at < size - 4)).all(-1)
    assert seen.sum() > 4000
    away = np.hypot(*np.moveaxis((theirs[..., :2] - ours[..., :2]) * size, -1, 0))
    return float(away[seen].max())


def canvas(layer: Layer, projection: Projection = "sphere", scale: float = 150.0) -> Composition:
    return Composition((layer,), projection, 500, 330, scale, (-260.5, -170.5))


@needs_nona
@pytest.mark.parametrize("projection", PROJECTIONS)
def test_nona_agrees_on_every_projection(tmp_path: Path, projection: Projection) -> None:
    camera = Camera(turned(15, 10, 20), 250.0, **LENS)
    scene = canvas(Layer(ramp(tmp_path / "a b.tif"), camera), projection)
    assert worst_px(scene, tmp_path / "a.pto") < 0.1


@needs_nona
@pytest.mark.parametrize("optics", ["equidistant", "equisolid"])
def test_nona_agrees_on_fisheyes(tmp_path: Path, optics: Optics) -> None:
    camera = Camera(turned(-40, -20, 100), 95.0, **LENS, optics=optics)
    scene = replace(canvas(Layer(ramp(tmp_path / "a.tif"), camera)), closed=True)
    scene = replace(scene, width=640, height=320, scale=640 / (2 * math.pi), origin=(-319.5, -159.5))
    assert worst_px(scene, tmp_path / "a.pto") < 0.1


@needs_nona
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_nona_agrees_on_photos_stored_turned(tmp_path: Path, orientation: int) -> None:
    camera = Camera(turned(15, 10, 20), 250.0, **LENS)
    photo = ramp(tmp_path / "a.tif", orientation)
    assert photo.orientation == orientation
    assert worst_px(canvas(Layer(photo, camera)), tmp_path / "a.pto") < 0.1


@needs_nona
def test_nona_crops_a_circular_fisheye_as_we_do(tmp_path: Path) -> None:
    camera = Camera(turned(0, 0, 0), 60.0, offset=(6.0, 1.0), optics="equidistant", circle_px=90.0)
    scene = canvas(Layer(ramp(tmp_path / "a.tif"), camera))
    _, _, theirs, ours = both(scene, tmp_path / "a.pto")
    assert (theirs != ours).mean() < 0.02
    whole = replace(camera, circle_px=None)
    uncropped = both(canvas(Layer(ramp(tmp_path / "a.tif"), whole)), tmp_path / "a.pto")[2]
    assert uncropped.sum() > 1.05 * ours.sum()


@needs_nona
def test_nona_agrees_on_exposure(tmp_path: Path) -> None:
    grey = np.round(np.linspace(0.15, 0.7, WIDTH)[None, :, None] * 65535).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", np.broadcast_to(grey, (HEIGHT, WIDTH, 3)).copy(), photometric="rgb")
    camera = Camera(np.eye(3), 250.0)
    layer = Layer(read_photo(tmp_path / "a.tif"), camera, (1.3, 1.1, 0.8), (-0.35, -0.1, 0.05))
    theirs, ours, *valid = both(canvas(layer), tmp_path / "a.pto")
    assert np.abs(theirs - ours)[np.logical_and(*valid)].max() < 0.012


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("optics", get_args(Optics))
def test_there_and_back(tmp_path: Path, projection: Projection, optics: Optics) -> None:
    circle = 25.25 if optics == "equidistant" else None
    angles = [(15, 10, 20), (-170, -89.9, -100), (0, 90, 30)]
    cameras = [Camera(turned(*a), 31.7, **LENS, optics=optics, circle_px=circle) for a in angles]
    layers = tuple(
        Layer(small(tmp_path / f"{k}.png", k), c, (1.2 + k, 0.8, 0.7), (-0.3, -0.1, 0.02))
        for k, c in enumerate(cameras)
    )
    scene = Composition(layers, projection, 70, 50, 20.3, (-40.5, -11.5))
    save_plan(tmp_path / "a.pto", Plan((scene,)))
    (found,) = load_plan(tmp_path / "a.pto").compositions
    size = found.projection, found.width, found.height, found.closed
    assert size == (projection, 70, 50, False)
    assert (found.scale, *found.origin) == pytest.approx((20.3, -40.5, -11.5))
    for was, now in zip(layers, found.layers, strict=True):
        assert now.photo.sha256 == was.photo.sha256
        np.testing.assert_allclose(now.camera.rotation, was.camera.rotation, atol=1e-9)
        assert now.camera.focal_px == pytest.approx(31.7)
        assert now.camera.optics == optics
        assert now.camera.distortion == pytest.approx(LENS["distortion"])
        assert now.camera.offset == pytest.approx(LENS["offset"])
        assert now.camera.circle_px == (None if circle is None else pytest.approx(circle, abs=0.8))
        assert now.gain == pytest.approx(was.gain)
        assert now.vignetting == pytest.approx(was.vignetting, abs=2e-3)


@pytest.mark.parametrize("width", [640, 641])
def test_a_closed_circle_stays_closed(tmp_path: Path, width: int) -> None:
    layer = Layer(small(tmp_path / "a.png"), Camera(np.eye(3), 40.0))
    origin = (-width / 2 + 0.5, -59.5)
    scene = Composition((layer,), "sphere", width, 150, width / (2 * math.pi), origin, closed=True)
    (tmp_path / "a.pto").write_text(project_text(scene, tmp_path / "a.pto"))
    found = load_project(tmp_path / "a.pto")
    assert (found.width, found.height, found.closed) == (width, 150, True)
    assert found.origin == pytest.approx(origin)


FOREIGN = """# hugin project file
#hugin_ptoversion 2
p f2 w400 h200 v360  k0 E13.5 R0 n"TIFF_m c:LZW r:CROP"
m i0 x7

# image lines
#-hugin  cropFactor=1.5
i w60 h40 f0 v50 Ra0.1 Eev13 Er1.1 Eb1 r0 p-5 y-10 TrX0 a0 b-0.01 d2 g0 t0 Va0.9 Vb-0.2 Vm5 u10 n"sub/0.png"
i w60 h40 f0 v=0 Ra=0 Eev14 Er1 Eb1 r0 p-5 y25 TrX0 j0 a=0 b=0 d=0 g=0 t=0 Va=0 Vb=0 Vm5 n"./1 r9 w7.png"  \

# specify variables that should be optimized
v y1 r1
k i0 t0 p"1 1 20 1 20 20"
c n0 N1 x50.5 y20.25 X5 Y20 t0
*
#hugin_optimizeReferenceImage 0
"""


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    small(tmp_path / "sub" / "0.png", 0)
    small(tmp_path / "1 r9 w7.png", 1)
    path = tmp_path / "foreign.pto"
    path.write_bytes(FOREIGN.replace("\n", "\r\n").encode() + b"# \xe4")
    return path


def test_a_project_of_hugin_is_understood(foreign: Path) -> None:
    found = load_project(foreign)
    first, second = found.layers
    assert (found.projection, found.width, found.height, found.closed) == ("sphere", 400, 200, True)
    assert second.camera.focal_px == pytest.approx(30 / math.tan(math.radians(25)))
    assert second.camera.distortion == (0, -0.01, 0)
    assert second.camera.offset == (2, 0)
    assert np.multiply(first.gain, 0.9) == pytest.approx((2**-0.5 / 1.1, 2**-0.5, 2**-0.5))
    assert np.multiply(second.gain, 0.9) == pytest.approx((2**0.5,) * 3)
    at_corner = math.exp(sum(second.vignetting))
    assert at_corner == pytest.approx(1 - 0.2 / 0.9, abs=1e-3)
    np.testing.assert_allclose(second.camera.rotation, turned(25, -5, 0))


def test_what_was_not_changed_is_written_byte_for_byte(foreign: Path) -> None:
    before = foreign.read_bytes()
    plan = Plan((placed(load_project(foreign)),))
    save_plan(foreign.parent / "a.comp", plan)
    for source in (plan, load_plan(foreign.parent / "a.comp")):
        save_plan(foreign.parent / "b.pto", source)
        assert (foreign.parent / "b.pto").read_bytes() == before


def test_what_was_changed_is_all_that_is_written_anew(foreign: Path) -> None:
    found = load_project(foreign)
    first, second = found.layers
    turn = replace(second, camera=replace(second.camera, rotation=turned(30, 0, 1)))
    lens = replace(first, camera=replace(first.camera, distortion=(0.0, -0.02, 0.0)))
    bright = replace(first, gain=(1.0, 2.0, 3.0))
    # the second is linked to the first
    for layers, lines in (((first, turn), [8]), ((lens, second), [7, 8]), ((bright, second), [7, 8])):
        text = project_text(replace(found, layers=layers), foreign).split("\n")
        old = foreign.read_bytes().decode("utf-8", "surrogateescape").split("\n")
        assert [k for k, (a, b) in enumerate(zip(old, text, strict=True)) if a != b] == lines
        foreign.with_name("c.pto").write_text("\n".join(text), errors="surrogateescape", newline="")
        again = load_project(foreign.with_name("c.pto"))
        for was, now in zip(layers, again.layers, strict=True):
            np.testing.assert_allclose(now.camera.rotation, was.camera.rotation, atol=1e-9)
            assert now.camera.distortion == pytest.approx(was.camera.distortion)
            assert now.gain == pytest.approx(was.gain)
            assert now.vignetting == pytest.approx(was.vignetting, abs=1e-4)
    wider = project_text(replace(found, projection="cylinder", scale=70.0, closed=False), foreign)
    assert wider.split("\n")[3:] == [*FOREIGN.replace("\n", "\r\n").split("\n")[3:-1], "# \udce4"]


def test_photos_left_out_keep_their_lines(foreign: Path) -> None:
    found = load_project(foreign)
    text = project_text(replace(found, layers=found.layers[1:]), foreign)
    assert text.encode("utf-8", "surrogateescape") == foreign.read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('n"sub/0.png"', 'n"/etc/0.png"', "outside the project's folder"),
        ('n"sub/0.png"', 'n"sub/../../0.png"', "outside the project's folder"),
        ('n"sub/0.png"', r'n"C:\0.png"', "outside the project's folder"),
        ('n"sub/0.png"', r'n"..\0.png"', "outside the project's folder"),
        ('n"sub/0.png"', "", "no file name"),
        ("w60 h40 f0 v50", "w61 h40 f0 v50", "60 x 40"),
        ("f0 v50", "f4 v50", "lens type f4"),
        ("f0 v50", "f0 v180", "field of view of 180"),
        ("f0 v50", "f0 v5x", "give a number"),
        ("f0 v=0", "f0 v=2", "links to no photo"),
        ("f0 v50", "f0 v=0", "give a number"),
        ("TrX0", "TrX0.1", "TrX"),
        ("g0 t0", "g1 t0", "shear"),
        ("Vm5 u10", "Vm5 Vx3", "Vx"),
        ("Va0.9 Vb-0.2", "Va1 Vb-1.2", "vignetting"),
        ("Er1.1", "Er0", "above 0"),
        ("Eev13", "Eev40", "24 steps at most"),
        ("b-0.01", "b1e308", "at most a million"),
        ("u10", "S10,50,0,40", "remove the crop"),
        ("f0 v50", "f2 S0,1,0,1 v50", "misses the optical centre"),
        ("p f2", "p f7", "projection f7"),
        ("p f2", 'p P"80 0 0" f19', "P"),
        ("w400 h200", "w400", "no h"),
        ("w400 h200", "w400 h200 S0,0,0,0", "empty"),
        ("w400 h200", "w400 h200 S0,9,9", "left,right,top,bottom"),
        ("v360 ", "v400 ", "field of view"),
        ("p f2", "q f2", "no p-line"),
    ],
)
def test_what_cannot_be_is_refused(foreign: Path, old: str, new: str, message: str) -> None:
    assert old in FOREIGN
    foreign.write_text(FOREIGN.replace(old, new, 1))
    with pytest.raises(ComposerError, match=message):
        load_project(foreign)


def test_files_that_are_no_project(tmp_path: Path, foreign: Path) -> None:
    with pytest.raises(ComposerError, match="no such file"):
        load_plan(tmp_path / "none.pto")
    (tmp_path / "folder.pto").mkdir()
    with pytest.raises(ComposerError, match="is a folder"):
        load_plan(tmp_path / "folder.pto")
    (tmp_path / "1 r9 w7.png").unlink()
    with pytest.raises(PhotoError, match="no such file"):
        load_plan(foreign)


def test_what_a_project_cannot_hold_is_said(tmp_path: Path) -> None:
    layer = Layer(small(tmp_path / "a.png"), Camera(np.eye(3), 40.0), mesh=np.zeros((2, 2, 2), np.float32))
    pasted = Patch(Rect(0, 0, 1, 1), np.zeros((1, 1, 3), np.float32), np.ones((1, 1), np.float32), "clone")
    notes = save_plan(tmp_path / "a.pto", Plan((replace(canvas(layer), patches=(pasted,)),)))
    assert len(notes) == 2
    assert "local alignment" in notes[0]
    with pytest.raises(ComposerError, match="projection affine"):
        save_plan(tmp_path / "b.pto", Plan((canvas(layer, "affine"),)))
    array = photo_from_array(picture(), "photo 1")
    with pytest.raises(ComposerError, match="as an array"):
        save_plan(tmp_path / "b.pto", Plan((canvas(replace(layer, photo=array)),)))
    (tmp_path / "below").mkdir()
    with pytest.raises(ComposerError, match="save the project beside them"):
        save_plan(tmp_path / "below" / "b.pto", Plan((canvas(layer),)))
    mirrored = replace(layer, photo=replace(layer.photo, orientation=2))
    with pytest.raises(ComposerError, match="mirrored"):
        save_plan(tmp_path / "b.pto", Plan((canvas(mirrored),)))
    assert not (tmp_path / "b.pto").exists()


def test_each_panorama_has_a_project(tmp_path: Path) -> None:
    scenes = [canvas(Layer(small(tmp_path / f"{k}.png", k), Camera(np.eye(3), 40.0))) for k in range(2)]
    save_plan(tmp_path / "a.pto", Plan(tuple(scenes)))
    for name, photo in (("a.pto", "0.png"), ("a-2.pto", "1.png")):
        assert f'n"{photo}"' in (tmp_path / name).read_text()
