"""All that a training run needs to go on, in one safetensors file: no pickle is ever read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from composer.errors import WeightsError
from composer.learn.weights import read_weights, write_weights

__all__ = ["Parts", "load", "save"]

Parts = dict[str, Any]  # networks and optimisers by name


def save(path: Path, parts: Parts, about: dict[str, str]) -> None:
    """Write the state of networks and optimisers, and torch's random state, moved into place when whole.

    Raises
    ------
    OutputError
    """
    arrays = {"rng": torch.get_rng_state().numpy()}
    if torch.cuda.is_available():
        arrays["rng_cuda"] = torch.cuda.get_rng_state().numpy()
    for name, part in parts.items():
        arrays |= {f"{name}/{k}": v.detach().cpu().numpy() for k, v in _tensors(part).items()}
    write_weights(path, arrays, about)


def load(path: Path, parts: Parts, kind: str) -> None:
    """Give networks, optimisers and torch's random state what `save` wrote.

    Raises
    ------
    WeightsError
        The file cannot be read, or does not fit.
    """
    arrays, _ = read_weights(path, kind)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    try:
        for name, part in parts.items():
            inside = f"{name}/"
            _restore(part, {k.removeprefix(inside): v for k, v in tensors.items() if k.startswith(inside)})
        torch.set_rng_state(tensors["rng"])
    except (KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: does not fit ({str(error).splitlines()[0]}); start anew") from error
    if "rng_cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng_cuda"])


def _tensors(part: Any) -> dict[str, Tensor]:
    """Return the state of a network or optimiser as tensors by name."""
    if not isinstance(part, torch.optim.Optimizer):
        return dict(part.state_dict())
    return {f"{k}/{n}": v for k, state in part.state_dict()["state"].items() for n, v in state.items()}


def _restore(part: Any, tensors: dict[str, Tensor]) -> None:
    """Give a network or optimiser the state that `_tensors` returned."""
    if not isinstance(part, torch.optim.Optimizer):
        part.load_state_dict(tensors)
        return
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        k, _, n = name.partition("/")
        state.setdefault(int(k), {})[n] = value
    part.load_state_dict({"state": state, "param_groups": part.state_dict()["param_groups"]})
