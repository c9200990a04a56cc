"""Gradient-domain blending: layers meet across seams, coarse fields do what a direct solve does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array, eye_array
from scipy.sparse.linalg import splu

import composer
from composer.align.projection import placed
from composer.blend.gradient import REACH
from composer.blend.stages import BlendGradients, NoBlend
from composer.media.decode import PhotoStore
from composer.media.header import photo_from_array
from composer.records import Camera, Composition, Context, Layer, Plan
from composer.render import render
from composer.samples import picture, room, rotation

Array = NDArray[Any]
WIDTH, HEIGHT, SHIFT = 160, 120, 90


def mosaic(brighter: Array) -> Composition:
    """Return two photos side by side, cut out of one at SHIFT pixels, the second times `brighter`."""
    whole = picture("coffee.png")[100 : 100 + HEIGHT, 40 : 40 + WIDTH + SHIFT].astype(np.float32)
    whole = 0.2 + 0.4 * whole / 255
    parts = whole[:, :WIDTH], whole[:, SHIFT:] * brighter
    layers = []
    for k, part in enumerate(parts):
        move = np.eye(3)
        move[0, 2], move[1, 2] = -((WIDTH - 1) / 2 + k * SHIFT) / WIDTH, -((HEIGHT - 1) / 2) / WIDTH
        layers.append(
            Layer(photo_from_array(part.astype(np.float32), f"photo {k}"), Camera(move, float(WIDTH)))
        )
    seams = np.zeros((HEIGHT, WIDTH + SHIFT), np.int16)
    seams[:, (WIDTH + SHIFT) // 2 :] = 1
    canvas = Composition(
        tuple(layers), "affine", WIDTH + SHIFT, HEIGHT, float(WIDTH), (0.0, 0.0), seams=seams
    )
    return placed(canvas)


def blended(composition: Composition, context: Context) -> Composition:
    (found,) = BlendGradients()(Plan((composition,)), context).compositions
    return found


@pytest.fixture
def context() -> Context:
    return Context(workers=2, photos=PhotoStore())


def direct(composition: Composition, jump: Array) -> Array:
    """Return the full-resolution solve's factors (H, W, 3): flat, but for a jump (H, 3) of logs."""
    height, width = composition.height, composition.width
    number = np.arange(height * width).reshape(height, width)
    beside = np.concatenate([
        np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()], 1),
        np.stack([number[:-1].ravel(), number[1:].ravel()], 1),
    ])  # fmt: skip
    at = np.repeat(np.arange(len(beside)), 2), beside.ravel()
    slopes = coo_array((np.tile([-1.0, 1.0], len(beside)), at), (len(beside), number.size)).tocsr()
    wanted = np.zeros((len(beside), 3))
    assert composition.seams is not None
    at_seam = composition.seams[:, :-1] != composition.seams[:, 1:]
    wanted[: at_seam.size][at_seam.ravel()] = -jump
    pull = eye_array(number.size) / (REACH * WIDTH) ** 2
    found = splu((slopes.T @ slopes + pull).tocsc()).solve(slopes.T @ wanted)
    return np.exp(found).reshape(height, width, 3)


def test_coarse_fields_do_what_a_direct_solve_does(context: Context) -> None:
    """Within a grey level; the photos are up to 40 apart."""
    y = np.linspace(0, 3, HEIGHT)[:, None, None]
    brighter = 1.2 + np.concatenate([0.2 * np.sin(y), -0.1 * np.cos(y), 0.1 * np.sin(2 * y)], 2)
    composition = mosaic(brighter)
    found = render(blended(composition, context), NoBlend(), context)[0]
    cut = render(composition, NoBlend(), context)[0]
    wanted = cut * direct(composition, np.log(brighter[:, 0]))
    assert np.abs(wanted - cut).max() > 20 / 255
    assert np.abs(found - wanted).mean() < 0.5 / 255
    assert np.abs(found - wanted).max() < 3 / 255


