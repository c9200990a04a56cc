"""Measure cloning: composer beside cv2.seamlessClone and fpie, and OpenCV's reference pictures.

    python benchmarks/clone.py --json benchmarks/results/clone.json
        [--references FOLDER]   OpenCV's test data for cloning (opencv_extra/testdata/cv/cloning)
        [--fpie-python PATH]    a Python that has `fpie`
        [--sizes 1024 2048 4096] [--runs 3]

Tools run in turn, each in a process of its own (`clone_run.py`). Ratios are of medians; "cpu" adds up all
cores' seconds, which a busy machine does not change. fpie's error, and composer's, is the distance to a
solution by composer in floats, to a tolerance of 0.001 grey levels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from clone_run import scene
from machine import facts
from numpy.typing import NDArray

import composer
from composer.poisson.editing import Options, poisson

Array = NDArray[Any]
RUN = Path(__file__).with_name("clone_run.py")
CASES = {
    "normal": "Normal_Cloning",
    "mixed": "Mixed_Cloning",
    "monochrome": "Monochrome_Transfer",
    "flatten": "Texture_Flattening",
    "illumination": "Illumination_Change",
    "color": "color_change",
}
FACTORS = 1.5, 0.5, 0.5


def run(python: Path, *words: str | int) -> dict[str, Any]:
    done = subprocess.run([str(python), str(RUN), *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{words}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def speeds(sizes: list[int], runs: int) -> list[dict[str, Any]]:
    """Compare with seamlessClone, in turn."""
    rows = []
    for size in sizes:
        for mode in ("normal", "mixed"):
            told: dict[str, list[dict[str, Any]]] = {"composer": [], "cv2": []}
            for _ in range(runs):
                for tool, found in told.items():
                    found.append(run(Path(sys.executable), tool, mode, size))
            medians = {
                tool: {key: statistics.median(f[key] for f in found) for key in found[0]}
                for tool, found in told.items()
            }
            ours, theirs = medians["composer"], medians["cv2"]
            ratios = {key: theirs[key] / ours[key] for key in ("s", "first_s", "cpu_s", "peak_mb")}
            rows.append({"size": size, "mode": mode, **medians, "cv2_to_composer": ratios})
            print(
                f"{size}^2 {mode:7}", "cv2/composer", {k: round(v, 2) for k, v in ratios.items()}, flush=True
            )
    return rows


def against_fpie(python: Path, size: int) -> dict[str, Any]:
    """Compare with fpie's backends: seconds to its residual, and errors at equal time."""
    source, target, mask = scene(size)
    inside = mask > 0
    tight = Options(tolerance=1e-3)
    exact = 255 * poisson(
        source / np.float32(255), target / np.float32(255), inside, options=tight
    ).pixels.astype(np.float64)  # fmt: skip
    ours = run(Path(sys.executable), "composer", "normal", size)
    floats = poisson(source / np.float32(255), target / np.float32(255), inside)
    rows: dict[str, Any] = {"size": size, "unknowns": int(inside.sum())}
    rows["composer"] = {**ours, **_errors(255 * floats.pixels, exact, source, inside)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.npy"
        for backend in ("taichi-cpu",):  # numba takes four times as long, numpy longer
            steps = 5000
            told = run(python, f"fpie-{backend}", "normal", size, "--steps", steps, "--save", file)
            row = {**told, "steps": steps, **_errors(np.load(file), exact, source, inside)}
            fewer = max(1, round(steps * ours["s"] / told["s"]))
            run(python, f"fpie-{backend}", "normal", size, "--steps", fewer, "--save", file)
            row["at_equal_time"] = {"steps": fewer, **_errors(np.load(file), exact, source, inside)}
            row["to_composer"] = {key: told[key] / ours[key] for key in ("s", "cpu_s")}
            rows[f"fpie-{backend}"] = row
            print(f"fpie {backend}", row["to_composer"], row["residual"], rows["composer"]["residual"])
    return rows


def _errors(found: Array, exact: Array, source: Array, inside: Array) -> dict[str, float]:
    """Return distances to the solution, and the mean residual a neighbour, in grey levels."""
    off = np.abs(np.clip(found, 0, 255) - np.clip(exact, 0, 255))[inside]
    kernel = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]], float)
    residual = cv2.filter2D(found.astype(float) - source, -1, kernel)[inside]
    unclipped = ((exact > 1) & (exact < 254)).all(2)[inside]
    return {
        "mean_error": float(off.mean()),
        "max_error": float(off.max()),
        "residual": float(np.abs(residual[unclipped]).mean() / 4),
    }


