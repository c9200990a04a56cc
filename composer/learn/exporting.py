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
    path: Path,
    net: nn.Module,
    about: dict[str, str],
    outputs: tuple[str, ...],
    planes: int,
    *,
    align: int = 1,
    side: int = 0,
) -> None:
    """Write a network's weights, and an ONNX file of the same stem.

    Parameters
    ----------
    path : path
        Ends in .safetensors.
    net : module
        Takes (N, planes, H, W), and returns as many tensors as `outputs` has names.
    about : dict of str
        Metadata.
    align : int
        Sides must be multiples of it.
    side : int
        If not 0, the only side that the ONNX file takes: a network that reads at computed places takes
        minutes to export for any.

    Raises
    ------
    OutputError
    """
    half = copy.deepcopy(net).cpu().half()
    arrays = {name: value.numpy() for name, value in half.state_dict().items()}
    write_weights(path, arrays, about)
    write_onnx(path.with_suffix(".onnx"), half.float(), outputs, planes, align=align, side=side)


def write_onnx(
    path: Path, net: nn.Module, outputs: tuple[str, ...], planes: int, *, align: int = 1, side: int = 0
) -> None:
    """Write a network for onnxruntime: `planes` (1, planes, H, W) in, tensors of these names out."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    height, width = (torch.export.Dim(name, min=2, max=65536 // align) for name in ("rows", "columns"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            net.eval(), (torch.zeros(1, planes, side or 8 * align, side or 10 * align),), dynamo=True,
            verbose=False, input_names=["planes"], output_names=list(outputs),
            dynamic_shapes=None if side else {"planes": {2: align * height, 3: align * width}},
        )  # fmt: skip
    with replacing(path) as file:
        file.write(program.model_proto.SerializeToString())
