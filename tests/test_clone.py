"""`composer.clone` and the command: what goes in, what comes out, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typer.testing import CliRunner

import composer
from composer.api.cloning import ALONE, CLONE_MODES
from composer.cli import app
from composer.cli.cloning import Mode
from composer.errors import OptionError, OutputError, PhotoError, WeightsError
from composer.records import to_encoded, to_linear
from tests.poisson.exact import blobs, noise

Array = NDArray[Any]
WHITE = {"uint8": 255, "uint16": 65535, "float32": 1}
SHAPE = 48, 64
FACTORS = {"color": {"factors": (1.3, 0.8, 1.0)}}
MASKED = [m for m in CLONE_MODES if m != "tile"]


def picture(seed: int, shape: tuple[int, ...] = (*SHAPE, 3), dtype: str = "uint8") -> Array:
    smooth = cv2.GaussianBlur(noise(shape, seed), None, 2).reshape(shape)
    return ((smooth - smooth.min()) / np.ptp(smooth) * WHITE[dtype]).astype(dtype)


def disc(shape: tuple[int, int] = SHAPE) -> Array:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(y - shape[0] / 2, x - shape[1] / 2) < min(shape) / 3)


@pytest.mark.parametrize("dtype", WHITE)
@pytest.mark.parametrize("planes", [(), (1,), (3,), (4,)], ids=["2-D", "grey", "colour", "alpha"])
@pytest.mark.parametrize("mode", MASKED)
def test_the_result_is_like_the_target(mode: str, planes: tuple[int, ...], dtype: str) -> None:
    target, source = picture(1, (*SHAPE, *planes), dtype), picture(2)
    found = composer.clone(source, target, disc(), mode=mode, **FACTORS.get(mode, {})).image
    assert found.shape == target.shape
    assert found.dtype == target.dtype
    assert np.array_equal(found[~disc()], target[~disc()])
    assert not np.array_equal(found[disc()], target[disc()])


@settings(max_examples=25, deadline=None)
@given(
    mode=st.sampled_from(MASKED),
    offset=st.tuples(st.integers(-70, 70), st.integers(-60, 60)),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    seed=st.integers(0, 1000),
)
def test_an_offset_means_what_it_says(
    mode: str, offset: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    target, source, mask = picture(1), noise((*size, 3), seed), blobs(size, seed, 2)
    found = composer.clone(source, target, mask, offset=offset, mode=mode)
    placed = np.zeros(SHAPE, bool)
    for y, x in np.argwhere(mask) + np.array(offset[::-1]):
        if 0 <= y < SHAPE[0] and 0 <= x < SHAPE[1]:
            placed[y, x] = True
    assert np.array_equal(found.image[~placed], target[~placed])
    assert bool(found.notes) == (not placed.any() or placed.sum() < np.count_nonzero(mask))


def test_the_source_lands_where_it_is_put() -> None:
    target = np.full((*SHAPE, 3), 100, np.uint8)
    source, mask = np.full((20, 20, 3), 100, np.uint8), np.zeros((20, 20), bool)
    source[7, 9], mask[2:-2, 2:-2] = 180, True
    found = composer.clone(source, target, mask, offset=(30, 11)).image
    assert np.argwhere((found != 100).any(2)).tolist() == [[18, 39]]
    assert found[18, 39].tolist() == [180, 180, 180]


def test_what_lies_beyond_the_target_is_cut() -> None:
    source, target, mask = picture(2), picture(1), disc()
    pad = cv2.copyMakeBorder(target, 0, 20, 0, 30, cv2.BORDER_CONSTANT)
    found = composer.clone(source, target, mask, offset=(25, 14)).image
    shifted = np.zeros(pad.shape[:2], bool)
    shifted[14 : 14 + SHAPE[0], 25 : 25 + SHAPE[1]][mask[:54, :69]] = True
    changed = (found != target).any(2)
    assert changed.any()
    assert not changed[~shifted[: SHAPE[0], : SHAPE[1]]].any()


def test_masks_of_any_kind_select_alike() -> None:
    source, target, mask = picture(2), picture(1), disc()
    wanted = composer.clone(source, target, mask).image
    grey = np.where(mask, 128, 127).astype(np.uint8)
    floats = mask.astype(np.float32), mask.astype(np.float64)
    for given_mask in (
        grey,
        np.repeat(grey[:, :, None], 3, 2),
        grey[:, :, None],
        *floats,
        mask.view(np.uint8),
    ):
        assert np.array_equal(composer.clone(source, target, given_mask).image, wanted)


@pytest.mark.parametrize("mode", ALONE)
def test_one_photo_is_enough(mode: str) -> None:
    photo = picture(1)
    alone = composer.clone(photo, mask=disc(), mode=mode, **FACTORS.get(mode, {})).image
    assert np.array_equal(
        alone, composer.clone(photo, photo, disc(), mode=mode, **FACTORS.get(mode, {})).image
    )


@pytest.mark.parametrize("dtype", WHITE)
def test_tiles_repeat_without_a_seam(dtype: str) -> None:
    photo = picture(1, dtype=dtype)
    tile = composer.clone(photo, mode="tile").image
    assert tile.shape == photo.shape
    assert np.array_equal(tile[0], tile[-1])
    assert np.array_equal(tile[:, 0], tile[:, -1])


@pytest.mark.parametrize("mode", MASKED)
def test_sixteen_bits_stay(mode: str) -> None:
    found = composer.clone(picture(2, dtype="uint16"), picture(1, dtype="uint16"), disc(), mode=mode).image
    assert len(np.unique(found[disc()] & 255)) > 200


def test_an_empty_mask_changes_nothing_and_says_so() -> None:
    found = composer.clone(picture(2), picture(1), np.zeros(SHAPE, bool))
    assert np.array_equal(found.image, picture(1))
    assert "nothing was cloned" in found.notes[0]


@pytest.mark.parametrize("mode", MASKED)
def test_full_and_single_pixel_masks(mode: str) -> None:
    source, target = picture(2), picture(1)
    one = np.zeros(SHAPE, bool)
    one[5, 7] = True
    assert np.array_equal(composer.clone(source, target, one, mode=mode).image[~one], target[~one])
    full = composer.clone(source, target, np.ones(SHAPE, bool), mode=mode).image
    if mode in ("multiband", "feather", "alpha"):
        assert np.array_equal(full, source)
    elif mode != "illumination":  # solved in logarithms
        np.testing.assert_allclose(full.mean((0, 1)), target.mean((0, 1)), atol=3)  # clipped


def test_transparent_parts_are_not_cloned() -> None:
    source, target = picture(2, (*SHAPE, 4)), picture(1)
    source[:, :, 3] = 255
    source[:, 30:, 3] = 0
    source[:, 30:, :3] = 7
    found = composer.clone(source, target, disc()).image
    assert np.array_equal(found[:, 30:], target[:, 30:])
    assert not np.array_equal(found[:, :30], target[:, :30])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_mixed_follows_the_source_where_the_target_is_empty(dtype: str) -> None:
    """What lies under transparency is nobody's gradient, whatever it is."""
    source, target = picture(2, dtype=dtype), picture(1, (*SHAPE, 4), dtype)
    target[:, :, 3] = WHITE[dtype]
    target[:25, :, 3] = 0
    other = target.copy()
    other[:25, :, :3] = np.nan if dtype == "float32" else 0
    found, again = (composer.clone(source, t, disc(), mode="mixed").image[disc()] for t in (target, other))
    assert np.array_equal(found, again)
    assert (found[:, 3] == WHITE[dtype]).all()
    normal = composer.clone(source, target, disc()).image[disc()]
    assert not np.array_equal(found, normal)


