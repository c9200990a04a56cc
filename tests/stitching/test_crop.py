"""Holes and the crop that leaves none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from composer.align.projection import placed
from composer.records import Camera, Composition, Layer, Photo
from composer.stitching.crop import has_holes, largest_rectangle


def scans(gap: int, height: int = 2000) -> Composition:
    """Two flat scans beside each other, `gap` pixels apart, that fill the canvas otherwise."""
    photo = Photo("p", None, 2000, height, 3, "uint8")
    focal = 1000.0
    layers = []
    for left in (0, 2000 + gap):
        affine = np.eye(3)
        affine[:2, 2] = (-(left + 999.5) / focal, -((height - 1) / 2) / focal)
        layers.append(Layer(photo, Camera(affine, focal)))
    return placed(Composition(tuple(layers), "affine", 4000 + gap, 2000, focal, (0.0, 0.0)))


def test_overlapping_scans_have_no_holes() -> None:
    assert not has_holes(scans(-100))
    assert not has_holes(largest_rectangle(scans(-100)))


def test_a_gap_narrower_than_a_cell_is_a_hole() -> None:
    assert has_holes(largest_rectangle(scans(2)))


def test_a_ragged_edge_narrower_than_a_cell_is_a_hole() -> None:
    assert has_holes(scans(-100, height=1999))


def test_photos_with_alpha_have_holes() -> None:
    composition = scans(-100)
    layers = tuple(replace(la, photo=replace(la.photo, alpha=True)) for la in composition.layers)
    assert has_holes(replace(composition, layers=layers))
