"""`refine`: the learned stage on a composite."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.api.jobs import begun, one_thread_each
from composer.backend.channels import any_channel, finite_pixels
from composer.backend.memory import peak_mb
from composer.errors import Cancelled, OptionError, WeightsError
from composer.learn.band import seam_of_mask
from composer.learn.detecting import fault_map, load_detector, mask_of
from composer.learn.detecting import planes_of as detecting_planes
from composer.learn.refining import Refusal, accepted, gated
from composer.learn.runtime import HALO, Network, changes, load_refiner
from composer.learn.simulator import planes_of
from composer.learn.weights import kind_of
from composer.media.picture import Picture, as_float, check_target, read_mask, read_picture, write_picture
from composer.records import Context, Event, Rect
from composer.render import quantised
from composer.results import Refined

Array = NDArray[Any]
Source = str | Path | Array

__all__ = ["refine"]

LITTLE = 0.05  # share of a mask that changed below which a second view is asked for


def refine(
    composite: Source,
    mask: Source | None = None,
    output: str | Path | None = None,
    *,
    other: Source | None = None,
    strength: float = 1.0,
    weights: str | Path = "",
    detector: str | Path = "",
    device: str = "auto",
    workers: int | None = None,
    max_memory: int | None = None,
    observe: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Refined:
    """Mend a composite where a mask says, by a network that was trained on spoiled composites.

    Parameters
    ----------
    composite : path, or array (H, W[, C]), uint8, uint16 or float32
    mask : path, or array (H, W)
        White where to look: along seams, in fills; bool will do, and integers that are 0 and 1. Outside it
        every pixel stays as it is. May be left out with a detector, or with pix2pix, which then translates
        the whole picture.
    output : path or None
        Where to write; None keeps the result in memory.
    other : path, array, or None
        What another photograph shows in the same place, of the composite's size; alpha says where.
        Most of what refining gains comes from it.
    strength : float
        Share of each change that is made, 0..1.
    weights : path
        Other weights than those that come with the package, as `train` writes them; those of pix2pix are
        applied as published: to the whole picture at once, by torch, nothing bounded or tested but the mask.
    detector : path
        Weights of a detector of your own, as `train` writes them; it proposes the mask where none is given.
        None come with the package: what was trained so far finds too little, or too much.
    device, workers, max_memory, observe, cancelled
        As for `stitch`; the network runs on the CPU.

    Returns
    -------
    Refined
        The same for any number of workers; what was refused is in `refusals`.

    Raises
    ------
    OptionError
        Sizes differ, strength is not within 0..1, or there is no mask.
    WeightsError
        Neither onnxruntime nor torch is installed, or the weights cannot be used.
    PhotoError, OutputError, Cancelled
    """
    if not 0 <= strength <= 1:
        raise OptionError(f"strength is {strength}; give 0 to 1")
    context, watch = begun(device, workers, max_memory, observe, cancelled)
    published = kind_of(weights) == "pix2pix" if weights else False
    if mask is None and not (published or detector):
        raise OptionError("no mask was given; paint white where to look: along seams, in fills")
    picture, second, where = _read(composite, mask, other, context.max_memory)
    if output is not None:
        check_target(Path(output), (composite, mask, other))
    started = time.perf_counter()
    refusals: list[Refusal] = []
    notes = ["pix2pix made it: nothing was bounded or tested"] if published else []
    with one_thread_each():
        if mask is None and not published:
            where = _proposed(picture, second, Path(detector), context)
        if not (where > 0).any():
            pixels, changed = picture.pixels.copy(), 0.0
            empty = "the detector marks nothing" if mask is None else "the mask is empty"
            notes = [f"{empty}; paint white where to look"]
        elif published:
            pixels, changed = _translated(picture, second, where * np.float32(strength), Path(weights))
        else:
            network = load_refiner(str(weights))
            pixels, refusals, changed = _refined(picture, second, where, network, strength, context)
            if other is None and changed < LITTLE * strength:
                notes = ["without another photo of the place little is changed; give one as other"]
    context.observe(Event("refine", 1.0, time.perf_counter() - started))
    if output is not None:
        notes += write_picture(Path(output), pixels, picture.alpha, picture, context.workers)
    elif picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha[:, :, None]], 2)
    return Refined(
        output=None if output is None else Path(output), pixels=pixels if output is None else None,
        refusals=tuple(refusals), changed=changed, notes=tuple(notes), stages=tuple(watch.stages.items()),
        peak_mb=peak_mb(),
    )  # fmt: skip


def _read(
    composite: Source, mask: Source | None, other: Source | None, max_memory: int
) -> tuple[Picture, Picture | None, Array]:
    """Read the pictures, and the mask, which is all of the composite if there is none.

    Raises
    ------
    OptionError
        Sizes differ.
    PhotoError
    """
    picture = read_picture(composite, "composite", max_memory)
    second = None if other is None else read_picture(other, "other", max_memory, picture)
    size = picture.pixels.shape[:2]
    where = np.ones(size, np.float32) if mask is None else read_mask(mask)
    for name, shape in (("mask", where.shape), ("other", second.pixels.shape[:2] if second else size)):
        if shape != size:
            raise OptionError(f"{name} is {shape}, composite {size}: they must match")
    return picture, second, where


def _refined(
    picture: Picture, second: Picture | None, mask: Array, network: Network, strength: float, context: Context
) -> tuple[Array, list[Refusal], float]:
    """Return the result in the picture's type, what was refused, and the share of the mask that changed."""
    area = _around(mask)
    cut = slice(area.y0, area.y1), slice(area.x0, area.x1)
    mask = np.clip(np.nan_to_num(mask[cut]), 0, 1)
    colours, valid = _colours(picture, cut)
    other, other_valid = _colours(second, cut) if second is not None else (None, None)
    mask = mask * valid
    seam = seam_of_mask(mask, colours, other)
    seen = planes_of(colours, mask, seam, valid, other, other_valid)
    change = changed_by(network, seen, context, area[:2])
    wanted = gated(colours, mask, change, strength)
    result, refusals = accepted(colours, wanted, mask, other, other_valid)
    refusals = [Refusal(_moved(r.rect, area), r.reason) for r in refusals]
    pixels, touched = placed(picture, cut, colours, result)
    return pixels, refusals, float(touched.sum() / max(np.count_nonzero(mask), 1))


