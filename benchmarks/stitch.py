"""Measure whole stitching processes: composer, cv2.Stitcher, the package `stitching`, and bare imports.

    python benchmarks/stitch.py SET_FOLDER... --runs 5 --json benchmarks/results/stitch.json
        [--stitching-python PATH]     a Python that has `stitching` (it cannot share OpenCV's headless wheel)

A set is a folder of photographs. Each tool runs once unmeasured by the clock (files come into the cache,
bytecode is compiled, and memory is sampled over the process tree), then `--runs` times in turn: A B C A B C.
Seconds are outer wall clock, from before the process starts until it has ended. Peak memory is the kernel's
maximum resident set; where a tool starts processes of its own, the sampled sum over the tree if that is
larger. All tools share one new bytecode cache: how each was installed, and whether the shell lets Python
write bytecode, would otherwise decide some tenths of a second. This script imports nothing large on
purpose: the kernel counts a parent's memory as its newborn child's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from machine import commit, facts

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"}
PEER = Path(__file__).with_name("peer.py")
IMPORTS = "import numpy, cv2, scipy.sparse"
SAMPLE_SECONDS = 0.005


@dataclass
class Outcome:
    """One process: what it cost and what it made."""

    seconds: float
    peak_mb: float
    tree_mb: float = 0.0
    children: int = 0
    used: int = 0
    sizes: list[list[int]] = field(default_factory=list)
    status: str = "ok"
    cpu_seconds: float = 0.0


class Tool(NamedTuple):
    """A command for photographs and an output folder, and how to read what it made."""

    name: str
    command: Callable[[list[Path], Path], list[str]]
    read: Callable[[Outcome, Path, str], None]


def composer(python: Path) -> Tool:
    script = python.with_name("composer")
    if not script.exists():
        raise SystemExit(f"{script} is missing: install the package into the Python that runs this")

    def command(photos: list[Path], out: Path) -> list[str]:
        words = ["--quiet", "--summary", str(out / "summary.json")]
        return [str(script), "stitch", *map(str, photos), "-o", str(out / "pano.jpg"), *words]

    def read(outcome: Outcome, out: Path, _said: str) -> None:
        panoramas = json.loads((out / "summary.json").read_text())["panoramas"]
        outcome.used = sum(len(p["photos"]) for p in panoramas)
        outcome.sizes = [[p["width"], p["height"]] for p in panoramas]

    return Tool("composer", command, read)


def peer(name: str, python: Path, told: dict[str, Any]) -> Tool:
    def command(photos: list[Path], out: Path) -> list[str]:
        return [str(python), str(PEER), name, str(out / "pano.jpg"), *map(str, photos)]

    def read(outcome: Outcome, _out: Path, said: str) -> None:
        answer = json.loads(said.strip().splitlines()[-1])
        outcome.used, outcome.status = answer["used"], answer["status"]
        outcome.sizes = [answer["size"]] if answer["size"] else []
        told[name] = answer["versions"]

    return Tool(name, command, read)


def imports(python: Path) -> Tool:
    return Tool("imports", lambda photos, out: [str(python), "-c", IMPORTS], lambda outcome, out, said: None)


class TreeMemory(threading.Thread):
    """Samples the resident memory of a process and its descendants, added up (shared pages count twice)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.ended = threading.Event()
        self.peak_mb = 0.0
        self.children = 0

    def run(self) -> None:
        try:
            root = psutil.Process(self.pid)
        except psutil.Error:
            return
        while not self.ended.wait(SAMPLE_SECONDS):
            try:
                family = [root, *root.children(recursive=True)]
            except psutil.Error:
                return
            total = 0
            for process in family:
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            self.children = max(self.children, len(family) - 1)
            self.peak_mb = max(self.peak_mb, total / 2**20)


def environment(bytecode: Path) -> dict[str, str]:
    """Return the environment for every tool: bytecode is kept, in this folder."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(bytecode)}


def measure(tool: Tool, photos: list[Path], env: dict[str, str], sampled: bool = False) -> Outcome:
    """Run one process to its end."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        with (out / "stdout").open("wb") as said, (out / "stderr").open("wb") as complained:
            start = time.perf_counter()
            process = subprocess.Popen(tool.command(photos, out), stdout=said, stderr=complained, env=env)
            memory = TreeMemory(process.pid)
            if sampled:
                memory.start()
            _, code, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            memory.ended.set()
            process.returncode = os.waitstatus_to_exitcode(code)
        if sampled:
            memory.join()
        peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        outcome = Outcome(seconds, peak, memory.peak_mb, memory.children)
        outcome.cpu_seconds = usage.ru_utime + usage.ru_stime
        if process.returncode == 0:
            tool.read(outcome, out, (out / "stdout").read_text())
        else:
            outcome.status = f"exit code {process.returncode}"
            last = (out / "stderr").read_text().strip().splitlines()[-1:]
            print(f"{tool.name}: {outcome.status}", *last, sep=": ", file=sys.stderr)
    return outcome


