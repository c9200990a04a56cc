"""Bursts: made with known truth, weighed by the recurrent network, and merged by `fuse`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import composer
from composer.cli import app
from composer.errors import OptionError, WeightsError
from composer.learn.burst_noise import KNOTS, LEAST, deviations, noise_table
from composer.learn.bursting import TILE, load_burst, without_noise
from composer.learn.bursts import Shake, noisy, sensor_table, simulate_burst
from composer.media.picture import read_picture, write_picture
from composer.records import Context
from composer.samples import picture

PHOTO = skimage.data.astronaut()
NOISE = Shake(shot=4e-3, read=3e-3)


def shots(photo: np.ndarray, count: int, shake: Shake = NOISE) -> list[np.ndarray]:
    rng, shown = np.random.default_rng(3), photo / np.float32(255)
    return [np.rint(255 * noisy(shown, rng, shake)).astype(np.uint8) for _ in range(count)]


def off(image: np.ndarray, photo: np.ndarray) -> float:
    return float(np.sqrt(np.mean((image.astype(float) - photo) ** 2)))


def test_noise_is_told_from_differences_whatever_moves() -> None:
    frames = [f / np.float32(255) for f in shots(PHOTO, 3)]
    frames[1][100:200, 100:200] = 0.5
    table, wanted = noise_table([(frames[0], f) for f in frames[1:]]), sensor_table(NOISE)
    assert table.shape == (3, KNOTS)
    np.testing.assert_allclose(table[:, 6:-6], np.repeat(wanted[None, 6:-6], 3, 0), rtol=0.25)
    still = noise_table([(frames[0], frames[0])])
    assert np.all(still == np.float32(LEAST))
    planes = deviations(np.full((9, 9, 3), 0.5, np.float32), table)
    np.testing.assert_allclose(planes[4, 4], table[:, KNOTS // 2], rtol=1e-5)


def test_few_pixels_tell_a_table_too() -> None:
    assert noise_table([(np.zeros((1, 1, 1), np.float32),) * 2]).shape == (1, KNOTS)


def test_simulated_bursts_differ_from_their_truth_by_noise_alone() -> None:
    burst = simulate_burst((PHOTO, PHOTO), np.random.default_rng(0), 64, 4, Shake(1e-3, 2e-3))
    assert burst.frames.shape == burst.clean.shape == (4, 64, 64, 3)
    gap = burst.frames[0] - burst.clean[0]
    assert 0.7 < gap.std() / burst.deviation.mean() < 1.5
    aside = np.abs(burst.clean[1:] - burst.clean[0]).mean((1, 2, 3))
    assert aside.max() < 0.02
    moved = simulate_burst((PHOTO, PHOTO[::-1]), np.random.default_rng(1), 64, 4, Shake(0, 0, moving=True))
    assert np.abs(moved.clean[1:] - moved.clean[0]).max() > 0.1


@pytest.mark.parametrize("count", [2, 6])
def test_a_still_burst_loses_its_noise(count: int) -> None:
    pytest.importorskip("onnxruntime")
    photo = picture("coffee.png")[100:300, 100:360]
    frames = shots(photo, count)
    mean = composer.fuse(frames, method="average", align="none").image
    merged = composer.fuse(frames, method="burst", align="none").image
    assert off(merged, photo) < 0.85 * off(mean, photo)


def test_what_moves_is_the_references() -> None:
    pytest.importorskip("onnxruntime")
    photo = picture("coffee.png")[100:300, 100:360].copy()
    frames = shots(photo, 5)
    for k, frame in enumerate(frames[1:]):
        frame[40:100, 20 + 40 * k : 60 + 40 * k] = shots(photo[:60, 200:240], 1)[0]
    merged = composer.fuse(frames, method="burst", align="none").image
    median = composer.fuse(frames, method="sigma-clip", align="none").image
    place = np.s_[40:100, 20:220]
    assert off(merged[place], photo[place]) < off(frames[0][place], photo[place])
    assert off(merged[place], photo[place]) < 0.7 * off(median[place], photo[place])


@settings(max_examples=5, deadline=None)
@given(
    st.sampled_from(["uint8", "uint16", "float32"]), st.integers(1, 70), st.integers(1, 300), st.booleans()
)
def test_any_size_and_type(dtype: str, height: int, width: int, grey: bool) -> None:
    pytest.importorskip("onnxruntime")
    top = 1.0 if dtype == "float32" else np.iinfo(dtype).max
    rng = np.random.default_rng(height)
    stack = [(rng.random((height, width, 1 if grey else 3)) * top).astype(dtype) for _ in range(2)]
    found = composer.fuse(stack, method="burst", align="none").image
    assert (found.shape, found.dtype) == (stack[0].shape, np.dtype(dtype))
    assert np.isfinite(found).all()


def test_threads_change_nothing_and_command_equals_function(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    frames = shots(np.tile(PHOTO, (1, 2, 1))[:120, : TILE + 40], 3)
    for k, frame in enumerate(frames):
        write_picture(tmp_path / f"{k}.png", frame, None, read_picture(frame, "frame"))
    one, two = (composer.fuse(frames, method="burst", workers=n).image for n in (1, 2))
    assert np.array_equal(one, two)
    words = ["fuse", *(str(tmp_path / f"{k}.png") for k in range(3)), "-o", str(tmp_path / "out.png")]
    done = CliRunner().invoke(app, [*words, "--method", "burst", "-q"])
    assert done.exit_code == 0, done.output
    assert np.array_equal(read_picture(tmp_path / "out.png", "out").pixels, one)


def test_what_no_photo_shows_stays_black_and_holes_of_the_reference_are_filled() -> None:
    pytest.importorskip("onnxruntime")
    photo = PHOTO[:64, :96] / np.float32(255)
    frames = [photo.copy() for _ in range(3)]
    frames[0][10:20, 10:20] = np.nan
    for frame in frames:
        frame[40:50, 40:50] = np.nan
    frames[0][0, 0] = 3.0
    found = composer.fuse(frames, method="burst", align="none").image
    assert np.all(found[40:50, 40:50] == 0)
    assert np.abs(found[12:18, 12:18] - photo[12:18, 12:18]).max() < 0.1
    assert abs(found[0, 0, 0] - 3) < 0.3


def test_left_noise_is_taken_out_by_place() -> None:
    rng = np.random.default_rng(0)
    level = np.where(np.arange(256) < 128, 0.06, 0.02).astype(np.float32)
    noisy_ = 0.5 + rng.standard_normal((256, 256, 3)).astype(np.float32) * level[None, :, None]
    shares = np.repeat(((level / level.max()) ** 2)[None, :], 256, 0)
    table = np.full((3, KNOTS), level.max(), np.float32)
    found = without_noise(np.dstack([noisy_, shares]), table, Context())
    assert found[:, 30:98].std() < 0.25 * 0.06
    assert found[:, 158:226].std() < 0.35 * 0.02


def test_options_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="weights are for burst"):
        composer.fuse([PHOTO, PHOTO], method="median", weights="w.safetensors")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"composer-cv\[onnx\]"):
        load_burst("elsewhere")
