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

__all__ = ["grid", "validated"]

EACH = 12  # samples of each kind
SEED = 20_000


def samples(photos: tuple[Array, ...], size: int) -> Iterator[Sample]:
    """Yield the same samples every time: every kind, put together by every operator in turn."""
    for k, kind in enumerate(KINDS):
        for n in range(EACH):
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


def validated(network: Network, photos: tuple[Array, ...], size: int) -> dict[str, float]:
    """Return gains in the seam band over held-out samples, by kind, altogether, and without other views."""
    gains: dict[str, list[float]] = {kind: [] for kind in KINDS}
    by_operator: dict[str, list[float]] = {name: [] for name in OPERATORS}
    slopes, clean, alone = [], [], []
    for sample in samples(photos, size):
        found, before = refined(network, sample), band_psnr(sample.composite, sample)
        gain = band_psnr(found, sample) - before
        if sample.kind == "clean":
            clean.append(band_psnr(found, sample))
            continue
        gains[sample.kind].append(gain)
        by_operator.get(sample.operator, []).append(gain)
        alone.append(band_psnr(refined(network, sample, alone=True), sample) - before)
        slopes.append((band_gradient(found, sample), band_gradient(sample.composite, sample)))
    every = [g for kind in gains.values() for g in kind]
    wrong, wrong_before = np.mean(slopes, 0)
    found_by_kind = {f"gain_{kind}_db": float(np.mean(g)) for kind, g in gains.items() if g}
    return {
        k: round(v, 3)
        for k, v in {
            "gain_db": float(np.mean(every)), **found_by_kind,
            "gain_held_out_operator_db": float(np.mean(by_operator[OPERATORS[-1]])),
            "gain_multiband_db": float(np.mean(by_operator["multiband"])),
            "gain_alone_db": float(np.mean(alone)),
            "worse_by_0.1_db_share": float(np.mean(np.array(every) < -0.1)), "worst_db": float(np.min(every)),
            "gradient_error_change": float(wrong / wrong_before - 1), "clean_psnr_db": float(np.min(clean)),
        }.items()
    }  # fmt: skip


def grid(network: Network, photos: tuple[Array, ...], size: int) -> Array:
    """Return rows of composite, result, truth, and five times what is wrong before and after, uint8."""
    rows = []
    for sample in list(samples(photos, size))[:: EACH // 2]:
        found = refined(network, sample)
        wrong = [np.clip(0.5 + 5 * (p - sample.truth), 0, 1) for p in (sample.composite, found)]
        rows.append(np.hstack([sample.composite, found, sample.truth, *wrong]))
    return (np.vstack(rows) * 255 + 0.5).astype(np.uint8)
