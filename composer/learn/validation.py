"""What a refiner gains on photographs that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.learn.refining import gated
from composer.learn.runtime import Network
from composer.learn.simulator import KINDS, OPERATORS, Sample, planes_of, simulate

Array = NDArray[Any]

__all__ = ["grid", "refined", "samples", "validated"]

EACH = 12  # samples of each kind
SEED = 20_000


def samples(photos: tuple[Array, ...], size: int, each: int = EACH) -> Iterator[Sample]:
    """Yield the same samples every time: every kind, put together by every operator in turn."""
    for k, kind in enumerate(KINDS):
        for n in range(each):
            rng = np.random.default_rng((SEED, k, n))
            operator = OPERATORS[n % len(OPERATORS)] if kind != "inpainting" else ""
            yield simulate(photos[n % len(photos)], rng, size, kind=kind, operator=operator)


def refined(network: Network, sample: Sample, alone: bool = False) -> Array:
    """Return a sample's composite as the network leaves it."""
    seam = np.ones_like(sample.seam) if alone else sample.seam
    other_valid = sample.other_valid & (not alone)
    seen = planes_of(
        sample.composite, sample.mask, seam, sample.valid, sample.other, other_valid, sample.synthetic
    )
    return gated(sample.composite, sample.mask, network(seen))


def band_psnr(picture: Array, sample: Sample) -> float:
    """Return the peak signal-to-noise ratio in decibels where the mask is above a half; at most 80."""
    inside = sample.mask > 0.5
    error = float(((picture - sample.truth)[inside] ** 2).mean())
    return float(-10 * np.log10(max(error, 1e-8)))


def band_gradient(picture: Array, sample: Sample) -> float:
    """Return the mean absolute error of differences between neighbours, in grey levels."""
    inside = sample.mask > 0.5
    parts = []
    for axis in (0, 1):
        gap = np.abs(np.diff(picture, axis=axis) - np.diff(sample.truth, axis=axis)).mean(2)
        parts.append(gap[inside[1:] if axis == 0 else inside[:, 1:]])
    return 255 * float(np.concatenate(parts).mean())


def validated(network: Network, photos: tuple[Array, ...], size: int, each: int = EACH) -> dict[str, float]:
    """Return gains in the seam band over held-out samples: altogether, of our own blend, by kind, alone."""
    rows: list[tuple[Any, ...]] = []
    alone, clean = [], []
    for sample in samples(photos, size, each):
        found, before = refined(network, sample), band_psnr(sample.composite, sample)
        if sample.kind == "clean":
            clean.append(band_psnr(found, sample))
            continue
        slopes = [band_gradient(picture, sample) for picture in (found, sample.composite)]
        rows.append((band_psnr(found, sample) - before, *slopes, sample.kind, sample.operator))
        alone.append(band_psnr(refined(network, sample, alone=True), sample) - before)
    found_of = {"": rows} | {f"{o}_": [r for r in rows if r[4] == o] for o in ("multiband", OPERATORS[-1])}
    gains = {f"gain_{k}_db": [r[0] for r in rows if r[3] == k] for k in KINDS if k != "clean"}
    figures = {
        **{f"{name}{k}": v for name, part in found_of.items() for k, v in _summed_up(part).items()},
        **{name: float(np.mean(part)) for name, part in gains.items()},
        "gain_alone_db": float(np.mean(alone)), "clean_psnr_db": float(np.min(clean)),
    }  # fmt: skip
    return {name: round(value, 3) for name, value in figures.items()}


def _summed_up(rows: list[tuple[Any, ...]]) -> dict[str, float]:
    gains = np.array([row[0] for row in rows])
    after, before = np.mean([row[1:3] for row in rows], 0)
    return {
        "gain_db": float(gains.mean()), "worse_by_0.1_db_share": float((gains < -0.1).mean()),
        "worst_db": float(gains.min()), "gradient_error_change": float(after / before - 1),
    }  # fmt: skip


def grid(network: Network, photos: tuple[Array, ...], size: int) -> Array:
    """Return rows of composite, result, truth, and five times what is wrong before and after, uint8."""
    rows = []
    for sample in list(samples(photos, size))[:: EACH // 2]:
        found = refined(network, sample)
        wrong = [np.clip(0.5 + 5 * (p - sample.truth), 0, 1) for p in (sample.composite, found)]
        rows.append(np.hstack([sample.composite, found, sample.truth, *wrong]))
    return (np.vstack(rows) * 255 + 0.5).astype(np.uint8)
