"""Truth against which panoramas of the sample world are held."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.canvas import canvas_directions
from composer.align.lens import pixel_to_plane
from composer.align.projection import photo_map
from composer.records import Camera, Composition, Rect
from composer.samples import DISTORTION, View

Array = NDArray[Any]


def truth_to_canvas(composition: Composition, views: list[View]) -> Array:
    """Return the one rotation that turns the true world into the composition's."""
    total = np.zeros((3, 3))
    for layer in composition.layers:
        view = views[int(layer.photo.name.split()[-1]) - 1]
        total += layer.camera.rotation.T @ view.rotation
    u, _, vt = np.linalg.svd(total)
    return u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt


def misplacement(composition: Composition, views: list[View]) -> Array:
    """Return how far points of the photos lie from where they belong, in photo pixels."""
    turn = truth_to_canvas(composition, views)
    errors = []
    for layer in composition.layers:
        view = views[int(layer.photo.name.split()[-1]) - 1]
        height, width = view.pixels.shape[:2]
        x, y = np.meshgrid(np.linspace(-0.48, 0.48, 12) * width, np.linspace(-0.48, 0.48, 9) * height)
        points = np.stack([x.ravel(), y.ravel()], 1)
        found = _rays(points, layer.camera, min(width, height) / 2)
        true = _rays(points, Camera(view.rotation, view.focal_px, DISTORTION), min(width, height) / 2)
        angle = np.linalg.norm(found - true @ turn.T, axis=1)
        errors.append(angle * view.focal_px)
    return np.concatenate(errors)


def _rays(points: Array, camera: Camera, half: float) -> Array:
    plane = pixel_to_plane(points, camera.distortion, half) / camera.focal_px
    rays = np.c_[plane, np.ones(len(plane))] @ camera.rotation
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def world_on_canvas(composition: Composition, views: list[View], world: Array) -> tuple[Array, Array]:
    """Return the true picture on the composition's canvas (float), and where photos cover it."""
    rect = Rect(0, 0, composition.width, composition.height)
    rays = np.stack(canvas_directions(np, composition, rect, np.eye(3)), -1)
    rays = rays @ truth_to_canvas(composition, views)
    height, width = world.shape[:2]
    lon = np.arctan2(rays[..., 0], rays[..., 2])
    lat = np.arctan2(rays[..., 1], np.hypot(rays[..., 0], rays[..., 2]))
    u = ((lon / (2 * np.pi) + 0.5) * width - 0.5).astype(np.float32)
    v = ((lat / np.pi + 0.5) * height - 0.5).astype(np.float32)
    found = cv2.remap(world, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    seen = np.zeros(found.shape[:2], bool)
    for layer in composition.layers:
        seen |= photo_map(np, composition, replace(layer, rect=rect), rect)[2]
    return found.astype(float), seen
