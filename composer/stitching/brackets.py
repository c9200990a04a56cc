"""Bracketed views: photos that look the same way at exposures stops apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.lens import project, rays
from composer.records import Layer, Tile

Array = NDArray[Any]

__all__ = ["bracketed", "one_a_bracket"]

APART = 0.05  # of the diagonal, by which the views of a bracket may be displaced
STOPS = 0.7  # by which exposures of one bracket differ at least


def bracketed(layers: tuple[Layer, ...], anchored: bool = False) -> tuple[Layer, ...]:
    """Recognise brackets among layers whose cameras and gains are known.

    The view of middle exposure stands for its bracket. The others are given its exposure's gain, so that they
    show what they are brighter or darker by, and can be fused.

    Parameters
    ----------
    layers : tuple of Layer
    anchored : bool
        Whether a photo keeps its exposure. Else the median of what stands for a place keeps it.

    Returns
    -------
    tuple of Layer
        The same ones where there is no bracket.
    """
    stops = [-float(np.mean(np.log2(la.gain))) for la in layers]
    groups = [g for g in _same_view(layers, stops) if len(g) > 1]
    if not groups:
        return layers
    found = list(layers)
    for group in groups:
        middle = sorted(group, key=lambda k: (stops[k], k))[len(group) // 2]
        for k in group:
            if k == middle or abs(stops[k] - stops[middle]) >= STOPS:
                found[k] = _brighter(replace(layers[k], bracket=middle), stops[k] - stops[middle])
    shown = [stops[k] for k, la in enumerate(found) if la.bracket in (None, k)]
    return tuple(found) if anchored else tuple(_brighter(la, float(np.median(shown))) for la in found)


def _brighter(layer: Layer, stops: float) -> Layer:
    red, green, blue = (g * 2**stops for g in layer.gain)
    return replace(layer, gain=(red, green, blue))


def _same_view(layers: tuple[Layer, ...], stops: list[float]) -> list[list[int]]:
    """Group layers: each joins the first group of which every view looks its way, stops apart."""
    groups: list[list[int]] = []
    for k, layer in enumerate(layers):
        for group in groups:
            if all(abs(stops[j] - stops[k]) >= STOPS and _coincide(layers[j], layer) for j in group):
                group.append(k)
                break
        else:
            groups.append([k])
    return groups


def _coincide(one: Layer, other: Layer) -> bool:
    """Tell whether two photos show the same places at nearly the same pixels."""
    a, b = one.photo, other.photo
    if (a.width, a.height) != (b.width, b.height):
        return False
    points = np.array([(x * a.width, y * a.height) for y in (0.25, 0.75) for x in (0.25, 0.75)])
    directions = rays(points, a, one.camera) @ np.linalg.inv(one.camera.rotation).T @ other.camera.rotation.T
    x, y, z = directions.astype(np.float32).T
    u, v, inside = project(np, b, other.camera, (x, y, z))
    if len(u) < len(points) or not inside.all():
        return False
    return bool(np.hypot(u - points[:, 0], v - points[:, 1]).max() < APART * math.hypot(a.width, a.height))


def one_a_bracket(layers: Sequence[Layer], tiles: Sequence[Tile]) -> list[Tile]:
    """Return tiles that are nowhere valid where another view stands for them."""
    return [
        tile if layer.bracket in (None, k) else replace(tile, valid=np.zeros_like(tile.valid))
        for k, (layer, tile) in enumerate(zip(layers, tiles, strict=True))
    ]
