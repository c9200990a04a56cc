"""Measure how composer's cost grows with the number of photos, each of which overlaps about eight others.

    python benchmarks/growth.py --photos 24 48 96 192 384 --json benchmarks/results/growth.json

The world is a belt of a sphere, 16384 pixels around, made of dead leaves (Lee, Mumford and Huang, IJCV
2001): discs of every size that hide each other, each cut from a photograph of scikit-image's wheel, turned,
scaled and tinted. So texture is as rich as in photographs, no two places are alike, and yet surfaces recur,
as they do in life. A camera with 16 degrees across takes rows of photos 7.5 degrees apart, with jitter,
radial distortion, exposure steps, vignetting and noise (as in world.py); 384 of them close the circle. The
photos come shuffled, without EXIF data.

One process each, from start to end: wall clock, CPU time of all threads, peak memory, seconds by stage; the
cameras that it found are compared with the truth as in world.py. `--width` renders a smaller canvas.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import facts
from numpy.typing import NDArray
from world import JPEG_QUALITY, View, misplacement, nearest_turn, photograph, turn_of

Array = NDArray[Any]

AROUND = 16384
SIZE = 600, 450
FOV_DEG, STEP_DEG = 16.0, (7.5, 6.5)
FOCAL = SIZE[0] / 2 / math.tan(math.radians(FOV_DEG) / 2)
K1 = -0.3
SURFACES = (
    "astronaut.png", "brick.png", "chelsea.png", "coffee.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg",
    "text.png", "coins.png",
)  # fmt: skip


def surfaces() -> list[Array]:
    """Return the photographs that leaves are cut from, BGR."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return [cv2.imread(str(folder / name), cv2.IMREAD_COLOR) for name in SURFACES]


