"""`evaluate`: how good results are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.batch.summary import check_report
from composer.errors import Cancelled, OptionError, WeightsError
from composer.learn.published import LITE0, ST_LPIPS, absent
from composer.media.inputs import expand
from composer.media.picture import Picture, as_float, read_mask, read_picture
from composer.quality.metrics import compared
from composer.quality.niqe import niqe
from composer.quality.seams import outline_distance, seam_visibility
from composer.quality.sets import compared_sets
from composer.records import Event
from composer.report import Judged, as_shown, write_figures
from composer.results import Evaluation

Array = NDArray[Any]
Source = str | Path | Array

__all__ = ["FIGURES", "evaluate"]

AGAINST = ("psnr_db", "ssim", "ms_ssim", "delta_e", "gradient_error", "st_lpips")  # a reference
FIGURES = (*AGAINST, "seam_visibility", "niqe")
TOGETHER = 16  # pictures that features are taken of at once
SHOWN = 100  # results that a page shows


@dataclass(frozen=True)
class _Case:
    """A result and what it is measured by: pixels (H, W, C) float32, masks (H, W) bool."""

    name: str
    picture: Picture
    pixels: Array
    reference: Array | None
    mask: Array | None
    where: Array


def evaluate(
    results: Sequence[Source] | Source,
    *,
    reference: Sequence[Source] | Source | None = None,
    mask: Sequence[Source] | Source | None = None,
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
        (grey levels) and `st_lpips` against the reference; `seam_visibility` of the mask's outline; `niqe`
        of the whole picture. `sets` has `kid`, `kid_error`, `precision`, `recall`, `density`, `coverage`.

    Raises
    ------
    OptionError
        A figure that is none or lacks what it is measured by, sizes that differ, an empty mask, no reference
        of a stem, too few pictures for sets.
    WeightsError
        What was asked for needs the extra `metrics`.
    PhotoError, OutputError, Cancelled
    """
    if report is not None:
        check_report(Path(report))
    watch = _Watch(observe or (lambda event: None), cancelled or (lambda: False))
    sources = _expanded(results)
    if sets:
        if figures or report is not None or mask is not None:
            raise OptionError("sets are compared whole; leave out mask, figures and report")
        return _as_sets(sources, reference, watch)
    wanted = _wanted(figures, reference is not None, mask is not None)
    problem = absent(ST_LPIPS) if "st_lpips" in wanted else ""
    notes = [f"st_lpips is left out: {problem}"] if problem else []
    if problem and figures:
        raise WeightsError(f"st_lpips: {problem}")
    found: dict[str, dict[str, float]] = {}
    judged = []
    for k, case in enumerate(_cases(sources, reference, mask)):
        found[case.name] = _measured(case, wanted if not problem else wanted - {"st_lpips"}, notes)
        if report is not None and k < SHOWN:
            judged.append(_judged(case, found[case.name]))
        watch.passed(k + 1, len(sources))
    if report is not None:
        write_figures(Path(report), judged, found, notes)
    return Evaluation(found, notes=tuple(notes), report=None if report is None else Path(report))


@dataclass(frozen=True)
class _Watch:
    observe: Callable[[Event], None]
    cancelled: Callable[[], bool]

    def passed(self, done: int, count: int) -> None:
        """Tell how far the job is, or stop it."""
        if self.cancelled():
            raise Cancelled("stopped on request; nothing was written")
        self.observe(Event("evaluate", done / count, message=f"{done} of {count}"))


def _wanted(figures: Sequence[str], reference: bool, mask: bool) -> set[str]:
    """Return the figures to measure."""
    unknown = [name for name in figures if name not in FIGURES]
    if unknown:
        raise OptionError(f"{unknown[0]} is no figure; choose among {', '.join(FIGURES)}")
    lacking = {name: "a reference" for name in AGAINST if not reference}
    lacking |= {} if mask else {"seam_visibility": "a mask whose outline is the seam"}
    for name in figures:
        if name in lacking:
            raise OptionError(f"{name} is measured by {lacking[name]}; give one")
    return set(figures or FIGURES) - set(lacking)


def _expanded(sources: Sequence[Source] | Source) -> list[Path | Array]:
    return expand([sources] if isinstance(sources, (str, Path, np.ndarray)) else sources)


def _cases(
    results: list[Path | Array], reference: Sequence[Source] | Source | None,
    mask: Sequence[Source] | Source | None,
) -> Iterator[_Case]:  # fmt: skip
    """Yield each result with its reference and mask."""
    references = _paired(results, reference, "reference")
    masks = _paired(results, mask, "mask")
    for k, (source, truth, white) in enumerate(zip(results, references, masks, strict=True), 1):
        name = str(source) if isinstance(source, Path) else f"result {k}"
        picture = read_picture(source, name)
        pixels, where = _pixels(picture)
        truth_pixels = None
        if truth is not None:
            truth_pixels, seen = _pixels(read_picture(truth, f"reference {k}", like=picture))
            _check(name, pixels.shape, "reference", truth_pixels.shape)
            where = where & seen
        inside = None if white is None else read_mask(white) > 0.5
        if inside is not None:
            _check(name, pixels.shape, "mask", inside.shape)
            where = where & inside
        if not where.any():
            raise OptionError(f"{name}: the mask is empty where pictures are; paint white where to measure")
        yield _Case(name, picture, pixels, truth_pixels, inside, where)


