"""The main job end to end, on photographs with known truth."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import composer
from composer.align.lens import pixel_to_plane, rays
from composer.align.projection import photo_map
from composer.errors import NothingToStitch, OptionError, OutputError, PhotoError
from composer.media import decode as decoding
from composer.media.gpano import sphere_fields
from composer.media.header import read_photo
from composer.media.metadata import read_metadata
from composer.records import Camera, Event, Photo, to_encoded, to_linear
from composer.samples import View, circle, gallery, motorcycle, photograph, room, rotation
from tests.media.pictures import swapped_profile
from tests.scenes import misplacement, world_on_canvas


@pytest.fixture(scope="module")
def views() -> list[View]:
    return circle(10)


@pytest.fixture(scope="module")
def ring(views: list[View]) -> composer.Stitched:
    return composer.stitch([v.pixels for v in views], projection="sphere", device="cpu")


def test_a_closed_circle_uses_every_photo_and_closes(ring: composer.Stitched) -> None:
    (panorama,) = ring.panoramas
    assert len(panorama.photos) == 10
    assert ring.unused == ()
    assert panorama.composition.closed
    assert panorama.composition.fov_deg[0] == pytest.approx(360, abs=0.01)
    assert np.array_equal(np.asarray(panorama), panorama.image)


def test_cameras_agree_with_the_truth_to_a_fraction_of_a_pixel(
    ring: composer.Stitched, views: list[View]
) -> None:
    errors = misplacement(ring.panoramas[0].composition, views)
    assert np.median(errors) < 0.3
    assert np.percentile(errors, 95) < 1.0


def test_focal_length_and_distortion_are_found(ring: composer.Stitched, views: list[View]) -> None:
    camera = ring.panoramas[0].composition.layers[0].camera
    # the polynomial's linear term makes focal_px the size near the rim: compare at the centre
    a, b, c = camera.distortion
    truth = views[0].focal_px * (1 + 0.012)
    assert camera.focal_px * (1 - a - b - c) == pytest.approx(truth, rel=0.01)
    assert b < -0.005


def test_exposure_is_evened_out_against_the_world(ring: composer.Stitched) -> None:
    panorama = ring.panoramas[0]
    truth, seen = world_on_canvas(panorama.composition, circle(10), gallery())
    picture = panorama.image.astype(float)
    gain = np.sum(picture[seen] * truth[seen], 0) / np.sum(truth[seen] ** 2, 0)
    off = np.abs(picture - truth * gain)[seen]
    assert np.median(off) < 5
    signed = np.where(seen, (picture - truth * gain).mean(2), np.nan)
    drift = np.nanmedian(signed, 0)
    assert np.abs(drift - np.median(drift)).max() < 14


def test_the_wrap_column_is_no_seam(ring: composer.Stitched) -> None:
    panorama = ring.panoramas[0]
    image = panorama.image.astype(float)
    rows = slice(image.shape[0] // 3, 2 * image.shape[0] // 3)
    step = np.abs(image[rows, 0] - image[rows, -1]).mean()
    usual = np.abs(np.diff(image[rows], axis=1)).mean((0, 2))
    assert step < np.percentile(usual, 99.5)


def test_three_photos_make_a_plane_or_cylinder_with_gains() -> None:
    result = composer.stitch(room(), device="cpu")
    (panorama,) = result.panoramas
    gains = [la.gain[1] for la in panorama.composition.layers]
    assert panorama.composition.projection == "cylinder"
    # darker photos are brightened: gains 0.9, 1, 1.15 on encoded values
    assert gains[0] > gains[1] > gains[2]
    assert (gains[0] / gains[2]) ** (1 / 2.2) == pytest.approx(1.15 / 0.9, rel=0.05)


def test_circular_fisheyes_make_a_whole_sphere() -> None:
    result = composer.stitch(
        [fisheye(k) for k in range(4)], lens="circular", lens_fov=180.0, projection="sphere", device="cpu"
    )
    (panorama,) = result.panoramas
    assert len(panorama.photos) == 4
    assert panorama.composition.closed
    assert panorama.composition.fov_deg == pytest.approx((360, 180), abs=0.8)
    assert panorama.rms_px < 1.0
    assert panorama.valid is not None
    assert panorama.valid.mean() > 0.99  # the ring's photos meet at the poles, or nearly
    found = panorama.composition.layers[0].camera
    assert found.focal_px == pytest.approx(250 / math.radians(92), rel=0.01)  # the field given was 4 short


def fisheye(k: int, size: int = 500) -> NDArray[np.uint8]:
    """Return a photo of the gallery through an equidistant lens of 184 degrees, in a circle."""
    world, camera = (
        gallery(),
        Camera(rotation(90 * k, 0, k), size / 2 / math.radians(92), optics="equidistant"),
    )
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    points = np.stack([x.ravel(), y.ravel()], 1).astype(float)
    inside = np.hypot(*(points - (size - 1) / 2).T) <= size / 2
    seen = rays(points[inside], Photo("", None, size, size, 3, "uint8"), camera) @ camera.rotation
    height, width = world.shape[:2]
    u = (np.arctan2(seen[:, 0], seen[:, 2]) / (2 * np.pi) + 0.5) * width - 0.5
    v = (np.arctan2(seen[:, 1], np.hypot(seen[:, 0], seen[:, 2])) / np.pi + 0.5) * height - 0.5
    at = [np.zeros((size, size), np.float32) for _ in range(2)]
    for plane, values in zip(at, (u, v), strict=True):
        plane[inside.reshape(size, size)] = values
    found = cv2.remap(cv2.GaussianBlur(world, (0, 0), 1.5), *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    found[~inside.reshape(size, size)] = 0
    return found


def test_the_anchor_keeps_its_exposure(tmp_path: Path) -> None:
    for k, pixels in enumerate(room()):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    result = composer.stitch(tmp_path, anchor="2", device="cpu")
    gains = [la.gain for la in result.panoramas[0].composition.layers]
    assert gains[2] == (1.0, 1.0, 1.0)
    assert gains[0][1] > gains[1][1] > 1.01
    with pytest.raises(OptionError, match="no photo is called 7"):
        composer.stitch(tmp_path, anchor="7", device="cpu")


def test_a_real_pair_with_parallax() -> None:
    result = composer.stitch(motorcycle(), device="cpu")
    assert [len(p.photos) for p in result.panoramas] == [2]


def test_a_stranger_is_named_with_the_reason() -> None:
    stranger = photograph(180, 0, 0, seed=5).pixels
    result = composer.stitch([*room(), stranger], device="cpu")
    assert [u.photo for u in result.unused] == ["photo 4"]
    assert "overlaps no other photo" in result.unused[0].reason


def test_only_the_pairs_that_a_file_names_are_matched(tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text("'photo 1' 'photo 2'\n")
    result = composer.stitch(room(), width=300, pairs=file)
    assert result.panoramas[0].photos == ("photo 1", "photo 2")
    assert [u.photo for u in result.unused] == ["photo 3"]


def test_two_scenes_make_two_panoramas(tmp_path: Path) -> None:
    first = [photograph(y, 0, 1, hfov_deg=50).pixels for y in (-20, 5)]
    second = [photograph(y, 0, 1, hfov_deg=50, seed=9).pixels for y in (165, 190)]
    result = composer.stitch([first[0], second[0], first[1], second[1]], tmp_path / "out.png", device="cpu")
    assert [p.output.name for p in result.panoramas if p.output] == ["out.png", "out-2.png"]
    assert [p.photos for p in result.panoramas] == [("photo 1", "photo 3"), ("photo 2", "photo 4")]
    assert all(p.output is not None and p.output.exists() for p in result.panoramas)


def test_photos_with_their_own_zoom() -> None:
    views = [photograph(-18, 0, 0, 60), photograph(0, 1, 1, 50), photograph(17, 0, -1, 60)]
    result = composer.stitch([v.pixels for v in views], device="cpu")
    focal = [la.camera.focal_px for la in result.panoramas[0].composition.layers]
    assert len(focal) == 3
    assert result.panoramas[0].rms_px < 0.6
    assert focal[1] / focal[0] == pytest.approx(views[1].focal_px / views[0].focal_px, rel=0.01)


def test_16_bit_comes_out_as_16_bit() -> None:
    photos = [p.astype(np.uint16) * 257 for p in room()]
    deep = composer.stitch(photos, device="cpu").panoramas[0]
    flat = composer.stitch(room(), device="cpu").panoramas[0]
    assert deep.image.dtype == np.uint16
    if deep.image.shape == flat.image.shape:
        difference = np.abs(deep.image / 257.0 - flat.image)
        assert np.median(difference) < 1
    assert len(np.unique(deep.image)) > 1000


def test_float_comes_out_as_float_and_grey_as_grey() -> None:
    photos = [(p.mean(2) / 255).astype(np.float32) for p in room()]
    panorama = composer.stitch(photos, device="cpu").panoramas[0]
    assert panorama.image.dtype == np.float32
    assert panorama.image.shape[2] == 1
    assert 0.2 < panorama.image[panorama.image > 0].mean() < 0.8


def test_alpha_limits_what_is_used() -> None:
    photos = []
    for pixels in room():
        alpha = np.full(pixels.shape[:2], 255, np.uint8)
        alpha[:80] = 0
        photos.append(np.dstack([pixels, alpha]))
    panorama = composer.stitch(photos, device="cpu").panoramas[0]
    whole = composer.stitch(room(), device="cpu").panoramas[0]
    assert panorama.image.shape[2] == 3
    assert panorama.valid is not None
    assert whole.valid is not None
    assert panorama.valid.mean() < whole.valid.mean() - 0.1


@pytest.mark.parametrize("projection", ["plane", "cylinder", "sphere"])
def test_every_projection_shows_the_same_world(projection: str) -> None:
    views = [photograph(y, 0, 1, 50) for y in (-15, 15)]
    result = composer.stitch([v.pixels for v in views], projection=projection, device="cpu")
    composition = result.panoramas[0].composition
    assert composition.projection == projection
    truth, seen = world_on_canvas(composition, views, gallery())
    picture = result.panoramas[0].image.astype(float)
    seen[:20] = seen[-20:] = False
    correlation = np.corrcoef(picture[seen].ravel(), truth[seen].ravel())[0, 1]
    assert correlation > 0.96


@pytest.mark.parametrize("projection", ["affine", "auto"])
def test_flat_scans_are_laid_out_as_affine(projection: str) -> None:
    world = np.asarray(gallery())[300:720, 300:1500]
    photos = [world[:, 0:500], world[20:, 330:830], world[:400, 650:1150]]
    result = composer.stitch([p.copy() for p in photos], projection=projection, device="cpu")
    (panorama,) = result.panoramas
    assert panorama.composition.projection == "affine"
    assert panorama.rms_px < 0.3
    assert panorama.composition.width == pytest.approx(1150, abs=4)


def test_crop_leaves_no_hole() -> None:
    whole = composer.stitch(room(), device="cpu").panoramas[0]
    cropped = composer.stitch(room(), crop="rectangle", device="cpu").panoramas[0]
    assert whole.valid is not None
    assert not whole.valid.all()
    assert cropped.valid is not None
    assert cropped.valid.all()
    assert cropped.composition.width * cropped.composition.height > 0.6 * whole.valid.sum()


@pytest.mark.parametrize("crop", ["none", "rectangle"])
def test_width_is_kept_exactly(crop: str) -> None:
    result = composer.stitch(room(), width=500, crop=crop, device="cpu")
    assert result.panoramas[0].image.shape[1] == 500


def test_the_same_bytes_on_every_run_and_for_any_number_of_threads() -> None:
    photos = room()
    pictures = [composer.stitch(photos, workers=n, device="cpu").panoramas[0].image for n in (1, 2, 8, 2)]
    assert all(np.array_equal(p, pictures[0]) for p in pictures[1:])


def test_saved_compositions_render_again_to_the_same_bytes(tmp_path: Path) -> None:
    for k, pixels in enumerate(room()):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    first = composer.stitch(tmp_path, tmp_path / "a.tif", save=tmp_path / "plan", device="cpu")
    stages: list[str] = []
    again = composer.stitch(
        load=tmp_path / "plan", output=tmp_path / "b.tif", device="cpu",
        observe=lambda e: stages.append(e.stage),
    )  # fmt: skip
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    assert set(stages) == {"render", "write"}
    assert again.panoramas[0].photos == first.panoramas[0].photos
    small = composer.stitch(load=tmp_path / "plan", width=300, device="cpu").panoramas[0]
    assert small.image.shape[1] == 300


def test_a_hugin_project_is_completed_and_rendered(tmp_path: Path) -> None:
    for k, pixels in enumerate(room()):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    saved = tmp_path / "a.pto"
    first = composer.stitch(tmp_path, projection="sphere", save=saved, device="cpu").panoramas[0]
    again = composer.stitch(load=saved, save=tmp_path / "b.pto", device="cpu").panoramas[0]
    assert saved.read_bytes() == (tmp_path / "b.pto").read_bytes()
    assert again.composition.low_bands is not None
    assert again.composition.white == pytest.approx(first.composition.white, abs=0.02)
    assert np.array_equal(again.valid, first.valid)
    apart = np.abs(first.image.astype(int) - again.image)
    assert np.mean(apart > 3) < 0.01
    plain = re.sub(r" (Eev|V[bcd])[-.e0-9]+", r" \g<1>0", re.sub(r" E[rb][.0-9]+", " Er1", saved.read_text()))
    saved.write_text(plain)
    solved = composer.stitch(load=saved, device="cpu").panoramas[0].composition
    for was, now in zip(first.composition.layers, solved.layers, strict=True):
        assert now.gain == pytest.approx(was.gain, rel=0.03)
    saved.write_text(re.sub(r" y[-.e0-9]+", " y150", plain))
    with pytest.raises(NothingToStitch, match="shows none of its photos"):
        composer.stitch(load=saved, device="cpu")


def test_gradients_are_blended_where_photos_exposed_apart_meet_with_a_step() -> None:
    left, middle, right = room()
    blends = "auto", "multiband", "gradient"
    light = (middle / np.float32(255)) ** 2.2
    haze = np.linspace(0, 0.12, middle.shape[1], dtype=np.float32)[None, :, None]  # what no gain can undo
    hazy = np.rint(255 * np.clip(light * 0.4 + haze, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    for photos, stepped in ([left, hazy, right], True), ([left, middle, right], False):
        pictures = {b: composer.stitch(photos, blend=b).panoramas[0].image for b in blends}
        assert np.array_equal(pictures["auto"], pictures["gradient" if stepped else "multiband"])
        assert not np.array_equal(pictures["gradient"], pictures["multiband"])


def test_a_saved_plan_can_be_blended_by_gradients(tmp_path: Path) -> None:
    for k, pixels in enumerate(room()):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    composer.stitch(tmp_path, width=500, save=tmp_path / "plan", device="cpu")
    at_once = composer.stitch(tmp_path, width=500, blend="gradient", device="cpu").panoramas[0]
    later = composer.stitch(load=tmp_path / "plan", blend="gradient", device="cpu").panoramas[0]
    assert all(la.factors is not None for la in later.composition.layers)
    assert np.array_equal(later.image, at_once.image)


def test_a_project_laid_out_anew_keeps_what_is_not_known(tmp_path: Path) -> None:
    for k, pixels in enumerate(room()):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    saved = tmp_path / "a.pto"
    composer.stitch(tmp_path, projection="sphere", save=saved, device="cpu")
    point = "c n0 N1 x50.5 y20.25 X5 Y20 t0"
    saved.write_text(f"{saved.read_text()}{point}\n")
    composer.stitch(load=saved, projection="cylinder", width=200, save=tmp_path / "b.pto", device="cpu")
    before, after = (f.read_text().split("\n") for f in (saved, tmp_path / "b.pto"))
    assert point in after
    changed = [a for a, b in zip(before, after, strict=True) if a != b]
    assert {line[0] for line in changed} <= {"p", "i"}
    assert any(line.startswith("p") for line in changed)


def test_a_plan_takes_other_photos_of_the_same_rig(tmp_path: Path) -> None:
    """A bracket two stops darker, where the photos that the plan was made from are gone."""
    for k, pixels in enumerate(room()):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    first = composer.stitch(tmp_path, save=tmp_path / "plan", device="cpu").panoramas[0]
    dark = [np.round(255 * to_encoded(to_linear(p / 255) / 4)).astype(np.uint8) for p in room()]
    for k in range(3):
        (tmp_path / f"{k}.png").unlink()
    found = composer.stitch(dark, template=tmp_path / "plan", device="cpu").panoramas[0]
    assert found.photos == ("photo 1", "photo 2", "photo 3")
    assert np.array_equal(found.composition.seams, first.composition.seams)
    assert found.composition.low_bands is not None
    assert np.array_equal(found.valid, first.valid)
    darker = 255 * to_encoded(to_linear(first.image / 255) / 4)
    assert np.abs(darker - found.image)[first.valid].mean() < 2
    hard = composer.stitch(dark, template=tmp_path / "plan", blend="none", width=200).panoramas[0]
    assert hard.composition.low_bands is None
    assert hard.image.shape[1] == 200
    with pytest.raises(OptionError, match="places 3 photos and 2"):
        composer.stitch(dark[:2], template=tmp_path / "plan", device="cpu")
    with pytest.raises(OptionError, match="drop one"):
        composer.stitch(dark, template=tmp_path / "plan", load=tmp_path / "plan")


def test_spheres_say_what_part_they_are(tmp_path: Path) -> None:
    for k, pixels in enumerate(room()[:2]):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    composer.stitch(tmp_path, projection="sphere", save=tmp_path / "plan", width=200, device="cpu")
    for suffix in (".jpg", ".png", ".tif", ".webp"):
        out = tmp_path / f"a{suffix}"
        canvas = composer.stitch(load=tmp_path / "plan", output=out, device="cpu").panoramas[0].composition
        xmp = read_metadata(read_photo(out)).xmp
        assert xmp is not None
        for name, value in sphere_fields(canvas).items():
            assert f'GPano:{name}="{value}"'.encode() in xmp


def test_a_smaller_rendering_is_the_large_one_reduced(tmp_path: Path) -> None:
    for k, pixels in enumerate(room()):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    large = composer.stitch(tmp_path, save=tmp_path / "plan", device="cpu").panoramas[0]
    width = large.image.shape[1] // 2
    small = composer.stitch(load=tmp_path / "plan", width=width, device="cpu").panoramas[0]
    reduced = np.asarray(Image.fromarray(large.image).resize(small.image.shape[1::-1], Image.Resampling.BOX))
    assert small.valid is not None
    inside = small.valid.copy()
    inside[:10] = inside[-10:] = False
    soft = [cv2.GaussianBlur(p.astype(np.float32), (0, 0), 2) for p in (small.image, reduced)]
    assert np.abs(soft[0] - soft[1])[inside].mean() < 1.6


def test_summary_accounts_for_every_photo(tmp_path: Path) -> None:
    names = []
    for k, pixels in enumerate([*room(), photograph(180, seed=5).pixels]):
        names.append(str(tmp_path / f"{k}.jpg"))
        Image.fromarray(pixels).save(names[-1], quality=95)
    summary = composer.stitch(names, tmp_path / "out.jpg", device="cpu").summary()
    json.dumps(summary)
    (panorama,) = summary["panoramas"]
    assert sorted(panorama["photos"] + [u["photo"] for u in summary["unused"]]) == names
    assert set(panorama) == {
        "output", "photos", "width", "height", "projection", "fov_deg", "rms_px", "notes",
    }  # fmt: skip
    assert set(summary) == {"panoramas", "unused", "stages", "peak_mb"}
    assert all(s["seconds"] >= 0 for s in summary["stages"])


def test_events_tell_progress_to_the_end() -> None:
    events: list[Event] = []
    composer.stitch(room(), observe=events.append, device="cpu")
    ended = [e.stage for e in events if e.seconds is not None]
    assert ended[:3] == ["read headers", "find-features", "match"]
    assert ended[-1] == "render"
    assert all(0 <= e.fraction <= 1 for e in events)


def test_cancel_stops_and_writes_nothing(tmp_path: Path) -> None:
    from composer.errors import Cancelled

    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 4

    with pytest.raises(Cancelled):
        composer.stitch(room(), tmp_path / "out.jpg", cancelled=cancelled, device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_photos_that_do_not_overlap() -> None:
    photos = [photograph(y, hfov_deg=40, seed=k).pixels for k, y in enumerate((0, 120, 240))]
    with pytest.raises(NothingToStitch, match="no two photos overlap") as caught:
        composer.stitch(photos, device="cpu")
    assert len(caught.value.unused) == 3


def test_identical_photos_count_once() -> None:
    photos = room()
    with pytest.raises(NothingToStitch, match="the same file as photo 1"):
        composer.stitch([photos[0], photos[0].copy()], device="cpu")
    result = composer.stitch([photos[0], photos[1], photos[0].copy()], device="cpu")
    assert [(u.photo, u.reason) for u in result.unused] == [("photo 3", "the same file as photo 1")]


def test_a_tiny_photo_is_left_out_with_the_reason() -> None:
    result = composer.stitch([*room(), np.zeros((1, 1, 3), np.uint8)], device="cpu")
    assert "too small" in result.unused[0].reason


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    names = [tmp_path / f"{k}.png" for k in range(3)]
    for name, pixels in zip(names, room(), strict=True):
        Image.fromarray(pixels).save(name)
    before = names[1].read_bytes()
    events: list[Event] = []
    with pytest.raises(OutputError, match="is one of the inputs"):
        composer.stitch(names, names[1], device="cpu", observe=events.append)
    assert {e.stage for e in events} == {"read headers"}  # before any work is done
    assert names[1].read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"projection": "globe"}, "projection"),
        ({"crop": "circle"}, "crop"),
        ({"blend": "mix"}, "blend"),
        ({"width": 0}, "width"),
        ({"workers": 0}, "workers"),
        ({"roll": float("inf")}, "finite"),
        ({"fov": (90.0, float("nan"))}, "finite"),
    ],
)
def test_senseless_options_are_refused_before_work(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        composer.stitch(room(), **options)  # type: ignore[arg-type]


def test_a_plane_cannot_show_a_circle(views: list[View]) -> None:
    with pytest.raises(OptionError, match="cylinder or sphere"):
        composer.stitch([v.pixels for v in views], projection="plane", device="cpu")


def test_a_changed_photo_is_noticed(tmp_path: Path) -> None:
    for k, pixels in enumerate(room()):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    composer.stitch(tmp_path, save=tmp_path / "plan", device="cpu")
    Image.fromarray(room()[0][:, ::-1]).save(tmp_path / "0.png")
    with pytest.raises(PhotoError, match="has changed"):
        composer.stitch(load=tmp_path / "plan", device="cpu")


def test_the_map_to_a_photo_inverts_the_lens(ring: composer.Stitched) -> None:
    composition = ring.panoramas[0].composition
    layer = composition.layers[0]
    u, v, inside = photo_map(np, composition, layer, layer.rect)
    where = np.argwhere(inside)[::97]
    half = min(layer.photo.width, layer.photo.height) / 2
    centre = np.array([(layer.photo.width - 1) / 2, (layer.photo.height - 1) / 2])
    points = np.stack([u[tuple(where.T)], v[tuple(where.T)]], 1) - centre
    plane = pixel_to_plane(points.astype(float), layer.camera.distortion, half) / layer.camera.focal_px
    rays = np.c_[plane, np.ones(len(plane))] @ layer.camera.rotation
    lon, lat = np.arctan2(rays[:, 0], rays[:, 2]), np.arctan2(rays[:, 1], np.hypot(rays[:, 0], rays[:, 2]))
    x = where[:, 1] + layer.rect.x0 + composition.origin[0]
    y = where[:, 0] + layer.rect.y0 + composition.origin[1]
    around = 2 * np.pi * composition.scale
    assert np.abs((lon * composition.scale - x + around / 2) % around - around / 2).max() < 5e-3
    assert np.abs(lat * composition.scale - y).max() < 5e-3


def test_the_same_view_twice_is_that_view() -> None:
    """Two photos from one tripod say nothing of the focal length: a usual one is taken."""
    twice = [photograph(0, seed=k).pixels for k in (1, 2)]
    (panorama,) = composer.stitch(twice, device="cpu").panoramas
    assert len(panorama.photos) == 2
    assert 25 < panorama.composition.fov_deg[0] < 75
    assert panorama.image.shape[1] == pytest.approx(480, abs=30)


def test_a_photo_outside_the_crop_is_named() -> None:
    """A photo far above the row has no part in the rectangle."""
    views = [photograph(y, 0, 0, 40) for y in (-52, -26, 0, 26, 52)]
    views += [photograph(0, p, 0, 40) for p in (22, 44)]
    result = composer.stitch([v.pixels for v in views], crop="rectangle", projection="sphere", device="cpu")
    assert len(result.panoramas[0].photos) + len(result.unused) == 7
    assert [u.reason for u in result.unused] == ["lies outside the picture"]


def files(folder: Path, photos: list[np.ndarray]) -> Path:
    folder = folder / "photos"
    folder.mkdir()
    for k, pixels in enumerate(photos):
        Image.fromarray(pixels).save(folder / f"{k}.jpg", quality=95)
    return folder


def test_each_photo_is_decoded_once_whatever_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    plain = decoding.decode

    def counted(photo: Photo, profile: bytes | None = None, shrink: int = 1) -> np.ndarray:
        calls.append(photo.name)
        return plain(photo, profile, shrink)

    monkeypatch.setattr(decoding, "decode", counted)
    folder = files(tmp_path, room())
    plan, layers = tmp_path / "plan", tmp_path / "l.tif"
    composer.stitch(folder, tmp_path / "a.tif", save=plan, layers=layers, device="cpu")
    assert len(calls) == len(set(calls)) == 3
    for memory in (1 << 30, 1 << 20, 1):
        calls.clear()
        composer.stitch(load=plan, output=tmp_path / "b.tif", max_memory=memory, device="cpu")
        assert len(calls) == len(set(calls)) == 3
        assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_large_jpegs_are_planned_from_small_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int]] = []
    plain = decoding.decode

    def counted(photo: Photo, profile: bytes | None = None, shrink: int = 1) -> np.ndarray:
        calls.append((photo.name, shrink))
        return plain(photo, profile, shrink)

    monkeypatch.setattr(decoding, "decode", counted)
    size = (1800, 1350)
    folder = files(tmp_path, [cv2.resize(p, size, interpolation=cv2.INTER_CUBIC) for p in room()[:2]])
    composer.stitch(folder, tmp_path / "a.jpg", preview=500, device="cpu")
    assert sorted(n for _, n in calls) == [2, 2]
    calls.clear()
    composer.stitch(folder, tmp_path / "a.jpg", device="cpu")
    assert sorted(n for _, n in calls) == [1, 1, 2, 2]


@pytest.mark.parametrize("name", ["a.webp", None])
def test_a_canvas_that_does_not_fit_is_refused_before_it_is_rendered(
    tmp_path: Path, name: str | None
) -> None:
    folder = files(tmp_path, room())
    composer.stitch(folder, save=tmp_path / "plan", device="cpu")
    stages: list[str] = []
    with pytest.raises(OutputError, match=r"at once, more than --max-memory leaves; write \.tif"):
        composer.stitch(
            load=tmp_path / "plan", output=tmp_path / name if name else None, max_memory=1 << 20,
            observe=lambda e: stages.append(e.stage), device="cpu",
        )  # fmt: skip
    assert stages == []
    for streamed in ("a.jpg", "a.png", "a.dzi"):
        composer.stitch(load=tmp_path / "plan", output=tmp_path / streamed, max_memory=1 << 20, device="cpu")


def test_gravity_levels_a_tilted_pair(tmp_path: Path) -> None:
    angles = [(-15.0, 14.0, 9.0), (15.0, 14.0, 9.0)]
    for k, angle in enumerate(angles):
        posed = '<a drone-dji:GimbalRollDegree="9.0" drone-dji:GimbalPitchDegree="+14.0"/>'
        Image.fromarray(photograph(*angle).pixels).save(tmp_path / f"{k}.jpg", quality=95, xmp=posed.encode())
    photos = sorted(tmp_path.glob("*.jpg"))

    def tilt(**options: Any) -> float:
        """Return by how many degrees the first photo's horizon is off."""
        layer = composer.stitch(photos, width=200, **options).panoramas[0].composition.layers[0]
        along = layer.camera.rotation[:, 1] @ rotation(*angles[0])[:, 1]
        return float(np.degrees(np.arccos(np.clip(along, -1, 1))))

    assert tilt() < 0.2
    assert tilt(settings={"level.gravity": "false"}) > 5


