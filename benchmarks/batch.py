"""Measure a batch of small photographs, some damaged, while workers and whole runs are killed at random.

    python benchmarks/batch.py --photos 2000 --json benchmarks/results/batch.json

Photographs are crops of those in scikit-image's wheel; one in a hundred is cut short, emptied, or no picture.
Three things are done with them. (1) Throughput: a part of them with one worker, two, and two of a
`concurrent.futures.ProcessPoolExecutor` without journal, in turn, `--rounds` times; seconds are those of a
whole process, median. (2) All of them once, undisturbed, with two workers. (3) All of them anew, while a
worker is killed (SIGKILL) every 1.5 s or so and the whole run `--kills` times; each time it is started again
until it ends by itself, then once more in peace, for photographs on which workers were killed twice. The
files of (3) must be those of (2), byte by byte, each made once by the journal, and each damaged file must be
named in the summary.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DIAMETER = 9
DAMAGED = 100  # one in so many
WORKER_EVERY_S = 1.5
RUN_EVERY_S = 6.0


def make_photos(folder: Path, count: int, seed: int) -> list[str]:
    """Write crops as JPEG files into sub-folders; return the names of the damaged ones."""
    import numpy as np
    from PIL import Image

    from composer.samples import PICTURES, picture

    rng = np.random.default_rng(seed)
    pictures = [picture(name) for name in PICTURES]
    damaged = []
    for k in range(count):
        whole = pictures[rng.integers(len(pictures))]
        height, width = min(360, len(whole)), min(480, whole.shape[1])
        top, left = rng.integers(len(whole) - height + 1), rng.integers(whole.shape[1] - width + 1)
        path = folder / f"{k // 100:02}" / f"{k:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(whole[top : top + height, left : left + width]).save(path, quality=92)
        if k % DAMAGED == DAMAGED // 2:
            data = path.read_bytes()
            path.write_bytes((data[: len(data) // 2], b"", bytes(rng.bytes(5000)))[k // DAMAGED % 3])
            damaged.append(str(path.relative_to(folder)))
    return damaged


def run_once(source: Path, output: Path, workers: int) -> None:
    """Be the process that runs the batch."""
    from composer.batch import files_below, run_batch

    items = files_below([source], output)
    run_batch(items, "batch_job:smooth", {"diameter": DIAMETER}, output, workers=workers)


def run_executor(source: Path, output: Path, workers: int) -> None:
    """Be a process that does the same with the standard library's pool."""
    import multiprocessing

    from batch_job import smooth_file

    pairs = []
    for path in sorted(source.rglob("*.jpg")):
        place = output / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        pairs.append((str(path), str(place), DIAMETER))
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(smooth_file, pairs, chunksize=1))


def started(mode: str, source: Path, output: Path, workers: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, str(HERE / "batch.py"), "--be", mode, str(source), str(output), str(workers)]
    return subprocess.Popen(words, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})


def timed(mode: str, source: Path, output: Path, workers: int) -> dict[str, float]:
    shutil.rmtree(output, ignore_errors=True)
    before, begun = os.times(), time.perf_counter()
    assert started(mode, source, output, workers).wait() == 0
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": time.perf_counter() - begun, "cpu_seconds": cpu}


def throughput(source: Path, scratch: Path, rounds: int) -> dict[str, Any]:
    """Time one and two workers, and the standard library's two, in turn."""
    tools = {"one_worker": ("batch", 1), "two_workers": ("batch", 2), "executor_two": ("executor", 2)}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in tools}
    for _ in range(rounds):
        for name, (mode, workers) in tools.items():
            runs[name].append(timed(mode, source, scratch / "speed", workers))
    count = sum(1 for _ in source.rglob("*.jpg"))
    found: dict[str, Any] = {"photos": count}
    for name, times in runs.items():
        seconds = [t["seconds"] for t in times]
        found[name] = {
            "seconds": [round(s, 2) for s in seconds],
            "cpu_seconds": [round(t["cpu_seconds"], 2) for t in times],
            "photos_per_second": round(count / statistics.median(seconds), 2),
        }
    one, two = (found[n]["photos_per_second"] for n in ("one_worker", "two_workers"))
    found["two_over_one"] = round(two / one, 3)
    pairs = zip(runs["one_worker"], runs["two_workers"], strict=True)
    found["two_over_one_each_round"] = [round(a["seconds"] / b["seconds"], 3) for a, b in pairs]
    return found