def _paired(
    results: list[Path | Array], given: Sequence[Source] | Source | None, what: str
) -> list[Path | Array | None]:
    """Return what belongs to each result: one for all, by place, or by stem."""
    if given is None:
        return [None] * len(results)
    folder = isinstance(given, (str, Path)) and Path(given).is_dir()
    many = _expanded(given)
    if len(many) == 1 and not folder:
        return [many[0]] * len(results)
    if not all(isinstance(source, Path) for source in [*many, *results]):
        if len(many) != len(results):
            raise OptionError(f"{len(many)} {what}s for {len(results)} results; give one of each, or one")
        return [*many]
    found: list[Path | Array | None] = []
    for result in results:
        same = [p for p in many if p.stem == result.stem]  # type: ignore[union-attr]
        if len(same) != 1:
            raise OptionError(f"{result}: {len(same)} {what}s are called {result.stem}; keep one")  # type: ignore[union-attr]
        found.append(same[0])
    return found


def _check(name: str, shape: tuple[int, ...], what: str, other: tuple[int, ...]) -> None:
    size = len(other)
    if shape[:size] != other:
        raise OptionError(f"{name} is {shape[:size]}, the {what} {other}: they must match")


def _pixels(picture: Picture) -> tuple[Array, Array]:
    """Return a picture's pixels as float32, 0 where there are none, and where there are."""
    pixels = as_float(picture.pixels)
    valid = np.asarray(np.isfinite(pixels).all(2))
    if picture.alpha is not None:
        valid &= as_float(picture.alpha) > 0.5
    return np.where(valid[:, :, None], pixels, np.float32(0)), valid


def _measured(case: _Case, wanted: set[str], notes: list[str]) -> dict[str, float]:
    """Return a result's figures by name; what cannot be had is noted."""
    found: dict[str, float | None] = {}
    if case.reference is not None and wanted & set(AGAINST[:-1]):
        found |= compared(case.pixels, case.reference, case.where)
    if case.reference is not None and "st_lpips" in wanted:
        found["st_lpips"] = _perceived(case.pixels, case.reference, case.where)
    if case.mask is not None and "seam_visibility" in wanted:
        found["seam_visibility"] = seam_visibility(case.pixels, outline_distance(case.mask))
    if "niqe" in wanted:
        found["niqe"] = niqe(case.pixels, _pixels(case.picture)[1])
    for name, least in (("st_lpips", "24 pixels each way"), ("niqe", "two blocks of 96 x 96 pixels")):
        if name in found and found[name] is None:
            notes.append(f"{case.name}: {name} is left out; it needs {least}")
    return {name: value for name, value in found.items() if name in wanted and value is not None}


def _perceived(picture: Array, reference: Array, where: Array) -> float | None:
    from composer.learn.perceptual import LEAST, st_lpips

    if min(picture.shape[:2]) < LEAST:
        return None
    shape = (*picture.shape[:2], 3)
    return st_lpips(np.broadcast_to(picture, shape), np.broadcast_to(reference, shape), where)


def _judged(case: _Case, figures: dict[str, float]) -> Judged:
    """Return what a page shows of a result."""
    return Judged(case.name, figures, as_shown(case.pixels, case.reference, case.mask), case.picture.profile)


def _as_sets(
    results: list[Path | Array], reference: Sequence[Source] | Source | None, watch: _Watch
) -> Evaluation:
    if reference is None:
        raise OptionError("sets are compared with a reference; give a folder of pictures")
    problem = absent(LITE0)
    if problem:
        raise WeightsError(f"sets: {problem}")
    wanted = _expanded(reference)
    both = [*results, *wanted]
    features = np.concatenate(list(_features(both, watch)))
    notes = []
    fewer = min(len(results), len(wanted))
    if fewer < 50:
        notes.append(f"a set has {fewer} pictures only: the figures of sets below 50 scatter much")
    return Evaluation(
        {}, sets=compared_sets(features[: len(results)], features[len(results) :]), notes=tuple(notes)
    )


def _features(sources: list[Path | Array], watch: _Watch) -> Iterator[Array]:
    """Yield the features of pictures, some at a time."""
    from composer.learn.features import network_input, picture_features

    for start in range(0, len(sources), TOGETHER):
        some = sources[start : start + TOGETHER]
        pictures = (_pixels(read_picture(s, f"picture {start + k + 1}"))[0] for k, s in enumerate(some))
        yield picture_features(np.stack([network_input(p) for p in pictures]))
        watch.passed(min(start + TOGETHER, len(sources)), len(sources))
