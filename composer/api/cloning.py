"""`clone`: a part of one picture put into another."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.api.jobs import begun, one_thread_each
from composer.api.placing import Placed, place
from composer.backend.channels import finite_pixels
from composer.backend.memory import peak_mb
from composer.blend.pasting import paste_alpha, paste_feathered, paste_multiband
from composer.errors import OptionError
from composer.media.masks import TOP
from composer.media.picture import Picture, as_float, check_target, read_picture, write_picture
from composer.poisson.editing import DEFAULTS, MODES, Options, check_numbers, poisson, seamless
from composer.records import Event
from composer.results import Cloned

Array = NDArray[Any]
Source = str | Path | Array

__all__ = ["CLONE_MODES", "clone"]

PASTED = "multiband", "feather", "alpha"
JOINED = "normal", *PASTED  # whose border the refiner can mend
ALONE = "flatten", "illumination", "color"  # work on one photo if no target is given
CLONE_MODES = (*MODES, "tile", *PASTED)
RADIUS = 32
OF = {"factors": ("color",), "low, high": ("flatten",), "strength, exponent": ("illumination",),
      "radius": ("multiband", "feather")}  # fmt: skip
NOTHING = "nothing was cloned: the mask selects nothing inside the target"


def clone(
    source: Source,
    target: Source | None = None,
    mask: Source | None = None,
    *,
    output: str | Path | None = None,
    offset: tuple[int, int] | None = None,
    mode: str = "normal",
    factors: tuple[float, float, float] = (1.0, 1.0, 1.0),
    low: float = 30.0,
    high: float = 45.0,
    strength: float = 0.2,
    exponent: float = 0.2,
    radius: int = RADIUS,
    refine: bool = False,
    workers: int | None = None,
    max_memory: int | None = None,
    observe: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Cloned:
    """Put the masked part of a source picture into a target so that no border shows.

    Pixels outside the mask stay the target's, bit for bit. In the Poisson modes pixels beside the mask are
    kept to; where the mask touches the target's edge the result follows the source's gradients there
    (Neumann). A part of the mask that nothing bounds keeps the target's mean. An empty mask changes nothing,
    and a note says so.

    Parameters
    ----------
    source, target : path, or array (H, W[, C]), uint8, uint16 or float32, alpha last
        The result has the target's type and size. "flatten", "illumination" and "color" change the source
        itself where no target is given; "tile" takes no target. Where the source's alpha is one half or less
        nothing is cloned.
    mask : path, array of the source's size, or None
        White means clone; above one half counts, except for "alpha", which takes it as it is. None: the
        source's alpha.
    output : path or None
        Where to write; None keeps the result in memory.
    offset : (x, y) or None
        Where the source's top left corner lies in the target, in pixels. What reaches beyond the target is
        cut. None: both have the same size.
    mode : str
        "normal"; "mixed" (the stronger of both pictures' gradients); "monochrome" (the source's grey
        gradients); "flatten" (only edges stay); "illumination" (strong gradients weakened, weak ones
        amplified); "color" (the source's channels times `factors`); "tile" (opposite edges meet); all after
        Pérez et al., 2003. "multiband", "feather" and "alpha" (in linear light) solve nothing.
    factors : (R, G, B)
    low, high : float
        Thresholds for edges in "flatten", in grey levels of 255 (Canny).
    strength, exponent : float
        Of "illumination": gradients are multiplied by (strength * mean / gradient) ^ exponent.
    radius : int
        Pixels inside the mask over which "feather" and "multiband" pass from target to source.
    refine : bool
        Mend the border by the learned refiner (see `composer.refine`), where source and target show the same
        scene, a little displaced or in other light; up to 24 pixels outside the mask change then. For
        "normal", "multiband", "feather" and "alpha".
    workers, max_memory, observe, cancelled
        As for `stitch`.

    Returns
    -------
    Cloned

    Raises
    ------
    PhotoError
        A picture cannot be read, or is not a number inside the mask.
    OptionError
        Sizes do not match, or an option makes no sense or is for another mode.
    SolverError
        The solver did not reach its accuracy; `residual` says how far it came, in grey levels.
    WeightsError
        Of `refine`: neither onnxruntime nor torch is installed.
    OutputError, Cancelled
    """
    _check_options(mode, target, mask, offset)
    options = Options(factors, low, high, strength, exponent)
    _check_choices(mode, target, options, radius)
    if refine and mode not in JOINED:
        raise OptionError(f'refine is for modes {", ".join(JOINED)}, not "{mode}"; leave it out')
    if refine:
        from composer.learn.runtime import load_refiner

        load_refiner()  # what it lacks is said before any work
    context, watch = begun("cpu", workers, max_memory, observe, cancelled)
    options = replace(options, workers=context.workers)
    with one_thread_each():
        start = time.perf_counter()
        below = read_picture(source if target is None else target, "target", context.max_memory)
        above = below if target is None else read_picture(source, "source", context.max_memory, below)
        if output is not None:
            check_target(Path(output), (source, target, mask))
        if mask is None and mode != "tile":
            mask = _opaque(above)
        start = _told(context.observe, "read", start)
        if mask is None:
            result = _tiled(below, options)
        else:
            placed = place(above, below, mask, offset, soft=mode == "alpha")
            result = _Result(below.pixels, below.alpha, notes=(NOTHING,))
            if placed is not None:
                result = _cloned(placed, below, mode, options, radius)
                if placed.beyond:
                    cut = f"{placed.beyond:.1%} of what the mask selects lies outside the target: not cloned"
                    result = replace(result, notes=(*result.notes, cut))
        start = _told(context.observe, "clone", start)
        if refine and mask is not None:
            from composer.api.joining import AROUND, joined

            wide = place(above, below, mask, offset, soft=mode == "alpha", around=AROUND)
            if wide is not None:
                seam = radius / 2 if mode == "multiband" else 0.0  # where target and source weigh the same
                made = Picture(below.photo, result.pixels, result.alpha)
                pixels, why = joined(made, wide, seam, mode == "normal", context)
                result = replace(result, pixels=pixels, notes=(*result.notes, *why))
            start = _told(context.observe, "refine", start)
        notes, file = result.notes, None if output is None else Path(output)
        if file is not None:
            notes = (*notes, *write_picture(file, result.pixels, result.alpha, below, context.workers))
            _told(context.observe, "write", start)
    kept = None if file is not None else _as_given(result, source if target is None else target)
    return Cloned(
        mode=mode, residual=result.residual, output=file, pixels=kept, notes=notes,
        stages=tuple(watch.stages.items()), peak_mb=peak_mb(),
    )  # fmt: skip


@dataclass(frozen=True)
class _Result:
    pixels: Array
    alpha: Array | None
    residual: float | None = None
    notes: tuple[str, ...] = ()


def _opaque(above: Picture) -> Array:
    """Return the mask that a cut-out is by itself: all of it, since alpha always limits what is cloned.

    Raises
    ------
    OptionError
        The source has no alpha.
    """
    if above.alpha is None:
        raise OptionError("there is no mask; give one of the source's size, white where it is to be cloned")
    return np.ones(above.alpha.shape, bool)


def _told(observe: Callable[[Event], None], stage: str, start: float) -> float:
    """Tell that a stage has ended; return the time."""
    now = time.perf_counter()
    observe(Event(stage, 1.0, now - start))
    return now


def _tiled(below: Picture, options: Options) -> _Result:
    """Make opposite edges meet."""
    around, inside = seamless(below.pixels)
    found = poisson(below.pixels, around, inside, options=options)
    return _Result(found.pixels, below.alpha, found.residual)


def _cloned(placed: Placed, below: Picture, mode: str, options: Options, radius: int) -> _Result:
    """Make the window's pixels and put them into the target."""
    x0, y0, x1, y1 = placed.rect
    pixels, alpha = below.pixels.copy(), None if below.alpha is None else below.alpha.copy()
    residual = None
    opacity = np.ones(placed.cover.shape, np.float32) if alpha is None else as_float(alpha[y0:y1, x0:x1])
    if mode == "mixed":
        check_numbers(placed.cover & (opacity > 0), finite_pixels(placed.target), "target", (x0, y0))
    if mode in MODES:
        found = poisson(
            placed.source, placed.target, placed.cover, mode, options=options, valid=placed.valid,
            known=None if alpha is None else opacity > 0,
        )  # fmt: skip
        made, residual = found.pixels, found.residual
        opacity = np.where(placed.cover, np.float32(1), opacity)
    else:
        made, opacity = _pasted(placed, opacity, mode, radius)
    pixels[y0:y1, x0:x1] = made
    if alpha is not None:
        changed = placed.cover > 0
        alpha[y0:y1, x0:x1][changed] = _stored(opacity, below.photo.dtype)[changed]
    return _Result(pixels, alpha, residual)


def _pasted(placed: Placed, opacity: Array, mode: str, radius: int) -> tuple[Array, Array]:
    """Return the window's pixels and alpha by a mode that solves nothing."""
    changed = placed.cover > 0
    unit = np.float32(1 / TOP[placed.target.dtype.name])
    target = placed.target * unit
    source = np.where(placed.valid[:, :, None], placed.source * unit, target)
    if mode != "alpha":  # which weighs the target by its opacity
        target = np.where((opacity > 0)[:, :, None], target, source)
    if mode == "alpha":
        found, opacity = paste_alpha(source, target, placed.cover, opacity)
    else:
        paste = paste_feathered if mode == "feather" else paste_multiband
        found = paste(source, target, placed.cover, radius)
        opacity = np.where(placed.cover, np.float32(1), opacity)
    return np.where(changed[:, :, None], _stored(found, placed.target.dtype.name), placed.target), opacity


def _stored(values: Array, dtype: str) -> Array:
    """Return float32 0..1 in another type, rounded and clipped; floats as they are."""
    if dtype == "float32":
        return values.astype(np.float32)
    return np.clip(np.rint(values * np.float32(TOP[dtype])), 0, TOP[dtype]).astype(dtype)


def _as_given(result: _Result, given: Source) -> Array:
    """Return the picture with its alpha, of as many axes as the target that was given."""
    pixels = result.pixels
    if result.alpha is not None:
        pixels = np.concatenate([pixels, result.alpha[:, :, None]], 2)
    return pixels[:, :, 0] if isinstance(given, np.ndarray) and given.ndim == 2 else pixels


def _check_options(
    mode: str, target: Source | None, mask: Source | None, offset: tuple[int, int] | None
) -> None:
    if mode not in CLONE_MODES:
        raise OptionError(f'mode is "{mode}"; give one of {", ".join(CLONE_MODES)}')
    if mode == "tile" and (target is not None or mask is not None or offset is not None):
        raise OptionError(
            'mode "tile" makes one picture\'s opposite edges meet: give no target, mask or offset'
        )
    if mode not in ("tile", *ALONE) and target is None:
        raise OptionError(f'mode "{mode}" needs a target, the picture to clone into')


def _check_choices(mode: str, target: Source | None, chosen: Options, radius: int) -> None:
    """Check what only some modes take, in the order of `OF`."""
    changed = (
        chosen.factors != DEFAULTS.factors,
        (chosen.low, chosen.high) != (DEFAULTS.low, DEFAULTS.high),
        (chosen.strength, chosen.exponent) != (DEFAULTS.strength, DEFAULTS.exponent),
        radius != RADIUS,
    )
    for (names, modes), given in zip(OF.items(), changed, strict=True):
        if given and mode not in modes:
            raise OptionError(
                f'{names}: only for mode {" and ".join(modes)}, not "{mode}"; leave out what it does not take'
            )
    if len(chosen.factors) != 3 or not all(math.isfinite(k) for k in chosen.factors):
        raise OptionError(f"factors are {chosen.factors}; give three numbers")
    if mode == "color" and target is None and not changed[0]:
        raise OptionError(
            'mode "color" changes nothing by factors 1, 1, 1; give others, such as 1.5, 0.5, 0.5'
        )
    if not 0 <= chosen.low <= chosen.high < math.inf:
        raise OptionError(f"low is {chosen.low}, high {chosen.high}; give 0 or more, and low not above high")
    if not 0 < chosen.strength < math.inf:
        raise OptionError(f"strength is {chosen.strength}; give more than 0")
    if not 0 <= chosen.exponent <= 1:
        raise OptionError(f"exponent is {chosen.exponent}; give 0 to 1")
    if radius < 1:
        raise OptionError(f"radius is {radius}; give 1 or more pixels")