@pytest.mark.parametrize("mode", ["feather", "multiband"])
def test_nothing_fades_in_from_under_transparency(mode: str) -> None:
    source, target = np.full((*SHAPE, 3), 128, np.uint8), np.full((*SHAPE, 4), 255, np.uint8)
    target[:24] = 0
    found = composer.clone(source, target, disc(), mode=mode, radius=8).image
    assert (found[:20][disc()[:20]] == (128, 128, 128, 255)).all()
    assert not found[:24][~disc()[:24]].any()


@pytest.mark.parametrize("mode", ["normal", "alpha"])
def test_a_cut_out_needs_no_mask(mode: str) -> None:
    alpha = cv2.GaussianBlur(np.where(disc(), 255, 0).astype(np.uint8), (0, 0), 2)
    cut, target = np.dstack([picture(2), alpha]), picture(1)
    found = composer.clone(cut, target, mode=mode, offset=(3, -2)).image
    wanted = composer.clone(cut, target, np.ones(SHAPE, bool), mode=mode, offset=(3, -2)).image
    assert np.array_equal(found, wanted)
    assert not np.array_equal(found, target)


def test_alpha_is_laid_over_in_linear_light() -> None:
    source, target = picture(2, dtype="float32"), picture(1, dtype="float32")
    found = composer.clone(source, target, np.full(SHAPE, 0.5, np.float32), mode="alpha").image
    np.testing.assert_allclose(found, to_encoded((to_linear(source) + to_linear(target)) / 2), atol=1e-6)


