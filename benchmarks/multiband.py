"""Measure multiband blending against cv2.detail_MultiBandBlender: the same uint8 layers and seams, to a file.

    python benchmarks/multiband.py WORLD.jpg --runs 5 --json benchmarks/results/multiband.json

The world is enlarged to a canvas of 20 megapixels. Eight layers (4 x 2) are cut out of it, overlapping their
neighbours by a quarter, with edges turned a little, darkened or brightened by up to 6 % and towards their
corners. Seams are composer's for both. Layers lie as uncompressed TIFF with alpha: each tool reads them,
blends and writes JPEG 95 4:4:4, as a whole process: `composer stitch --template`, which also warps the
layers (to where they are) and blends the wide bands, and a short script around OpenCV's blender with 5 bands
(its default), with 8, and with 5 after warping the layers as composer does, bicubic, by maps.
Seconds and memory are measured as by stitch.py. PSNR is against the world, after one gain a channel.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import facts
from stitch import Outcome, Tool, environment, measure

COLUMNS, ROWS = 4, 2
WIDTH, HEIGHT = 6912, 2944
OVERLAP = 1.32  # of a layer, in units of the distance between layers
QUALITY = 95


def prepare(world: Path, folder: Path) -> None:
    """Write layers, their masks, a plan and the truth into a folder."""
    import cv2
    import numpy as np

    from composer.align.projection import placed
    from composer.media.archive import save_plan
    from composer.media.decode import PhotoStore
    from composer.media.header import read_photo
    from composer.records import Camera, Composition, Context, Layer, Plan
    from composer.stitching.canvas_stages import FindSeams

    truth = cv2.resize(cv2.imread(str(world)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / "truth.png"), truth)
    random, layers, corners = np.random.default_rng(0), [], []
    step = WIDTH / (COLUMNS + OVERLAP - 1), HEIGHT / (ROWS + OVERLAP - 1)
    for k in range(COLUMNS * ROWS):
        x, y = round(k % COLUMNS * step[0]), round(k // COLUMNS * step[1])
        part = truth[y : y + round(OVERLAP * step[1]), x : x + round(OVERLAP * step[0])]
        path = folder / f"{k}.tif"
        cv2.imwrite(str(path), _seen(part, random), [cv2.IMWRITE_TIFF_COMPRESSION, 1])
        height, width = part.shape[:2]
        move = np.eye(3)
        move[:2, 2] = -(x + (width - 1) / 2), -(y + (height - 1) / 2)
        move[:2, 2] /= 1000
        layers.append(Layer(read_photo(path, 1 << 32), Camera(move, 1000.0)))
        corners.append((x, y))
    canvas = placed(Composition(tuple(layers), "affine", WIDTH, HEIGHT, 1000.0, (0.0, 0.0)))
    context = Context(workers=2, photos=PhotoStore())
    plan = FindSeams()(Plan((canvas,)), context)
    save_plan(folder / "plan", plan)
    _write_masks(plan.compositions[0], corners, context, folder)


def _seen(part: Any, random: Any) -> Any:
    """Return a part of the world as a layer: turned edges as alpha, its own exposure and fall-off."""
    import cv2
    import numpy as np

    height, width = part.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), random.uniform(-2, 2), 0.95)
    alpha = cv2.warpAffine(
        np.full((height, width), 255, np.uint8), turn, (width, height), flags=cv2.INTER_NEAREST
    )
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = random.uniform(0.94, 1.06) * (1 - 0.04 * (x * x + y * y) / 2)
    seen = np.rint(np.clip(part * light[:, :, None], 0, 255)).astype(np.uint8)
    return np.dstack([seen, alpha])


def _write_masks(composition: Any, corners: list[tuple[int, int]], context: Any, folder: Path) -> None:
    """Write where each layer owns the canvas, on the layer's pixels."""
    import cv2
    import numpy as np

    from composer.blend.compose import owners
    from composer.records import Rect
    from composer.render import layers_of, owners_of, tiles_of

    owner = np.full((HEIGHT, WIDTH), -1, np.int16)
    for rect in tiles_of(Rect(0, 0, WIDTH, HEIGHT), 512):
        near = owners_of(composition, rect)
        found = owners(layers_of(composition, near, rect, context))[0]
        owner[rect.y0 : rect.y1, rect.x0 : rect.x1] = np.where(found < 0, -1, np.array(near)[found])
    for k, (x, y) in enumerate(corners):
        photo = composition.layers[k].photo
        mask = (owner[y : y + photo.height, x : x + photo.width] == k).astype(np.uint8) * 255
        cv2.imwrite(str(folder / f"mask-{k}.png"), mask)
    cv2.imwrite(str(folder / "covered.png"), (owner >= 0).astype(np.uint8) * 255)
    (folder / "corners.json").write_text(json.dumps(corners))


