"""Networks written for use: half-precision safetensors, and ONNX beside it."""

from __future__ import annotations

import copy
import logging
import warnings
from pathlib import Path

import torch
from torch import nn

from composer.learn.weights import write_weights
from composer.media.encode import replacing

__all__ = ["write_network", "write_onnx"]


def write_network(
    path: Path, net: nn.Module, about: dict[str, str], outputs: tuple[str, ...], planes: int, side: int
) -> None:
    """Write a network's weights, and an ONNX file of the same stem.

    Parameters
    ----------
    path : path
        Ends in .safetensors.
    net : module
        Takes (N, planes, side, side), and returns as many tensors as `outputs` has names.
    about : dict of str
        Metadata.
    side : int
        Pixels of a tile with what is around it.

    Raises
    ------
    OutputError
    """
    half = copy.deepcopy(net).cpu().half()
    arrays = {name: value.numpy() for name, value in half.state_dict().items()}
    write_weights(path, arrays, about)
    write_onnx(path.with_suffix(".onnx"), half.float(), outputs, planes, side)


def write_onnx(path: Path, net: nn.Module, outputs: tuple[str, ...], planes: int, side: int) -> None:
    """Write a network for onnxruntime: `planes` (1, planes, side, side) in, tensors of these names out."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            net.eval(), (torch.zeros(1, planes, side, side),), dynamo=True, verbose=False,
            input_names=["planes"], output_names=list(outputs),
        )  # fmt: skip
    with replacing(path) as file:
        file.write(program.model_proto.SerializeToString())
