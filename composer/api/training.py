"""`train`: the learned stages, on photographs of one's own."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from composer.api.jobs import begun, one_thread_each
from composer.errors import OptionError, PhotoError, TrainingError
from composer.learn.photographs import Split
from composer.media.inputs import expand
from composer.media.picture import as_float, read_picture
from composer.records import Context, Event

if TYPE_CHECKING:
    from composer.learn.loop import Session
    from composer.learn.pairs import Pairs

__all__ = ["MODELS", "reduced_photo", "train_burst", "train_detector", "train_refiner"]

Data = str | Path | Sequence[str | Path]
MODELS = ("residual", "pix2pix")
LONGEST = 1536  # pixels: larger photographs are reduced, noise and all


def train_refiner(
    data: Data | None,
    out: str | Path,
    *,
    model: str = "residual",
    pairs: str | Path | None = None,
    minutes: float = 20.0,
    steps: int = 0,
    batch: int | None = None,
    size: int | None = None,
    width: int | None = None,
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
        Any photographs: composites with faults are made from them as it goes. None if `pairs` is given.
    out : path
        A folder for the weights (refiner.safetensors and .onnx, or pix2pix.safetensors), card.md, grid.png,
        log.jsonl and the checkpoint.
    model : "residual" or "pix2pix"
        The refiner of this package, or pix2pix as Isola et al. published it in 2017, to compare.
    pairs : folder or None
        For pix2pix: pictures in its folders A and B, paired by name, or side by side in one file, A on the
        left; it learns to make B of A.
    minutes : float
        How long, all sessions together.
    steps : int
        So many steps instead, if not 0.
    batch, size, width : int or None
        Samples a step, their side, channels; None for the model's own. See `composer.learn.training.Recipe`
        and `composer.learn.pix2pix_training.Recipe`.
    seed : int
        For every draw.
    resume : bool
        Go on with the run in `out`.
    overfit : bool
        Only learn one small batch by heart, in less than half a minute, to see that learning works.
    tensorboard : bool
        Write losses for TensorBoard too, which must be installed.
    device : "auto", "cpu" or "cuda"
        "auto": a GPU where PyTorch finds one.
    workers : int or None
        Threads of torch.
    stopped : callable
        Asked between steps; True ends the session in order: the run is saved, and nothing is returned.

    Returns
    -------
    What was found on what is held out, by name: decibels gained, and more. With `overfit`: the loss of the
    first and of the last steps, and the share that is left of it.

    Raises
    ------
    TrainingError
        torch is not installed, too few photographs, or a run does not fit its options.
    OptionError, PhotoError, OutputError, WeightsError, Cancelled
    """
    _needs_torch()
    from composer.learn import pix2pix_training as published
    from composer.learn import training
    from composer.learn.loop import train

    if model not in MODELS:
        raise OptionError(f'model is "{model}"; choose one of {", ".join(MODELS)}')
    if (data is None) == (pairs is None) or (pairs is not None and model != "pix2pix"):
        raise OptionError("give photographs as data, or for pix2pix a folder of pairs instead")
    chosen = _checked(batch, size, width, 16 if model == "residual" else 256)
    context, _ = begun("cpu", workers, None, observe, cancelled)
    session = _session(context, device, out, resume, overfit, tensorboard, stopped)
    with one_thread_each():
        if model == "pix2pix":
            isola = published.Recipe(minutes, steps, seed=seed, **chosen)
            isola = published.by_heart(isola) if overfit else isola
            source = _pairs(pairs, data, 2 * isola.size)
            return train(published.Translation(isola, source), session)
        recipe = training.Recipe(minutes, steps, seed=seed, **chosen)
        recipe = training.by_heart(recipe) if overfit else recipe
        return train(training.Refinement(recipe, _photographs(data or (), 2 * recipe.size)), session)


