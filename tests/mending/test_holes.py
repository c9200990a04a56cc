"""Holes, counted and measured."""

from __future__ import annotations

import numpy as np

from composer.mending.holes import find_holes, grown
from composer.records import Rect


def test_holes_are_measured() -> None:
    mask = np.zeros((80, 120), bool)
    mask[10:13, 5:60] = True
    mask[30:37, 20:110] = mask[20:60, 60:67] = True  # they cross
    mask[70:80, 0:10] = True  # half of it may lie outside
    labels, holes = find_holes(mask)
    assert [h.rect for h in holes] == [Rect(5, 10, 60, 13), Rect(20, 20, 110, 60), Rect(0, 70, 10, 80)]
    assert [h.area for h in holes] == [np.count_nonzero(labels == k) for k in (1, 2, 3)]
    assert [round(h.width_px) for h in holes[:2]] == [3, 7]
    assert holes[1].widest_px > 8
    assert holes[2].widest_px >= 10


def test_corners_join_holes_and_growing_rounds() -> None:
    mask = np.eye(9, dtype=bool)
    assert len(find_holes(mask)[1]) == 1
    point = np.zeros((9, 9), bool)
    point[4, 4] = True
    assert grown(point, 0) is point
    assert grown(point, 3)[4, 1]
    assert not grown(point, 3)[1, 1]
