"""What is to be mended: holes that a person points at, or the faults that are found."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.media.picture import as_float
from composer.mending.drawings import is_drawn, is_sudden
from composer.mending.faults import find_faults, without_specks
from composer.mending.gaps import clear_holes
from composer.mending.holes import Hole, find_holes, grown
from composer.mending.regions import covered, regions
from composer.mending.restoring import RESTORERS, Setting
from composer.mending.scans import LAID_OVER
from composer.records import Fault, Rect

Array = NDArray[Any]

__all__ = ["DOUBLE", "SPECKS", "Marked", "find_marked", "mark_lost", "operated", "point_at"]

SPECKS = ("impulse", "pixel", "line")  # a pixel wide: a plate each, solved for together
SALT = ("impulse",)  # as sudden as what is drawn
CUT_OUT = ("hole", *LAID_OVER)  # what a mask would mark
DOUBLE = "ghost"  # cut out where another photo shows what is there; made up it is not
DOUBLE_RIM = 32  # px around it that a donor shows better, too: where it ends is seen to a window only
RIM = 1  # px by which what is laid over shines into its surroundings
LOST = "lost blocks"
DRAWN = "the picture looks drawn, not photographed; no faults are looked for unless their kinds are named"
TRANSPARENT = 'is transparent, and stays so unless the kind "hole" is named'
BLACK = 'is black and ends suddenly, as frames do, and stays so unless the kind "hole" is named'
LOST_WIDTH = 32  # pixels up to which a lost part is filled: two rows of blocks; more would be made up
LOST_SHARE = 0.02  # of the photo that may be filled in all


@dataclass(frozen=True)
class Marked:
    """What is to be mended.

    Attributes
    ----------
    labels : (H, W) int32
        The number of the hole that a pixel is in, 0 outside.
    holes : tuple of Hole
        Holes 1, 2, ...; all specks together are the last, where `specks` says so.
    specks : bool
    faults : tuple of Fault
    within : tuple of int
        The hole that each fault is in; 0 where it is not filled, but restored.
    mask : (H, W) bool
        Holes, and parts of the picture that are to be restored; what is wrong with the whole is not in it.
    notes : tuple of str
        Sentences on what might be a fault and was not marked, as nobody asked for it.
    """

    labels: Array = field(repr=False)
    holes: tuple[Hole, ...]
    specks: bool
    faults: tuple[Fault, ...]
    within: tuple[int, ...]
    mask: Array = field(repr=False)
    notes: tuple[str, ...] = ()


def point_at(mask: Array, painted: Array) -> Marked:
    """Mark the holes of a mask (H, W) bool: a mask's those with a pixel in `painted`, the others a box's."""
    labels, holes = find_holes(mask)
    by_mask = np.isin(np.arange(1, len(holes) + 1), labels[painted])
    kinds = ("mask" if painted_on else "box" for painted_on in by_mask)
    faults = tuple(Fault(kind, hole.rect) for kind, hole in zip(kinds, holes, strict=True))
    return Marked(labels, holes, False, faults, tuple(range(1, len(holes) + 1)), labels > 0)


def mark_lost(lost: Array) -> Marked:
    """Mark what is lost of a damaged file (H, W) bool; only what is small is to be filled."""
    labels, holes = find_holes(lost)
    known = ~lost
    small = [h.width_px <= LOST_WIDTH for h in holes]
    if (
        sum(h.area for h, s in zip(holes, small, strict=True) if s) > LOST_SHARE * lost.size
        or not known.any()
    ):
        small = [False] * len(holes)
    faults = []
    for k, hole in enumerate(holes, 1):
        x0, y0, x1, y1 = hole.rect
        faults.append(Fault(LOST, hole.rect, mask=labels[y0:y1, x0:x1] == k))
    numbers = np.cumsum(small) * small  # of the holes that are to be filled; 0 for the others
    chosen = np.concatenate([[0], numbers]).astype(np.int32)[labels]
    kept = tuple(h for h, s in zip(holes, small, strict=True) if s)
    return Marked(chosen, kept, False, tuple(faults), tuple(numbers.tolist()), lost)


def find_marked(
    pixels: Array,
    valid: Array,
    kinds: Sequence[str],
    *,
    grow: int = 0,
    setting: Setting | None = None,
    donors: bool = False,
    missing: Array | None = None,
) -> Marked:
    """Find faults and mark those that can be mended.

    Parameters
    ----------
    pixels : (H, W, C) uint8, uint16 or float32
    valid : (H, W) bool
        What is shown, and finite.
    kinds : sequence of str
        Some of `faults.KINDS`.
    grow : int
        Pixels by which what is filled is made wider on all sides.
    setting : Setting or None
    donors : bool
        Whether other photos of the scene are at hand.
    missing : (H, W) bool or None
        None where a person named the kinds: all that is not valid is a hole then. Else what is one for sure;
        what may be meant so is left: what alpha hides, drawings, bars and frames, a large part in black.
    """
    seen = as_float(pixels)
    if seen.dtype == pixels.dtype:
        seen = np.clip(np.nan_to_num(seen), 0, 1)
    notes: tuple[str, ...] = ()
    if missing is None:
        faults = find_faults(seen, valid, kinds, setting)
    else:
        faults, notes = _clear_faults(seen, valid, kinds, setting, missing)
    shape = valid.shape
    rimmed = grown(covered(_of(faults, LAID_OVER), shape), RIM)
    cut_out = (*CUT_OUT, DOUBLE) if donors else CUT_OUT
    if donors:
        rimmed |= grown(covered(_of(faults, (DOUBLE,)), shape), DOUBLE_RIM)
    wide = grown(covered(_of(faults, CUT_OUT), shape) | rimmed, grow)
    thin = grown(covered(_of(faults, SPECKS), shape), grow) & ~wide
    labels, holes = find_holes(wide)
    specks = bool(thin.any())
    if specks:
        labels[thin] = len(holes) + 1
        holes += (Hole(Rect(0, 0, shape[1], shape[0]), int(thin.sum()), 1 + 2 * grow, 1 + 2 * grow),)
    parts = covered([f for f in _of(faults, (*RESTORERS, DOUBLE)) if f.mask is not None], shape)
    within = tuple(_hole_of(f, labels) if f.kind in (*SPECKS, *cut_out) else 0 for f in faults)
    return Marked(labels, holes, specks, tuple(faults), within, parts | (labels > 0), notes)


def _clear_faults(
    seen: Array, valid: Array, kinds: Sequence[str], setting: Setting | None, missing: Array
) -> tuple[list[Fault], tuple[str, ...]]:
    """Return the faults that nobody can have meant, and a sentence on each thing that was left."""
    hole = "hole" in kinds
    found = regions("hole", missing) if hole and missing.any() else []
    if is_drawn(seen):
        return found, (DRAWN,)
    faults, notes = find_faults(seen, valid, kinds, setting), []
    if is_sudden(without_specks(seen, _of(faults, SALT))):
        return found, (DRAWN,)
    if hole and not valid.all():
        hidden = float((~valid & ~missing).mean())
        notes = [f"{_percent(hidden)} of the photo {TRANSPARENT}"] if hidden else []
    elif hole:
        black = _of(faults, ("hole",))
        found = clear_holes(black, valid.shape)
        left = covered([f for f in black if f not in found], valid.shape).mean()
        notes = [f"{_percent(left)} of the photo {BLACK}"] if left else []
    return found + [f for f in faults if f.kind != "hole"], tuple(notes)


def _percent(share: float) -> str:
    """Return a share in per cent: two digits and more, but never as 1e+02."""
    return f"{100 * share:.1f} %" if share > 0.1 else f"{100 * share:.2g} %"


def _of(faults: Sequence[Fault], kinds: Collection[str]) -> list[Fault]:
    return [f for f in faults if f.kind in kinds]


def _hole_of(fault: Fault, labels: Array) -> int:
    """Return the hole that a fault is in; of several the last, since specks give way to holes."""
    x0, y0, x1, y1 = fault.rect
    part = labels[y0:y1, x0:x1]
    return int((part if fault.mask is None else part[fault.mask]).max())


def operated(marked: Marked, names: Sequence[str]) -> tuple[Fault, ...]:
    """Return the faults with the operators that mended their holes, "" where none did."""
    by = ("", *names)
    return tuple(replace(f, operator=by[k]) for f, k in zip(marked.faults, marked.within, strict=True))
