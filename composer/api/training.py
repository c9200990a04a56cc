"""`train`: the learned stages, on photographs of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from composer.api.jobs import begun, one_thread_each
from composer.errors import OptionError, PhotoError, TrainingError
from composer.learn.photographs import Split
from composer.media.inputs import expand
from composer.media.picture import as_float, read_picture
from composer.records import Event

__all__ = ["reduced_photo", "train_refiner"]

LONGEST = 1536  # pixels: larger photographs are reduced, noise and all


def train_refiner(
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    minutes: float = 20.0,
    steps: int = 0,
    batch: int = 8,
    size: int = 128,
    width: int = 48,
    seed: int = 0,
    resume: bool = False,
    overfit: bool = False,
    tensorboard: bool = False,
    device: str = "auto",
    workers: int | None = None,
    observe: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    stopped: Callable[[], bool] | None = None,
) -> dict[str, float]:
    """Train the refiner on photographs; every sixth is held out, to say what was gained.

    Parameters
    ----------
    data : folder, pattern, or several photographs
        Any photographs: composites with faults are made from them as it goes.
    out : path
        A folder for refiner.safetensors, refiner.onnx, card.md, grid.png, log.jsonl and the checkpoint.
    minutes : float
        How long, all sessions together.
    steps : int
        So many steps instead, if not 0.
    batch, size, width, seed : int
        See `composer.learn.training.Recipe`.
    resume : bool
        Go on with the run in `out`.
    overfit : bool
        Only learn one small batch by heart, in less than half a minute, to see that learning works.
    tensorboard : bool
        Write losses for TensorBoard too, which must be installed.
    device : "auto", "cpu" or "cuda"
    workers : int or None
        Threads of torch.
    stopped : callable
        Asked between steps; True ends the session in order: the run is saved, and nothing is returned.

    Returns
    -------
    What was found on the held-out photographs, by name: decibels gained in the seam band, and more. With
    `overfit`: the loss of the first and of the last steps, and the share that is left of it.

    Raises
    ------
    TrainingError
        torch is not installed, too few photographs, or a run does not fit its options.
    OptionError, PhotoError, OutputError, WeightsError, Cancelled
    """
    try:
        from composer.learn import loop, training
    except ImportError:
        raise TrainingError("training needs torch; run pip install 'composer-cv[learn]'") from None
    if size % 16 or size < 64 or batch < 1 or minutes <= 0 or width < 8:
        raise OptionError("size must be a multiple of 16 from 64 on, batch 1, width 8, minutes above 0")
    context, _ = begun(device, workers, None, observe, cancelled)
    recipe = training.Recipe(minutes=minutes, steps=steps, batch=batch, size=size, width=width, seed=seed)
    if overfit:
        recipe = replace(recipe, batch=2, size=64, steps=steps or 250, adversary=0, drop_other=0, drop_seam=0)
    session = loop.Session(
        Path(out), resume, context.device, context.workers, overfit=overfit, tensorboard=tensorboard,
        observe=context.observe, cancelled=context.cancelled, stopped=stopped or (lambda: False),
    )  # fmt: skip
    with one_thread_each():
        return loop.train(training.Refinement(recipe, _photographs(data, 2 * size)), session)


def _photographs(data: str | Path | Sequence[str | Path], least: int) -> Split:
    """Read photographs whose shorter side has at least so many pixels.

    Raises
    ------
    TrainingError
    """
    photos = [reduced_photo(p) for p in expand([data] if isinstance(data, (str, Path)) else data)]
    usable = [p for p in photos if p is not None and min(p.shape[:2]) >= least]
    if len(usable) < min(len(photos), 6):
        raise TrainingError(
            f"{len(usable)} of {len(photos)} photographs have {least} pixels across and down; "
            "give at least 6, or a smaller size"
        )
    return Split.of(usable)


def reduced_photo(source: str | Path | np.ndarray) -> np.ndarray | None:
    """Return a photograph (H, W, 3) uint8 of moderate size; None where it cannot be read."""
    try:
        pixels = as_float(read_picture(source, "photo").pixels)
    except PhotoError:
        return None
    scale = min(1.0, LONGEST / max(pixels.shape))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    colours = np.broadcast_to(small.reshape(*small.shape[:2], -1), (*small.shape[:2], 3))
    return (np.clip(np.nan_to_num(colours), 0, 1) * 255 + 0.5).astype(np.uint8)
