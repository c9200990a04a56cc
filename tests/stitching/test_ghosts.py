"""Moving things: known objects in known photos, shown whole or not at all."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from composer.records import Camera, Composition, Layer, Photo, Rect, Tile
from composer.stitching.ghosts import _whole, moving_regions, whole_regions, without_moving
from composer.stitching.seams import find_seams, with_claims
from tests.stitching.test_seams import layer_tile

LAYER = Layer(Photo("p", None, 100, 80, 3, "uint8"), Camera(np.eye(3), 100.0))
THING = slice(30, 50), slice(70, 90)


def canvas(count: int, width: int = 160, closed: bool = False) -> Composition:
    return Composition((LAYER,) * count, "plane", width, 80, 100.0, (0.0, 0.0), closed=closed)


def textured(width: int = 160) -> np.ndarray:
    noise = np.random.default_rng(0).uniform(0.2, 0.8, (80, width, 3)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def scene(rects: list[Rect], shows: set[int], thing: tuple[slice, slice] = THING) -> list[Tile]:
    """Cut layers out of one world; those in `shows` have a bright thing in it."""
    plain = textured()
    busy = plain.copy()
    busy[thing] = 0.95
    return [layer_tile(r, busy if k in shows else plain) for k, r in enumerate(rects)]


def owners(seams: np.ndarray, thing: tuple[slice, slice] = THING) -> set[int]:
    return {int(k) for k in np.unique(seams[thing])}


def removed(small: Composition, tiles: list[Tile]) -> np.ndarray:
    return find_seams(small, without_moving(small, tiles, moving_regions(small, tiles)))


def kept(small: Composition, tiles: list[Tile]) -> np.ndarray:
    seams = find_seams(small, tiles)
    claims = whole_regions(small, tiles, moving_regions(small, tiles), seams)
    return find_seams(small, with_claims(small, tiles, claims))


THREE = [Rect(0, 0, 110, 80), Rect(30, 0, 130, 80), Rect(50, 0, 160, 80)]


@pytest.mark.parametrize("guilty", range(3))
def test_of_three_photos_the_one_that_shows_the_thing_alone_loses_there(guilty: int) -> None:
    seams = removed(canvas(3), scene(THREE, {guilty}))
    assert guilty not in owners(seams)


def test_what_two_of_three_photos_show_is_background() -> None:
    seams = removed(canvas(3), scene(THREE, {0, 2}))
    assert 1 not in owners(seams)


@pytest.mark.parametrize("guilty", [0, 1])
def test_of_two_photos_the_one_with_the_outline_loses(guilty: int) -> None:
    smooth = cv2.GaussianBlur(textured(), (0, 0), 6)
    busy = smooth.copy()
    busy[THING] = 0.95
    rects = [Rect(0, 0, 110, 80), Rect(50, 0, 160, 80)]
    tiles = [layer_tile(r, busy if k == guilty else smooth) for k, r in enumerate(rects)]
    assert owners(removed(canvas(2), tiles)) == {1 - guilty}


def test_a_thing_that_reaches_where_no_other_photo_looks_is_not_cut() -> None:
    thing = slice(30, 50), slice(35, 90)
    rects = [Rect(0, 0, 110, 80), Rect(50, 0, 160, 80), Rect(55, 0, 160, 80)]
    seams = removed(canvas(3), scene(rects, {0}, thing))
    assert owners(seams, thing) == {0}


@pytest.mark.parametrize(("rows", "gone"), [(14, 20), (9, 9)])
def test_a_thing_that_mostly_goes_leaves_no_slice(rows: int, gone: int) -> None:
    """Where fewer photos look on, its outline may say nothing."""
    differs, lost = np.zeros((2, 40, 60), bool)
    differs[10:30, 20:40] = differs[5:8, 2:9] = True
    lost[10 : 10 + rows, 20:40] = True
    wanted = np.zeros_like(lost)
    wanted[10 : 10 + gone, 20:40] = True
    assert np.array_equal(_whole(lost, differs), wanted)


def test_a_place_where_all_disagree_keeps_an_owner() -> None:
    tiles = scene(THREE, set())
    for k, value in enumerate((0.0, 0.45, 0.95)):
        image = tiles[k].image.copy()
        image[30:50, 70 - THREE[k].x0 : 90 - THREE[k].x0] = value
        tiles[k] = replace(tiles[k], image=image)
    left = without_moving(canvas(3), tiles, moving_regions(canvas(3), tiles))
    assert all(t.valid.all() for t in left)


@pytest.mark.parametrize("guilty", [0, 1])
def test_a_thing_that_the_seam_would_cut_is_kept_whole(guilty: int) -> None:
    thing = slice(36, 44), slice(56, 104)  # a seam from top to bottom has to pass it
    rects = [Rect(0, 0, 110, 80), Rect(50, 0, 160, 80)]
    tiles = scene(rects, {guilty}, thing)
    cut = np.zeros((80, 160), np.int16)
    cut[:, 80:] = 1
    regions = moving_regions(canvas(2), tiles)
    claims = whole_regions(canvas(2), tiles, regions, cut)
    assert owners(claims, thing) == {guilty}
    assert owners(find_seams(canvas(2), with_claims(canvas(2), tiles, claims)), thing) == {guilty}
    uncut = np.full((80, 160), 1 - guilty, np.int16)
    assert (whole_regions(canvas(2), tiles, regions, uncut) == -1).all()


def test_photos_slightly_out_of_place_do_not_move() -> None:
    world = textured(164)
    tiles = [
        layer_tile(Rect(0, 0, 110, 80), world[:, :160]),
        layer_tile(Rect(50, 0, 160, 80), world[:, 1:161]),
    ]
    assert moving_regions(canvas(2), tiles) == []


def test_a_thing_behind_the_wrap_is_found_and_removed() -> None:
    base = textured(300)
    rects = [Rect(0, 0, 140, 80), Rect(100, 0, 240, 80), Rect(200, 0, 340, 80), Rect(220, 0, 350, 80)]
    tiles = [layer_tile(r, base) for r in rects]
    moving = tiles[2].image.copy()
    moving[30:50, 108:124] = 0.95  # columns 8 to 24, past the wrap
    tiles[2] = replace(tiles[2], image=moving)
    assert 2 not in owners(removed(canvas(4, 300, closed=True), tiles), (slice(30, 50), slice(8, 24)))


def test_nothing_is_cut_where_nothing_moves() -> None:
    tiles = scene(THREE, set())
    assert (kept(canvas(3), tiles) == find_seams(canvas(3), tiles)).all()
