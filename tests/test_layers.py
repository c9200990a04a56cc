"""Layers in a TIFF: put together under their masks they are the hard composite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import composer
from composer.blend.stages import NoBlend
from composer.errors import Cancelled, OutputError
from composer.layers import layer_pages
from composer.media import tiff_write
from composer.media.decode import PhotoStore
from composer.records import Composition, Context
from composer.render import render
from composer.samples import circle, photograph, room


def composite(path: Path, composition: Composition) -> Any:
    """Paste every photo's page where its mask is white, by the positions that the file tells."""
    with tifffile.TiffFile(path) as file:
        pages = list(file.pages)
        assert len(pages) == 2 * len(composition.layers)
        wide, high = pages[0].tags[33300].value, pages[0].tags[33301].value
        assert (wide, high) == (composition.width, composition.height)
        canvas = np.zeros((high, wide, 3), pages[0].dtype)
        for photo, mask in zip(pages[::2], pages[1::2], strict=True):
            assert mask.tags[285].value == f"mask of {photo.tags[285].value}"
            x, y = (t.value[0] / t.value[1] * 150 for t in (photo.tags[286], photo.tags[287]))
            pixels, mine = photo.asarray(), mask.asarray() == 255
            assert not (mine & (pixels[:, :, 3] == 0)).any()
            there = canvas[round(y) :, round(x) :][: pixels.shape[0], : pixels.shape[1]]
            there[mine] = pixels[mine][:, :3]
    return canvas


@pytest.mark.parametrize("around", [False, True])
def test_layers_under_their_masks_are_the_hard_composite(tmp_path: Path, around: bool) -> None:
    photos = [v.pixels for v in circle(10)] if around else room()
    path = tmp_path / "layers.tif"
    result = composer.stitch(photos, projection="sphere", blend="none", layers=path, device="cpu")
    composition = result.panoramas[0].composition
    assert composition.closed is around
    context = Context(photos=PhotoStore())
    assert np.array_equal(composite(path, composition), render(composition, NoBlend(), context)[0])


def test_every_panorama_has_its_own_file(tmp_path: Path) -> None:
    first = [photograph(y, 0, 1, hfov_deg=50).pixels for y in (-20, 5)]
    second = [photograph(y, 0, 1, hfov_deg=50, seed=9).pixels for y in (165, 190)]
    composer.stitch([*first, *second], layers=tmp_path / "l.tif", device="cpu")
    assert {p.name for p in tmp_path.iterdir()} == {"l.tif", "l-2.tif"}


def test_deep_photos_keep_their_depth_and_large_files_are_bigtiff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff_write, "CLASSIC_TIFF", 100_000)
    photos = [p.astype(np.uint16) * 257 for p in room()]
    composer.stitch(photos, layers=tmp_path / "l.tif", device="cpu")
    with tifffile.TiffFile(tmp_path / "l.tif") as file:
        assert file.is_bigtiff
        assert [p.dtype for p in file.pages[:2]] == [np.uint16, np.uint8]


def test_only_tiff_holds_layers(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="layers are written as TIFF"):
        composer.stitch(room(), layers=tmp_path / "l.png")


def test_layers_take_the_place_of_neither_panorama_nor_photo(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is the panorama's name too"):
        composer.stitch(room(), tmp_path / "l.tif", layers=tmp_path / "l.tif")
    for k, pixels in enumerate(room()):
        tifffile.imwrite(tmp_path / f"{k}.tif", pixels)
    with pytest.raises(OutputError, match="is one of the photos"):
        composer.stitch(tmp_path, layers=tmp_path / "1.tif", device="cpu")


def test_cancelled_layers_leave_nothing(tmp_path: Path) -> None:
    composition = composer.stitch(room(), device="cpu").panoramas[0].composition
    context = Context(photos=PhotoStore(), cancelled=lambda: True)
    with pytest.raises(Cancelled):
        next(layer_pages(composition, context)[0].tiles)