def train_detector(
    data: Data,
    out: str | Path,
    *,
    minutes: float = 20.0,
    steps: int = 0,
    batch: int | None = None,
    size: int | None = None,
    width: int | None = None,
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
    """Train the detector, which says where a composite is wrong, on photographs; every sixth is held out.

    Parameters
    ----------
    data, out, and the others
        As for `train_refiner`; the weights are detector.safetensors and detector.onnx.

    Returns
    -------
    What was found on the photographs held out, by name: areas under the ROC curve, without another view and
    with one, and the share of good photographs that is taken for wrong.

    Raises
    ------
    TrainingError, OptionError, PhotoError, OutputError, WeightsError, Cancelled
    """
    _needs_torch()
    from composer.learn import detector_training as training
    from composer.learn.loop import train

    recipe = training.Recipe(minutes, steps, seed=seed, **_checked(batch, size, width, 16))
    recipe = training.by_heart(recipe) if overfit else recipe
    context, _ = begun("cpu", workers, None, observe, cancelled)
    session = _session(context, device, out, resume, overfit, tensorboard, stopped)
    with one_thread_each():
        return train(training.Detection(recipe, _photographs(data, 2 * recipe.size)), session)


def train_burst(
    data: Data,
    out: str | Path,
    *,
    minutes: float = 20.0,
    steps: int = 0,
    batch: int | None = None,
    size: int | None = None,
    width: int | None = None,
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
    """Train the recurrent network that merges bursts, on photographs; every sixth is held out.

    Parameters
    ----------
    data, out, and the others
        As for `train_refiner`: bursts are made from the photographs as it goes. The weights are
        burst.safetensors and burst.onnx.

    Returns
    -------
    What was found on the photographs held out, by name: PSNR of the first frame, of the frames' mean and of
    what the network makes, for still and moving scenes and several numbers of frames.

    Raises
    ------
    TrainingError, OptionError, PhotoError, OutputError, WeightsError, Cancelled
    """
    _needs_torch()
    from composer.learn import burst_training as training
    from composer.learn.loop import train

    recipe = training.Recipe(minutes, steps, seed=seed, **_checked(batch, size, width, 16))
    recipe = training.by_heart(recipe) if overfit else recipe
    context, _ = begun("cpu", workers, None, observe, cancelled)
    session = _session(context, device, out, resume, overfit, tensorboard, stopped)
    with one_thread_each():
        return train(training.Bursts(recipe, _photographs(data, 2 * recipe.size)), session)


def _session(
    context: Context,
    device: str,
    out: str | Path,
    resume: bool,
    overfit: bool,
    tensorboard: bool,
    stopped: Callable[[], bool] | None,
) -> Session:
    from composer.learn.loop import Session
    from composer.learn.processes import training_device

    return Session(
        Path(out), resume, training_device(device), context.workers, overfit=overfit, tensorboard=tensorboard,
        observe=context.observe, cancelled=context.cancelled, stopped=stopped or (lambda: False),
    )  # fmt: skip


def _pairs(pairs: str | Path | None, data: Data | None, least: int) -> Pairs:
    """Return a user's own pairs, or what makes them from photographs."""
    from composer.learn.pairs import Pictures, Spoiled

    return Spoiled(_photographs(data or (), least)) if pairs is None else Pictures(Path(pairs))


def _needs_torch() -> None:
    """Check that torch is installed.

    Raises
    ------
    TrainingError
    """
    if importlib.util.find_spec("torch") is None:
        raise TrainingError("training needs torch; run pip install 'composer-cv[learn]'")


def _checked(batch: int | None, size: int | None, width: int | None, align: int) -> dict[str, int]:
    """Return those of a recipe's options that were given.

    Raises
    ------
    OptionError
    """
    least = max(64, align)
    wrong = (size is not None and (size % align or size < least), (batch or 1) < 1, (width or 8) < 8)
    if any(wrong) or batch == 0:
        raise OptionError(
            f"size must be a multiple of {align} from {least} on, batch at least 1, width at least 8"
        )
    given = {"batch": batch, "size": size, "width": width}
    return {name: value for name, value in given.items() if value is not None}


def _photographs(data: Data, least: int) -> Split:
    """Read photographs whose shorter side has at least so many pixels.

    Raises
    ------
    TrainingError
    """
    photos = [reduced_photo(p) for p in expand(data)]
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
