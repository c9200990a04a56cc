"""Fuse exposures and focus stacks with composer and its peers: whole processes, and how good the results are.

    python benchmarks/fuse.py --runs 5 --json benchmarks/results/fuse.json
        [--sets FOLDER...]      folders of real exposures, for their quality
        [--focus FOLDER...]     folders of focus stacks; photos whose names hold "expected" are left out

The timed set is three exposures of 12 megapixels of a made-up scene: photographs from scikit-image at their
own resolution under a light that varies by several stops, with noise, as JPEG. Peers are MergeMertens of
OpenCV and enfuse; all read and write JPEG. `composer` is the call with its defaults, which looks whether
photos must be aligned, as no peer does; `composer, as they lie` is told that they need not.

MEF-SSIM (Ma, Zeng, Wang, IEEE TIP 2015) is computed here, the same for all: greys, three scales. A focus
stack is measured in blocks of 16 x 16 pixels by mean squared Laplacian: the fused picture's over that of the
sharpest photo there, as composer aligned them. (Gradients would credit a photo with the blur that an edge out
of focus spreads over a flat block.) Percentiles say how much is as sharp as the best.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import facts
from stitch import environment, rounded

STOPS = (-2.0, 0.0, 2.0)
MERTENS = """
import sys, cv2
fused = cv2.createMergeMertens(1, 1, 1).process([cv2.imread(p) for p in sys.argv[2:]])
cv2.imwrite(sys.argv[1], (fused * 255).clip(0, 255).round().astype('uint8'))
"""
Command = list[str]


def commands(photos: list[str], out: str) -> dict[str, Command]:
    """Return every tool's command."""
    ours = [sys.executable, "-m", "composer", "fuse", *photos, "-o", out, "-q"]
    found = {
        "composer": ours,
        "composer, as they lie": [*ours, "--align", "none"],
        "MergeMertens": [sys.executable, "-c", MERTENS, out, *photos],
    }
    if shutil.which("enfuse"):
        found["enfuse"] = ["enfuse", "-o", out, *photos]
    return found


def timed(command: Command, env: dict[str, str]) -> dict[str, float]:
    """Run a process: outer seconds, CPU seconds, and the kernel's peak of resident memory."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    _, code, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode:
        raise SystemExit(f"{command[:4]} ended with {process.returncode}")
    return {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }


def bracket(folder: Path, size: tuple[int, int] = (4000, 3000)) -> list[str]:
    """Write three exposures of a made-up scene."""
    import cv2
    import numpy as np

    from composer.records import to_encoded, to_linear
    from composer.samples import PICTURES, picture

    width, height = size
    scene = np.zeros((height, width, 3), np.uint8)
    tiles = [picture(name) for name in PICTURES]
    y, k = 0, 0
    while y < height:
        x = 0
        while x < width:
            tile = tiles[k % len(tiles)][:700, :900]
            tile = tile[:, ::-1] if k // len(tiles) % 2 else tile
            part = scene[y : y + 700, x : x + 900]
            part[...] = cv2.resize(tile, (900, 700))[: part.shape[0], : part.shape[1]]
            x, k = x + 900, k + 1
        y += 700
    rng = np.random.default_rng(0)
    stops = cv2.resize(rng.normal(0, 1.6, (4, 5)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    light = to_linear(scene / np.float32(255)) * np.exp2(stops)[:, :, None]
    written = []
    for n, stop in enumerate(STOPS):
        seen = light * np.float32(2**stop)
        seen += rng.standard_normal(seen.shape, np.float32) * (0.002 + 0.004 * np.sqrt(seen))
        path = str(folder / f"exposure{n}.jpg")
        cv2.imwrite(
            path,
            np.rint(np.clip(to_encoded(seen), 0, 1) * 255).astype(np.uint8)[:, :, ::-1],
            [cv2.IMWRITE_JPEG_QUALITY, 93],
        )
        written.append(path)
    return written


def mef_ssim(photos: list[Any], fused: Any) -> float:
    """Return MEF-SSIM of (h, w) float greys 0..255 over three scales (weights of Wang et al., 2003)."""
    import cv2

    result, weights = 1.0, (0.0448, 0.2856, 0.3001)
    for weight in weights:
        result *= max(_structure(photos, fused), 1e-6) ** (weight / sum(weights))
        photos = [cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for p in photos]
        fused = cv2.resize(fused, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return result


def _structure(photos: list[Any], fused: Any) -> float:
    """Return the mean quality of 8 x 8 patches: the structure wanted of the photos, against the result's."""
    import cv2
    import numpy as np

    def mean(a: Any) -> Any:
        return cv2.blur(a, (8, 8))[4:-4, 4:-4]

    means = [mean(p) for p in photos]

    def covariance(i: int, j: int) -> Any:
        return mean(photos[i] * photos[j]) - means[i] * means[j]

    n = len(photos)
    s = {(i, j): covariance(i, j) for i in range(n) for j in range(i, n)}
    s |= {(j, i): value for (i, j), value in s.items()}
    contrast = [np.sqrt(np.maximum(s[i, i], 0)) for i in range(n)]
    best = np.max(contrast, 0)
    alike = np.sqrt(np.maximum(sum(s.values()), 0))
    alike = np.clip(alike / (sum(contrast) + 1e-6), 0, 0.999)
    power = np.minimum(np.tan(alike * np.pi / 2), 10)
    shares = [((c + 1e-3) / (best + 1e-3)) ** power / (c + 1e-3) for c in contrast]
    norm = np.sqrt(
        np.maximum(sum(shares[i] * shares[j] * s[i, j] for i in range(n) for j in range(n)), 1e-12)
    )
    mine = mean(fused)
    together = sum(a * (mean(p * fused) - m * mine) for a, p, m in zip(shares, photos, means, strict=True))
    together = together * best / norm
    own = np.maximum(mean(fused * fused) - mine * mine, 0)
    constant = (0.03 * 255) ** 2
    return float(((2 * together + constant) / (best**2 + own + constant)).mean())


