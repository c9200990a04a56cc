"""Every device renders the same picture: NumPy, the strict array standard, and CuPy where there is a GPU."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import array_api_strict as strict
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

import composer
from composer.align.projection import layer_rect
from composer.align.warp import warp_layer
from composer.backend import resolve_device, to_device, to_numpy
from composer.blend.feather import feather
from composer.blend.multiband import multiband
from composer.blend.stages import Feather, Multiband, NoBlend
from composer.errors import DeviceError
from composer.media.decode import PhotoStore
from composer.media.header import photo_from_array
from composer.records import Camera, Composition, Context, Layer, Patch, Rect, Tile
from composer.render import BlendStage, render, render_tile
from composer.samples import room, rotation

Array = NDArray[Any]
SCALE = 60
RECT = Rect(64, 0, 160, 64)  # seams, all three photos, and canvas that no photo saw
BLENDS: list[BlendStage] = [Multiband(), Feather(8), NoBlend()]
every_blend = pytest.mark.parametrize("blend", BLENDS, ids=lambda b: type(b).__name__)
open_and_closed = pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])


def smooth_noise(shape: tuple[int, ...], seed: int, sigma: float = 2) -> Array:
    """Return float32 noise in 0..1, smooth enough to be a photograph."""
    noise = np.random.default_rng(seed).random(shape)
    blurred = cv2.GaussianBlur(noise, None, sigma).reshape(shape)
    return np.asarray((blurred - blurred.min()) / np.ptp(blurred), np.float32)


def layers() -> list[Layer]:
    """Return three overlapping layers: 8-bit colour with alpha, 16-bit grey, and float colour."""
    size = 56, 72
    colour = np.round(smooth_noise((*size, 4), 1) * 255).astype(np.uint8)
    colour[:, :, 3] = np.where(np.hypot(*np.mgrid[-20:36, -30:42]) < 40, 255, 0)
    grey = np.round(smooth_noise((*size, 1), 2) * 65535).astype(np.uint16)
    floats = smooth_noise((*size, 3), 3)
    turns = [rotation(-38, 3, 2), rotation(0, -2, 1), rotation(35, 1, -3)]
    cameras = [Camera(r, 62.0 + k, (0.0, -0.01 * k, 0.002)) for k, r in enumerate(turns)]
    arrays: list[Array] = [colour, grey, floats]
    photos = [photo_from_array(p, f"photo {k}") for k, p in enumerate(arrays, 1)]
    return [
        # darkened: where 8-bit samples round the other way, devices differ by less than one code
        Layer(photos[0], cameras[0], (0.7, 0.6, 0.75), (-0.3, 0.1, -0.05)),
        Layer(photos[1], cameras[1], mesh=4 * smooth_noise((5, 6, 2), 7, 1) - 2),
        Layer(photos[2], cameras[2], (1.1, 0.8, 1.2), factors=0.7 + 0.5 * smooth_noise((4, 5, 3), 8, 1)),
    ]


def scene(closed: bool = False) -> Composition:
    """Return a composition with everything that render knows; closed, its seams straddle column 0."""
    width, height = (round(2 * math.pi * SCALE), 64) if closed else (230, 64)
    origin = (0.0, -32.0) if closed else (-115.0, -32.0)
    bare = Composition((), "cylinder", width, height, SCALE, origin, closed, seam_step=4)
    rows, columns = np.mgrid[: math.ceil(height / 4), : math.ceil(width / 4)] * 4.0
    longitude = (columns + origin[0] + width / 2) % width - width / 2 if closed else columns + origin[0]
    wavy = longitude + 6 * np.sin(rows / 9)
    seams = np.where(wavy < -20, 0, np.where(wavy < 18, 1, 2)).astype(np.int16)
    field = 0.2 * smooth_noise((math.ceil(height / 16), math.ceil(width / 16), 3), 4, 1) - 0.1
    patch = Patch(Rect(100, 20, 130, 50), smooth_noise((30, 30, 3), 5), smooth_noise((30, 30), 6), by="test")
    full = replace(bare, seams=seams, low_bands=field, low_bands_step=16, patches=(patch,))
    return replace(full, layers=tuple(replace(la, rect=layer_rect(full, la)) for la in layers()))


def context(composition: Composition, **options: Any) -> Context:
    photos = tuple(la.photo for la in composition.layers)
    return Context(photos=PhotoStore.for_photos(photos, 1 << 24), **options)


def warped(xp: Any, composition: Composition) -> list[Tile]:
    """Warp all layers onto RECT over the arrays of `xp`, grey turned to colour."""
    tiles = []
    for k, layer in enumerate(composition.layers):
        tile = warp_layer(composition, layer, RECT, xp.asarray(np.array(layer.photo.pixels)))
        image = tile.image if layer.photo.channels == 3 else xp.concat([tile.image] * 3, axis=2)
        assert composition.seams is not None
        mine = cv2.resize((composition.seams == k).astype(np.float32), None, fx=4, fy=4)
        weight = xp.asarray(mine[RECT.y0 : RECT.y1, RECT.x0 : RECT.x1])
        tiles.append(replace(tile, image=image, weight=weight))
    return tiles


def rendered(composition: Composition, blend: BlendStage, rect: Rect, device: str = "cpu") -> Tile:
    return render_tile(composition, rect, blend, context(composition, device=device))


def assert_same(found: Any, wanted: Array, tolerance: float = 1e-5) -> None:
    assert isinstance(found, type(strict.asarray(0)))
    assert str(found.dtype).endswith(wanted.dtype.name)
    np.testing.assert_allclose(to_numpy(found), wanted, rtol=0, atol=tolerance)


def test_warp_keeps_to_the_standard() -> None:
    composition = scene()
    pairs = zip(warped(np, composition), warped(strict, composition), strict=True)
    for plain, strictly in pairs:
        assert plain.valid.any()
        assert not plain.valid.all()
        assert_same(strictly.image, plain.image)
        assert_same(strictly.valid, plain.valid)


@pytest.mark.parametrize("levels", [1, 3])
def test_multiband_keeps_to_the_standard(levels: int) -> None:
    composition = scene()
    plain, strictly = warped(np, composition), warped(strict, composition)
    assert_same(multiband(strictly, levels), multiband(plain, levels))


def test_feather_keeps_to_the_standard() -> None:
    composition = scene()
    plain, strictly = warped(np, composition), warped(strict, composition)
    assert_same(feather(strictly, 9), feather(plain, 9))


@open_and_closed
@every_blend
def test_render_keeps_to_the_standard(
    blend: BlendStage, closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    composition = scene(closed)
    rects = [Rect(x, 0, min(x + 64, composition.width), 64) for x in range(0, composition.width, 64)]
    plain = [rendered(composition, blend, rect) for rect in rects]
    for module in ("composer.render", "composer.media.decode"):
        monkeypatch.setattr(f"{module}.to_device", lambda array, device: strict.asarray(array.copy()))
    for rect, wanted in zip(rects, plain, strict=True):
        found = rendered(composition, blend, rect, device="cuda")
        assert_same(found.image, wanted.image)
        assert_same(found.valid, wanted.valid)
    assert 0.2 < np.mean([tile.valid.mean() for tile in plain]) < 0.95


@open_and_closed
@every_blend
def test_the_size_of_tiles_changes_nothing(blend: BlendStage, closed: bool) -> None:
    composition = scene(closed)
    small, large = (render(composition, blend, context(composition), tile_size=n) for n in (32, 1024))
    np.testing.assert_array_equal(small[1], large[1])
    np.testing.assert_array_equal(small[0], large[0])


def with_layers(composition: Composition, **changes: Any) -> Composition:
    return replace(composition, layers=tuple(replace(la, **changes) for la in composition.layers))


@pytest.mark.parametrize(
    "without",
    [
        lambda c: replace(c, low_bands=None),
        lambda c: replace(c, patches=()),
        lambda c: with_layers(c, gain=(1.0, 1.0, 1.0)),
        lambda c: with_layers(c, vignetting=(0.0, 0.0, 0.0)),
        lambda c: with_layers(c, factors=None),
    ],
    ids=["low_bands", "patches", "gain", "vignetting", "factors"],
)
def test_the_scene_shows_what_it_has(without: Callable[[Composition], Composition]) -> None:
    composition = scene()
    poorer = without(composition)
    pictures = [render(c, Multiband(), context(c))[0] for c in (composition, poorer)]
    assert np.abs(pictures[0] - pictures[1]).max() > 0.02


@pytest.mark.gpu
@open_and_closed
@every_blend
def test_gpu_renders_the_same_picture(blend: BlendStage, closed: bool) -> None:
    composition = scene(closed)
    wanted, wanted_valid = render(composition, blend, context(composition, device="cpu"))
    found, valid = render(composition, blend, context(composition, device="cuda"))
    np.testing.assert_array_equal(valid, wanted_valid)
    assert found.dtype == wanted.dtype == np.float32
    assert np.abs(found - wanted).max() <= 1 / 255


@pytest.mark.gpu
def test_gpu_renders_the_same_bytes_for_any_number_of_threads() -> None:
    composition = scene(closed=True)
    one, four = (
        render(composition, Multiband(), context(composition, device="cuda", workers=n), tile_size=32)[0]
        for n in (1, 4)
    )
    assert one.tobytes() == four.tobytes()


@pytest.mark.gpu
def test_gpu_arrays_come_back_unchanged() -> None:
    array = np.arange(12, dtype=np.uint16).reshape(3, 4)
    assert resolve_device("cuda") == "cuda"
    there = to_device(array, "cuda")
    assert not isinstance(there, np.ndarray)
    np.testing.assert_array_equal(to_numpy(there), array)


def noisy(seed: int = 5) -> Array:
    """Return a photograph (H, W, 3) uint8 with noise."""
    photo = cv2.resize(data.coffee(), (240, 160), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(seed).normal(0, 14, photo.shape)
    return np.clip(photo + noise, 0, 255).astype(np.uint8)


def pasted(device: str) -> Array:
    front = np.dstack([noisy(6)[:80, :100], np.full((80, 100), 200, np.uint8)])
    found = composer.harmonize(front, background=noisy(), offset=(70, 40), device=device).image
    assert found is not None
    return found


def repaired(device: str) -> Array:
    found = composer.repair(noisy(), device=device)
    assert any(fault.kind == "noise" for fault in found.faults)
    assert found.image is not None
    return found.image


def unblocked(device: str, folder: Path) -> Array:
    cv2.imwrite(str(folder / "a.jpg"), cv2.GaussianBlur(noisy(), None, 2), [cv2.IMWRITE_JPEG_QUALITY, 20])
    found = composer.repair(folder / "a.jpg", faults=("blocking",), device=device)
    assert any(fault.kind == "blocking" for fault in found.faults)
    assert found.image is not None
    return found.image


def stitched(device: str) -> Array:
    photos = room()[:2]
    return composer.stitch(photos, width=300, device=device).panoramas[0].image


@pytest.mark.gpu
@pytest.mark.parametrize("verb", [pasted, repaired, unblocked, stitched])
def test_gpu_does_what_the_cpu_does(verb: Callable[..., Array], tmp_path: Path) -> None:
    more = [tmp_path] if verb is unblocked else []
    cpu, cuda = (verb(device, *more).astype(int) for device in ("cpu", "cuda"))
    assert np.abs(cuda - cpu).max() <= 1


def without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def with_driver(monkeypatch: pytest.MonkeyPatch, count: Any) -> None:
    """Put a CuPy in place whose driver answers with `count`."""
    runtime = SimpleNamespace(getDeviceCount=count)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(runtime=runtime)))


def broken() -> int:
    raise RuntimeError("driver too old")


@pytest.mark.parametrize("name", ["gpu", "CUDA", ""])
def test_unknown_device(name: str) -> None:
    with pytest.raises(DeviceError, match=f'device is "{name}"; give auto, cpu or cuda'):
        resolve_device(name)


def test_cuda_without_cupy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    without_cupy(monkeypatch)
    with pytest.raises(DeviceError, match=r"CuPy is not installed; install composer-cv\[gpu13\]"):
        resolve_device("cuda")


@pytest.mark.parametrize(
    ("count", "reason"), [(lambda: 0, "CuPy finds no CUDA device"), (broken, "RuntimeError: driver too old")]
)
def test_cuda_without_a_gpu_says_why(monkeypatch: pytest.MonkeyPatch, count: Any, reason: str) -> None:
    with_driver(monkeypatch, count)
    with pytest.raises(DeviceError, match=reason):
        resolve_device("cuda")


def test_auto_is_the_cpu_and_says_where_there_might_be_a_gpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_cupy(monkeypatch)
    with caplog.at_level("INFO", "composer"):
        assert resolve_device("auto") == resolve_device("cpu") == "cpu"
        assert caplog.text == ""
        with_driver(monkeypatch, lambda: 1)
        assert resolve_device("auto") == "cpu"
    assert "device cuda renders on a GPU" in caplog.text


def test_arrays_on_the_cpu_are_not_copied() -> None:
    array = np.zeros((2, 3))
    assert to_device(array, "cpu") is array
    assert type(to_device(strict.asarray(array), "cpu")) is np.ndarray
