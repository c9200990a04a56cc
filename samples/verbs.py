"""Clone, fuse, repair and refine sample photographs, and show before and after side by side.

python samples/verbs.py [FOLDER]        writes FOLDER/verbs.jpg and what it is made of
"""

import sys
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import composer
from composer.samples import picture

Array = NDArray[Any]
WIDTH, HEIGHT = 420, 280


def cloned() -> list[Array]:
    """Put galaxies into an evening sky: mixed gradients keep what is stronger, sky or stars."""
    stars, sky = picture("hubble_deep_field.jpg"), picture("rocket.jpg")
    stars = stars[100 : 100 + 230, 200 : 200 + sky.shape[1]]
    lit = (cv2.GaussianBlur(stars.max(2), (0, 0), 1.5) > 45).astype(np.uint8)
    _, parts, boxes, _ = cv2.connectedComponentsWithStats(cv2.dilate(lit, np.ones((9, 9), np.uint8)))
    left, top, right, bottom = boxes[:, 0], boxes[:, 1], *(boxes[:, :2] + boxes[:, 2:4]).T
    whole = (left > 0) & (top > 0) & (right < stars.shape[1]) & (bottom < stars.shape[0])
    whole[0] = False  # the dark between them; what the border cuts would darken its surroundings
    mask = np.where(whole[parts], 255, 0).astype(np.uint8)
    return [stars, sky, composer.clone(stars, sky, mask, offset=(0, 0), mode="mixed").image]


def exposures() -> list[Array]:
    """Fuse a bracket of three exposures, each clipped at one end."""
    light = (picture("motorcycle_left.png") / 255.0) ** 2.2
    bracket = [np.rint(255 * np.clip(light * k, 0, 1) ** (1 / 2.2)).astype(np.uint8) for k in (0.2, 1, 6)]
    return [bracket[0], bracket[2], composer.fuse(bracket, align="none").image]


def focus() -> list[Array]:
    """Fuse a stack focused near and far: blur follows the disparity that was measured of the scene."""
    photo = picture("motorcycle_left.png")
    with resources.files("skimage.data").joinpath("motorcycle_disp.npz").open("rb") as file:
        disparity = np.nan_to_num(np.load(file)["arr_0"], posinf=0)
    depth = np.clip((disparity - 20) / 40, 0, 1).astype(np.float32)
    near = cv2.GaussianBlur(cv2.medianBlur(depth, 5), None, 3)[:, :, None]
    blurred = cv2.GaussianBlur(photo, None, 4)
    stack = [np.rint(photo * s + blurred * (1 - s)).astype(np.uint8) for s in (near, 1 - near)]
    return [*stack, composer.fuse(stack, method="focus").image]


def repaired() -> list[Array]:
    """Take writing and scratches off a photograph."""
    photo = picture("chelsea.png")
    mask = np.zeros(photo.shape[:2], np.uint8)
    cv2.putText(mask, "12 MAY 1998", (20, 280), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 255, 3)
    rng = np.random.default_rng(4)
    for _ in range(5):
        line = np.cumsum(rng.normal((6, 9), (8, 6), (30, 2)), 0) + rng.uniform((0, -60), (420, 60))
        cv2.polylines(mask, [line.astype(np.int32)], False, 255, 2)
    spoiled = np.where(mask[:, :, None] > 0, np.uint8((250, 200, 90)), photo)
    return [spoiled, np.dstack([mask] * 3), composer.repair(spoiled, mask, grow=1).image]


def denoised() -> list[Array]:
    """Take out noise of unknown level."""
    photo = picture("coffee.png")[60:340, 80:500]
    noise = np.random.default_rng(0).normal(0, 25, photo.shape)
    noisy = np.clip(np.rint(photo + noise), 0, 255).astype(np.uint8)
    return [photo, noisy, composer.repair(noisy, faults="noise").image]


def refined() -> list[Array]:
    """Mend a seam between two views that are a few pixels and a tenth of the light apart."""
    photo = picture("motorcycle_left.png")
    moved = cv2.warpAffine(photo, np.float32([[1, 0.004, 2.5], [-0.004, 1, 2.5]]), photo.shape[1::-1])
    moved = np.rint(moved * 0.9).astype(np.uint8)
    side = (np.arange(photo.shape[1]) > 330)[None, :, None]
    composite, other = np.where(side, moved, photo), np.where(side, photo, moved)
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[:, 290:372] = 255
    better = composer.refine(composite, mask, other=other).image
    part = slice(150, 290), slice(226, 436)
    return [np.repeat(np.repeat(p[part], 2, 0), 2, 1) for p in (composite, other, better)]


def row(pictures: list[Array]) -> Array:
    """Put pictures side by side, cut to one shape."""
    cells = []
    for p in pictures:
        scale = max(WIDTH / p.shape[1], HEIGHT / p.shape[0])
        size = round(p.shape[1] * scale), round(p.shape[0] * scale)
        small = cv2.resize(p, size, interpolation=cv2.INTER_AREA)[:HEIGHT, :WIDTH]
        cells.append(np.pad(small, ((0, 8), (0, 8), (0, 0)), constant_values=255))
    return np.hstack(cells)


def main(folder: Path) -> None:
    """Write every picture, and all of them on one sheet."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    made = [cloned, exposures, focus, repaired, denoised]
    if find_spec("onnxruntime") or find_spec("torch"):
        made.append(refined)
    for make in made:
        pictures = make()
        for k, pixels in enumerate(pictures, 1):
            Image.fromarray(pixels).save(folder / f"{make.__name__}-{k}.jpg", quality=93)
        rows.append(row(pictures))
    Image.fromarray(np.vstack(rows)).save(folder / "verbs.jpg", quality=88)
    print(f"The sheet lies at {(folder / 'verbs.jpg').resolve()}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
