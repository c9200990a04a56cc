"""What a person says of the photos: control points between two, and lines that are level or upright.

A text file, a statement a line, names as given to the command or without folder or suffix, quoted where
they hold spaces; pixels count from the photo's top left, the first pixel's centre at 0, 0:

    point       LEFT.jpg 812.5 304  RIGHT.jpg 95 310
    vertical    LEFT.jpg 400 20  402.5 700
    horizontal  RIGHT.jpg 0 350  900 351.5
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.homography import Pair
from composer.align.lens import rays
from composer.errors import OptionError
from composer.media.naming import naming
from composer.records import Camera, Photo

Array = NDArray[Any]

__all__ = ["ControlPoint", "Line", "constraints", "read_points", "with_control_points"]

TRUSTED = 1000  # a pair that a person has marked counts like one with so many matches


@dataclass(frozen=True)
class ControlPoint:
    """The same thing in two photos."""

    photo_i: str
    point_i: tuple[float, float]
    photo_j: str
    point_j: tuple[float, float]


@dataclass(frozen=True)
class Line:
    """Two points of one photo, one upright above the other, or both as high above the horizon."""

    photo: str
    upright: bool
    points: tuple[tuple[float, float], tuple[float, float]]


def read_points(path: Path, names: list[str]) -> tuple[list[ControlPoint], list[Line]]:
    """Read control points and lines.

    Parameters
    ----------
    path : Path
    names : list of str
        The photos' names.

    Raises
    ------
    OptionError
        The file cannot be read, a line cannot be understood, or a photo is not among those given.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: cannot be read ({error}); give a text file of control points") from None
    points: list[ControlPoint] = []
    lines: list[Line] = []
    meant = naming(names)
    for number, row in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(row, comments=True)
            if not words:
                continue
            found = _statement(words, names, meant)
        except (ValueError, LookupError) as error:
            raise OptionError(
                f'{path}, line {number}: {error}; write "point A x y B x y", "vertical A x y x y" or '
                '"horizontal A x y x y"'
            ) from None
        if isinstance(found, ControlPoint):
            points.append(found)
        else:
            lines.append(found)
    return points, lines


def _statement(words: list[str], names: list[str], meant: Callable[[str], int]) -> ControlPoint | Line:
    """Turn a line's words into what they say; ValueError or LookupError where they say nothing."""
    kind, *rest = words
    if kind == "point" and len(rest) == 6:
        one, other = names[meant(rest[0])], names[meant(rest[3])]
        if one == other:
            raise ValueError("a control point joins two photos, both are the same")
        return ControlPoint(one, (float(rest[1]), float(rest[2])), other, (float(rest[4]), float(rest[5])))
    if kind in ("vertical", "horizontal") and len(rest) == 5:
        x0, y0, x1, y1 = (float(word) for word in rest[1:])
        if (x0, y0) == (x1, y1):
            raise ValueError("a line needs two different points")
        return Line(names[meant(rest[0])], kind == "vertical", ((x0, y0), (x1, y1)))
    raise ValueError("cannot be understood")


def with_control_points(
    pairs: list[Pair], points: list[ControlPoint], photos: tuple[Photo, ...]
) -> list[Pair]:
    """Add control points to the pairs they belong to; a pair that matching did not find is made of them."""
    at = {p.name: k for k, p in enumerate(photos)}
    given: dict[tuple[int, int], list[tuple[float, float, float, float]]] = {}
    for p in points:
        i, j = at[p.photo_i], at[p.photo_j]
        row = (*p.point_i, *p.point_j) if i < j else (*p.point_j, *p.point_i)
        given.setdefault((min(i, j), max(i, j)), []).append(row)
    found = {(p.i, p.j): p for p in pairs}
    for (i, j), rows in given.items():
        ends = np.array(rows)
        points_i, points_j = ends[:, :2], ends[:, 2:]
        pair = found.get((i, j))
        if pair is None:
            found[i, j] = Pair(i, j, points_i, points_j, _carried(points_i, points_j), TRUSTED)
        else:
            found[i, j] = replace(
                pair,
                points_i=np.concatenate([pair.points_i, points_i]),
                points_j=np.concatenate([pair.points_j, points_j]),
                matched=TRUSTED,
            )
    return [found[key] for key in sorted(found)]


def _carried(points_i: Array, points_j: Array) -> Array:
    """Return the (3, 3) map that few points allow: shift, similarity or homography."""
    matrix = np.eye(3)
    matrix[:2, 2] = (points_j - points_i).mean(0)
    if len(points_i) >= 5:
        found, _ = cv2.findHomography(points_i, points_j, 0)
        return matrix if found is None else np.asarray(found)
    if len(points_i) >= 2:
        similar, _ = cv2.estimateAffinePartial2D(points_i, points_j, method=cv2.LMEDS)
        if similar is not None:
            matrix[:2] = similar
    return matrix


def constraints(lines: list[Line], photos: tuple[Photo, ...], cameras: tuple[Camera, ...]) -> Array:
    """Return unit vectors (N, 3) that the world's vertical must be square to.

    An upright line and the camera span a plane that holds the vertical: its normal. Two points equally
    high: their difference.
    """
    at = {p.name: k for k, p in enumerate(photos)}
    found = []
    for line in lines:
        if line.photo not in at:
            continue
        photo, camera = photos[at[line.photo]], cameras[at[line.photo]]
        ends = rays(np.array(line.points), photo, camera) @ camera.rotation
        one, other = ends / np.linalg.norm(ends, axis=1, keepdims=True)
        square = np.cross(one, other) if line.upright else one - other
        found.append(square / np.linalg.norm(square))
    return np.array(found).reshape(-1, 3)