def disturbed(source: Path, output: Path, kills: int, seed: int) -> dict[str, Any]:
    """Run a batch to its end while workers and whole runs are killed."""
    import psutil

    rng = random.Random(seed)
    told = {"runs": 0, "runs_killed": 0, "workers_killed": 0}
    begun = time.perf_counter()
    while True:
        process = started("batch", source, output, 2)
        told["runs"] += 1
        dies_at = time.monotonic() + rng.uniform(0.5, 2 * RUN_EVERY_S)
        while process.poll() is None:
            time.sleep(rng.expovariate(1 / WORKER_EVERY_S))
            workers = []
            try:
                workers = psutil.Process(process.pid).children()
                if workers:
                    rng.choice(workers).send_signal(signal.SIGKILL)
                    told["workers_killed"] += 1
            except psutil.Error:
                continue
            if told["runs_killed"] < kills and time.monotonic() > dies_at:
                process.kill()
                process.wait()
                told["runs_killed"] += 1
        if process.wait() == 0:
            break
    told["hit_twice"] = sum("a worker died" in o["reason"] for o in outcomes_in(output))
    assert started("batch", source, output, 2).wait() == 0  # in peace: what was killed twice is tried again
    return {**told, "seconds": round(time.perf_counter() - begun, 1)}


def outcomes_in(output: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((output / "summary.json").read_text())["outcomes"]
    return found


def files_in(folder: Path) -> dict[str, str]:
    found = (p for p in folder.rglob("*.jpg"))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def judged(quiet: Path, output: Path, damaged: list[str], count: int) -> dict[str, Any]:
    """Compare a disturbed batch with an undisturbed one."""
    with sqlite3.connect(output / ".composer-batch.sqlite") as connection:
        made = dict(connection.execute("SELECT made, COUNT(*) FROM items WHERE state = 'done' GROUP BY made"))
    connection.close()
    aside = {o["name"]: o["reason"] for o in outcomes_in(output) if o["state"] == "set aside"}
    expected, found = files_in(quiet), files_in(output)
    return {
        "good": count - len(damaged),
        "same_bytes": sum(found.get(name) == digest for name, digest in expected.items()),
        "files_too_many": len(set(found) - set(expected)),
        "done_by_times_made": made,
        "damaged": len(damaged),
        "damaged_named": sum(name in aside for name in damaged),
        "good_set_aside": {name: reason for name, reason in aside.items() if name not in damaged},
        "left_over": sum(1 for _ in output.rglob("*.part")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--timed", type=int, default=1000, help="of them, for the throughput")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--be", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.be:
        mode, source, output, workers = given.be
        {"batch": run_once, "executor": run_executor}[mode](Path(source), Path(output), int(workers))
        return
    from machine import facts

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        damaged = make_photos(scratch / "in", given.photos, given.seed)
        make_photos(scratch / "some", given.timed, given.seed)
        result = {**facts(), "throughput": throughput(scratch / "some", scratch, given.rounds)}
        result["undisturbed"] = timed("batch", scratch / "in", scratch / "quiet", 2)
        result["disturbed"] = disturbed(scratch / "in", scratch / "out", given.kills, given.seed)
        result["outcome"] = judged(scratch / "quiet", scratch / "out", damaged, given.photos)
    result["load_after"] = round(os.getloadavg()[0], 2)
    print(json.dumps(result, indent=1))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
