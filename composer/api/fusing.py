"""`fuse`: several photographs of one view made into one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.api.jobs import begun, one_thread_each
from composer.backend.memory import peak_mb
from composer.backend.parallel import over
from composer.errors import NothingToFuse, OptionError, PhotoError
from composer.fusion.aligning import aligned, best_exposed, check_sizes, small_grey
from composer.fusion.exposure import Exponents
from composer.fusion.hdr import METHODS as RESPONSES
from composer.fusion.methods import METHODS as RULES
from composer.fusion.methods import Settings
from composer.fusion.registration import MODELS, farthest
from composer.fusion.stack import Stack, alpha_of, blocks
from composer.fusion.tonemap import OPERATORS
from composer.learn.bursting import load_burst, merged_burst
from composer.media.decode import PhotoStore, store_of
from composer.media.metadata import icc_profile
from composer.media.naming import naming
from composer.media.picture import Picture, check_target, write_picture
from composer.planning import PHOTO_SHARE, Source, read_photos
from composer.records import Context, Event, Photo, Photos, Unused
from composer.results import Fused

Array = NDArray[Any]

__all__ = ["fuse"]

METHODS = {**RULES, "burst": merged_burst}
LINEAR = (".hdr", ".exr")  # files of linear light: they need no tone mapping
FIXED = ("max", "min")  # trails of stars are the movement: such stacks are aligned on request only
BY_CONTENT = ("exposure", "focus")  # methods to which the same photo twice says nothing new
BLIND = 0.02, 0.98  # of white: beyond these on every few pixels a photo shows nothing
FEW = 5  # pixels each way, over which noise is averaged


def fuse(
    photos: Sequence[Source] | Source,
    output: str | Path | None = None,
    *,
    method: str = "exposure",
    align: str = "auto",
    reference: str = "",
    ghosts: str = "keep",
    contrast: float = 1.0,
    saturation: float = 1.0,
    exposedness: float = 1.0,
    sigmas: float = 3.0,
    response: str = "debevec",
    tone_map: str = "auto",
    weights: str | Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    max_memory: int | None = None,
    observe: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Fused:
    """Fuse photographs of one view into one photograph.

    Parameters
    ----------
    photos : paths, folders, glob patterns, or arrays (H, W[, C]) in RGB
        Two or more. Damaged ones are set aside and named, of exposures and focus stacks also black and white
        ones.
    output : path or None
        Where to write; None keeps the picture in memory. Type, size and metadata are the reference's.
    method : str
        "exposure": bracketed exposures, of each what it shows well (Mertens 2007). "focus": what is sharp
        in each. "hdr": the scene's light, by exposure times from EXIF or as the photos themselves tell.
        "average": the mean in linear light, as one long exposure records it. "median": without what passes
        by. "sigma-clip": the mean without outliers. "max", "min": trails of light, of shade.
        "burst": the reference without its noise, by a recurrent network that leaves out what moved (extra
        `onnx` or `learn`).
    align : "auto", "none", "translation", "similarity" or "homography"
        How photos taken by hand are laid on the reference. "auto": by homographies, focus stacks by
        similarities (lenses breathe), and max and min not at all; photos within 0.4 pixels stay as they
        are. With another choice than "none" sizes may differ.
    reference : str
        Name or stem of the photo that stays in place. "" chooses: of exposures the one that shows most,
        of a focus stack the middle, else the first.
    ghosts : "keep" or "remove"
        Exposures and HDR only: whether things that moved are taken from the reference alone.
    contrast, saturation, exposedness : float
        Exposures only: exponents of the three measures of quality; 0 leaves one out.
    sigmas : float
        Standard deviations from the median beyond which "sigma-clip" leaves a value out.
    response : "debevec", "robertson" or "srgb"
        HDR only: how the camera's response to light is recovered (Debevec and Malik 1997; Robertson et al.
        2003), or taken to be sRGB's, as it is where EXIF tells no exposure times.
    tone_map : "auto", "none", or one of `composer.fusion.tonemap.OPERATORS`
        HDR only: how light of any range is shown. "none" keeps it: float32, linear in .hdr and .exr files,
        else encoded, also beyond 1. "auto": none for .hdr and .exr, else "local-laplacian".
    weights : path or None
        Bursts only: others than the package's own, from `train_burst`.
    device : "auto" or "cpu"
        Fusing runs on the CPU.
    workers, max_memory, observe, cancelled
        As for `stitch`.

    Returns
    -------
    Fused

    Raises
    ------
    NothingToFuse
        Fewer than two photos can be read.
    PhotoError
        Sizes differ and photos are not, or cannot be, aligned.
    WeightsError
        Of "burst": neither onnxruntime nor torch is installed, or the weights cannot be used.
    OutputError, OptionError, DeviceError, Cancelled

    Examples
    --------
    >>> import composer
    >>> from composer.samples import picture
    >>> photo = picture("coffee.png")
    >>> composer.fuse([photo // 2, photo]).image.shape
    (400, 600, 3)
    """
    _check_options(method, align, ghosts, device, weights)
    _check_measures(method, (contrast, saturation, exposedness), sigmas)
    target = Path(output) if output is not None else None
    if tone_map == "auto":
        tone_map = "none" if target is not None and target.suffix.lower() in LINEAR else "local-laplacian"
    _check_hdr(method, response, tone_map)
    if method == "burst":
        load_burst(str(weights or ""))  # to fail before photos are read
    settings = Settings(
        _exponents(contrast, saturation, exposedness), ghosts, _positive("sigmas", sigmas),
        response, tone_map, str(weights or ""),
    )  # fmt: skip
    context, watch = begun(device, workers, max_memory, observe, cancelled)
    with one_thread_each():
        found = read_photos(photos, context, repeats=method not in BY_CONTENT)
        if target is not None:
            check_target(target, [*(p.path for p in found.items), *(u.photo for u in found.unused)])
        found, context = _decoded(found, context, method)
        stack, notes = _laid(found.items, method, align, reference, context)
        started = time.perf_counter()
        pixels = METHODS[method](stack, settings, context)
        context.observe(Event(method, 1.0, time.perf_counter() - started))
        alpha = _alpha(stack, context)
        if target is not None:
            notes = (*notes, *_written(target, pixels, alpha, stack, context))
        elif alpha is not None:
            pixels = np.concatenate([pixels, alpha[:, :, None]], 2)
    return Fused(
        method=method,
        photos=tuple(p.name for p in stack.photos),
        reference=stack.frame.name,
        moved_px=tuple(0.0 if m is None else farthest(m, stack.shape[1::-1]) for m in stack.matrices),
        unused=found.unused,
        output=target,
        pixels=pixels if target is None else None,
        notes=notes,
        stages=tuple(watch.stages.items()),
        peak_mb=peak_mb(),
    )


def _check_options(method: str, align: str, ghosts: str, device: str, weights: str | Path | None) -> None:
    choices = {
        "method": (method, tuple(METHODS)),
        "align": (align, ("auto", "none", *MODELS)),
        "ghosts": (ghosts, ("keep", "remove")),
        "device": (device, ("auto", "cpu")),
    }
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise OptionError(f'{name} is "{value}"; give one of {", ".join(allowed)}')
    if weights is not None and method != "burst":
        raise OptionError(f"weights are for burst, not for {method}")
    if ghosts == "remove" and method not in ("exposure", "hdr"):
        raise OptionError(f"ghosts=remove is for exposures, not for {method}; median removes what moves")


def _check_measures(method: str, exponents: tuple[float, float, float], sigmas: float) -> None:
    if method != "exposure" and Exponents(*exponents) != Exponents():
        raise OptionError(f"contrast, saturation and exposedness are for exposure, not for {method}")
    if method != "sigma-clip" and sigmas != Settings.sigmas:
        raise OptionError(f"sigmas is for sigma-clip, not for {method}")


def _check_hdr(method: str, response: str, tone_map: str) -> None:
    choices = {"response": (response, RESPONSES), "tone_map": (tone_map, ("auto", "none", *OPERATORS))}
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise OptionError(f'{name} is "{value}"; give one of {", ".join(allowed)}')
    if method != "hdr" and (response, tone_map) not in (("debevec", "local-laplacian"), ("debevec", "none")):
        raise OptionError(f"response and tone_map are for hdr, not for {method}")


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise OptionError(f"{name} is {value}; give more than 0")
    return value


def _exponents(contrast: float, saturation: float, exposedness: float) -> Exponents:
    for name, value in (("contrast", contrast), ("saturation", saturation), ("exposedness", exposedness)):
        if not 0 <= value < np.inf:
            raise OptionError(f"{name} is {value}; give 0 or more")
    return Exponents(contrast, saturation, exposedness)


def _decoded(found: Photos, context: Context, method: str) -> tuple[Photos, Context]:
    """Set aside photos whose pixels are damaged; the context returned has the store of the others.

    Exposures and focus stacks do without photos that are black or white all over: they cannot be aligned,
    nor does anything tell how they were exposed. Where a method takes photos one after another, and they do
    not all fit into memory, none is kept: decoding twice is cheaper than scratch files.
    """
    started = time.perf_counter()
    share = context.max_memory // PHOTO_SHARE
    store = PhotoStore.for_photos(found.items, share)
    context = replace(context, photos=store)
    size = sum(p.width * p.height * (p.channels + p.alpha) * np.dtype(p.dtype).itemsize for p in found.items)
    passing = (method in FIXED or method == "average") and size > share
    seeing = method in (*BY_CONTENT, "hdr")
    store.whole = not passing

    def check(photo: Photo) -> str:
        try:
            store.pixels(photo)
        except PhotoError as error:
            return str(error).removeprefix(f"{photo.name}: ")
        if passing:
            store.forget(photo)
        return _blind(photo, context) if seeing else ""

    reasons = over(context, "read", check, found.items)
    context.observe(Event("read", 1.0, time.perf_counter() - started))
    damaged = tuple(Unused(p.name, why) for p, why in zip(found.items, reasons, strict=True) if why)
    items = tuple(p for p, why in zip(found.items, reasons, strict=True) if not why)
    unused = (*found.unused, *damaged)
    if len(items) < 2:
        left = f"; set aside: {unused[0].photo}: {unused[0].reason}" if unused else ""
        raise NothingToFuse(f"{len(items)} photo to fuse; give two or more of the same view{left}")
    return Photos(items, unused), context


def _blind(photo: Photo, context: Context) -> str:
    """Return why a photo shows nothing; "" where it shows something, or cannot clip."""
    if photo.dtype == "float32":
        return ""
    seen = cv2.blur(small_grey(photo, context), (FEW, FEW))
    if seen.max() < BLIND[0]:
        return "it is black all over; it shows nothing"
    return "it is white all over; it shows nothing" if seen.min() > BLIND[1] else ""


def _laid(
    photos: tuple[Photo, ...], method: str, align: str, reference: str, context: Context
) -> tuple[Stack, tuple[str, ...]]:
    """Choose the reference and lay the photos on it."""
    chosen = _reference(photos, method, reference, context)
    if align == "auto":
        align = "none" if method in FIXED else "similarity" if method == "focus" else "homography"
    if align != "none":
        return aligned(photos, chosen, align, context)
    check_sizes(photos, chosen)
    return Stack(photos, (None,) * len(photos), chosen), ()


def _reference(photos: tuple[Photo, ...], method: str, wanted: str, context: Context) -> int:
    if wanted:
        try:
            return naming(p.name for p in photos)(wanted)
        except LookupError as error:
            raise OptionError(f"reference: {error.args[0]}") from None
    if method in ("exposure", "hdr"):
        return best_exposed(photos, context)
    return len(photos) // 2 if method == "focus" else 0


def _alpha(stack: Stack, context: Context) -> Array | None:
    """Return the result's alpha plane where the reference has one."""
    if not stack.frame.alpha:
        return None
    alpha = np.empty(stack.shape[:2], stack.frame.dtype)
    for rect in blocks(stack.shape, 256, stack.shape[1]):
        alpha[rect.y0 : rect.y1] = alpha_of(stack, rect, context)
    return alpha


def _written(target: Path, pixels: Array, alpha: Array | None, stack: Stack, context: Context) -> list[str]:
    """Write a result with the reference's metadata; returns what the format could not keep."""
    started = time.perf_counter()
    profile = store_of(context).profile or icc_profile(stack.frame)
    lost = write_picture(
        target, pixels, alpha, Picture(stack.frame, pixels, profile=profile), context.workers
    )
    context.observe(Event("write", 1.0, time.perf_counter() - started))
    return lost
