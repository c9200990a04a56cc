"""Networks in ONNX files, run by onnxruntime (extra `onnx`)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from composer.errors import WeightsError

__all__ = ["onnx_session"]


def onnx_session(path: Path) -> Any:
    """Open a network with onnxruntime, on one thread: threads go over photos or tiles.

    Raises
    ------
    WeightsError
        onnxruntime is not installed, or the file is not a network that it can run.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    if not importlib.util.find_spec("onnxruntime"):
        raise WeightsError(f"{path}: needs onnxruntime; run pip install 'composer-cv[onnx]'")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise WeightsError(f"{path}: cannot be loaded ({str(error)[:120]}); copy it again") from error
