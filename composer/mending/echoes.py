"""Double images: parts of a picture over which a displaced copy of themselves lies.

Where one photo was blended with another that lay a little off, the picture is the scene and its echo. The
logarithm of a spectrum turns the echo into a wave, and the spectrum of that, the cepstrum (Bogert et al.,
1963), into a single point at the displacement, however rich the scene is. A scene that repeats itself has
points there too, but again at twice the displacement, where an echo has less than nothing; and neighbouring
windows find one and the same displacement only in an echo.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.mending.regions import brightness, fault_of
from composer.records import Fault

Array = NDArray[Any]

__all__ = ["find_ghosts"]

WINDOW, STEP = 96, 24  # pixels
HALF = WINDOW // 2
NEAREST, FARTHEST = 3.7, HALF // 2 - 1  # pixels of displacement; what repeats must show twice as far
CORE = 2.5  # pixels about no displacement, where any picture is like itself
RING = 2.0, 4.3  # pixels around a point that must stand out from what lies there
GRID = 8  # pixels: JPEG blocks echo, too
FLOOR = 0.3 / 255  # noise that is added, so that what is flat says nothing
QUIET = 4.0  # times a window's median power, that is added too: noise and coding have no echo
STANDS_OUT = 6.0  # deviations
AGAIN = 0.5  # of its height, that a point's double may have, window by window
REPEATS = 0.15  # and in the middle of a ghost's windows
FEWEST, TOGETHER = 6, 120.0  # windows of a ghost, and their deviations summed up
SEEN = 80  # pixels of a window that a ghost is drawn with


def find_ghosts(pixels: Array, valid: Array | None = None) -> list[Fault]:
    """Find double images in (H, W, C) float32: kind "ghost", strength the displacement in pixels."""
    if min(pixels.shape[:2]) < WINDOW:
        return []
    luma = brightness(pixels)
    looks = np.stack([_looked_at(row) for row in _rows(luma)])
    good = (looks[..., 0] > STANDS_OUT) & (looks[..., 4] < AGAIN * looks[..., 1])
    if valid is not None and not valid.all():
        good &= _whole(valid)
    found = []
    for members in _alike(good, looks[..., 2:4]):
        part = looks[tuple(members.T)]
        repeats = float(np.median(part[:, 4] / part[:, 1]))
        if len(part) >= FEWEST and part[:, 0].sum() >= TOGETHER and repeats <= REPEATS:
            apart = float(np.hypot(*part[part[:, 0].argmax(), 2:4]))
            fault = fault_of("ghost", _drawn(members, luma.shape), 0.7)
            found.append(replace(fault, strength=apart))
    return found


def _rows(luma: Array) -> Iterator[Array]:
    """Yield rows of windows (n, WINDOW, WINDOW)."""
    yield from np.lib.stride_tricks.sliding_window_view(luma, (WINDOW, WINDOW))[::STEP, ::STEP]


def _whole(valid: Array) -> Array:
    """Return which windows are valid throughout."""
    inside = cv2.erode(valid.astype(np.uint8), np.ones((WINDOW, WINDOW), np.uint8), borderValue=0)
    rows, columns = (range(HALF, n - WINDOW + HALF + 1, STEP) for n in valid.shape)
    return inside[np.ix_(rows, columns)] > 0


def _lags() -> tuple[Array, Array]:
    return tuple(np.mgrid[-HALF:HALF, -HALF:HALF])


DOWN, ACROSS = _lags()
DISTANCE = np.hypot(DOWN, ACROSS)
POSSIBLE = (DISTANCE >= NEAREST) & (DISTANCE <= FARTHEST) & ((ACROSS > 0) | ((ACROSS == 0) & (DOWN > 0)))
POSSIBLE &= (DOWN % GRID != 0) | (ACROSS % GRID != 0)
USUAL = (DISTANCE > 14) & (DISTANCE < HALF - 4)
TAPER = np.hanning(WINDOW + 2)[1:-1].astype(np.float32)
TAPER = TAPER[:, None] * TAPER
AROUND = np.hypot(*np.mgrid[-4:5, -4:5])
AROUND = ((RING[0] <= AROUND) & (RING[1] > AROUND)).astype(np.uint8)


def _looked_at(windows: Array) -> Array:
    """Return for each of (n, WINDOW, WINDOW): how far its strongest point stands out, in deviations, its
    height, its place down and across, and the height at twice that."""
    power = np.abs(np.fft.rfft2((windows - windows.mean((1, 2), keepdims=True)) * TAPER)) ** 2
    floor = np.square(FLOOR * TAPER).sum() + QUIET * np.median(power, axis=(1, 2), keepdims=True)
    cepstra = np.fft.irfft2(np.log(power + floor), s=(WINDOW, WINDOW))
    cepstra = np.fft.fftshift(cepstra, axes=(1, 2)).astype(np.float32)
    return np.stack([_strongest(one) for one in cepstra])


def _strongest(cepstrum: Array) -> Array:
    usual = cepstrum[USUAL]
    deviation = 1.4826 * float(np.median(np.abs(usual - np.median(usual)))) + 1e-6
    bare = np.where(DISTANCE < CORE, -1, cepstrum).astype(np.float32)
    beyond = np.where(POSSIBLE, cepstrum - cv2.dilate(bare, AROUND), -1)
    y, x = np.unravel_index(int(beyond.argmax()), beyond.shape)
    down, across = int(DOWN[y, x]), int(ACROSS[y, x])
    at = HALF + 2 * down, HALF + 2 * across
    again = float(cepstrum[at[0] - 1 : at[0] + 2, at[1] - 1 : at[1] + 2].max())
    return np.array([beyond[y, x] / deviation, cepstrum[y, x], down, across, again], np.float32)


def _alike(good: Array, lags: Array) -> Iterator[Array]:
    """Yield the places (n, 2) of good windows that hang together and agree on the displacement."""
    left = good.copy()
    for start in np.argwhere(good):
        if not left[tuple(start)]:
            continue
        members, waiting = [], [tuple(start)]
        left[tuple(start)] = False
        while waiting:
            i, j = waiting.pop()
            members.append((i, j))
            for y, x in np.argwhere(left[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]):
                other = (max(i - 1, 0) + y, max(j - 1, 0) + x)
                apart = min(np.abs(lags[other] - s * lags[i, j]).max() for s in (1, -1))
                if apart <= 1:
                    left[other] = False
                    waiting.append(other)
        yield np.array(members)


def _drawn(members: Array, shape: tuple[int, ...]) -> Array:
    mask = np.zeros(shape, bool)
    beside = (WINDOW - SEEN) // 2
    for y, x in STEP * members + beside:
        mask[y : y + SEEN, x : x + SEEN] = True
    return mask
