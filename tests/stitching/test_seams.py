"""Seams go where photographs agree, whatever the shape of the overlap."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from composer.records import Camera, Composition, Context, Layer, Photo, Rect, Tile
from composer.stitching.crop import largest_full_rectangle
from composer.stitching.seams import Differences, _spread, find_seams, with_claims

PHOTO = Photo("p", None, 100, 80, 3, "uint8")
LAYER = Layer(PHOTO, Camera(np.eye(3), 100.0))


def canvas(count: int, width: int = 160, height: int = 80, closed: bool = False) -> Composition:
    return Composition((LAYER,) * count, "plane", width, height, 100.0, (0.0, 0.0), closed=closed)


def layer_tile(rect: Rect, picture: np.ndarray) -> Tile:
    """Cut a layer out of a picture of the whole canvas, weights from edge to centre."""
    columns = np.arange(rect.x0, rect.x1) % picture.shape[1]
    image = np.ascontiguousarray(picture[rect.y0 : rect.y1, columns]).astype(np.float32)
    x = 1 - np.abs(np.linspace(-1, 1, rect.width))
    y = 1 - np.abs(np.linspace(-1, 1, rect.height))
    weight = np.minimum(x[None, :], y[:, None]).astype(np.float32)
    return Tile(rect, image, np.ones(weight.shape, bool), weight)


def picture(seed: int = 0, width: int = 160) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.4, 0.45, (80, width, 3)).astype(np.float32)


def test_a_layers_pairs_lie_apart_and_in_order() -> None:
    pairs = [(i, j) for i in range(9) for j in range(i + 1, 9) if (i * j + i) % 3 != 1]
    moved = _spread(pairs)
    for k in range(9):
        assert [p for p in moved if k in p] == [p for p in pairs if k in p]
    together = [sum(bool({*a} & {*b}) for a, b in pairwise(order)) for order in (moved, pairs)]
    assert 2 * together[0] < together[1]


def test_seams_found_before_change_only_where_a_claim_is() -> None:
    rng = np.random.default_rng(5)
    base = rng.uniform(0.3, 0.6, (80, 300, 3)).astype(np.float32)
    rects = [Rect(0, 0, 120, 80), Rect(80, 0, 220, 80), Rect(180, 0, 300, 80)]
    tiles = [layer_tile(r, base + rng.normal(0, 0.05, base.shape)) for r in rects]
    before = find_seams(canvas(3, 300), tiles)
    claims = np.full(before.shape, -1, np.int16)
    claims[30:50, 90:110] = 1 - before[40, 100]
    after = find_seams(canvas(3, 300), with_claims(canvas(3, 300), tiles, claims), seams=before)
    assert (after[30:50, 90:110] == claims[40, 100]).all()
    assert (after[:, 170:] == before[:, 170:]).all()
    assert (find_seams(canvas(3, 300), tiles, seams=before) == before).all()


def test_a_seam_goes_around_something_that_only_one_photo_has() -> None:
    first, second = picture(), picture()
    second[25:55, 70:90] = 0.9
    tiles = [layer_tile(Rect(0, 0, 100, 80), first), layer_tile(Rect(60, 0, 160, 80), second)]
    seams = find_seams(canvas(2), tiles)
    inside = seams[26:54, 71:89]
    assert inside.min() == inside.max()
    assert (seams[:, :55] == 0).all()
    assert (seams[:, 105:] == 1).all()


def test_every_cell_belongs_to_a_layer_that_covers_it() -> None:
    rng = np.random.default_rng(2)
    base = rng.random((80, 160, 3)).astype(np.float32)
    rects = [Rect(0, 0, 90, 60), Rect(50, 10, 160, 80), Rect(30, 30, 120, 80)]
    seams = find_seams(canvas(3), [layer_tile(r, base) for r in rects])
    for y in range(80):
        for x in range(160):
            over = [k for k, r in enumerate(rects) if r.x0 <= x < r.x1 and r.y0 <= y < r.y1]
            assert not over or seams[y, x] in over


def test_a_ring_is_cut_at_every_overlap_the_wrap_included() -> None:
    base = picture(width=300)
    rects = [Rect(0, 0, 140, 80), Rect(100, 0, 240, 80), Rect(200, 0, 340, 80)]
    tiles = [layer_tile(r, base) for r in rects]
    moving = tiles[2].image.copy()
    moving[20:60, 108:124] = 0.9  # in the overlap of the last photo and the first, past the wrap
    tiles[2] = replace(tiles[2], image=moving)
    seams = find_seams(canvas(3, 300, closed=True), tiles)
    assert set(np.unique(seams)) == {0, 1, 2}
    blob = seams[21:59, 9:23]
    assert blob.min() == blob.max()


def test_cells_nobody_covers_go_to_the_nearest() -> None:
    base = picture()
    tiles = [layer_tile(Rect(0, 0, 60, 40), base), layer_tile(Rect(100, 40, 160, 80), base)]
    seams = find_seams(canvas(2), tiles)
    assert seams[79, 0] == 0
    assert seams[0, 159] == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_rectangle_is_full_and_none_is_larger(seed: int) -> None:
    covered = np.random.default_rng(seed).random((9, 11)) < 0.75
    x0, y0, x1, y1 = largest_full_rectangle(covered)
    assert covered[y0:y1, x0:x1].all()
    best = max(
        (b - a) * (d - c)
        for a in range(11) for b in range(a + 1, 12) for c in range(9) for d in range(c + 1, 10)
        if covered[c:d, a:b].all()
    )  # fmt: skip
    assert (x1 - x0) * (y1 - y0) == best


def test_detail_that_vanishes_in_the_grid_moves_the_seam() -> None:
    base = picture()
    rects = [Rect(0, 0, 100, 80), Rect(60, 0, 160, 80)]
    tiles = [layer_tile(r, base) for r in rects]
    fine = np.full((160, 320, 3), 110, np.uint8)
    lines = fine.copy()
    lines[:, 144:176:2], lines[:, 145:176:2] = 150, 70  # their mean is the plain value
    detail = [
        Tile(Rect(*(2 * s for s in r)), f[:, 2 * r.x0 : 2 * r.x1], np.ones((160, 200), bool))
        for r, f in zip(rects, (fine, lines), strict=True)
    ]
    between = Differences(canvas(2), tiles, detail.__getitem__)
    seams = find_seams(canvas(2), tiles, between)
    assert (seams[:, 73:87] == seams[:, 73:74]).all()


def test_layers_in_detail_are_made_once_and_let_go() -> None:
    made: list[int] = []
    base = picture()
    rects = [Rect(0, 0, 70, 80), Rect(40, 0, 120, 80), Rect(90, 0, 160, 80), Rect(30, 20, 130, 60)]
    tiles = [layer_tile(r, base) for r in rects]
    double = np.kron(base, np.ones((2, 2, 1), np.float32))

    def finer(k: int) -> Tile:
        made.append(k)
        return layer_tile(Rect(*(2 * s for s in rects[k])), double)

    between = Differences(canvas(4), tiles, finer)
    between.prepare([(0, 1), (1, 2), (0, 3), (1, 3), (2, 3)], Context(workers=2))
    assert sorted(made) == [0, 1, 2, 3]
    assert not between._fine
    assert (find_seams(canvas(4), tiles, between) == find_seams(canvas(4), tiles)).mean() > 0.9
    assert sorted(made) == [0, 1, 2, 3]


def test_a_claim_is_held_where_the_claimant_looks_and_only_there() -> None:
    base = picture()
    tiles = [layer_tile(Rect(0, 0, 100, 80), base), layer_tile(Rect(60, 0, 160, 80), base)]
    claims = np.full((80, 160), -1, np.int16)
    claims[20:40, 90:110] = 0
    seams = find_seams(canvas(2), with_claims(canvas(2), tiles, claims))
    assert (seams[20:40, 90:100] == 0).all()
    assert (seams[20:40, 100:110] == 1).all()