def grey(path: str) -> Any:
    import cv2
    import numpy as np

    return cv2.imread(path, cv2.IMREAD_GRAYSCALE).astype(np.float32)


def quality(photos: list[str], folder: Path, env: dict[str, str]) -> dict[str, float]:
    """Return each tool's MEF-SSIM on a set."""
    found = {}
    for name, command in commands(photos, str(folder / "fused.png")).items():
        timed(command, env)
        found[name] = mef_ssim([grey(p) for p in photos], grey(str(folder / "fused.png")))
    return found


def sharpness(photos: list[str]) -> dict[str, float]:
    """Return percentiles of the fused picture's energy over the sharpest photo's, block by block."""
    import numpy as np

    from composer.api.fusing import fuse
    from composer.fusion.aligning import aligned
    from composer.fusion.stack import part
    from composer.media.decode import PhotoStore
    from composer.media.header import read_photo
    from composer.records import Context, Rect

    fused = fuse(photos, method="focus").image
    items = tuple(read_photo(Path(p), 1 << 30) for p in photos)
    context = Context(photos=PhotoStore.for_photos(items, 1 << 30))
    stack, _ = aligned(items, len(items) // 2, "similarity", context)
    frame = Rect(0, 0, fused.shape[1], fused.shape[0])
    best = np.max([_energy(part(stack, k, frame, context)[0]) for k in range(len(items))], 0)
    share = (_energy(fused) / np.maximum(best, 1.0))[best > 25]  # blocks that hold any detail
    return {f"percentile_{q}": float(np.percentile(share, q)) for q in (1, 5, 25, 50, 95)}


def _energy(image: Any) -> Any:
    """Return the mean squared Laplacian of grey in blocks of 16 x 16 pixels."""
    import cv2

    plane = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype("float32")
    steep = cv2.Laplacian(plane, -1) ** 2
    high, wide = (n // 16 for n in steep.shape)
    return steep[: high * 16, : wide * 16].reshape(high, 16, wide, 16).mean((1, 3))


def times(photos: list[str], folder: Path, runs: int, env: dict[str, str]) -> dict[str, Any]:
    """Measure every tool in turn, after a run that does not count."""
    tools = commands(photos, str(folder / "fused.jpg"))
    for command in tools.values():
        timed(command, env)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in tools}
    for _ in range(runs):
        for name, command in tools.items():
            found[name].append(timed(command, env))
    return {
        name: {key: statistics.median(r[key] for r in each) for key in each[0]} | {"runs": each}
        for name, each in found.items()
    }


def photographs(folder: Path) -> list[str]:
    found = [p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".png") and "expected" not in p.name]
    return sorted(map(str, found))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sets", nargs="*", type=Path, default=[])
    parser.add_argument("--focus", nargs="*", type=Path, default=[])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, env = Path(name), environment(Path(name) / "bytecode")
        made = subprocess.run([sys.executable, __file__, "--make", name], check=True, capture_output=True)
        photos = made.stdout.decode().split()
        record: dict[str, Any] = {"benchmark": "fuse", **facts(), "photos": len(photos), "megapixels": 12}
        record["times"] = times(photos, folder, given.runs, env)
        record["mef_ssim"] = {"made-up 12 MP": quality(photos, folder, env)}
        record["mef_ssim"] |= {s.name: quality(photographs(s), folder, env) for s in given.sets}
        record["sharpness"] = {s.name: sharpness(photographs(s)) for s in given.focus}
    for tool, found in record["times"].items():
        figures = f"{found['seconds']:6.2f} s  {found['cpu_seconds']:6.2f} CPU s  {found['peak_mb']:6.0f} MB"
        print(f"{tool:<22} {figures}")
    for kind in ("mef_ssim", "sharpness"):
        for name, found in record[kind].items():
            print(f"{kind} {name}: " + ", ".join(f"{k} {v:.4f}" for k, v in found.items()))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(rounded(record), indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:  # apart: a parent's memory counts as its child's
        print(*bracket(Path(sys.argv[2])), sep="\n")
    else:
        main()
