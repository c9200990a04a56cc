"""Plant faults on clean photographs and score what is found; also count what is found on the clean ones.

    python benchmarks/faults.py PHOTO... --seeds 1 2 --json benchmarks/results/faults.json

A planted fault is found if a found one of its kind overlaps it by an IoU of 0.3 (pieces that lie on it taken
together) or has its centre within 3 px. A found fault is right if it, or the pieces together, match a planted
one of any contrast. Recall and F1 count faults of contrast 4 and more (see planting.py); `..._2px` those of
them that are two pixels wide and more, too; and `..._standing` those of these that are of contrast 4 and more
by what is around, texture and all, too.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import facts
from numpy.typing import NDArray
from planting import PLANTS, Planted, plant

from composer.mending.faults import AUTO, KINDS, find_faults
from composer.records import Fault

Array = NDArray[Any]

NEEDED_IOU = 0.3
NEAR_PX = 3.0
COUNTED = 4.0
WIDE_PX = 2.0
EDGES = (2, 3, 4, 6, 8, 12, 16, 32)


def match_pixels(
    shape: tuple[int, int], truths: list[Planted], faults: list[Fault]
) -> tuple[list[bool], list[bool]]:
    """Do the same for salt-and-pepper noise, pixel by pixel."""
    truth, found = np.zeros(shape, bool), np.zeros(shape, bool)
    ys, xs = np.array([t.y for t in truths]), np.array([t.x for t in truths])
    truth[ys, xs] = True
    for fault in faults:
        found[fault.rect.y0 : fault.rect.y1, fault.rect.x0 : fault.rect.x1] |= fault.mask
    return found[ys, xs].tolist(), truth[found].tolist()


def centre(x: int, y: int, mask: Array) -> Array:
    ys, xs = np.nonzero(mask)
    return np.array([x + xs.mean(), y + ys.mean()])


def match(
    shape: tuple[int, int], truths: list[Planted], faults: list[Fault]
) -> tuple[list[bool], list[bool]]:
    """Say which planted faults are found, and which found ones are right."""
    everywhere = np.ones(shape, bool)
    parts = [(f.rect.x0, f.rect.y0, everywhere if f.mask is None else f.mask) for f in faults]
    labels = np.zeros(shape, np.int32)
    sizes = np.array([0] + [int(m.sum()) for _, _, m in parts])
    for k, (x, y, mask) in enumerate(parts, 1):
        labels[y : y + mask.shape[0], x : x + mask.shape[1]][mask] = k
    centres = np.array([centre(*p) for p in parts]).reshape(-1, 2)
    hit: list[bool] = []
    right = np.zeros(len(parts) + 1, bool)
    for truth in truths:
        window = labels[truth.y : truth.y + truth.mask.shape[0], truth.x : truth.x + truth.mask.shape[1]]
        ids, counts = np.unique(window[truth.mask], return_counts=True)
        keep = (ids > 0) & (counts * 3 >= sizes[ids])
        shared, ids = counts[keep].sum(), ids[keep]
        ok = shared / (truth.mask.sum() + sizes[ids].sum() - shared) >= NEEDED_IOU
        right[ids] |= ok
        if len(centres):
            gap = np.hypot(*(centres - centre(truth.x, truth.y, truth.mask)).T)
            near = gap <= NEAR_PX
            right[1:] |= near
            ok = ok or near.any()
        hit.append(bool(ok))
    return hit, [bool(r) for r in right[1:]]


def read(path: Path) -> Array:
    return cv2.imread(str(path), cv2.IMREAD_COLOR)[:, :, ::-1].astype(np.float32) / 255


def score(photos: list[Path], kind: str, seeds: list[int]) -> dict[str, Any]:
    """Score one kind over photos and seeds."""
    hit: list[bool] = []
    wide: list[bool] = []
    standing: list[bool] = []
    right = total = 0
    curve: dict[float, list[bool]] = defaultdict(list)
    for index, path in enumerate(photos):
        pixels = read(path)
        for seed in seeds:
            planted, truths = plant(pixels, kind, 1000 * seed + index)
            faults = [f for f in find_faults(planted, None, (kind,)) if f.kind == kind]
            hits, good = (match_pixels if kind == "impulse" else match)(planted.shape[:2], truths, faults)
            for truth, found in zip(truths, hits, strict=True):
                if truth.contrast >= COUNTED:
                    hit.append(found)
                    wide.append(truth.width >= WIDE_PX)
                    standing.append(wide[-1] and truth.standing >= COUNTED)
                at = [e for e in EDGES if e <= truth.contrast]
                if at:
                    curve[at[-1]].append(found)
            right, total = right + sum(good), total + len(good)
    precision = right / total if total else 0.0
    figures = _figures(np.array(hit, bool), precision)
    for of, counted in (("2px", wide), ("standing", standing)):
        if not all(counted):
            part = _figures(np.array(hit, bool)[np.array(counted)], precision)
            figures |= {f"{name}_{of}": v for name, v in part.items()}
    curves = {str(e): [round(float(np.mean(v)), 3), len(v)] for e, v in sorted(curve.items())}
    return {"found": total, "precision": round(precision, 4), **figures, "recall_by_contrast": curves}


def _figures(hit: Array, precision: float) -> dict[str, Any]:
    """Return how many are planted, which share is found, and F1."""
    recall = float(hit.mean()) if len(hit) else 0.0
    f1 = 2 * recall * precision / (recall + precision) if recall + precision else 0.0
    return {"planted": len(hit), "recall": round(recall, 4), "f1": round(f1, 4)}


def clean(photos: list[Path], kinds: tuple[str, ...]) -> dict[str, Any]:
    """Count what is found on photos as they are."""
    alarms: dict[str, dict[str, int]] = {k: {} for k in kinds}
    seconds = megapixels = 0.0
    for path in photos:
        pixels = read(path)
        begun = time.process_time()
        faults = find_faults(pixels, None, kinds)
        seconds += time.process_time() - begun
        megapixels += pixels.shape[0] * pixels.shape[1] / 1e6
        for fault in faults:
            alarms[fault.kind][path.name] = alarms[fault.kind].get(path.name, 0) + 1
    touched = {name for names in alarms.values() for name in names}
    return {
        "photos": len(photos), "touched": len(touched), "alarms": alarms,
        "cpu_s_per_megapixel": round(seconds / megapixels, 3),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument(
        "--kinds",
        nargs="+",
        default=list(AUTO),
        choices=KINDS,
    )
    parser.add_argument("--seeds", nargs="*", type=int, default=[1])
    parser.add_argument("--half", type=int, choices=[0, 1], help="every other photo, from this one on")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    photos = sorted(given.photos)[given.half :: 2] if given.half is not None else sorted(given.photos)
    kinds = tuple(given.kinds)
    untouched = clean(photos, kinds)
    print("clean", {k: v for k, v in untouched.items() if k != "alarms"})
    for kind, names in untouched["alarms"].items():
        print(f"  {kind}: {len(names)} photos", dict(list(names.items())[:6]))
    scores = {}
    for kind in [k for k in kinds if k in PLANTS] if given.seeds else ():
        scores[kind] = score(photos, kind, given.seeds)
        print(kind, scores[kind])
    if given.json:
        found = {**facts(), "seeds": given.seeds, "half": given.half, "clean": untouched, "kinds": scores}
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
