"""Weights in files: safetensors with what they are for in the header; a pickle is never opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.errors import WeightsError
from composer.media.encode import replacing

Array = NDArray[Any]

__all__ = ["kind_of", "read_weights", "write_weights"]

_TYPES = {"F16": np.float16, "F32": np.float32, "F64": np.float64, "I64": np.int64, "U8": np.uint8}
_NAMES = {np.dtype(kind): name for name, kind in _TYPES.items()}
_LONGEST = 16 << 20  # bytes of header


def read_weights(path: Path | str, kind: str) -> tuple[dict[str, Array], dict[str, str]]:
    """Read arrays by name, and the file's metadata.

    The format is that of Hugging Face's safetensors: eight bytes with the header's length, JSON, numbers.

    Parameters
    ----------
    path : path
    kind : str
        What the metadata's "kind" must say.

    Raises
    ------
    WeightsError
        Missing, cut short, a pickle, damaged, or weights of another kind.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); check the name") from error
    if data[8:9] != b"{" and (data[:2] == b"PK" or data[:1] == b"\x80"):  # a header's length may look so too
        raise WeightsError(f"{path}: is a pickle (.pt, .pth), which can run code; give a .safetensors file")
    try:
        arrays, metadata = _parsed(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: not a whole .safetensors file ({error}); copy it again") from error
    if metadata.get("kind") != kind:
        raise WeightsError(f'{path}: holds "{metadata.get("kind", "?")}", not "{kind}"; give another file')
    return arrays, metadata


def kind_of(path: Path | str) -> str:
    """Return what a file says its weights are for; "" where `read_weights` would say what is wrong."""
    try:
        with Path(path).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _LONGEST)))
        return str(header["__metadata__"]["kind"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _parsed(data: bytes) -> tuple[dict[str, Array], dict[str, str]]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, _LONGEST):
        raise ValueError("cut short")
    header = json.loads(data[8 : 8 + length])
    metadata = {str(k): str(v) for k, v in header.pop("__metadata__", {}).items()}
    numbers, arrays = memoryview(data)[8 + length :], {}
    for name, about in header.items():
        start, stop = about["data_offsets"]
        kind, shape = np.dtype(_TYPES[about["dtype"]]), tuple(about["shape"])
        if not 0 <= start <= stop <= len(numbers) or stop - start != kind.itemsize * int(np.prod(shape)):
            raise ValueError("cut short")
        arrays[name] = np.frombuffer(numbers[start:stop], kind).reshape(shape)
    return arrays, metadata


def write_weights(path: Path | str, arrays: dict[str, Array], metadata: dict[str, str]) -> None:
    """Write arrays by name and metadata as a safetensors file, moved into place when whole.

    Raises
    ------
    OutputError
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    at, parts = 0, []
    for name, array in arrays.items():
        part = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [at, at + len(part)],
        }  # fmt: skip
        at += len(part)
        parts.append(part)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(Path(path)) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.writelines(parts)
