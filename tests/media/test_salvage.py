"""Damaged JPEG files: what can be read is, and what cannot is said to be lost."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from composer.errors import PhotoError
from composer.media.entropy import Reader, parts_of, read_frame
from composer.media.resync import recover
from composer.media.salvage import read_salvaged
from composer.samples import picture

Array = NDArray[Any]
WAYS: dict[str, dict[str, Any]] = {
    "4:2:0": {},
    "4:4:4": {"subsampling": 0},
    "own codes": {"optimize": True, "subsampling": 1},
    "restarts": {"restart_marker_rows": 1},
}


def coded(pixels: Array | None = None, **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture("coffee.png") if pixels is None else pixels).save(
        file, "JPEG", **{"quality": 90, **how}
    )
    return file.getvalue()


def decoded(data: bytes) -> Array:
    return np.asarray(Image.open(io.BytesIO(data)))


def spoilt(data: bytes, kind: str, seed: int) -> bytes:
    random = np.random.default_rng(seed)
    frame = read_frame(data)
    assert frame is not None
    at = frame.begin + int(random.uniform(0.1, 0.9) * (len(data) - frame.begin))
    if kind == "missing":
        return data[:at] + data[at + 900 :]
    fresh = bytes(900) if kind == "zeros" else random.bytes(900)
    return data[:at] + fresh + data[at + 900 :]


def psnr(found: Array, truth: Array) -> float:
    return float(-10 * np.log10(((found.astype(float) - truth) ** 2).mean() / 255**2 + 1e-12))


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
def test_an_intact_scan_is_read_whole(how: dict[str, Any]) -> None:
    data = coded(**how)
    frame = read_frame(data)
    assert frame is not None
    found = recover(frame, data)
    assert found.sound
    assert not found.lost.any()
    truth = np.asarray(Image.open(io.BytesIO(data)).convert("YCbCr"))[:, :, 0]
    off = np.abs(found.planes[0][: frame.height, : frame.width] - truth)
    assert np.quantile(off, 0.98) < 1.5  # but where colours were clipped
    for part in parts_of(frame, data):
        reader = Reader(frame, part.data)
        units = reader.read(0, part.last - part.first)
        assert len(units.starts) == part.last - part.first + 1
        assert 0 <= reader.bits - units.starts[-1] < 8


def test_grey_files_have_units_of_one_block() -> None:
    frame = read_frame(coded(picture("coffee.png")[:, :, 0]))
    assert frame is not None
    assert (frame.unit, frame.grid) == ((8, 8), (50, 75))


def test_other_files_have_no_frame() -> None:
    assert read_frame(coded(progressive=True)) is None
    assert read_frame(b"\xff\xd8 nothing of the kind") is None


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
def test_of_a_file_cut_short_what_came_before_is_kept(tmp_path: Path, how: dict[str, Any]) -> None:
    data = coded(**how)
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    result, lost = read_salvaged(tmp_path / "cut.jpg")
    assert lost is not None
    assert 0.3 < lost.mean() < 0.7
    assert (result.pixels[lost] == 128).all()
    rows = lost.any(1).argmax()
    assert np.array_equal(result.pixels[: rows - 1], decoded(data)[: rows - 1])
    assert lost[rows + 16 :].all()


@pytest.mark.parametrize("kind", ["zeros", "noise", "missing"])
@pytest.mark.parametrize("how", ["4:2:0", "restarts"])
@pytest.mark.parametrize("seed", [1, 2])
def test_what_follows_damage_is_put_back_in_its_place(tmp_path: Path, kind: str, how: str, seed: int) -> None:
    data = coded(**WAYS[how])
    (tmp_path / "bad.jpg").write_bytes(spoilt(data, kind, seed))
    result, lost = read_salvaged(tmp_path / "bad.jpg")
    assert lost is not None
    assert 0 < lost.mean() < 0.08
    assert psnr(result.pixels[~lost], decoded(data)[~lost]) > 35


def test_a_turned_bit_that_shifts_all_that_follows_is_found(tmp_path: Path) -> None:
    data = bytearray(coded())
    frame = read_frame(bytes(data))
    assert frame is not None
    truth, at = decoded(bytes(data)), frame.begin + int(0.05 * len(data))
    while psnr(decoded(bytes(data)), truth) > 22:  # most bits do less harm
        data[at] ^= 4
        at += 11
    (tmp_path / "bit.jpg").write_bytes(data)
    result, lost = read_salvaged(tmp_path / "bit.jpg")
    assert lost is not None
    assert lost.mean() < 0.1
    assert psnr(result.pixels[~lost], truth[~lost]) > 30


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_below_a_damaged_first_row_nothing_is_white_or_black(tmp_path: Path, seed: int) -> None:
    data = bytearray(coded())
    frame = read_frame(bytes(data))
    assert frame is not None
    truth, at = decoded(bytes(data)), frame.begin + 20
    data[at : at + 1200] = np.random.default_rng(seed).bytes(1200)
    (tmp_path / "top.jpg").write_bytes(data)
    result, lost = read_salvaged(tmp_path / "top.jpg")
    assert lost is not None
    assert psnr(result.pixels[~lost], truth[~lost]) > 13


def test_a_sound_file_is_left_to_the_decoder(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(coded())
    result, lost = read_salvaged(tmp_path / "good.jpg")
    assert lost is None
    assert np.array_equal(result.pixels, decoded(coded()))


def test_the_lost_part_of_a_turned_photo_is_turned_with_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored picture's bottom is on the left
    data = coded(exif=exif)
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    result, lost = read_salvaged(tmp_path / "cut.jpg")
    assert lost is not None
    assert result.pixels.shape == (600, 400, 3)
    assert lost[:, :100].all()
    assert not lost[:, 300:].any()


def test_a_progressive_file_is_as_fine_as_far_as_it_goes(tmp_path: Path) -> None:
    data = coded(progressive=True)
    (tmp_path / "most.jpg").write_bytes(data[: len(data) // 2])
    result, lost = read_salvaged(tmp_path / "most.jpg")
    assert lost is not None
    assert not lost.any()
    assert psnr(result.pixels, decoded(data)) > 22
    (tmp_path / "little.jpg").write_bytes(data[: len(data) // 25])
    result, lost = read_salvaged(tmp_path / "little.jpg")
    assert lost is not None
    assert 0.1 < lost.mean() < 0.95
    assert lost[-1].all()


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    data = coded()
    frame = read_frame(data)
    assert frame is not None
    (tmp_path / "head.jpg").write_bytes(data[: frame.begin + 3])
    with pytest.raises(PhotoError, match="nothing of its pixels can be read"):
        read_salvaged(tmp_path / "head.jpg")


def test_an_end_of_zeros_is_lost(tmp_path: Path) -> None:
    data = coded()
    (tmp_path / "zeros.jpg").write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    result, lost = read_salvaged(tmp_path / "zeros.jpg")
    assert lost is not None
    assert 0.3 < lost.mean() < 0.7
    assert lost[-1].all()
    assert psnr(result.pixels[~lost], decoded(data)[~lost]) > 40
