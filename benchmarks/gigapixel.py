"""Measure a canvas of a gigapixel: 143 photos of 12 megapixels, planned, rendered and written as BigTIFF.

    python benchmarks/gigapixel.py --json benchmarks/results/gigapixel.json [--columns 13 --rows 11]

Flat scans of a made-up texture, in a grid with a quarter of overlap, each a little turned and with an
exposure of its own, saved as JPEG. Their cameras are known: this is about decoding, rendering and writing,
not matching.
One process finds exposure, seams and low bands and saves the plan; a second runs `composer stitch --load`.
Each is measured by outer wall clock, CPU seconds and peak resident memory of its process tree, decodings of
whole photos are counted, and tiles read back from the file are compared with a direct rendering.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from machine import facts
from numpy.typing import NDArray
from stitch import TreeMemory, rounded

Array = NDArray[Any]

SIZE = 4000, 3000
STEP = 3000, 2250
TEXTURE = 4096
TILES_CHECKED = 12


def texture(random: np.random.Generator) -> Array:
    """Return a texture (TEXTURE, TEXTURE, 3) that repeats, with detail at every scale."""
    import cv2

    total = np.zeros((TEXTURE, TEXTURE, 3), np.float32)
    for octave in range(2, 11):
        side = 2**octave
        grain = random.normal(0, 1, (side, side, 3)).astype(np.float32)
        total += cv2.resize(np.pad(grain, ((0, 1), (0, 1), (0, 0)), "wrap"), (TEXTURE, TEXTURE)) / octave
    total -= total.mean((0, 1))
    return np.clip(128 + total * (40 / total.std()), 0, 255).astype(np.uint8)


def placement(k: int, columns: int, random: np.random.Generator) -> Array:
    """Return the map (2, 3) from canvas pixels to photo k's pixels."""
    row, column = divmod(k, columns)
    angle, size = random.normal(0, 0.004), 1 + random.normal(0, 0.002)
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([column * STEP[0], row * STEP[1]]) + np.array(SIZE) / 2 - 0.5
    return np.c_[turn, (np.array(SIZE) - 1) / 2 - turn @ centre]


