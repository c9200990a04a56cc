"""Damage JPEG files by seed and read what is left of them, beside Pillow and OpenCV.

    python benchmarks/salvage.py PHOTO.jpg... --count 60 --json benchmarks/results/salvage.json

The files are damaged as they are: cut off, one to three bits turned, 512 to 4096 bytes set to zero,
overwritten at random, or missing. Truth is what the intact file decodes to; truly lost are the units (MCU) of
which a bit was touched. `psnr_kept` is that of the part which composer says it has read, for all;
`psnr_whole` that of the whole picture, as each leaves it. PSNR is cut off at 60 dB; a picture that is not
given at all counts 0.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import facts
from numpy.typing import NDArray
from PIL import Image, ImageFile

import composer
from composer.errors import PhotoError
from composer.media.entropy import Frame, Reader, parts_of, read_frame

Array = NDArray[Any]

KINDS = ("cut", "bits", "zeros", "noise", "missing")


def damaged(data: bytes, begin: int, kind: str, random: np.random.Generator) -> tuple[bytes, list[range]]:
    """Return a file with damage behind its headers, and which of its bytes were touched."""
    at = begin + int(random.uniform(0.02, 0.95) * (len(data) - begin))
    size = int(np.exp(random.uniform(np.log(512), np.log(4096))))
    end = min(at + size, len(data) - 2)
    if kind == "cut":
        return data[:at], [range(at, len(data))]
    if kind == "missing":
        return data[:at] + data[end:], [range(at, end)]
    out = bytearray(data)
    if kind == "bits":
        places = random.integers(begin, len(data) - 2, random.integers(1, 4)).tolist()
        for place in places:
            out[place] ^= 1 << int(random.integers(8))
        return bytes(out), [range(p, p + 1) for p in places]
    fresh = np.zeros(end - at, np.uint8) if kind == "zeros" else random.integers(0, 256, end - at)
    out[at:end] = fresh.astype(np.uint8).tobytes()
    return bytes(out), [range(at, end)]


def ends_of(frame: Frame, data: bytes) -> Array:
    """Return where in the file, in bytes, each unit of an intact one begins; and where the last one ends."""
    raw = np.frombuffer(data, np.uint8)[frame.begin :]
    stuffed = np.zeros(len(raw), bool)
    stuffed[1:] = (raw[:-1] == 255) & (raw[1:] == 0)
    plain = np.flatnonzero(~stuffed)  # where bytes without stuffing lie; markers count as such
    found, before = [], 0
    for part in parts_of(frame, data):
        starts = Reader(frame, part.data).read(0, part.last - part.first).starts
        found.append(plain[before + np.array(starts[:-1]) // 8])
        last = plain[before + min(starts[-1] // 8, len(part.data) - 1)]
        before += len(part.data) + 2
    return np.concatenate([*found, [last]]) + frame.begin


def truly_lost(frame: Frame, data: bytes, touched: list[range]) -> Array:
    """Return which pixels (H, W) are in units of which a bit was touched."""
    ends = ends_of(frame, data)
    lost = np.zeros(len(ends) - 1, bool)
    for part in touched:
        lost |= (ends[1:] >= part.start) & (ends[:-1] < part.stop)
    whole = np.kron(lost.reshape(frame.grid), np.ones(frame.unit, bool))
    return whole[: frame.height, : frame.width]


def psnr(found: Array | None, truth: Array, where: Array) -> float:
    if found is None or not where.any() or found.shape != truth.shape:
        return 0.0
    error = ((found[where].astype(np.float32) - truth[where]) ** 2).mean()
    return float(min(60.0, -10 * np.log10(max(error, 1e-9) / 255**2)))


def by_pillow(path: Path) -> Array | None:
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        return np.asarray(Image.open(path).convert("RGB"))
    except OSError:
        return None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def by_opencv(path: Path) -> Array | None:
    found = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if found is None else found[:, :, ::-1]


def case(data: bytes, frame: Frame, truth: Array, kind: str, seed: int) -> dict[str, Any]:
    """Damage one file and read it by all."""
    broken, touched = damaged(data, frame.begin, kind, np.random.default_rng(seed))
    lost = truly_lost(frame, data, touched)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "broken.jpg"
        path.write_bytes(broken)
        begun = time.process_time()
        try:
            result = composer.repair(path, salvage=True, faults="hole", workers=1)
            mask = np.asarray(result.mask)
            ours = np.broadcast_to(result.image, (*mask.shape, 3))  # grey photos, too
        except PhotoError:
            ours, mask = None, np.ones_like(lost)
        seconds = time.process_time() - begun
        pictures = {"composer": ours, "pillow": by_pillow(path), "opencv": by_opencv(path)}
    kept, everywhere = ~mask, np.ones_like(mask)
    return {
        "iou": float((mask & lost).sum() / max((mask | lost).sum(), 1)),
        "lost": float(lost.mean()),
        "said_lost": float(mask.mean()),
        "said_lost_of_lost": float((mask & lost).sum() / max(lost.sum(), 1)),
        "cpu_s_per_megapixel": seconds / lost.size * 1e6,
        **{f"psnr_kept_{n}": psnr(p, truth, kept) for n, p in pictures.items()},
        **{f"psnr_whole_{n}": psnr(p, truth, everywhere) for n, p in pictures.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    usable = []
    for path in given.photos:
        frame = read_frame(path.read_bytes())
        if frame is not None and Image.open(path).getexif().get(0x0112, 1) == 1:
            usable.append((path, frame))
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for k in range(given.count):
        path, frame = usable[(k * 7) % len(usable)]
        truth = np.asarray(Image.open(path).convert("RGB"))
        kind = KINDS[k % len(KINDS)]
        scores = case(path.read_bytes(), frame, truth, kind, k)
        found[kind].append({"photo": path.name, "seed": k, **scores})
        print(kind, path.name, {n: round(v, 3) for n, v in scores.items()}, flush=True)
    names = [n for n in found["cut"][0] if n not in ("photo", "seed")]
    kinds = {**found, "all": [s for each in found.values() for s in each]}
    means = {
        kind: {
            "cases": len(each),
            **{n: round(float(np.mean([s[n] for s in each])), 3) for n in names},
            "kept_below_30_db": sum(s["psnr_kept_composer"] < 30 for s in each),
        }
        for kind, each in kinds.items()
    }
    for kind, values in means.items():
        print(kind, values)
    if given.json:
        found_all = {**facts(), "means": means, "each": kinds["all"]}
        given.json.write_text(json.dumps(found_all, indent=1) + "\n")


if __name__ == "__main__":
    main()