def test_a_place_that_differs_bleeds_little(context: Context) -> None:
    """Where photos show different things at the seam, the rest of both stays nearly as it is."""
    brighter = np.ones((HEIGHT, 1, 3), np.float32)
    brighter[50:60] = 2
    composition = mosaic(brighter)
    wanted = direct(composition, np.log(brighter[:, 0])) - 1
    for k, layer in enumerate(blended(composition, context).layers):
        assert layer.factors is not None
        assert np.abs(layer.factors - 1).max() < 0.3 * np.abs(wanted[composition.seams == k]).max()


def test_layers_that_agree_stay_as_they_are(context: Context) -> None:
    found = blended(mosaic(np.ones((1, 1, 3), np.float32)), context)
    for layer in found.layers:
        assert layer.factors is not None
        np.testing.assert_allclose(layer.factors, 1, atol=1e-3)


def test_a_layer_that_owns_nothing_has_no_field(context: Context) -> None:
    composition = mosaic(np.full((1, 1, 3), 1.2, np.float32))
    assert composition.seams is not None
    alone = replace(composition, seams=np.zeros_like(composition.seams))
    assert [la.factors for la in blended(alone, context).layers] == [None, None]


def test_a_closed_canvas_has_no_first_column(context: Context) -> None:
    """Turning the scene by an eighth turns what is found: seams beside column 0 count like any other."""
    found = []
    for turn in (0, 45):
        layers = []
        for k in range(4):
            grey = np.full((60, 110, 3), 100 + 10 * k, np.uint8)
            camera = Camera(rotation(90 * k + turn, 0, 0), 45.0)  # 101 degrees across
            layers.append(Layer(photo_from_array(grey, f"photo {k}"), camera))
        start = (np.arange(256) * 360 / 256 - turn + 45) // 90 % 4
        seams = np.broadcast_to(start.astype(np.int16), (48, 256))
        scale, middle = 256 / (2 * np.pi), 0.5 - 256 / 512
        ring = Composition(
            tuple(layers), "cylinder", 256, 48, scale, (middle, -24.0), closed=True, seams=seams
        )
        found.append([la.factors for la in blended(placed(ring), context).layers])
    for was, now in zip(*found, strict=True):
        assert was is not None
        assert np.abs(was - 1).max() > 0.03
        np.testing.assert_allclose(now, was, atol=2e-3)


def test_grey_photos_take_colour_and_threads_change_nothing(context: Context) -> None:
    composition = mosaic(np.linspace(1.2, 1.4, 3)[None, None])
    first, second = composition.layers
    assert second.photo.pixels is not None
    grey = photo_from_array(second.photo.pixels.mean(2, keepdims=True), "grey")
    mixed = replace(composition, layers=(first, replace(second, photo=grey)))
    one, two = (blended(mixed, replace(context, workers=n, photos=PhotoStore())) for n in (1, 2))
    assert [np.shape(la.factors)[2] for la in one.layers] == [3, 3]
    for was, now in zip(one.layers, two.layers, strict=True):
        assert np.array_equal(was.factors, now.factors)  # type: ignore[arg-type]
    assert np.ptp(render(one, NoBlend(), context)[0][:, -10:].mean((0, 1))) > 0.01


def test_other_photos_of_the_rig_are_blended_anew(tmp_path: Path) -> None:
    for k, pixels in enumerate(room()[:2]):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    plan = tmp_path / "plan"
    first = composer.stitch(tmp_path, blend="gradient", width=300, save=plan, device="cpu").panoramas[0]
    again = composer.stitch(load=tmp_path / "plan", device="cpu").panoramas[0]
    assert np.array_equal(again.image, first.image)
    turned = composer.stitch(load=tmp_path / "plan", yaw=20, device="cpu").panoramas[0].composition
    assert turned.layers[0].factors is not None
    dark = [(p * 0.7).astype(np.uint8) for p in room()[:2]]
    for blend, there in (("gradient", True), ("multiband", False)):
        found = composer.stitch(dark, template=tmp_path / "plan", blend=blend, device="cpu").panoramas[0]
        assert all((la.factors is not None) == there for la in found.composition.layers)