def blend_with_cv2(folder: Path, out: Path, bands: int, warp: bool) -> None:
    """Blend the layers with OpenCV's multiband blender, and write the picture."""
    import cv2
    import numpy as np

    blender = cv2.detail_MultiBandBlender(0, bands)
    blender.prepare((0, 0, WIDTH, HEIGHT))
    for k, corner in enumerate(json.loads((folder / "corners.json").read_text())):
        layer = cv2.imread(str(folder / f"{k}.tif"), cv2.IMREAD_UNCHANGED)[:, :, :3]
        if warp:
            x, y = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in layer.shape[1::-1]))
            layer = cv2.remap(layer, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        mask = cv2.imread(str(folder / f"mask-{k}.png"), cv2.IMREAD_GRAYSCALE)
        blender.feed(layer.astype(np.int16), mask, corner)
    found, _ = blender.blend(None, None)
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]  # as composer does
    cv2.imwrite(str(out), np.clip(found, 0, 255).astype(np.uint8), options)


def score(folder: Path, picture: Path) -> None:
    """Print the PSNR against the truth where there are photos, after one gain a channel."""
    import cv2
    import numpy as np

    truth, found = (cv2.imread(str(p)).astype(np.float32) for p in (folder / "truth.png", picture))
    covered = cv2.erode(cv2.imread(str(folder / "covered.png"), cv2.IMREAD_GRAYSCALE), np.ones((5, 5))) > 0
    gain = [
        np.vdot(truth[covered, c], found[covered, c]) / np.vdot(found[covered, c], found[covered, c])
        for c in range(3)
    ]
    error = (found * np.array(gain, np.float32) - truth)[covered]
    print(json.dumps({"psnr": 10 * math.log10(255**2 / float(np.mean(error**2)))}))


def tools(folder: Path) -> list[Tool]:
    """Return composer and the ways of OpenCV's blender."""
    here, script = sys.executable, str(Path(__file__).resolve())

    def ours(photos: list[Path], out: Path) -> list[str]:
        plan = ["--template", str(folder / "plan")]
        return [here, "-m", "composer", "stitch", *map(str, photos), *plan, "-o", str(out / "pano.jpg"), "-q"]

    def theirs(name: str, *options: str) -> Tool:
        words = [here, script, str(folder), *options]
        return Tool(name, lambda _photos, out: [*words, "--out", str(out / "pano.jpg")], _keep(folder, name))

    return [
        Tool("composer", ours, _keep(folder, "composer")),
        theirs("cv2 5 bands", "--blend", "5"),
        theirs("cv2 8 bands", "--blend", "8"),
        theirs("cv2 5 bands, warping", "--blend", "5", "--warp"),
    ]


def _keep(folder: Path, name: str) -> Any:
    def read(outcome: Outcome, out: Path, _said: str) -> None:
        (out / "pano.jpg").rename(folder / f"{name}.jpg")
        outcome.used = COLUMNS * ROWS

    return read


def measured(folder: Path, runs: int) -> dict[str, Any]:
    """Run every tool in turn; one run before does not count."""
    photos = [folder / f"{k}.tif" for k in range(COLUMNS * ROWS)]
    contenders = tools(folder)
    made: dict[str, list[Outcome]] = {t.name: [] for t in contenders}
    with tempfile.TemporaryDirectory() as bytecode:
        for run in range(runs + 1):
            for tool in contenders:
                outcome = measure(tool, photos, environment(Path(bytecode)))
                if outcome.status != "ok":
                    raise SystemExit(f"{tool.name}: {outcome.status}")
                if run:
                    made[tool.name].append(outcome)
    found = {}
    for name, outcomes in made.items():
        words = [sys.executable, __file__, str(folder), "--score", str(folder / f"{name}.jpg")]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        found[name] = {
            "cpu_seconds": statistics.median(o.cpu_seconds for o in outcomes),
            "seconds": [o.seconds for o in outcomes],
            "median_seconds": statistics.median(o.seconds for o in outcomes),
            "peak_mb": max(o.peak_mb for o in outcomes),
            **json.loads(said),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("world", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="an empty folder for layers and pictures, to look at")
    for step, kind in (("--prepare", Path), ("--blend", int), ("--out", Path), ("--score", Path)):
        parser.add_argument(step, type=kind, help=argparse.SUPPRESS)  # what this script's processes do
    parser.add_argument("--warp", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.prepare:
        prepare(given.world, given.prepare)
    elif given.blend:
        blend_with_cv2(given.world, given.out, given.blend, given.warp)
    elif given.score:
        score(given.world, given.score)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            folder = given.keep or Path(scratch)
            subprocess.run([sys.executable, __file__, str(given.world), "--prepare", str(folder)], check=True)
            found = measured(folder, given.runs)
        for name, r in found.items():
            cost = f"{r['median_seconds']:6.2f} s {r['cpu_seconds']:6.2f} s CPU {r['peak_mb']:6.0f} MB"
            print(f"{name:22} {cost} {r['psnr']:6.2f} dB")
        if given.json:
            record = {"benchmark": "multiband", **facts(), "world": given.world.name, "runs": given.runs}
            size = {"canvas": [WIDTH, HEIGHT], "layers": COLUMNS * ROWS, "overlap": 1 - 1 / OVERLAP}
            given.json.write_text(json.dumps({**record, **size, "tools": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
