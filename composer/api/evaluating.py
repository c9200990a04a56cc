"""`evaluate`: how good results are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.api.cases import Case, Pair, Sources, case_of, expanded, name_of, pairs, passed_over, pixels_of
from composer.errors import Cancelled, OptionError, PhotoError, WeightsError
from composer.learn.published import LITE0, ST_LPIPS, absent
from composer.media.picture import read_picture
from composer.quality.metrics import compared
from composer.quality.niqe import niqe
from composer.quality.seams import outline_distance, seam_step, seam_visibility
from composer.quality.sets import check_sizes, compared_sets
from composer.records import Event
from composer.report import Judged, as_shown, check_page, write_figures
from composer.results import Evaluation

Array = NDArray[Any]

__all__ = ["FIGURES", "evaluate"]

PLAIN = ("psnr_db", "ssim", "ms_ssim", "delta_e", "gradient_error")
NEEDED = {
    **dict.fromkeys((*PLAIN, "st_lpips"), ("reference",)),
    "seam_visibility": ("mask", "other"),
    "seam_step": ("mask",),
    "niqe": (),
}
FIGURES = tuple(NEEDED)
SMALLEST = {"st_lpips": "24 pixels each way", "niqe": "nine blocks of 96 x 96 pixels"}
TOGETHER = 16  # pictures that features are taken of at once
SHOWN = 100  # results that a page shows


def evaluate(
    results: Sources,
    *,
    reference: Sources | None = None,
    mask: Sources | None = None,
    other: Sources | None = None,
    figures: Sequence[str] = (),
    sets: bool = False,
    report: str | Path | None = None,
    observe: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Evaluation:
    """Measure results against references, or what can be told without them.

    Parameters
    ----------
    results : paths, folders, patterns, or arrays (H, W[, C])
    reference : as results, or None
        What the results should be. One serves all; of several, and of a folder, each result takes that of
        its stem (arrays: its place).
    mask : as reference
        Where to measure; its outline is taken for a seam.
    other : as reference
        What another photograph shows in the same place, of the result's size and exposure; alpha says where.
    figures : names out of FIGURES
        What to measure; all that can be, by default.
    sets : bool
        Compare results with references as sets of pictures, in no order and of any size, and nothing else.
    report : path or None
        Write a page with figures and pictures to this .html file.
    observe, cancelled
        As for `stitch`.

    Returns
    -------
    Evaluation
        `figures` has for each result: `psnr_db`, `ssim`, `ms_ssim`, `delta_e` (CIEDE2000), `gradient_error`
        (grey levels) and `st_lpips` against the reference; of the mask's outline `seam_visibility`, an
        estimate of ST-LPIPS by what `other` shows there, and `seam_step`, in standard deviations of the steps
        beside it; `niqe` of the whole picture. Results that cannot be read, or have no partner, are in
        `set_aside` with the reason, and the others measured. `sets` has `kid`, `kid_error`, `precision`,
        `recall`, `density` and `coverage`.

    Raises
    ------
    OptionError
        A figure that is none or lacks what it is measured by, too few pictures for sets; or no result can be
        measured: sizes that differ, an empty mask, no reference of its stem.
    WeightsError
        What was asked for needs the extra `metrics`.
    PhotoError, OutputError, Cancelled
    """
    if report is not None:
        check_page(Path(report))
    watch = _Watch(observe or (lambda event: None), cancelled or (lambda: False))
    sources = expanded(results)
    if not sources:
        raise OptionError("there are no results; give pictures, or a folder of them")
    if sets:
        if figures or not (report is mask is other is None):
            raise OptionError("sets are compared whole; leave out mask, other, figures and report")
        return _as_sets(sources, reference, watch, passed_over(results))
    given = {"reference": reference, "mask": mask, "other": other}
    wanted, lacking = _wanted(figures, given)
    notes = [*passed_over(results), *lacking]
    found: dict[str, dict[str, float]] = {}
    aside: dict[str, str] = {}
    judged: list[Judged] = []
    for k, pair in enumerate(pairs(sources, given)):
        case = _case(pair, aside, last=k + 1 == len(sources) and not found)
        if case is not None:
            found[case.name] = _measured(case, wanted, notes)
            if report is not None and len(judged) < SHOWN:
                judged.append(_judged(case, found[case.name]))
        watch.passed(k + 1, len(sources))
    if report is not None:
        said = [f"Set aside: {reason}" for reason in aside.values()]
        write_figures(Path(report), judged, found, [*notes, *said])
    return Evaluation(
        found, notes=tuple(notes), set_aside=aside, report=None if report is None else Path(report)
    )


@dataclass(frozen=True)
class _Watch:
    observe: Callable[[Event], None]
    cancelled: Callable[[], bool]

    def passed(self, done: int, count: int) -> None:
        """Tell how far the job is, or stop it."""
        if self.cancelled():
            raise Cancelled("stopped on request; nothing was written")
        self.observe(Event("evaluate", done / count, message=f"{done} of {count}"))


def _case(pair: Pair, aside: dict[str, str], last: bool) -> Case | None:
    """Return a result read; None, and the reason in `aside`, if it cannot be measured.

    Raises
    ------
    OptionError, PhotoError
        None could be: why the first could not.
    """
    try:
        return case_of(pair)
    except (OptionError, PhotoError) as error:
        reason = str(error)
        if last:
            first, count = next(iter(aside.values()), reason), len(aside) + 1
            every = f"none of {count} results can be measured; the first: " if aside else ""
            raise type(error)(every + first) from error
        aside[pair.name] = reason if pair.name in reason else f"{pair.name}: {reason}"
        return None


def _wanted(figures: Sequence[str], given: Mapping[str, Sources | None]) -> tuple[set[str], list[str]]:
    """Return the figures to measure, and a note of what is left out for want of a package."""
    for name in figures:
        if name not in NEEDED:
            raise OptionError(f"{name} is no figure; choose among {', '.join(FIGURES)}")
        lacking = [what for what in NEEDED[name] if given[what] is None]
        if lacking:
            raise OptionError(f"{name} is measured by {' and '.join(NEEDED[name])}; give {lacking[0]} too")
    wanted = {name for name in figures or FIGURES if all(given[what] is not None for what in NEEDED[name])}
    problem = absent(ST_LPIPS) if "st_lpips" in wanted else ""
    if problem and figures:
        raise WeightsError(f"st_lpips: {problem}")
    return (wanted - {"st_lpips"}, [f"st_lpips is left out: {problem}"]) if problem else (wanted, [])


def _measured(case: Case, wanted: set[str], notes: list[str]) -> dict[str, float]:
    """Return a result's figures by name, in the order of FIGURES; what cannot be had is noted."""
    found: dict[str, float | None] = {}
    if case.reference is not None and wanted & set(PLAIN):
        found |= compared(case.pixels, case.reference, case.where)
    if case.reference is not None and "st_lpips" in wanted:
        found["st_lpips"] = _perceived(case.pixels, case.reference, case.where)
    if case.mask is not None and wanted & {"seam_step", "seam_visibility"}:
        distance = outline_distance(case.mask)
        found["seam_step"] = seam_step(case.pixels, distance)
        if case.other is not None:
            found["seam_visibility"] = seam_visibility(case.pixels, case.other, distance, case.other_valid)
    if "niqe" in wanted:
        found["niqe"] = niqe(case.pixels, case.valid)
    for name, least in SMALLEST.items():
        if name in found and found[name] is None:
            notes.append(f"{case.name}: {name} is left out; it needs {least}")
    values = {name: found.get(name) for name in FIGURES if name in wanted}
    return {name: value for name, value in values.items() if value is not None}