def references(folder: Path) -> list[dict[str, Any]]:
    """Compare with OpenCV's reference pictures, and with what cv2 makes here."""
    rows = []
    for mode, name in CASES.items():
        colours = [cv2.imread(str(folder / name / f"{f}.png")) for f in ("source1", "reference")]
        source, reference = colours
        mask = cv2.imread(str(folder / name / "mask.png"), cv2.IMREAD_GRAYSCALE)
        below = folder / name / "destination1.png"
        target = cv2.imread(str(below)) if below.exists() else None
        offset, theirs = _theirs(mode, source, target, mask)
        given = None if target is None else target[:, :, ::-1]
        options: dict[str, Any] = {"factors": FACTORS} if mode == "color" else {}
        if mode == "illumination":
            options["exponent"] = 0.4
        ours = composer.clone(source[:, :, ::-1], given, mask, mode=mode, offset=offset, **options)
        found = ours.image[:, :, ::-1]
        before = source if target is None else target
        inside = np.zeros(before.shape[:2], bool)
        y, x = np.nonzero(mask > 127)
        inside[y + (offset or (0, 0))[1], x + (offset or (0, 0))[0]] = True
        row = {
            "mode": mode,
            "composer_to_reference": float(np.abs(found.astype(float) - reference)[inside].mean()),
            "cv2_to_reference": float(np.abs(theirs.astype(float) - reference)[inside].mean()),
            "changed_outside_composer": int((found != before)[~inside].any(1).sum()),
            "changed_outside_cv2": int((theirs != before)[~inside].any(1).sum()),
            "composer_step_at_border": _step(found, inside),
            "cv2_step_at_border": _step(theirs, inside),
            "residual": ours.residual,
        }
        rows.append(row)
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    return rows


def _theirs(mode: str, source: Array, target: Array, mask: Array) -> tuple[tuple[int, int] | None, Array]:
    """Return where cv2 puts the source, and what it makes; on copies, since it inverts the mask."""
    mask = mask.copy()
    if mode == "flatten":
        return None, cv2.textureFlattening(source, mask, low_threshold=30, high_threshold=45, kernel_size=3)
    if mode == "illumination":
        return None, cv2.illuminationChange(source, mask, alpha=0.2, beta=0.4)
    if mode == "color":
        red, green, blue = FACTORS
        return None, cv2.colorChange(source, mask, red_mul=red, green_mul=green, blue_mul=blue)
    x, y, width, height = cv2.boundingRect(mask)
    centre = target.shape[1] // 2, target.shape[0] // 2
    flag = {"normal": cv2.NORMAL_CLONE, "mixed": cv2.MIXED_CLONE, "monochrome": cv2.MONOCHROME_TRANSFER}[mode]
    offset = centre[0] - x - width // 2, centre[1] - y - height // 2
    return offset, cv2.seamlessClone(source, target, mask, centre, flag)


def _step(found: Array, inside: Array) -> float:
    """Return the mean difference across the mask's border, in grey levels: a seam shows as a large one."""
    total, count = 0.0, 0
    for axis in (0, 1):
        crossing = np.diff(inside.astype(np.int8), axis=axis) != 0
        steps = np.abs(np.diff(found.astype(float), axis=axis))[crossing]
        total, count = total + float(steps.mean(1).sum()), count + len(steps)
    return total / count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--references", type=Path)
    parser.add_argument("--fpie-python", type=Path)
    parser.add_argument("--fpie-size", type=int, default=512)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    record: dict[str, Any] = {"benchmark": "clone", **facts(), "runs": given.runs}
    if given.references:
        record["references"] = references(given.references)
    if given.fpie_python:
        record["fpie"] = against_fpie(given.fpie_python, given.fpie_size)
    record["seamlessClone"] = speeds(given.sizes, given.runs)
    if given.json:
        given.json.write_text(json.dumps(_rounded(record), indent=1) + "\n")


def _rounded(value: Any) -> Any:
    """Round every float in plain values to four decimals."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