def changed_by(network: Network, seen: Array, context: Context, corner: tuple[int, int] = (0, 0)) -> Array:
    """Return what a network would change (4, h, w), windows on as many threads as the context has.

    `corner` is that of what is seen, in the picture.

    Raises
    ------
    Cancelled
    """
    with ThreadPoolExecutor(context.workers) as pool:

        def over(work: Callable[[Rect], Array], windows: list[Rect]) -> list[Array]:
            found = []
            for k, part in enumerate(pool.map(work, windows), 1):
                found.append(part)
                context.observe(Event("refine", k / len(windows)))
                if context.cancelled():
                    raise Cancelled("stopped on request; nothing was written")
            return found

        return changes(network, seen, over, corner)


def _translated(picture: Picture, second: Picture | None, mask: Array, weights: Path) -> tuple[Array, float]:
    """Return the result of pix2pix in the picture's type, and the share of the mask that changed.

    Raises
    ------
    WeightsError
    """
    if importlib.util.find_spec("torch") is None:
        raise WeightsError("pix2pix needs torch; run pip install 'composer-cv[learn]'")
    from composer.learn.pix2pix import load_pix2pix

    translate, inputs = load_pix2pix(weights)
    whole = slice(None), slice(None)
    colours, valid = _colours(picture, whole)
    mask = np.clip(np.nan_to_num(mask), 0, 1) * valid
    seen = np.moveaxis(np.clip(colours, 0, 1), 2, 0)
    if inputs != 3:
        other, other_valid = _colours(second, whole) if second is not None else (None, None)
        seen = planes_of(colours, mask, seam_of_mask(mask, colours, other), valid, other, other_valid)
    result = colours + mask[:, :, None] * (translate(seen) - colours)
    pixels, touched = placed(picture, whole, colours, result)
    return pixels, float(touched.sum() / max(np.count_nonzero(mask), 1))


def placed(picture: Picture, cut: tuple[slice, slice], colours: Array, result: Array) -> tuple[Array, Array]:
    """Return the picture's pixels with a part of them changed, and where they were."""
    pixels, touched = picture.pixels.copy(), any_channel(result != colours)
    if pixels.shape[2] == 1:
        result = result.mean(2, keepdims=True)
    pixels[cut] = np.where(touched[:, :, None], quantised(result, picture.photo.dtype), pixels[cut])
    return pixels, touched


def _proposed(picture: Picture, second: Picture | None, detector: Path, context: Context) -> Array:
    """Return the mask that a detector proposes, (H, W) float32.

    Raises
    ------
    WeightsError
    """
    detecting, whole = load_detector(str(detector)), (slice(None), slice(None))
    colours, valid = _colours(picture, whole)
    other, other_valid = _colours(second, whole) if second is not None else (None, None)
    seen = detecting_planes(colours, valid, other, other_valid)
    with ThreadPoolExecutor(context.workers) as pool:
        likely = fault_map(detecting, seen, lambda work, tiles: list(pool.map(work, tiles)))
    return mask_of(likely, valid)


def _around(mask: Array) -> Rect:
    """Return the rectangle of what is to be refined and looked at."""
    x, y, width, height = cv2.boundingRect((mask > 0).astype(np.uint8))
    seen = Rect(x, y, x + width, y + height).grown(HALO)
    return Rect(max(seen.x0, 0), max(seen.y0, 0), min(seen.x1, mask.shape[1]), min(seen.y1, mask.shape[0]))


def _moved(rect: Rect, area: Rect) -> Rect:
    return Rect(rect.x0 + area.x0, rect.y0 + area.y0, rect.x1 + area.x0, rect.y1 + area.y0)


def _colours(picture: Picture, cut: tuple[slice, slice]) -> tuple[Array, Array]:
    """Return a picture's part as (h, w, 3) float32, and where it is valid."""
    part = as_float(picture.pixels[cut])
    finite = finite_pixels(part)
    valid = np.asarray(finite if picture.alpha is None else finite & (as_float(picture.alpha[cut]) > 0.5))
    return np.broadcast_to(np.where(finite[:, :, None], part, 0), (*valid.shape, 3)).astype(np.float32), valid
