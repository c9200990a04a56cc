"""`fuse` from end to end: photos in, one picture out, command and function alike."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import composer
from composer.cli import app
from composer.errors import NothingToFuse, OptionError, OutputError, PhotoError
from composer.fusion.methods import METHODS
from composer.media.picture import read_picture
from composer.records import to_encoded, to_linear
from composer.samples import picture


def exposed(photo: np.ndarray, stops: float) -> np.ndarray:
    light = to_linear(photo / np.float32(255)) * np.float32(2**stops)
    return np.rint(np.clip(to_encoded(light), 0, 1) * 255).astype(np.uint8)


@pytest.fixture
def bracket(tmp_path: Path) -> Path:
    folder = tmp_path / "bracket"
    folder.mkdir()
    photo = picture("coffee.png")[:200, :300]
    for k, stops in enumerate((-2, 0, 2)):
        exif = Image.Exif()
        exif[0x010F] = f"Maker {k}"
        Image.fromarray(exposed(photo, stops)).save(folder / f"p{k}.png", exif=exif)
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_command_equals_function(bracket: Path, tmp_path: Path, method: str) -> None:
    out, summary = tmp_path / "out.png", tmp_path / "s.json"
    words = ["fuse", str(bracket), "-o", str(out), "--method", method, "--summary", str(summary), "-q"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    found = composer.fuse(bracket, method=method, workers=1)
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(found))
    told = json.loads(summary.read_text())
    assert (told["method"], len(told["photos"])) == (method, 3)


def test_metadata_are_the_references(bracket: Path, tmp_path: Path) -> None:
    composer.fuse(bracket, tmp_path / "a.jpg", reference="p2")
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.getexif()[0x010F] == "Maker 2"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_type_and_channels_stay(method: str, dtype: str, channels: int) -> None:
    top = 1.0 if dtype == "float32" else np.iinfo(dtype).max
    rng = np.random.default_rng(5)
    stack = [(rng.random((40, 50, channels)) * top).astype(dtype) for _ in range(3)]
    if (method, dtype) == ("hdr", "float32"):
        with pytest.raises(OptionError, match="photos are floats"):
            composer.fuse(stack, method=method, align="none")
        return
    found = composer.fuse(stack, method=method, align="none").image
    assert (found.shape, found.dtype) == ((40, 50, channels), np.dtype(dtype))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_means_and_medians_of_equal_photos_are_the_photo(dtype: str) -> None:
    photo = np.random.default_rng(6).integers(0, np.iinfo(dtype).max + 1, (60, 70, 3)).astype(dtype)
    for method in ("average", "median", "sigma-clip", "max", "min"):
        assert np.array_equal(composer.fuse([photo] * 4, method=method, align="none").image, photo), method


def test_average_is_one_long_exposure() -> None:
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    found = composer.fuse([black, white], method="average", align="none").image
    assert np.all(found == 188)  # half the light


def test_median_removes_passers_by_and_extremes_keep_them() -> None:
    photo = picture("coffee.png")[:120, :160]
    stack = [photo.copy() for _ in range(5)]
    for k, seen in enumerate(stack):
        seen[40:60, 10 + 30 * k : 30 + 30 * k] = 255
    assert np.array_equal(composer.fuse(stack, method="median", align="none").image, photo)
    assert np.array_equal(composer.fuse(stack, method="max").image, np.max(stack, 0))
    assert np.array_equal(composer.fuse(stack, method="min").image, np.min(stack, 0))
    clipped = composer.fuse(stack, method="sigma-clip", align="none").image
    assert np.abs(clipped.astype(int) - photo).max() <= 1


@pytest.mark.parametrize("method", ["average", "median", "exposure", "focus"])
def test_hand_held_photos_are_aligned(method: str) -> None:
    photo = picture("coffee.png")
    turn = np.array([[1.002, -0.006, 4.3], [0.006, 1.002, -3.6], [0, 0, 1.0]])
    moved = cv2.warpPerspective(photo, turn, (600, 400), flags=cv2.INTER_CUBIC)
    found = composer.fuse([photo, moved, photo // 8 * 8], method=method, reference="photo 1")
    assert found.moved_px[1] > 4
    assert found.moved_px[0] == found.moved_px[2] == 0
    inner = np.s_[30:-30, 30:-30]
    assert np.abs(found.image[inner].astype(float) - photo[inner]).mean() < 4


def test_sizes_may_differ_where_photos_are_aligned() -> None:
    photo = picture("coffee.png")
    larger = cv2.resize(photo, (900, 600), interpolation=cv2.INTER_CUBIC)
    found = composer.fuse([photo, larger], method="average").image
    assert np.abs(found.astype(float) - photo).mean() < 2
    with pytest.raises(PhotoError, match="photo 2 is 900 x 600, photo 1 600 x 400"):
        composer.fuse([photo, larger], method="average", align="none")
    with pytest.raises(PhotoError, match="300 x 200"):
        composer.fuse([photo, picture("chelsea.png")[:200, :300]], reference="photo 1")


def test_views_that_share_little_are_no_stack() -> None:
    photo = picture("coffee.png")
    most, part = photo[:, :400], photo[:, 150:550]
    assert composer.fuse([most, part], method="average", reference="photo 1").moved_px[1] > 140
    with pytest.raises(PhotoError, match=r"photo 2 and photo 1 share \d\d% .* stitch"):
        composer.fuse([most, photo[:, 220:]], method="average", reference="photo 1")
    detail = cv2.resize(photo[100:300, 200:500], (600, 400), interpolation=cv2.INTER_CUBIC)
    composer.fuse([photo, detail], method="average", reference="photo 1")  # all of it is in the other


def test_photos_of_different_things_are_no_stack() -> None:
    photo, other = picture("coffee.png")[:300, :450], picture("chelsea.png")[:300, :450]
    with pytest.raises(PhotoError, match=r"photo 2 and photo 1 show different things.*align=none"):
        composer.fuse([photo, other], method="average", reference="photo 1")
    assert composer.fuse([photo, other], method="average", align="none").notes == ()
    dark = composer.fuse([photo, np.zeros_like(photo)], method="average", reference="photo 1")
    assert "taken as it lies: leave it out if" in dark.notes[0]


def test_ghosts_are_the_references() -> None:
    photo = picture("coffee.png")
    dark, bright = exposed(photo, -1.5), exposed(photo, 1.5)
    dark[100:160, 400:460] = np.kron(np.indices((15, 15)).sum(0) % 2, np.ones((4, 4)))[:, :, None] * (
        220,
        30,
        30,
    )
    options = {"reference": "photo 2", "align": "none"}
    clean = composer.fuse([exposed(photo, -1.5), photo, bright], **options).image
    kept, removed = (
        composer.fuse([dark, photo, bright], **options, ghosts=g).image for g in ("keep", "remove")
    )
    place = np.s_[105:155, 405:455]

    def away(image: np.ndarray) -> float:
        return float(np.abs(image[place].astype(float) - clean[place]).mean())

    assert away(kept) > 20
    assert away(removed) < 12


def test_damaged_photos_are_set_aside_and_named(bracket: Path, tmp_path: Path) -> None:
    good = (bracket / "p1.png").read_bytes()
    (bracket / "p7.png").write_bytes(good[: len(good) // 2])
    (bracket / "p8.png").write_bytes(b"no picture")
    for method in ("exposure", "average"):
        found = composer.fuse(bracket, method=method)
        assert len(found.photos) == 3
        assert {Path(u.photo).name for u in found.unused} == {"p7.png", "p8.png"}


def test_the_same_photo_twice_counts_in_means_only(bracket: Path) -> None:
    (bracket / "p1b.png").write_bytes((bracket / "p1.png").read_bytes())
    assert len(composer.fuse(bracket, method="exposure").photos) == 3
    assert len(composer.fuse(bracket, method="average").photos) == 4


def test_transparent_pixels_do_not_count() -> None:
    photo = picture("coffee.png")[:100, :120]
    clear = np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])
    holed = clear.copy()
    holed[20:50, 20:60] = 0
    for method in set(METHODS) - {"hdr"}:
        found = composer.fuse([holed, clear], method=method, align="none")
        assert np.abs(found.image[:, :, :3].astype(int) - photo).max() <= 3, method
        assert np.all(found.image[:, :, 3] == 255)


def test_hdr_keeps_light_beyond_white_and_leaves_out_what_is_transparent(tmp_path: Path) -> None:
    scene = to_linear(picture("coffee.png")[:100, :120] / np.float32(255)) * 4 + np.float32(0.01)
    stack = [np.rint(to_encoded(np.clip(scene * k, 0, 1)) * 255).astype(np.uint8) for k in (1, 1 / 4)]
    stack = [np.dstack([p, np.full(p.shape[:2], 255, np.uint8)]) for p in stack]
    whole = composer.fuse(stack, method="hdr", align="none", response="srgb", tone_map="none").image
    light = to_linear(whole[:, :, :3])
    scale = np.median(light / scene)
    assert np.median(np.abs(light / (scene * scale) - 1)) < 0.03
    assert light.max() > 1
    stack[1][20:40, 30:60] = 0
    holed = composer.fuse(stack, method="hdr", align="none", response="srgb", tone_map="none").image
    dark = (scene < 0.8).all(2)[20:40, 30:60]
    assert np.abs(holed[20:40, 30:60, :3] - whole[20:40, 30:60, :3])[dark].max() < 0.05
    shown = composer.fuse(stack, tmp_path / "a.png", method="hdr", align="none")
    assert shown.image.dtype == np.uint8
    composer.fuse([p[:, :, :3] for p in stack], tmp_path / "a.exr", method="hdr", align="none")
    composer.fuse(
        [p[:, :, :3] for p in stack], tmp_path / "a.tif", method="hdr", align="none", tone_map="none"
    )
    linear, floats = (read_picture(tmp_path / n, n).pixels for n in ("a.exr", "a.tif"))
    np.testing.assert_allclose(linear, floats, atol=1e-3)


def test_nan_does_not_count() -> None:
    photo = picture("coffee.png")[:100, :120].astype(np.float32) / 255
    holed = photo.copy()
    holed[20:50, 20:60] = np.nan
    for method in set(METHODS) - {"hdr"}:
        found = composer.fuse([photo, holed], method=method, align="none").image
        np.testing.assert_allclose(found, photo, atol=0.02, err_msg=method)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "mean"}, "give one of exposure"),
        ({"align": "affine"}, "give one of auto"),
        ({"ghosts": "remove", "method": "median"}, "median removes"),
        ({"reference": "nobody"}, "no photo is called nobody"),
        ({"contrast": -1.0}, "0 or more"),
        ({"sigmas": 0.0, "method": "sigma-clip"}, "more than 0"),
        ({"sigmas": 2.0, "method": "median"}, "sigmas is for sigma-clip, not for median"),
        ({"contrast": 0.0, "method": "focus"}, "are for exposure, not for focus"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    photo = np.full((20, 30, 3), 90, np.uint8)
    with pytest.raises(OptionError, match=message):
        composer.fuse([photo, photo + 1], **options)  # type: ignore[arg-type]


def test_one_photo_is_nothing_to_fuse(bracket: Path) -> None:
    with pytest.raises(NothingToFuse, match="1 photo to fuse; give two or more"):
        composer.fuse(bracket / "p0.png")


@pytest.mark.parametrize("method", ["exposure", "focus", "hdr"])
@pytest.mark.parametrize(("level", "colour"), [(1, "black"), (254, "white")])
def test_a_photo_that_shows_nothing_is_left_out(bracket: Path, method: str, level: int, colour: str) -> None:
    noise = np.random.default_rng(0).integers(-1, 2, (200, 300, 3))
    blind = (level + noise).astype(np.uint8)
    photos = [str(p) for p in sorted(bracket.iterdir())]
    expected = composer.fuse(photos, method=method).image
    Image.fromarray(blind).save(bracket / "p9.png")
    found = composer.fuse(bracket, method=method)
    assert [u.reason for u in found.unused] == [f"it is {colour} all over; it shows nothing"]
    assert np.array_equal(found.image, expected)
    assert len(composer.fuse(bracket, method="average").photos) == 4  # dark frames are averaged


def test_a_dark_photo_of_the_sun_is_kept(bracket: Path) -> None:
    sun = np.zeros((200, 300, 3), np.uint8)
    cv2.circle(sun, (150, 90), 4, (200, 200, 200), -1)
    Image.fromarray(sun).save(bracket / "p9.png")
    assert not composer.fuse(bracket, align="none").unused


def test_an_input_is_never_the_output(bracket: Path) -> None:
    with pytest.raises(OutputError, match="one of the inputs"):
        composer.fuse(bracket, bracket / "p1.png")


@pytest.mark.parametrize("method", ["average", "median"])
def test_results_depend_on_neither_memory_nor_threads(bracket: Path, method: str) -> None:
    a = composer.fuse(bracket, method=method, workers=1).image
    b = composer.fuse(bracket, method=method, workers=3, max_memory=1 << 18).image
    assert np.array_equal(a, b)


def test_a_photo_of_another_scene_and_size_is_named_and_alignment_is_not_asked_for() -> None:
    photos = [picture("coffee.png"), picture("chelsea.png")[:280]]
    with pytest.raises(PhotoError, match=r"do not match.* leave one out"):
        composer.fuse(photos)


def test_a_photo_given_twice_is_not_called_the_same_file_as_itself(tmp_path: Path) -> None:
    names = [str(tmp_path / f"{k}.png") for k in range(2)]
    for k, name in enumerate(names):
        cv2.imwrite(name, picture("coffee.png") // (k + 1))
    result = composer.fuse([*names, names[0]])
    assert [u.reason for u in result.unused] == ["given twice"]