def summary(runs: list[Outcome], sampled: Outcome) -> dict[str, Any]:
    """Condense a tool's runs on one set."""
    seconds = [r.seconds for r in runs]
    each = [r.seconds / r.used for r in runs if r.used]
    peak = max(r.peak_mb for r in runs)
    return {
        "used": statistics.median_low(r.used for r in runs),
        "sizes": runs[-1].sizes,
        "status": runs[-1].status,
        "seconds": {"min": min(seconds), "median": statistics.median(seconds), "max": max(seconds)},
        "seconds_per_photo_used": statistics.median(each) if each else None,
        "peak_mb": max(peak, sampled.tree_mb) if sampled.children else peak,
        "children": sampled.children,
        "runs": [{k: getattr(r, k) for k in ("seconds", "peak_mb", "used", "status")} for r in runs],
        "sampled_run": asdict(sampled),
    }


def ratios(ours: list[Outcome], theirs: list[Outcome]) -> dict[str, float] | None:
    """Compare composer's seconds per photo used with a peer's, run by run; below 1 composer is faster."""
    both = [(a, b) for a, b in zip(ours, theirs, strict=True) if a.used and b.used]
    pairs = [(a.seconds / a.used) / (b.seconds / b.used) for a, b in both]
    return {"min": min(pairs), "median": statistics.median(pairs), "max": max(pairs)} if pairs else None


def photographs(folder: Path) -> list[Path]:
    """Return a folder's photographs, 2.jpg before 10.jpg."""
    found = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    if len(found) < 2:
        raise SystemExit(f"{folder}: holds {len(found)} photographs; a set needs two or more")
    return sorted(found, key=lambda p: [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", p.name)])


def measure_set(folder: Path, tools: list[Tool], runs: int, env: dict[str, str]) -> dict[str, Any]:
    """Measure every tool on one set, in turn."""
    photos = photographs(folder)
    sampled = {tool.name: measure(tool, photos, env, sampled=True) for tool in tools}
    outcomes: dict[str, list[Outcome]] = {tool.name: [] for tool in tools}
    for _ in range(runs):
        for tool in tools:
            outcomes[tool.name].append(measure(tool, photos, env))
    made = {name: summary(found, sampled[name]) for name, found in outcomes.items()}
    for name in made.keys() - {"composer", "imports"}:
        both = made["composer"]["used"] and made[name]["used"]
        made[name]["composer_to_this"] = {
            "seconds_per_photo_used": ratios(outcomes["composer"], outcomes[name]),
            "peak_mb": made["composer"]["peak_mb"] / made[name]["peak_mb"] if both else None,
        }
    return {"set": folder.resolve().name, "photos": len(photos), "tools": made}


def table(result: dict[str, Any]) -> str:
    """Return one set's measurements as text."""
    lines = [f"\n{result['set']}: {result['photos']} photos"]
    head = ("tool", "used", "size", "s min", "median", "max", "s/photo", "MB", "composer/this: s/photo", "MB")
    row = "  {:<10} {:>5} {:>12} {:>8} {:>8} {:>8} {:>8} {:>6} {:>23} {:>6}  {}"
    lines.append(row.format(*head, "").rstrip())
    for name, r in result["tools"].items():
        size = "x".join(map(str, r["sizes"][0])) if r["sizes"] else "-"
        size += f"+{len(r['sizes']) - 1}" if len(r["sizes"]) > 1 else ""
        to = r.get("composer_to_this", {})
        fast = (to.get("seconds_per_photo_used") or {}).get("median")
        each, places = r["seconds_per_photo_used"], (2, 2, 2, 3, 0, 2, 2)
        numbers = [*r["seconds"].values(), each, r["peak_mb"], fast, to.get("peak_mb")]
        cells = ["-" if n is None else f"{n:.{p}f}" for n, p in zip(numbers, places, strict=True)]
        status = "" if r["status"] == "ok" else r["status"]
        lines.append(row.format(name, r["used"] or "-", size, *cells, status).rstrip())
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", type=Path, metavar="SET_FOLDER")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--stitching-python", type=Path, help="a Python that has the package `stitching`")
    given = parser.parse_args()
    if given.runs < 1:
        parser.error("--runs must be 1 or more")
    told: dict[str, Any] = {}
    here = Path(sys.executable)
    tools = [composer(here), peer("cv2", here, told)]
    notes = []
    if given.stitching_python:
        tools.append(peer("stitching", given.stitching_python, told))
    else:
        notes.append("peer stitching was not measured: no --stitching-python given")
        print(notes[-1])
    tools.append(imports(here))
    record = {
        "benchmark": "stitch",
        **facts(),
        "runs": given.runs,
        "imports": IMPORTS,
        "notes": notes,
        "sets": [],
    }
    with tempfile.TemporaryDirectory() as bytecode:
        for folder in given.sets:
            result = measure_set(folder, tools, given.runs, environment(Path(bytecode)))
            print(table(result), flush=True)
            record["sets"].append(result)
    record["peer_versions"] = told
    if commit() != record["git"]:
        notes.append("the working tree changed while this ran")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(rounded(record), indent=1) + "\n")


def rounded(value: Any) -> Any:
    """Round every float in plain values to four decimals."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
