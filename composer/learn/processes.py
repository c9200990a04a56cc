"""Processes that train together, as torchrun starts them: each has its samples, gradients are averaged."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch import distributed as dist

from composer.backend.device import check_device
from composer.errors import DeviceError

__all__ = ["agreed", "average", "count", "rank", "together", "training_device"]


def training_device(device: str) -> str:
    """Turn "auto", "cpu" or "cuda" into "cpu" or "cuda": what PyTorch can use, with or without CuPy.

    Raises
    ------
    DeviceError
        "cuda" was asked for and PyTorch finds none, or the name is unknown.
    """
    check_device(device)
    if device != "cpu" and torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise DeviceError(
            f"device cuda cannot be used: PyTorch {torch.__version__} finds none; install PyTorch for CUDA, "
            "or use device cpu"
        )
    return "cpu"


@contextmanager
def together(device: str) -> Iterator[None]:
    """Join the processes that torchrun started, by NCCL on GPUs, else by Gloo; one alone does nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield
        dist.barrier()  # none leaves while another is still at it
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Return this process's number; 0 writes and speaks."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def average(parameters: Sequence[Tensor]) -> None:
    """Replace gradients by their mean over all processes."""
    if count() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    every = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(every)
    every /= count()
    for gradient, part in zip(gradients, every.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def agreed(seconds: float, stop: bool, device: torch.device) -> tuple[float, bool]:
    """Return the first process's clock, and whether any process is to stop."""
    if count() == 1:
        return seconds, stop
    told = torch.tensor([seconds if rank() == 0 else 0.0, float(stop)], dtype=torch.float64, device=device)
    dist.all_reduce(told)
    return float(told[0]), bool(told[1] > 0)
