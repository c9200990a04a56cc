"""`train`: the learned stages, on photographs of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from composer.api.jobs import begun, one_thread_each
from composer.errors import OptionError, PhotoError, TrainingError
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
    device: str = "auto",
    workers: int | None = None,
    observe: Callable[[Event], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
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
    device : "auto", "cpu" or "cuda"
    workers : int or None
        Threads of torch.

    Returns
    -------
    What was found on the held-out photographs, by name: decibels gained in the seam band, and more.

    Raises
    ------
    TrainingError
        torch is missing, there are too few photographs, or a run does not fit its options.
    OptionError, PhotoError, OutputError, WeightsError, Cancelled
    """
    try:
        from composer.learn import training
    except ImportError:
        raise TrainingError("training needs torch; run pip install 'composer-cv[learn]'") from None
    if size % 16 or size < 64 or batch < 1 or minutes <= 0 or width < 8:
        raise OptionError("size must be a multiple of 16 from 64 on, batch 1, width 8, minutes above 0")
    context, _ = begun(device, workers, None, observe, cancelled)
    recipe = training.Recipe(minutes=minutes, steps=steps, batch=batch, size=size, width=width, seed=seed)
    with one_thread_each():
        photos = [reduced_photo(p) for p in expand([data] if isinstance(data, (str, Path)) else data)]
        usable = [p for p in photos if p is not None and min(p.shape[:2]) >= 2 * size]
        return training.train_refiner(
            training.Split.of(usable), Path(out), recipe, resume=resume, device=context.device,
            threads=context.workers, observe=context.observe, cancelled=context.cancelled,
        )  # fmt: skip


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
