"""Measure how far harmonizing undoes a known error: composites whose truth is the photograph itself.

    python benchmarks/harmonize.py PHOTO... --json benchmarks/results/harmonize.json

Of each photograph (reduced to 384 pixels) two segments get another exposure, white balance, contrast and
saturation, at two strengths; they follow edges, so their colours differ from what is around them by nature.
The error is the foreground's mean square, 255 being white. PyPI's `color-transfer` takes part if it is there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import facts
from numpy.typing import NDArray
from skimage.segmentation import felzenszwalb

import composer
from composer.records import to_encoded, to_linear

Array = NDArray[Any]
SIZE = 384
STRENGTHS = {"mild": 0.6, "strong": 1.2}  # standard deviation of exposure in EV; the rest goes with it
METHODS = ("auto", "reinhard", "linear", "histogram")


def regions(photo: Array, rng: np.random.Generator) -> Iterator[Array]:
    """Yield masks of two segments of 2 to 35 % of the picture."""
    labels = felzenszwalb(photo, scale=300, sigma=1.0, min_size=400)
    share = np.bincount(labels.ravel()) / labels.size
    for k in rng.permutation(np.flatnonzero((share > 0.02) & (share < 0.35)))[:2]:
        yield cv2.morphologyEx((labels == k).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9))) > 0


def wronged(photo: Array, rng: np.random.Generator, strength: float) -> Array:
    """Return a photograph as another camera would have shown it."""
    balance = np.exp(rng.normal(0, 0.2 * strength, 3))
    light = to_linear(photo / np.float32(255)) * 2 ** rng.normal(0, strength) * balance / balance.mean()
    shown = to_encoded(np.clip(light, 0, 1)) ** np.exp(rng.normal(0, 0.25 * strength))
    grey = (shown @ [0.2126, 0.7152, 0.0722])[:, :, None]
    shown = grey + np.exp(rng.normal(0, 0.3 * strength)) * (shown - grey)
    return np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)


def tools() -> dict[str, Callable[[Array, Array], Array]]:
    """Return what is compared, each from a composite and its mask to a picture."""

    def ours(method: str) -> Callable[[Array, Array], Array]:
        return lambda picture, mask: composer.harmonize(picture, mask, method=method, device="cpu").image

    found: dict[str, Callable[[Array, Array], Array]] = {m: ours(m) for m in METHODS}
    try:
        from color_transfer import color_transfer
    except ImportError:
        return found

    def peer(picture: Array, mask: Array) -> Array:
        parts = [np.ascontiguousarray(picture[k][:, None, ::-1]) for k in (~mask, mask)]
        made = picture.copy()
        made[mask] = color_transfer(*parts)[:, 0, ::-1]
        return made

    return {**found, "color-transfer 0.1": peer}


def measure(paths: list[Path]) -> dict[str, Any]:
    """Return errors by strength and method."""
    rng = np.random.default_rng(0)
    errors: dict[str, dict[str, list[float]]] = {s: {"none": []} for s in STRENGTHS}
    seconds: dict[str, float] = {}
    compared = tools()
    for path in paths:
        photo = cv2.imread(str(path))[:, :, ::-1]
        photo = cv2.resize(photo, None, fx=(f := SIZE / max(photo.shape)), fy=f, interpolation=cv2.INTER_AREA)
        for mask in regions(photo, rng):
            for name, strength in STRENGTHS.items():
                composite = np.where(mask[:, :, None], wronged(photo, rng, strength), photo)
                pictures = {"none": composite}
                for tool, work in compared.items():
                    start = time.process_time()
                    pictures[tool] = work(composite, mask)
                    seconds[tool] = seconds.get(tool, 0.0) + time.process_time() - start
                for tool, made in pictures.items():
                    apart = (made.astype(np.float64) - photo)[mask]
                    errors[name].setdefault(tool, []).append(float((apart**2).mean()))
    return {"composites": len(errors["mild"]["none"]), "errors": _told(errors), "cpu_seconds": seconds}


def _told(errors: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        strength: {
            tool: {
                "mean": round(float(np.mean(found)), 1),
                "median": round(float(np.median(found)), 1),
                "better_than_none": round(float(np.mean(np.array(found) < by_tool["none"])), 3),
            }
            for tool, found in by_tool.items()
        }
        for strength, by_tool in errors.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {**facts(), "photos": [p.parent.name + "/" + p.name for p in options.photos]}
    found |= measure(options.photos)
    for strength, by_tool in found["errors"].items():
        for tool, said in by_tool.items():
            print(f"{strength:7} {tool:20} {said}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