def _perceived(picture: Array, reference: Array, where: Array) -> float | None:
    from composer.learn.perceptual import LEAST, st_lpips

    if min(picture.shape[:2]) < LEAST:
        return None
    shape = (*picture.shape[:2], 3)
    return st_lpips(np.broadcast_to(picture, shape), np.broadcast_to(reference, shape), where)


def _judged(case: Case, figures: dict[str, float]) -> Judged:
    """Return what a page shows of a result."""
    return Judged(case.name, figures, as_shown(case.pixels, case.reference, case.mask), case.picture.profile)


def _as_sets(
    results: list[Path | Array], reference: Sources | None, watch: _Watch, notes: list[str]
) -> Evaluation:
    if reference is None:
        raise OptionError("sets are compared with a reference; give a folder of pictures")
    problem = absent(LITE0)
    if problem:
        raise WeightsError(f"sets: {problem}")
    both = results, expanded(reference)
    check_sizes(*map(len, both))
    aside: dict[str, str] = {}
    features = [_features(some, watch, aside) for some in both]
    check_sizes(*map(len, features))
    notes = [*notes, *passed_over(reference)]
    fewer = min(map(len, features))
    if fewer < 50:
        notes.append(f"a set has {fewer} pictures only: the figures of sets below 50 scatter much")
    found = compared_sets(np.stack(features[0]), np.stack(features[1]))
    return Evaluation({}, sets=found, notes=tuple(notes), set_aside=aside)


def _features(sources: list[Path | Array], watch: _Watch, aside: dict[str, str]) -> list[Array]:
    """Return the features of a set's pictures, some at a time; those that cannot be read are in `aside`."""
    from composer.learn.features import network_input, picture_features

    found: list[Array] = []
    for start in range(0, len(sources), TOGETHER):
        inputs = []
        for place, source in enumerate(sources[start : start + TOGETHER], start):
            name = name_of(source, place)
            try:
                inputs.append(network_input(pixels_of(read_picture(source, name))[0]))
            except PhotoError as error:
                aside[name] = str(error)
        found += list(picture_features(np.stack(inputs))) if inputs else []
        watch.passed(min(start + TOGETHER, len(sources)), len(sources))
    return found
