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
    path: Path, net: nn.Module, about: dict[str, str], *,
    outputs: tuple[str, ...], shape: tuple[int, int, int], align: int = 0,
) -> None:  # fmt: skip
    """Write a network's weights, and an ONNX file of the same stem for one picture at a time.

    Parameters
    ----------
    path : path
        Ends in .safetensors.
    net : module
        Takes planes (N, C, H, W), and returns as many tensors as `outputs` has names.
    about : dict of str
        Metadata.
    outputs : tuple of str
    shape : (C, H, W)
        What onnxruntime is to be given.
    align : int
        Any other height and width are taken too that are multiples of it; 0 for none.

    Raises
    ------
    OutputError
    """
    half = copy.deepcopy(net).cpu().half().eval()
    arrays = {name: value.numpy() for name, value in half.state_dict().items()}
    write_weights(path, arrays, about)
    write_onnx(path.with_suffix(".onnx"), half.float(), outputs, shape, align)


def write_onnx(
    path: Path, net: nn.Module, outputs: tuple[str, ...], shape: tuple[int, int, int], align: int
) -> None:
    """Write a network for onnxruntime, as `write_network` does."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    shapes = None
    if align:
        height, width = (torch.export.Dim(name, min=2, max=65536 // align) for name in ("rows", "columns"))
        shapes = {"planes": {2: align * height, 3: align * width}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            net, (torch.zeros(1, *shape),), dynamo=True, verbose=False, input_names=["planes"],
            output_names=list(outputs), dynamic_shapes=shapes,
        )  # fmt: skip
    with replacing(path) as file:
        file.write(program.model_proto.SerializeToString())