def belt(rows: int, random: np.random.Generator) -> Array:
    """Return the world (8192, 16384, 3) uint8: leaves as far up and down as `rows` of photos see."""
    world = np.zeros((AROUND // 2, AROUND, 3), np.uint8)
    reach = int(((rows * STEP_DEG[1] + FOV_DEG) / 2 + 3) / 360 * AROUND)
    top, bottom = AROUND // 4 - reach, AROUND // 4 + reach
    pictures = surfaces()
    smallest, largest = 12.0, 250.0
    share = 1 - (smallest / largest) ** 2
    covered = 0.0
    while covered < 5 * AROUND * (bottom - top):
        radius = smallest / math.sqrt(1 - share * random.uniform())  # density falls with the cube
        leaf(world, (random.uniform(0, AROUND), random.uniform(top, bottom)), radius, pictures, random)
        covered += math.pi * radius**2
    return world


def leaf(
    world: Array, at: tuple[float, float], radius: float, pictures: list[Array], random: np.random.Generator
) -> None:
    """Paste a disc of a photograph into the world, turned, scaled and tinted; columns wrap."""
    side = 2 * int(radius) + 1
    source = pictures[random.integers(len(pictures))]
    height, width = source.shape[:2]
    scale = random.uniform(0.5, 2)
    matrix = cv2.getRotationMatrix2D((0, 0), random.uniform(0, 360), 1 / scale)
    matrix[:, 2] = random.uniform(0, width), random.uniform(0, height)
    cut = cv2.warpAffine(
        source,
        matrix,
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    tinted = np.clip(cut * random.uniform(0.6, 1.2, 3) + random.uniform(-20, 40), 0, 255)
    disc = cv2.circle(np.zeros((side, side), np.uint8), (side // 2, side // 2), int(radius), 1, -1) > 0
    x, y = int(at[0]) - side // 2, int(at[1]) - side // 2
    columns = np.arange(x, x + side) % AROUND
    rows = slice(max(y, 0), min(y + side, len(world)))
    inside = slice(rows.start - y, rows.stop - y)
    place = world[rows, columns]
    world[rows, columns] = np.where(disc[inside, :, None], tinted[inside], place)


def layout(count: int) -> tuple[int, int]:
    """Return rows and columns for a number of photos; 384 close the circle."""
    rows = max(r for r in (1, 2, 3, 4, 6, 8) if count % r == 0 and r * r * STEP_DEG[1] <= count * STEP_DEG[0])
    return rows, count // rows


def take(folder: Path, world: Array, count: int, seed: int) -> dict[str, View]:
    """Take photos of the world into a folder, shuffled; returns each one's true camera by its name."""
    random = np.random.default_rng(seed)
    rows, columns = layout(count)
    views = {}
    for k, place in enumerate(random.permutation(count)):
        row, column = divmod(int(place), columns)
        aim = (column * STEP_DEG[0], (row - (rows - 1) / 2) * STEP_DEG[1], 0.0)
        yaw, pitch, roll = np.radians(aim + random.normal(0, 0.4, 3))
        view = View(turn_of(yaw, pitch, roll), FOCAL, K1, 2 ** random.uniform(-0.3, 0.3), SIZE)
        name = f"photo{k:03d}.jpg"
        views[name] = view
        if not (folder / name).exists():
            noisy = np.random.default_rng([seed, k])
            photo = photograph(world, view, 0.15, 2.0, noisy)
            cv2.imwrite(str(folder / name), photo, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return views


def measure(folder: Path, names: list[str], words: list[str]) -> dict[str, Any]:
    """Stitch in a process of its own; returns its cost and its summary."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        command = [
            sys.executable, "-m", "composer", "stitch", *(str(folder / n) for n in names), "--quiet", *words,
            "-o", str(out / "pano.tif"), "--summary", str(out / "summary.json"), "--save", str(out / "plan"),
        ]  # fmt: skip
        start = time.perf_counter()
        process = subprocess.Popen(command)
        _, code, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(code)
        if process.returncode:
            return {"status": f"exit code {process.returncode}"}
        summary = json.loads((out / "summary.json").read_text())
        return {
            "status": "ok",
            "seconds": round(seconds, 2),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
            "peak_mb": round(usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10), 1),
            "stages": {s["name"]: s["seconds"] for s in summary["stages"]},
            "panoramas": [
                {k: p[k] for k in ("width", "height", "projection", "fov_deg", "rms_px")}
                | {"used": len(p["photos"])}
                for p in summary["panoramas"]
            ],
            "plan": (out / "plan").read_bytes(),
        }


def misplaced(plan: bytes, views: dict[str, View]) -> dict[str, float]:
    """Compare the largest panorama's cameras with the truth, after one rotation: pixels of the photos."""
    from composer.media.archive import load_plan

    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "plan").write_bytes(plan)
        compositions = load_plan(Path(scratch) / "plan").compositions
    layers = max(compositions, key=lambda c: len(c.layers)).layers
    pairs = [(layer, views[Path(layer.photo.name).name]) for layer in layers]
    turn = nearest_turn([(layer.camera.rotation, view.turn) for layer, view in pairs])
    errors = np.concatenate([misplacement(layer, view, turn) for layer, view in pairs])
    return {
        "median": round(float(np.median(errors)), 3),
        "p95": round(float(np.percentile(errors, 95)), 3),
        "max": round(float(errors.max()), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, nargs="+", default=[24, 48, 96, 192, 384])
    parser.add_argument("--width", type=int, help="of the canvas; the photos' resolution by default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep the photos, and use those kept before"
    )
    parser.add_argument("--workers", type=int)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    words = [f"--{k}={v}" for k, v in (("width", given.width), ("workers", given.workers)) if v]
    record: dict[str, Any] = {"benchmark": "growth", **facts(), "size": SIZE, "words": words, "sets": []}
    with tempfile.TemporaryDirectory() as scratch:
        for count in given.photos:
            folder = (given.keep or Path(scratch)) / str(count)
            folder.mkdir(parents=True, exist_ok=True)
            missing = len(list(folder.glob("photo*.jpg"))) < count
            rows = layout(count)[0]
            world = (
                belt(rows, np.random.default_rng(given.seed)) if missing else np.zeros((0, 0, 3), np.uint8)
            )
            views = take(folder, world, count, given.seed)
            del world
            result = {"photos": count, "rows": rows, **measure(folder, list(views), words)}
            if result["status"] == "ok":
                result["error_px"] = misplaced(result.pop("plan"), views)
                result["cpu_seconds_a_photo"] = round(result["cpu_seconds"] / count, 4)
            print(json.dumps(result), flush=True)
            record["sets"].append(result)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