def test_feathers_and_bands_reach_the_source_inside() -> None:
    shape = 200, 200
    source, target = np.full((*shape, 1), 0.8, np.float32), np.full((*shape, 1), 0.2, np.float32)
    mask = np.zeros(shape, bool)
    mask[10:-10, 10:-10] = True
    for mode in ("feather", "multiband"):
        line = composer.clone(source, target, mask, mode=mode, radius=24).image[100, :101, 0]
        assert abs(line[100] - 0.8) < 1e-4
        assert (np.diff(line) > -1e-6).all()
        assert np.abs(np.diff(line)).max() < 0.08


@pytest.mark.parametrize("mode", MASKED)
def test_what_is_no_number_is_named(mode: str) -> None:
    source, target = picture(2, dtype="float32"), picture(1, dtype="float32")
    source[20, 30] = np.nan
    with pytest.raises(PhotoError, match="source is not a number at x 30, y 20"):
        composer.clone(source, target, disc(), mode=mode, offset=(3, 4))


def test_a_target_that_is_no_number_is_named_where_it_is() -> None:
    target = picture(1, dtype="float32")
    target[20, 30] = np.nan
    with pytest.raises(PhotoError, match="target is not a number at x 30, y 20"):
        composer.clone(picture(2, dtype="float32"), target, disc(), mode="mixed")


