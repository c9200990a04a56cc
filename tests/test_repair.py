"""The verb `repair`: holes that a mask or a box marks, filled, all else as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import composer
from composer.api.batches import mend_file
from composer.cli import app
from composer.errors import Cancelled, OptionError, OutputError, PhotoError
from composer.mending.marking import DRAWN
from composer.records import Rect
from composer.samples import picture

Array = NDArray[Any]
FILLS = ("auto", "harmonic", "biharmonic", "telea", "navier-stokes", "edges", "mixed", "patches")


def photo(size: int = 96) -> Array:
    return picture("coffee.png")[100 : 100 + size, 200 : 200 + size]


def scratch(size: int = 96) -> Array:
    mask = np.zeros((size, size), bool)
    mask[20:70, 40:43] = True
    mask[80:86, 10:60] = True
    return mask


def as_type(pixels: Array, dtype: str) -> Array:
    scale: dict[str, Any] = {"uint8": 1, "uint16": 257, "float32": np.float32(1 / 255)}
    return (pixels.astype(dtype) * scale[dtype]).astype(dtype)


def psnr(found: Array, truth: Array, mask: Array) -> float:
    error = (found[mask].astype(float) - truth[mask].astype(float)) / 255
    return float(-10 * np.log10((error**2).mean()))


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_fills_every_type_and_leaves_the_rest(fill: str, dtype: str, channels: int) -> None:
    colour = photo()
    alpha = np.full((96, 96, 1), 255, np.uint8)
    planes = {1: colour[:, :, :1], 3: colour, 4: np.concatenate([colour, alpha], 2)}[channels]
    truth, mask = as_type(planes, dtype), scratch()
    damaged = np.where(mask[:, :, None], 0, truth).astype(dtype)
    if channels == 4:
        damaged[:, :, 3] = truth[:, :, 3]
    result = composer.repair(damaged, mask, fill=fill)
    assert result.image.dtype == truth.dtype
    assert result.image.shape == truth.shape
    assert np.array_equal(result.image[~mask], truth[~mask])
    top = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[dtype]
    assert psnr(result.image / top, truth / top, mask) > 19
    assert [f.kind for f in result.faults] == ["mask", "mask"]


def test_what_alpha_hides_is_no_source_and_alpha_stays() -> None:
    pixels = np.full((40, 40, 4), 100, np.uint8)
    pixels[:, :, 3] = 200
    pixels[:, 20:] = 255, 255, 255, 0
    mask = np.zeros((40, 40), bool)
    mask[10:30, 18:20] = True
    for fill in FILLS:
        found = composer.repair(pixels, mask, fill=fill).image
        assert np.array_equal(found[:, :, 3], pixels[:, :, 3])
        np.testing.assert_allclose(found[mask][:, :3], 100, atol=3 if fill == "telea" else 0)


def test_holes_may_be_nan_and_nan_is_no_source() -> None:
    pixels = np.full((40, 40, 3), 0.25, np.float32)
    mask = np.zeros((40, 40), bool)
    mask[10:20, 10:14] = True
    pixels[mask] = np.nan
    pixels[15, 15] = np.nan
    for fill in FILLS:
        found = composer.repair(pixels, mask, fill=fill).image
        np.testing.assert_allclose(found[mask], 0.25, atol=0.01 if fill == "telea" else 1e-5)
        assert np.isnan(found[15, 15]).all()


def test_a_hole_that_touches_nothing_visible_is_left_and_said() -> None:
    pixels = np.full((40, 40, 4), 200, np.uint8)
    pixels[:, 20:, 3] = 0
    mask = np.zeros((40, 40), bool)
    mask[10:13, 10:13] = mask[10:13, 30:33] = True
    result = composer.repair(pixels, mask)
    assert [bool(f.operator) for f in result.faults] == [True, False]
    assert "1 hole touches nothing visible, at 30, 10" in result.notes[0]
    assert np.array_equal(result.image[:, 20:], pixels[:, 20:])


def test_what_alpha_hides_stays_so_unless_holes_are_named() -> None:
    alpha = np.full((96, 96, 1), 255, np.uint8)
    alpha[30:60, 40:60] = 0
    cut_out = np.concatenate([photo(), alpha], 2)
    result = composer.repair(cut_out)
    assert np.array_equal(result.image, cut_out)
    assert '6.5 % of the photo is transparent, and stays so unless the kind "hole" is named' in result.notes
    assert (composer.repair(cut_out, faults="hole").image[:, :, 3] == 255).all()


def test_what_is_not_finite_is_filled_beside_what_alpha_hides() -> None:
    pixels = np.dstack([as_type(photo(), "float32"), np.ones((96, 96), np.float32)])
    pixels[:10, :, 3] = 0
    pixels[40:44, 40:44, :3] = np.nan
    result = composer.repair(pixels)
    assert [f.rect for f in result.faults] == [Rect(40, 40, 44, 44)]
    assert np.isfinite(result.image).all()
    assert np.array_equal(result.image[:, :, 3], pixels[:, :, 3])


def test_a_drawing_is_left_alone_unless_kinds_are_named() -> None:
    drawing = np.kron(np.eye(12, dtype=np.uint8)[:, :, None], np.full((8, 8, 3), 200, np.uint8))
    drawing[::7, ::5] = 255
    result = composer.repair(drawing)
    assert np.array_equal(result.image, drawing)
    assert result.notes == (DRAWN,)
    assert composer.repair(drawing, faults="hole", find_only=True).faults


def test_a_result_with_many_faults_is_shown_in_a_line() -> None:
    mask = np.zeros((96, 96), bool)
    mask[::6, ::6] = True
    result = composer.repair(photo(), mask, fill="harmonic")
    assert len(result.faults) == 256
    assert len(repr(result)) < 400


def test_nothing_marked_changes_nothing() -> None:
    result = composer.repair(photo(), np.zeros((96, 96), bool))
    assert np.array_equal(np.asarray(result), photo())
    assert result.faults == ()


@pytest.mark.parametrize(
    ("mask", "options", "message"),
    [
        (None, {"faults": "stains"}, 'no kind of fault "stains"; give some of hole, impulse'),
        (None, {"faults": "line", "without": ["line"]}, "no kind of fault is left"),
        (None, {"box": (1, 2, 3, 4), "faults": "line"}, "where neither mask nor box is given"),
        (None, {"box": (1, 2, 3, 4), "find_only": True}, "where neither mask nor box is given"),
        (np.ones((96, 96), bool), {}, "leave nothing of the photo"),
        (np.ones((9, 7), bool), {}, "the mask has 7 x 9 pixels, the photo 96 x 96"),
        (None, {"box": (96, 0, 4, 4)}, "outside the photo"),
        (None, {"box": (1, 2, 3)}, "give x, y, width and height"),
        (None, {"box": (1, 2, 3, 4), "fill": "magic"}, 'fill is "magic"; give one of auto, harmonic'),
        (None, {"box": (1, 2, 3, 4), "grow": -1}, "grow is -1"),
    ],
)
def test_what_makes_no_sense_is_said(mask: Array | None, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        composer.repair(photo(), mask, **options)


def test_the_photo_is_never_the_output(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "a.png")
    with pytest.raises(OutputError, match="one of the inputs"):
        composer.repair(tmp_path / "a.png", box=(5, 5, 3, 3), output=tmp_path / "a.png")


def test_boxes_and_masks_make_holes_that_grow() -> None:
    mask = np.zeros((96, 96), bool)
    mask[70:73, 70:73] = True
    result = composer.repair(photo(), mask, box=[(10, 20, 4, 30), (90, 90, 20, 20)], grow=2)
    assert [(f.kind, f.rect) for f in result.faults] == [
        ("box", Rect(8, 18, 16, 52)),
        ("mask", Rect(68, 68, 75, 75)),
        ("box", Rect(88, 88, 96, 96)),
    ]
    assert result.mask.sum() == sum(1 for _ in zip(*np.nonzero(result.mask), strict=True)) > 300


@settings(max_examples=6, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(1, 20)] * 2), min_size=1, max_size=5))
def test_outside_the_holes_every_bit_stays(boxes: list[tuple[int, int, int, int]]) -> None:
    pixels = photo(64)
    inside = [b for b in boxes if b[0] < 64 and b[1] < 64]
    result = composer.repair(pixels, box=inside)
    assert np.array_equal(result.image[~result.mask], pixels[~result.mask])
    again = composer.repair(np.where(result.mask[:, :, None], 7, pixels).astype(np.uint8), result.mask)
    assert np.array_equal(result.image, again.image)  # what was in the holes does not count


@pytest.mark.parametrize("fill", FILLS)
def test_workers_change_nothing(fill: str) -> None:
    times = 2 if fill == "patches" else 7
    pixels = np.tile(photo(), (times, times, 1))
    mask = np.tile(scratch(), (times, times))
    one, two = (composer.repair(pixels, mask, fill=fill, workers=n).image for n in (1, 2))
    assert np.array_equal(one, two)


def test_a_long_thin_hole_shows_no_trace_of_the_tiles() -> None:
    rows, columns = np.mgrid[:60, :1100] / 1100
    pixels = np.dstack([rows, columns, 1 - columns]).astype(np.float32)
    mask = np.zeros((60, 1100), bool)
    mask[25:35] = True
    found = composer.repair(pixels, mask, fill="biharmonic").image
    np.testing.assert_allclose(found, pixels, atol=2e-3)


def test_the_command_does_what_the_function_does(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "a.png")
    Image.fromarray(scratch()).save(tmp_path / "m.png")
    arguments = [
        "repair", str(tmp_path / "a.png"), "--mask", str(tmp_path / "m.png"), "--box", "60,10,5,5",
        "--fill", "edges", "--grow", "1", "-o", str(tmp_path / "o.png"),
        "--summary", str(tmp_path / "s.json"),
    ]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    wanted = composer.repair(photo(), scratch(), box=(60, 10, 5, 5), fill="edges", grow=1)
    with Image.open(tmp_path / "o.png") as image:
        assert np.array_equal(np.asarray(image), wanted.image)
    said = json.loads((tmp_path / "s.json").read_text())
    assert [f["kind"] for f in said["faults"]] == ["box", "mask", "mask"]
    assert said["marked_px"] == wanted.mask.sum()
    assert f"{wanted.mask.sum()} pixels mended: 1 box by edges, 2 mask by edges" in done.output


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--report", "r.html"], 2, "are for several"),
        (["--box", "1,2,3"], 2, "--box 1,2,3: write X,Y,WIDTH,HEIGHT"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], status: int, message: str) -> None:
    Image.fromarray(photo()).save(tmp_path / "a.png")
    done = CliRunner().invoke(
        app, ["repair", str(tmp_path / "a.png"), "-o", str(tmp_path / "o.png"), *arguments]
    )
    assert done.exit_code == status
    assert message in done.output
    assert not (tmp_path / "o.png").exists()


def test_auto_goes_by_width_and_texture() -> None:
    rough = picture("gravel.png")[:256, :256]
    boxes = [(10, 20, 8, 200), (60, 60, 30, 40), (140, 100, 90, 90)]
    names = [f.operator for f in composer.repair(rough, box=boxes).faults]
    assert names == ["mixed", "patches", "patches"]
    smooth = np.linspace(0, 1, 256 * 256, dtype=np.float32).reshape(256, 256)
    names = [f.operator for f in composer.repair(smooth, box=boxes).faults]
    assert names == ["mixed", "mixed", "patches"]


def test_a_hole_too_large_to_be_solved_for_is_refused() -> None:
    large = np.zeros((520, 560, 1), np.uint8)
    with pytest.raises(OptionError, match="harmonic takes 250000; fill it with patches"):
        composer.repair(large, box=(5, 5, 510, 510), fill="harmonic")


def broken_file(folder: Path, share: float = 0.5) -> Path:
    """Write a JPEG file cut short."""
    path = folder / "broken.jpg"
    Image.fromarray(picture("coffee.png")).save(path, quality=85)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def test_a_damaged_file_is_refused_and_salvaged_if_asked(tmp_path: Path) -> None:
    path = broken_file(tmp_path)
    with pytest.raises(PhotoError, match="composer repair --salvage"):
        composer.repair(path)
    result = composer.repair(path, salvage=True)
    (fault,) = result.faults
    assert (fault.kind, fault.operator, fault.rect.y1) == ("lost blocks", "", 400)
    assert (result.image[result.mask] == 128).all()
    assert "left grey" in result.notes[1]


def test_a_small_lost_part_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "bad.jpg"
    Image.fromarray(picture("coffee.png")).save(path, quality=85)
    data = bytearray(path.read_bytes())
    data[30000:30200] = bytes(200)
    path.write_bytes(data)
    result = composer.repair(path, salvage=True, output=tmp_path / "out.png")
    assert {f.kind for f in result.faults} == {"lost blocks"}
    assert all(f.operator for f in result.faults)
    assert 0 < result.mask.mean() < 0.02
    truth = picture("coffee.png")
    assert psnr(np.asarray(Image.open(tmp_path / "out.png")), truth, result.mask) > 15


def test_salvage_is_for_files_and_finds_by_itself(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="give the photo's path"):
        composer.repair(photo(), salvage=True)
    with pytest.raises(OptionError, match="leave out mask and box"):
        composer.repair(broken_file(tmp_path), salvage=True, box=(1, 2, 3, 4))


def test_the_command_salvages_one_and_a_batch_many(tmp_path: Path) -> None:
    path = broken_file(tmp_path, 0.8)
    Image.fromarray(picture("chelsea.png")[:150, :200]).save(tmp_path / "good.png")
    done = CliRunner().invoke(app, ["repair", "--salvage", str(path), "-o", str(tmp_path / "one.png")])
    assert done.exit_code == 0
    assert "could not be read" in done.output
    means = {"options": {"salvage": True}, "paths": {}, "max_memory": 1 << 30}
    told = mend_file(str(path), str(tmp_path / "out.jpg"), means)
    assert told["kinds"] == "lost blocks"
    Image.open(tmp_path / "out.jpg").load()
    assert mend_file(str(tmp_path / "good.png"), str(tmp_path / "same.png"), means)["faults"] == 0


def test_a_box_that_reaches_beyond_the_photo_is_told() -> None:
    photo = picture("coffee.png")[:100, :120]
    told = composer.repair(photo, box=(110, 10, 50, 4)).notes
    assert any("reaches beyond the photo; 10 x 4 pixels of it lie inside" in n for n in told)
    assert not composer.repair(photo, box=(100, 10, 20, 4)).notes


def test_masks_that_a_batch_wrote_are_found_by_the_next(tmp_path: Path) -> None:
    for name in ("a.png", "sub/a.png"):
        damaged = photo()
        damaged[scratch() if "sub" in name else scratch().T] = 0
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        Image.fromarray(damaged).save(tmp_path / "in" / name)
    found, out = tmp_path / "masks", tmp_path / "out"
    composer.repair_each(tmp_path / "in", found, {"find_only": True}, workers=1)
    Image.fromarray(scratch()).save(found / "sub" / "a.png")
    Image.fromarray(scratch().T).save(found / "a.png")
    batch = composer.repair_each(tmp_path / "in", out, {"mask": found}, workers=1)
    assert [o.item.name for o in batch.done] == ["a.png", "sub/a.png"]
    for name, mask in (("a.png", scratch().T), ("sub/a.png", scratch())):
        mended = np.asarray(Image.open(out / name))
        assert np.array_equal(mended[~mask], photo()[~mask])
        assert mended[mask].any(1).all()


def test_one_large_hole_shows_how_far_it_is_and_can_be_stopped() -> None:
    mask = np.zeros((160, 160), bool)
    mask[40:110, 50:110] = True
    told: list[float] = []
    composer.repair(photo(160), mask, fill="patches", observe=lambda e: told.append(e.fraction))
    assert len(told) > 10
    assert told == sorted(told)
    with pytest.raises(Cancelled):
        composer.repair(photo(160), mask, fill="patches", cancelled=lambda: True)


def test_a_photo_nearly_all_transparent_says_how_much_in_plain_digits() -> None:
    pixels = np.dstack([photo(), np.zeros((96, 96), np.uint8)])
    pixels[:6, :6, 3] = 255
    assert composer.repair(pixels).notes[0].startswith("99.6 % of the photo is transparent")


def test_a_black_mask_is_said_to_be_black() -> None:
    result = composer.repair(photo(), np.zeros((96, 96), bool))
    assert np.array_equal(result.image, photo())
    assert result.notes == ("the mask is black: nothing was marked to be filled",)


def test_one_photo_finds_its_mask_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    Image.fromarray(photo()).save(tmp_path / "a.png")
    with pytest.raises(PhotoError, match="none is called a; a photo has one mask"):
        composer.repair(tmp_path / "a.png", tmp_path / "masks")
    Image.fromarray(scratch()).save(tmp_path / "masks" / "a.png")
    result = composer.repair(tmp_path / "a.png", tmp_path / "masks")
    np.testing.assert_array_equal(result.mask, scratch())
