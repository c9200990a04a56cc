"""Deep Zoom: every level is the picture halved, whatever the rows come in."""

import itertools
import os
import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest
from PIL import Image

from composer.errors import OutputError
from composer.media.deepzoom import write_tiles
from composer.media.encode import check_output, write_bands, write_image
from composer.media.metadata import Metadata
from composer.media.profiles import srgb
from tests.media.pictures import picture

TILE = 254


def smooth(height, width, planes=3):
    """Return a picture whose colours change slowly enough for JPEG."""
    grey = cv2.GaussianBlur(picture(height, width, 1), (0, 0), 4)
    return np.stack([grey // 2 + 40 * k for k in range(planes)], -1)


def level(folder, number, height, width, planes=3):
    """Put a level's tiles together; where tiles overlap they must agree, but for JPEG's loss."""
    found = np.full((height, width, planes), -1, int)
    for path in (folder / str(number)).iterdir():
        column, row = map(int, path.stem.split("_"))
        x, y = max(column * TILE - 1, 0), max(row * TILE - 1, 0)
        tile = np.asarray(Image.open(path)).astype(int)
        tile = tile.reshape(*tile.shape[:2], planes)
        assert tile.shape[1] == min((column + 1) * TILE + 1, width) - x
        assert tile.shape[0] == min((row + 1) * TILE + 1, height) - y
        there = found[y : y + tile.shape[0], x : x + tile.shape[1]]
        again = there >= 0
        assert not again.any() or np.abs((there - tile)[again]).mean() < 4
        there[:] = tile
    assert (found >= 0).all()
    return found


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("heights", [(256,), (1,), (100, 700)])
def test_levels_are_the_picture_halved(tmp_path, heights, planes):
    pixels = smooth(601, 777, planes)
    tops = np.cumsum([0, *(heights * 700)])
    rows = (pixels[a:b] for a, b in itertools.pairwise(tops) if a < len(pixels))
    write_tiles(tmp_path, rows, (777, 601), None)
    assert sorted(os.listdir(tmp_path), key=int) == [str(k) for k in range(11)]
    expected = pixels.astype(float)
    for number in range(10, -1, -1):
        height, width = expected.shape[:2]
        assert np.abs(level(tmp_path, number, height, width, planes) - expected).mean() < 3
        even = np.pad(expected, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        expected = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


@pytest.mark.parametrize("size", [(1, 1), (254, 254), (255, 508), (509, 1)])
def test_sizes_at_the_edges_of_tiles(tmp_path, size):
    pixels = smooth(*size)
    write_image(tmp_path / "a.dzi", pixels)
    top = (max(size) - 1).bit_length()
    assert np.abs(level(tmp_path / "a_files", top, *size) - pixels).mean() < 3


def test_the_file_tells_size_and_tiles(tmp_path):
    notes = write_image(tmp_path / "a.dzi", picture(300, 400, dtype="uint16"))
    assert "written as uint8" in notes[0]
    root = ET.parse(tmp_path / "a.dzi").getroot()
    assert (root.get("Format"), root.get("TileSize"), root.get("Overlap")) == ("jpg", "254", "1")
    assert root[0].attrib == {"Width": "400", "Height": "300"}


def test_holes_are_black_and_the_profile_is_kept(tmp_path):
    valid = np.zeros((100, 100), bool)
    valid[:50] = True
    write_image(tmp_path / "a.dzi", np.full((100, 100, 3), 200, np.uint8), valid, Metadata(icc=srgb()))
    with Image.open(tmp_path / "a_files" / "7" / "0_0.jpg") as image:
        assert image.info["icc_profile"] == srgb()
        pixels = np.asarray(image)
    assert pixels[60:].max() < 10
    assert pixels[:40].min() > 190


def test_it_is_written_while_rows_come(tmp_path):
    seen = []

    def bands():
        for top in range(0, 2048, 256):
            seen.append(len(list(tmp_path.glob(".composer-*/new/11/*.jpg"))))
            yield top, picture(256, 300), np.ones((256, 300), bool)

    write_bands(tmp_path / "a.dzi", bands(), (2048, 300, 3), "uint8", False)
    assert seen == [0, 2, 4, 6, 8, 10, 12, 14]


def test_a_second_run_takes_the_place_of_the_first(tmp_path):
    write_image(tmp_path / "a.dzi", smooth(600, 600))
    write_image(tmp_path / "a.dzi", smooth(100, 100))
    assert sorted(os.listdir(tmp_path)) == ["a.dzi", "a_files"]
    assert len(os.listdir(tmp_path / "a_files")) == 8


def test_a_failure_leaves_the_first_run_as_it_was(tmp_path):
    write_image(tmp_path / "a.dzi", smooth(100, 100))

    def bands():
        yield 0, smooth(300, 600), np.ones((300, 600), bool)
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_bands(tmp_path / "a.dzi", bands(), (600, 600, 3), "uint8", False)
    assert sorted(os.listdir(tmp_path)) == ["a.dzi", "a_files"]
    assert len(os.listdir(tmp_path / "a_files")) == 8


def test_a_folder_that_is_no_pyramid_is_left_alone(tmp_path):
    (tmp_path / "a_files").mkdir()
    with pytest.raises(OutputError, match="a_files: exists"):
        check_output(tmp_path / "a.dzi")
