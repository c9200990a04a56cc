"""The match graph as SVG: photos at their centres on the canvas, joined where they were matched."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.canvas import directions_to_canvas
from composer.records import Composition, Link

Array = NDArray[Any]

__all__ = ["LEVELS", "match_graph", "numbers", "photo_centres"]

ACROSS = 1000.0
LEVELS = ((1.0, "good"), (2.0, "fair"), (5.0, "poor"), (math.inf, "bad"))  # residual in px, class


def photo_centres(composition: Composition) -> Array:
    """Return where each photo's optical axis lies on the canvas, (N, 2) in 0..1, kept on the canvas."""
    axes = np.stack([np.linalg.inv(la.camera.rotation)[:, 2] for la in composition.layers])
    canvas = directions_to_canvas(axes, composition.projection) * composition.scale - composition.origin
    size = np.array([composition.width, composition.height])
    places = (canvas + 0.5) / size
    if composition.closed:
        places[:, 0] %= 1
    return np.clip(places, 0.01, 0.99)


def match_graph(composition: Composition, names: list[str]) -> str:
    """Return the match graph: lines thick by matches and coloured by residual, each with a tooltip."""
    down = ACROSS * composition.height / composition.width
    places = photo_centres(composition) * [ACROSS, down]
    most = max((link.matches for link in composition.links), default=1)
    lines = [
        part
        for link in sorted(composition.links, key=lambda li: -li.rms_px)
        for part in _edge(link, places, composition.closed, (names, most))
    ]
    radius = _radius(places, down)
    nodes = [
        f'<g class="node"><title>{k + 1}: {escape(name)}</title>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{radius * 1.15:.1f}">{k + 1}</text></g>'
        for k, (name, (x, y)) in enumerate(zip(names, places, strict=True))
    ]
    said = f"Match graph of {len(names)} photos and {len(composition.links)} matched pairs"
    return (
        f'<svg class="graph" viewBox="0 0 {ACROSS:.0f} {down:.1f}" role="img" aria-label="{said}">'
        f"{''.join(lines)}{''.join(nodes)}</svg>"
    )


def numbers(places: list[tuple[float, float] | None], aspect: float) -> str:
    """Return the photos' numbers as SVG, at places (x, y) in 0..1; `aspect` is width by height."""
    down = ACROSS / aspect
    there = [(k, x * ACROSS, y * down) for k, place in enumerate(places, 1) if place for x, y in [place]]
    size = 1.3 * _radius(np.array([(x, y) for _, x, y in there]).reshape(-1, 2), down)
    texts = "".join(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}">{k}</text>' for k, x, y in there)
    return f'<svg class="numbers" viewBox="0 0 {ACROSS:.0f} {down:.1f}" aria-hidden="true">{texts}</svg>'


def _edge(link: Link, places: Array, closed: bool, about: tuple[list[str], int]) -> list[str]:
    """Return a pair's line, on a closed canvas where shorter as two that leave it and come back."""
    names, most = about
    (x0, y0), (x1, y1) = places[link.i], places[link.j]
    ends = [(x0, y0, x1, y1)]
    if closed and abs(x1 - x0) > ACROSS / 2:
        turn = math.copysign(ACROSS, x1 - x0)
        ends = [(x0, y0, x1 - turn, y1), (x0 + turn, y0, x1, y1)]
    level = next(name for limit, name in LEVELS if link.rms_px <= limit)
    width = 1.5 + 5 * math.sqrt(link.matches / most)
    said = (
        f"{link.i + 1} and {link.j + 1}: {link.matches} matches, residual {link.rms_px:.2f} px "
        f"({names[link.i]}, {names[link.j]})"
    )
    return [
        f'<line class="{level}" x1="{a:.1f}" y1="{b:.1f}" x2="{c:.1f}" y2="{d:.1f}" '
        f'stroke-width="{width:.1f}"><title>{escape(said)}</title></line>'
        for a, b, c, d in ends
    ]


def _radius(places: Array, down: float) -> float:
    """Return a size for nodes that keeps neighbours apart: a third of the usual distance to the nearest."""
    largest = min(22.0, down / 5)
    if len(places) < 2:
        return largest
    apart = np.hypot(*np.moveaxis(places[:, None] - places[None], 2, 0))
    np.fill_diagonal(apart, np.inf)
    return float(np.clip(np.median(apart.min(1)) * 0.35, 5, largest))