def photograph(world: Array, where: Array, gain: float, path: Path) -> None:
    """Write what a photo at `where` sees of the texture."""
    import cv2

    shift = np.eye(3)
    back = cv2.invertAffineTransform(where)
    shift[:2, 2] = -np.floor(back @ [0, 0, 1] / TEXTURE) * TEXTURE  # near the origin, for remap's precision
    near = (np.vstack([where, [0, 0, 1]]) @ np.linalg.inv(shift))[:2]
    seen = cv2.warpAffine(world, near, SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    cv2.imwrite(str(path), cv2.convertScaleAbs(seen, alpha=gain), [cv2.IMWRITE_JPEG_QUALITY, 90])


def make_photos(folder: Path, columns: int, rows: int) -> list[Array]:
    """Write the photos and return where each lies."""
    random = np.random.default_rng(0)
    world = texture(random)
    places = [placement(k, columns, random) for k in range(columns * rows)]
    gains = random.uniform(0.85, 1.15, len(places))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        jobs = [
            pool.submit(photograph, world, place, gain, folder / f"{k:03d}.jpg")
            for k, (place, gain) in enumerate(zip(places, gains, strict=True))
        ]
        for job in jobs:
            job.result()
    return places


def plan(folder: Path, columns: int, rows: int) -> None:
    """Find exposure, seams and low bands for known cameras, and save the plan."""
    from composer.align.projection import placed
    from composer.blend.stages import BlendLowBands
    from composer.media.archive import save_plan
    from composer.media.decode import PhotoStore
    from composer.media.header import read_photo
    from composer.records import Camera, Composition, Context, Layer, Plan
    from composer.stitching.canvas_stages import CompensateExposure, FindSeams

    focal = 5000.0
    layers = []
    for k, place in enumerate(np.load(folder / "places.npy")):
        photo = read_photo(folder / f"{k:03d}.jpg")
        middle = (np.array([photo.width, photo.height]) - 1) / 2
        affine = np.eye(3)
        affine[:2] = np.c_[place[:, :2], (place[:, 2] - middle) / focal]
        layers.append(Layer(photo, Camera(affine, focal)))
    width, height = ((n - 1) * step + side for n, step, side in zip((columns, rows), STEP, SIZE, strict=True))
    composition = placed(Composition(tuple(layers), "affine", width, height, focal, (0.0, 0.0)))
    photos = tuple(la.photo for la in layers)
    context = Context(workers=len(os.sched_getaffinity(0)), photos=PhotoStore.for_photos(photos, 1 << 30))
    found = Plan((composition,))
    for stage in (CompensateExposure(), FindSeams(), BlendLowBands()):
        started = time.perf_counter()
        found = stage(found, context)
        print(type(stage).__name__, round(time.perf_counter() - started, 1), file=sys.stderr)
    save_plan(folder / "plan", found)


def render(folder: Path, options: list[str]) -> None:
    """Run `composer stitch --load` in this process, counting the decodings of each photo."""
    from composer.cli import app
    from composer.media import decode

    counts: dict[str, int] = {}
    plain = decode.decode

    def counted(photo: Any, profile: bytes | None = None, shrink: int = 1) -> Any:
        counts[photo.name] = counts.get(photo.name, 0) + 1
        return plain(photo, profile, shrink)

    decode.decode = counted
    app(["stitch", "--load", str(folder / "plan"), "-o", str(folder / "out.tif"), "-q", *options],
        standalone_mode=False)  # fmt: skip
    print(json.dumps(counts))


def measured(command: list[str]) -> tuple[dict[str, Any], str]:
    """Run a process to its end and say what it cost."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, __file__, *command], stdout=subprocess.PIPE, text=True)
    memory = TreeMemory(process.pid)
    memory.start()
    assert process.stdout is not None
    said = process.stdout.read()
    _, code, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    memory.ended.set()
    memory.join()
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode:
        raise SystemExit(f"{command[0]}: exit code {process.returncode}")
    peak = max(memory.peak_mb, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))
    return {"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_mb": peak}, said


def is_bigtiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"II+\0", b"MM\0+")


def worst_difference(folder: Path) -> int:
    """Compare tiles of the file, spread over the canvas, with a direct rendering of the same rectangles."""
    import tifffile

    from composer.blend.stages import Multiband
    from composer.media.archive import load_plan
    from composer.media.decode import PhotoStore
    from composer.records import Context, Rect
    from composer.render import quantised, render_tile

    composition = load_plan(folder / "plan").compositions[0]
    context = Context(photos=PhotoStore(None, 256 << 20))
    blend, worst = Multiband(), 0
    with tifffile.TiffFile(folder / "out.tif") as file:
        page = file.pages.first
        assert page.shape[:2] == (composition.height, composition.width)
        for index in np.linspace(0, len(page.dataoffsets) - 1, TILES_CHECKED).astype(int):
            file.filehandle.seek(page.dataoffsets[index])
            data = file.filehandle.read(page.databytecounts[index])
            pixels, (_, _, y, x, _), _ = page.decode(data, int(index))
            rect = Rect(x, y, min(x + 256, composition.width), min(y + 256, composition.height))
            direct = quantised(render_tile(composition, rect, blend, context).image, "uint8")
            found = pixels[0, : rect.height, : rect.width, :3].astype(int)
            worst = max(worst, int(np.abs(found - direct).max()))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("job", nargs="?", choices=("plan", "render"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where to work, and to leave everything")
    parser.add_argument("--columns", type=int, default=13)
    parser.add_argument("--rows", type=int, default=11)
    parser.add_argument("--max-memory", metavar="MB", help="passed on to composer")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    options = ["--max-memory", given.max_memory] if given.max_memory else []
    if given.job == "plan":
        plan(given.folder, given.columns, given.rows)
    elif given.job == "render":
        render(given.folder, options)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            compare(given, given.folder or Path(scratch), options)


def compare(given: argparse.Namespace, folder: Path, options: list[str]) -> None:
    """Make the photos, measure both processes and check what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "places.npy").exists():
        np.save(folder / "places.npy", make_photos(folder, given.columns, given.rows))
    grid = ["--folder", str(folder), "--columns", str(given.columns), "--rows", str(given.rows)]
    planned, _ = measured(["plan", *grid])
    rendered, said = measured(["render", *grid, *options])
    counts = json.loads(said.strip().splitlines()[-1])
    size = [(n - 1) * step + side for n, step, side in
            zip((given.columns, given.rows), STEP, SIZE, strict=True)]  # fmt: skip
    record = {
        "benchmark": "gigapixel",
        **facts(),
        "photos": len(counts),
        "canvas": size,
        "gigapixels": size[0] * size[1] / 1e9,
        "max_memory_mb": given.max_memory,
        "plan": planned,
        "render": rendered,
        "decodings_a_photo": {"least": min(counts.values()), "most": max(counts.values())},
        "bigtiff": is_bigtiff(folder / "out.tif"),
        "file_mb": (folder / "out.tif").stat().st_size / 2**20,
        "tiles_compared": TILES_CHECKED,
        "worst_difference": worst_difference(folder),
    }
    print(json.dumps(rounded(record), indent=1))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(rounded(record), indent=1) + "\n")


if __name__ == "__main__":
    main()