def test_a_grey_photo_among_coloured_ones_is_named_and_tints_no_other() -> None:
    photos = room()
    grey = cv2.cvtColor(photos[1], cv2.COLOR_RGB2GRAY)
    (panorama,) = composer.stitch([photos[0], grey, photos[2]]).panoramas
    assert [note for note in panorama.notes if "photo 2: greyscale" in note]
    for layer in panorama.composition.layers:
        assert max(layer.gain) < 1.1 * min(layer.gain)
    (coloured,) = composer.stitch(photos).panoramas
    assert coloured.notes == ()


def test_what_the_first_photo_was_stripped_of_the_panorama_has_from_the_next(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x013B] = "Ansel"
    for k, pixels in enumerate(room()):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png", exif=exif if k else None)
    composer.stitch(tmp_path, tmp_path / "all.jpg", width=300)
    with Image.open(tmp_path / "all.jpg") as made:
        assert made.getexif()[0x013B] == "Ansel"


def test_the_profile_of_coloured_photos_outlives_a_grey_first_one(tmp_path: Path) -> None:
    photos = room()
    Image.fromarray(cv2.cvtColor(photos[0], cv2.COLOR_RGB2GRAY)).save(tmp_path / "0.png")
    for k in (1, 2):
        Image.fromarray(photos[k]).save(tmp_path / f"{k}.png", icc_profile=swapped_profile())
    composer.stitch(tmp_path, tmp_path / "all.png", width=300)
    with Image.open(tmp_path / "all.png") as made:
        assert made.info["icc_profile"] == swapped_profile()


