"""What is drawn is told from what was photographed."""

import cv2
import numpy as np
import pytest
from PIL import Image

from composer.mending.drawings import is_drawn, is_sudden
from composer.samples import picture


def letters() -> np.ndarray:
    page = np.full((200, 300, 3), 245, np.uint8)
    for y in range(20, 200, 18):
        cv2.putText(page, "All that is written here", (8, y), 0, 0.5, (20, 20, 60), 1, cv2.LINE_AA)
    return page


def dithered() -> np.ndarray:
    return np.array(Image.fromarray(picture("coffee.png")).convert("1")).astype(np.uint8)[:, :, None] * 255


def pixel_art() -> np.ndarray:
    random = np.random.default_rng(1)
    art = random.integers(0, 255, (8, 3))[random.integers(0, 8, (24, 24))]
    return np.kron(art, np.ones((4, 4, 1))).astype(np.uint8)


def chequered() -> np.ndarray:
    return np.indices((64, 64)).sum(0)[:, :, None] % 2 * np.uint8(255)


def plotted() -> np.ndarray:
    plot = np.full((240, 320, 3), 255, np.uint8)
    plot[::40] = plot[:, ::40] = 200
    x = np.arange(320)
    curve = np.stack([x, 120 + 80 * np.sin(x / 20)], 1).round().astype(np.int32)
    cv2.polylines(plot, [curve], False, (31, 119, 180), 1)
    return plot


@pytest.mark.parametrize("draw", [letters, dithered, pixel_art, chequered, plotted])
def test_drawings(draw):
    assert is_drawn(draw().astype(np.float32) / 255)


@pytest.mark.parametrize("name", ["astronaut.png", "chelsea.png", "coffee.png", "brick.png"])
def test_photographs_noisy_or_not(name):
    photo = picture(name)
    photo = (photo if photo.ndim == 3 else photo[:, :, None]).astype(np.float32) / 255
    random = np.random.default_rng(0)
    noisy = np.clip(photo + random.normal(0, 40 / 255, photo.shape), 0, 1)
    salted = np.where(random.random(photo.shape[:2])[:, :, None] < 0.2, np.round(random.random()), photo)
    holed = photo.copy()
    holed[50:200, :150] = 0
    for pixels in (photo, noisy, salted, holed):
        assert not is_drawn(pixels.astype(np.float32))


def test_what_is_flat_or_tiny_is_no_drawing():
    assert not is_drawn(np.full((64, 64, 3), 0.5, np.float32))
    assert not is_drawn(np.zeros((2, 9, 1), np.float32))


@pytest.mark.parametrize("draw", [dithered, plotted])
def test_drawings_in_jpeg_files(draw):
    _, data = cv2.imencode(".jpg", draw(), [cv2.IMWRITE_JPEG_QUALITY, 92])
    assert is_sudden(cv2.imdecode(data, cv2.IMREAD_COLOR).astype(np.float32) / 255)


@pytest.mark.parametrize("name", ["astronaut.png", "chelsea.png", "coffee.png", "brick.png", "text.png"])
def test_a_photograph_is_not_sudden(name):
    photo = picture(name)
    photo = (photo if photo.ndim == 3 else photo[:, :, None]).astype(np.float32) / 255
    noisy = photo + np.random.default_rng(0).normal(0, 40 / 255, photo.shape).astype(np.float32)
    for pixels in (photo, np.clip(noisy, 0, 1), np.zeros((9, 2, 1), np.float32)):
        assert not is_sudden(pixels)
