"""Projections, lenses and the canvas: there and back, and what each can show."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from composer.align.canvas import canvas_directions, directions_to_canvas
from composer.align.lens import project, rays
from composer.align.projection import layer_rect, photo_directions, photo_map, smooth_map
from composer.align.warp import meeting, shared_rect
from composer.errors import OptionError
from composer.records import FLAT, Camera, Composition, Layer, Optics, Photo, Projection, Rect, Tile
from composer.stitching.layout import View, fit_canvas, view_rotation, without_unseen

PHOTO = Photo("a", None, 300, 200, 3, "uint8")
PROJECTIONS = [p for p in get_args(Projection) if p not in FLAT]


def layers(*yaws: float, focal_px: float = 250.0, pitch: float = 0.0) -> tuple[Layer, ...]:
    turns = [view_rotation(math.radians(yaw), math.radians(pitch), 0.0).T for yaw in yaws]
    return tuple(
        Layer(replace(PHOTO, name=f"{y}"), Camera(t, focal_px)) for y, t in zip(yaws, turns, strict=True)
    )


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_a_pixel_looks_where_its_direction_is_shown(projection: Projection) -> None:
    canvas = Composition((), projection, 60, 40, 30.0, (-30.5, -20.0))
    rect = Rect(0, 0, 60, 40)
    directions = np.stack(canvas_directions(np, canvas, rect, np.eye(3)), -1).reshape(-1, 3)
    found = directions_to_canvas(directions.astype(float), projection) * canvas.scale - canvas.origin
    x, y = np.meshgrid(np.arange(60), np.arange(40))
    np.testing.assert_allclose(found, np.stack([x.ravel(), y.ravel()], 1), atol=1e-3)


@pytest.mark.parametrize("optics", get_args(Optics))
@pytest.mark.parametrize("distortion", [(0.0, 0.0, 0.0), (0.01, -0.03, 0.005)])
def test_a_ray_comes_back_to_its_pixel(optics: Optics, distortion: tuple[float, float, float]) -> None:
    camera = Camera(np.eye(3), 150.0, distortion, (3.0, -2.0), optics)
    points = np.random.default_rng(0).uniform([0, 0], [299, 199], (200, 2))
    x, y, z = rays(points, PHOTO, camera).astype(np.float32).T
    u, v, inside = project(np, PHOTO, camera, (x, y, z))
    assert inside.all()
    np.testing.assert_allclose(np.stack([u, v], 1), points, atol=1e-3)


def test_a_fisheye_sees_behind_itself_and_not_outside_its_circle() -> None:
    camera = Camera(np.eye(3), 60.0, optics="equidistant", circle_px=98.0)
    behind = np.array([[math.sin(1.6), 0, math.cos(1.6)]], np.float32).T
    assert behind[2] < 0
    u, _, inside = project(np, PHOTO, camera, tuple(behind))
    assert inside.all()
    assert u[0] == pytest.approx(149.5 + 96, abs=0.01)
    beyond = np.array([[math.sin(1.65), 0, math.cos(1.65)]], np.float32).T
    assert not project(np, PHOTO, camera, tuple(beyond))[2].any()
    assert len(rays(np.array([[0.0, 0.0], [149.0, 99.0]]), PHOTO, camera)) == 1


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("yaw", [0, 75, 178, -100])
def test_a_layer_lies_inside_its_rectangle(projection: Projection, yaw: float) -> None:
    view = View(fov=(100.0, 0.0)) if projection == "plane" else None
    canvas = fit_canvas(layers(*range(0, 360, 40)), projection, view)
    layer = layers(yaw, pitch=25)[0]
    everything = Rect(0, 0, canvas.width, canvas.height)
    _, _, inside = photo_map(np, canvas, layer, everything)
    rect = layer_rect(canvas, layer)
    columns = np.arange(rect.x0, rect.x1) % canvas.width
    inside[np.ix_(np.arange(rect.y0, rect.y1), columns)] = False
    assert not inside.any()


def test_a_photo_of_the_pole_reaches_the_edge_of_a_sphere() -> None:
    ring = layers(*range(0, 360, 40), pitch=-55, focal_px=130)
    canvas = fit_canvas(ring, "sphere")
    bottom = (canvas.origin[1] + canvas.height - 0.5) / canvas.scale
    assert bottom == pytest.approx(math.pi / 2, abs=0.02)
    assert all(la.rect.width == canvas.width for la in canvas.layers)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_a_view_shows_the_degrees_asked_for(projection: Projection) -> None:
    ring = layers(*range(0, 360, 30), focal_px=130)
    canvas = fit_canvas(ring, projection, View(yaw=30, fov=(100.0, 40.0)))
    assert canvas.fov_deg == pytest.approx((100, 40), abs=0.7)
    assert not canvas.closed


def test_a_view_looks_where_it_is_told() -> None:
    ring = layers(*range(0, 360, 30), focal_px=130)
    start = directions_to_canvas(photo_directions(*_one(fit_canvas(ring, "sphere"), 0)), "sphere").mean(0)
    canvas = fit_canvas(ring, "sphere", View(yaw=50.0))
    turned = directions_to_canvas(photo_directions(*_one(canvas, 0)), "sphere").mean(0)
    assert np.degrees(start[0] - turned[0]) == pytest.approx(50, abs=0.1)
    up = fit_canvas(ring, "plane", View(pitch=30.0, fov=(60.0, 0.0)))
    horizon = directions_to_canvas(up.layers[0].camera.rotation[2][None], "plane")
    assert horizon[0, 1] == pytest.approx(math.tan(math.radians(30)), abs=0.01)


def _one(canvas: Composition, k: int) -> Any:
    return canvas.layers[k].photo, canvas.layers[k].camera


def test_photos_outside_the_view_are_left_out() -> None:
    canvas = without_unseen(fit_canvas(layers(*range(0, 360, 30)), "plane", View(fov=(40.0, 0.0))))
    assert len(canvas.layers) < 6


@pytest.mark.parametrize(
    ("projection", "view", "message"),
    [
        ("plane", View(), "more than a plane can show"),
        ("plane", View(fov=(200.0, 0.0)), "180 is the most"),
        ("plane", View(pitch=-90.0, fov=(20.0, 20.0)), "shows no photo"),
    ],
)
def test_views_that_cannot_be(projection: Projection, view: View, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        fit_canvas(layers(*range(0, 360, 30)), projection, view)


def test_a_mesh_moves_what_is_taken_from_the_photo() -> None:
    canvas = fit_canvas(layers(0), "plane")
    layer = canvas.layers[0]
    mesh = np.zeros((5, 7, 2), np.float32)
    mesh[..., 0] = 3.0
    u, v, _ = photo_map(np, canvas, layer, layer.rect)
    moved_u, moved_v, inside = photo_map(np, canvas, replace(layer, mesh=mesh), layer.rect)
    np.testing.assert_allclose(moved_u - u, 3, atol=1e-4)
    np.testing.assert_allclose(moved_v, v, atol=1e-4)
    assert moved_u[inside].max() <= 299.5


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("bent", [False, True])
def test_a_smooth_map_is_the_map(projection: Projection, bent: bool) -> None:
    view = View(fov=(100.0, 0.0)) if projection == "plane" else None
    canvas = without_unseen(fit_canvas(layers(*range(0, 360, 40), pitch=30), projection, view))
    down, across = np.mgrid[0:33, 0:49].astype(np.float32)
    mesh = np.stack([3 * np.sin(across / 9), 2 * np.cos(down / 7)], -1) if bent else None
    for layer in canvas.layers:
        layer = replace(layer, mesh=mesh)
        u, v, inside = photo_map(np, canvas, layer, layer.rect)
        near_u, near_v, seen = smooth_map(canvas, layer, layer.rect)
        assert (seen != inside).sum() <= 0.02 * inside.sum()
        both = seen & inside
        np.testing.assert_allclose(near_u[both], u[both], atol=0.1)
        np.testing.assert_allclose(near_v[both], v[both], atol=0.1)


def test_tiles_that_meet_around_a_closed_canvas_are_found() -> None:
    canvas = Composition((), "sphere", 100, 50, 16.0, (-50.0, -25.0), closed=True)
    rects = [Rect(40, 0, 140, 20), Rect(70, 10, 95, 50), Rect(0, 40, 10, 50)]
    tiles = [Tile(r, np.zeros(0), np.zeros(0)) for r in rects]
    met = {(i, j) for i in range(3) for j in range(i + 1, 3) if shared_rect(rects[i], rects[j], canvas)}
    assert met == {(0, 1)}
    assert met <= set(meeting(canvas, tiles))