def test_photos_of_other_profiles_are_converted_and_that_is_said(tmp_path: Path) -> None:
    other = swapped_profile().replace("sRGB".encode("utf-16-be"), "Wide".encode("utf-16-be"))
    for k, pixels in enumerate(room()):
        profile = other if k == 1 else None
        Image.fromarray(pixels).save(tmp_path / f"{k}.png", icc_profile=profile)
    (panorama,) = composer.stitch(tmp_path, width=300).panoramas
    assert "(sRGB, Wide built-in): all were converted to sRGB" in panorama.notes[0]


def test_a_flat_scene_can_be_rolled_and_nothing_else(tmp_path: Path) -> None:
    scene = cv2.resize(gallery(), (1200, 600), interpolation=cv2.INTER_AREA)
    scans = [np.ascontiguousarray(scene[100:500, x : x + 400]) for x in (0, 250, 500)]
    flat = composer.stitch(scans, projection="affine").panoramas[0]
    rolled = composer.stitch(scans, projection="affine", roll=90).panoramas[0]
    assert abs(rolled.composition.width - flat.composition.height) <= 1
    assert abs(rolled.composition.height - flat.composition.width) <= 1
    turned = np.rot90(flat.image)[3:-3, 3:-3].astype(float)
    there = rolled.image[3:-3, 3:-3].astype(float)
    height, width = (min(a, b) for a, b in zip(turned.shape[:2], there.shape[:2], strict=True))
    assert np.abs(turned[:height, :width] - there[:height, :width]).mean() < 5
    with pytest.raises(OptionError, match="from the front"):
        composer.stitch(scans, projection="affine", yaw=10)


@pytest.mark.parametrize(("made", "wanted"), [("cylinder", "affine"), ("affine", "sphere")])
def test_a_plan_is_not_shown_in_a_projection_that_its_cameras_do_not_fit(
    tmp_path: Path, made: str, wanted: str
) -> None:
    for k, pixels in enumerate(room()[:2]):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    composer.stitch(tmp_path, projection=made, save=tmp_path / "plan", width=200)
    with pytest.raises(OptionError, match="stitch the photos anew"):
        composer.stitch(load=tmp_path / "plan", projection=wanted)
