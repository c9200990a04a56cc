"""Rendering: tiles equal the whole, for every local stage and any tile size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import composer
from composer.align.projection import placed
from composer.blend.stages import Feather, Multiband, NoBlend
from composer.learn.stages import RefineGan
from composer.media.decode import PhotoStore
from composer.records import Camera, Composition, Context, Layer, Locality, Patch, Photo, Rect, Tile
from composer.render import render
from composer.samples import circle, room
from composer.stitching.layout import rescaled

BLENDS = [Multiband(), Multiband(levels=5), Feather(), NoBlend()]


class Soften:
    """A tile stage that looks at its neighbours: a 5 x 5 mean."""

    def locality(self) -> Locality:
        return Locality(halo=2)

    def apply(self, tile: Tile) -> Tile:
        from cv2 import BORDER_REPLICATE, blur

        return replace(tile, image=blur(tile.image, (5, 5), borderType=BORDER_REPLICATE))


@pytest.fixture(scope="module")
def flat() -> Composition:
    return composer.stitch(room(), device="cpu").panoramas[0].composition


@pytest.fixture(scope="module")
def ring() -> Composition:
    photos = [v.pixels for v in circle(10)]
    return composer.stitch(photos, projection="sphere", device="cpu").panoramas[0].composition


@pytest.fixture
def context() -> Context:
    return Context(workers=2, photos=PhotoStore())


@pytest.mark.parametrize("blend", BLENDS, ids=repr)
@pytest.mark.parametrize("tile_size", [64, 192, 256])
def test_tiles_equal_the_whole_canvas(
    flat: Composition, context: Context, blend: object, tile_size: int
) -> None:
    whole = render(flat, blend, context, tile_size=4096)  # type: ignore[arg-type]
    tiled = render(flat, blend, context, tile_size=tile_size)  # type: ignore[arg-type]
    assert np.array_equal(whole[0], tiled[0])
    assert np.array_equal(whole[1], tiled[1])


@pytest.mark.parametrize("blend", BLENDS, ids=repr)
def test_tiles_equal_the_whole_circle(ring: Composition, context: Context, blend: object) -> None:
    whole = render(ring, blend, context, tile_size=ring.width)  # type: ignore[arg-type]
    tiled = render(ring, blend, context, tile_size=128)  # type: ignore[arg-type]
    assert np.array_equal(whole[0], tiled[0])


def test_tile_stages_get_the_halo_they_ask_for(flat: Composition, context: Context) -> None:
    whole = render(flat, Multiband(), context, (Soften(),), tile_size=4096)[0]
    tiled = render(flat, Multiband(), context, (Soften(),), tile_size=128)[0]
    plain = render(flat, Multiband(), context, tile_size=4096)[0]
    assert np.array_equal(whole, tiled)
    assert not np.array_equal(whole, plain)


@pytest.mark.parametrize("reach", [24.0, 40.0])
def test_refined_tiles_equal_the_whole(
    flat: Composition, context: Context, reach: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the network makes of all that it is handed."""

    def network(planes: np.ndarray) -> np.ndarray:
        given = planes.astype(np.float64).sum()
        return np.stack([planes[6] - planes[0] + 0.1 * np.sin(given)] * 3 + [np.ones_like(planes[0])])

    monkeypatch.setattr("composer.learn.stages.load_refiner", lambda path: network)
    stages = (RefineGan(reach=reach),)
    for chain in (stages, (*stages, Soften())):
        whole = render(flat, NoBlend(), context, chain, tile_size=4096)[0]
        tiled = render(flat, NoBlend(), context, chain, tile_size=64)[0]
        assert np.array_equal(whole, tiled)
    assert not np.array_equal(whole, render(flat, NoBlend(), context, (Soften(),), tile_size=4096)[0])


def test_a_circle_turned_by_half_is_the_same_picture_turned(ring: Composition, context: Context) -> None:
    """The wrap column is rendered like any other: turning the world moves it elsewhere."""
    image, _ = render(ring, NoBlend(), context)
    half = ring.width // 2
    turn = np.diag([-1.0, 1.0, -1.0])  # half a turn about the vertical
    layers = tuple(
        replace(
            la,
            camera=replace(la.camera, rotation=la.camera.rotation @ turn),
            rect=Rect((la.rect.x0 + half) % ring.width, la.rect.y0,
                      (la.rect.x0 + half) % ring.width + la.rect.width, la.rect.y1),
        )
        for la in ring.layers
    )  # fmt: skip
    assert ring.seams is not None
    assert ring.low_bands is not None
    turned = replace(
        ring,
        layers=layers,
        seams=np.roll(ring.seams, ring.seams.shape[1] // 2, 1),
        low_bands=np.roll(ring.low_bands, ring.low_bands.shape[1] // 2, 1),
    )
    again, _ = render(turned, NoBlend(), context)
    difference = np.abs(np.roll(again, -half, 1).astype(int) - image)
    assert np.percentile(difference, 99.9) <= 1


def test_a_patch_is_pasted_and_makes_its_pixels_valid(flat: Composition, context: Context) -> None:
    rect = Rect(5, 3, 45, 33)
    patch = Patch(rect, np.full((30, 40, 3), 0.5, np.float32), np.ones((30, 40), np.float32), "test")
    image, valid = render(replace(flat, patches=(patch,)), Multiband(), context, tile_size=64)
    assert (image[3:33, 5:45] == 128).all()
    assert valid[3:33, 5:45].all()


def test_a_tile_of_one_photo_is_that_photo(flat: Composition, context: Context) -> None:
    """Away from seams multiband changes nothing but the wide bands."""
    bare = replace(flat, low_bands=None)
    blended = render(bare, Multiband(), context)[0].astype(int)
    cut = render(bare, NoBlend(), context)[0].astype(int)
    assert (np.abs(blended - cut).max(2) == 0).mean() > 0.5


def test_rescaled_to_its_own_width_changes_nothing(ring: Composition, context: Context) -> None:
    again = rescaled(ring, ring.width)
    assert np.array_equal(render(ring, Multiband(), context)[0], render(again, Multiband(), context)[0])


def test_photos_leave_memory_when_no_row_below_shows_them(flat: Composition) -> None:
    """Of scans one below the other, the store holds those that the rows in work need."""
    photo = flat.layers[0].photo
    assert photo.pixels is not None
    layers = []
    for k in range(5):
        shift = np.eye(3)
        shift[1, 2] = -(k * photo.height + (photo.height - 1) / 2) / 500
        shift[0, 2] = -((photo.width - 1) / 2) / 500
        layers.append(Layer(replace(photo, name=f"{k}"), Camera(shift, 500.0)))
    tall = placed(Composition(tuple(layers), "affine", photo.width, 5 * photo.height, 500.0, (0.0, 0.0)))
    store = Watched()
    image, valid = render(tall, Multiband(), Context(workers=2, photos=store))
    assert valid.all()
    assert (
        np.abs(
            image[10 : photo.height - 10].astype(int) - image[photo.height + 10 : -3 * photo.height - 10]
        ).max()
        <= 1
    )
    assert store.most <= 3


class Watched(PhotoStore):
    """A photo store that counts how many photos it was asked for and not yet told to forget."""

    def __init__(self) -> None:
        super().__init__()
        self.held: set[str] = set()
        self.most = 0

    def pixels(self, photo: Photo, shrink: int = 1, device: str = "cpu") -> object:
        self.held.add(photo.name)
        self.most = max(self.most, len(self.held))
        return super().pixels(photo, shrink, device)

    def forget(self, photo: Photo, but: int = 0) -> None:
        if not but:
            self.held.discard(photo.name)
        super().forget(photo, but)