def test_threads_and_runs_give_the_same_bytes() -> None:
    source, target = picture(2), picture(1)
    results = [composer.clone(source, target, disc(), mode="mixed", workers=n).image for n in (1, 1, 3)]
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "mixd"}, 'mode is "mixd"; give one of normal, mixed'),
        ({"mask": np.ones((4, 5), bool)}, "mask is 5 x 4, source is 64 x 48: they must match"),
        ({"target": np.zeros((9, 8, 3), np.uint8)}, "source is 64 x 48, target is 8 x 9: give an offset"),
        ({"target": None}, 'mode "normal" needs a target'),
        ({"mask": None}, "there is no mask"),
        ({"mode": "tile"}, "give no target, mask or offset"),
        ({"mode": "feather", "radius": 0}, "radius is 0"),
        ({"factors": (2.0, 1.0, 1.0)}, 'factors: only for mode color, not "normal"'),
        ({"mode": "alpha", "radius": 8}, 'radius: only for mode multiband and feather, not "alpha"'),
        ({"mode": "mixed", "exponent": 0.4}, "strength, exponent: only for mode illumination"),
        ({"mode": "color", "factors": (math.nan, 1.0, 1.0)}, "factors are .nan, 1.0, 1.0.; give three"),
        ({"mode": "color", "factors": (1.0, 2.0)}, "give three numbers"),
        ({"mode": "color", "target": None}, "changes nothing by factors 1, 1, 1"),
        ({"mode": "flatten", "low": 50.0}, "low is 50.0, high 45.0"),
        ({"mode": "illumination", "strength": 0.0}, "strength is 0.0; give more than 0"),
        ({"mode": "illumination", "exponent": 2.0}, "exponent is 2.0; give 0 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    given_ = {"source": picture(2), "target": picture(1), "mask": disc(), **options}
    with pytest.raises(OptionError, match=message):
        composer.clone(**given_)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = {"source": picture(2), "target": picture(1), "mask": disc().astype(np.uint8) * 255}
    for name, pixels in made.items():
        colours = pixels[:, :, ::-1] if pixels.ndim == 3 else pixels
        cv2.imwrite(str(tmp_path / f"{name}.png"), colours)
    return {name: tmp_path / f"{name}.png" for name in made}


def test_the_command_does_what_the_function_does(files: dict[str, Path], tmp_path: Path) -> None:
    out, summary = tmp_path / "out.png", tmp_path / "summary.json"
    words = [str(files["source"]), str(files["target"]), "--mask", str(files["mask"]), "-o", str(out)]
    more = ["--offset", "-5,3", "--mode", "color", "--factors", "1.5,0.5,0.5", "--summary", str(summary)]
    done = CliRunner().invoke(app, ["clone", *words, *more])
    assert done.exit_code == 0, done.output
    assert "grey levels" in done.output
    wanted = composer.clone(
        picture(2), picture(1), disc(), offset=(-5, 3), mode="color", factors=(1.5, 0.5, 0.5)
    )
    assert np.array_equal(cv2.imread(str(out))[:, :, ::-1], wanted.image)
    assert json.loads(summary.read_text())["mode"] == "color"


def test_the_command_needs_no_target_for_tiles(files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "tile.png"
    done = CliRunner().invoke(app, ["clone", str(files["source"]), "--mode", "tile", "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert np.array_equal(cv2.imread(str(out))[:, :, ::-1], composer.clone(picture(2), mode="tile").image)


def test_the_command_says_what_is_wrong(files: dict[str, Path], tmp_path: Path) -> None:
    words = ["clone", str(files["source"]), str(files["target"]), "--mask", str(files["mask"]), "-o"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "o.png"), "--offset", "5"])
    assert done.exit_code == 2
    assert "--offset 5: give 2 numbers, such as 120,-40" in done.output
    done = CliRunner().invoke(app, [*words, str(files["target"])])
    assert done.exit_code == 1
    assert "is one of the inputs" in done.output


def test_the_command_knows_every_mode() -> None:
    assert {m.value for m in Mode} == set(CLONE_MODES)


def test_files_give_their_like(files: dict[str, Path], tmp_path: Path) -> None:
    result = composer.clone(files["source"], files["target"], files["mask"], output=tmp_path / "o.png")
    assert result.output == tmp_path / "o.png"
    assert np.array_equal(result.image, composer.clone(picture(2), picture(1), disc()).image)
    assert np.array_equal(np.asarray(result), result.image)
    with pytest.raises(OutputError):
        composer.clone(files["source"], files["target"], files["mask"], output=files["source"])


def test_what_lies_outside_the_target_is_told() -> None:
    source, target = picture(1, (20, 20, 3)), picture(2)
    mask = np.zeros((20, 20), np.uint8)
    mask[4:16, 4:16] = 255
    found = composer.clone(source, target, mask, offset=(SHAPE[1] - 10, 5), mode="alpha")
    assert any("50.0% of what the mask selects lies outside" in n for n in found.notes)
    assert not composer.clone(source, target, mask, offset=(10, 5), mode="alpha").notes


def test_what_refining_lacks_is_said_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nothing(*_: object) -> object:
        raise WeightsError("refining needs onnxruntime or torch")

    monkeypatch.setattr("composer.learn.runtime.load_refiner", nothing)
    with pytest.raises(WeightsError, match="needs onnxruntime"):
        composer.clone(tmp_path / "missing.png", tmp_path / "too.png", tmp_path / "mask.png", refine=True)
