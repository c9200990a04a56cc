"""CuPy played by NumPy and a C++ compiler, to run the GPU cases where there is no GPU:

    python -m pytest -m gpu -p tests.stand_in

Arrays are of a class of their own, which, like CuPy's, refuses NumPy's arrays and is never turned into one
but by `get`; reductions give arrays without axes; CUDA kernels are compiled for the host and run thread by
thread, their arguments' types checked. Where CuPy itself is installed (it imports without a GPU), only
functions that it has can be called, with arguments that it takes. What this cannot show: speed, memory, and
rounding on a GPU.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.machinery
import importlib.util
import inspect
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import array_api_compat  # noqa: F401 - before CuPy is replaced: it asks which libraries are there
import numpy as np
import pytest
import scipy.fft
import scipy.ndimage

REAL = importlib.import_module("cupy") if importlib.util.find_spec("cupy") else None
OPERATORS = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
]
HOST = """
#include <algorithm>
#include <cmath>
using namespace std;
struct Place {{ int x, y; }};
static thread_local Place blockIdx, threadIdx, blockDim;
#define __device__ static
#define __global__
{source}
extern "C" void run(int columns, int rows, int threads, {parameters}) {{
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < columns; blockIdx.x++)
        for (blockIdx.y = 0; blockIdx.y < rows; blockIdx.y++)
            for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) {name}({names});
}}
"""


class Device:
    """The one device that there is."""

    def __init__(self, number: Any = None) -> None:
        assert number is None or isinstance(number, Device) or number == 0

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class ndarray:  # noqa: N801 - CuPy's name
    """An array that counts as lying on a GPU."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: Any) -> None:
        self.host = np.asarray(host)

    @property
    def device(self) -> Device:
        return Device()

    def get(self) -> Any:
        return self.host.copy()

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **options: Any) -> Any:
        assert method == "__call__", f"CuPy's ufuncs have no {method}"
        return _on_device(ufunc.__name__, ufunc)(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or (REAL and not hasattr(REAL.ndarray, name)):
            raise AttributeError(f"cupy.ndarray has no {name}")
        found = getattr(self.host, name)
        return _on_device(name, found) if callable(found) else _there(found)

    def __getitem__(self, key: Any) -> Any:
        return _there(self.host[_here(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.host[_here(key)] = _here(value)

    def __iter__(self) -> Any:
        return map(_there, self.host)

    def __len__(self) -> int:
        return len(self.host)

    def __bool__(self) -> bool:
        return bool(self.host)

    def __int__(self) -> int:
        return int(self.host)

    def __float__(self) -> float:
        return float(self.host)

    def __index__(self) -> int:
        return self.host.__index__()


def _operator(name: str) -> Callable[..., Any]:
    def run(array: ndarray, *other: Any) -> Any:
        found = getattr(array.host, name)(*map(_here, other))
        return found if found is NotImplemented else _there(found)

    def run_in_place(array: ndarray, other: Any) -> Any:
        array.host = getattr(array.host, name)(_here(other))
        return array

    return run_in_place if name[2:-2] in ["i" + o for o in OPERATORS] else run


for _name in [
    *(p + o for o in OPERATORS for p in ("", "r", "i")),
    *["lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs", "invert"],
]:
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))


def _there(value: Any) -> Any:
    """Return what NumPy gave as if it lay on the device."""
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(value)
    return type(value)(map(_there, value)) if type(value) in (tuple, list) else value


def _here(value: Any) -> Any:
    """Return what lies on the device as NumPy takes it."""
    if isinstance(value, ndarray):
        return value.host
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return type(value)(map(_here, value)) if type(value) in (tuple, list) else value


def _on_device(name: str, host: Callable[..., Any], real: Any = None) -> Callable[..., Any]:
    """Return a function of arrays on the device that NumPy or SciPy computes."""

    def run(*args: Any, **options: Any) -> Any:
        if real is not None and not isinstance(host, np.ufunc):
            inspect.signature(real).bind(*args, **options)
        if name in ("asarray", "array"):  # what takes arrays to the device
            given = args[0].host if isinstance(args[0], ndarray) else args[0]
            given = [_here(g) for g in given] if isinstance(given, (list, tuple)) else given
            found = host(given, *args[1:], **options)
            return ndarray(found if isinstance(args[0], ndarray) else found.copy())
        single = options.pop("float64_distances", None) is False
        found = host(*map(_here, args), **{k: _here(v) for k, v in options.items()})
        return _there(found.astype(np.float32) if single else found)

    return run


class RawKernel:
    """A CUDA kernel, compiled for the host."""

    def __init__(self, source: str, name: str, options: tuple[str, ...] = ()) -> None:
        head = re.search(rf"__global__\s+void\s+{name}\s*\(([^)]*)\)", source)
        assert head is not None
        self.parameters = [" ".join(p.split()) for p in head[1].split(",")]
        names = ", ".join(re.split(r"[ *]", p)[-1] for p in self.parameters)
        code = HOST.format(source=source, parameters=", ".join(self.parameters), name=name, names=names)
        self.sample = re.search(r"#define SAMPLE (.*)", source)
        words = ["c++", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "kernel.cpp", "-o", "kernel.so"]
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "kernel.cpp").write_text(code)
            subprocess.run(words, cwd=folder, check=True)
            self.run = ctypes.CDLL(str(Path(folder, "kernel.so"))).run

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        assert len(arguments) == len(self.parameters)
        assert grid[0] < 2**31
        assert grid[1] < 2**16
        assert block[0] <= 1024
        given: list[Any] = [*grid, *block]
        types = {"float": np.float32, "unsigned char": np.uint8, "unsigned short": np.uint16}
        for argument, parameter in zip(arguments, self.parameters, strict=True):
            if "*" not in parameter:
                assert isinstance(argument, np.int32)  # CuPy passes numbers by their own width
                given.append(int(argument))
                continue
            kind = parameter.split("*")[0].replace("const", "").strip()
            assert self.sample is not None
            assert argument.host.dtype == types[self.sample[1] if kind == "SAMPLE" else kind]
            assert argument.host.flags.c_contiguous
            given.append(ctypes.c_void_p(argument.host.ctypes.data))
        self.run(*given)


def _module(name: str, host: ModuleType, real: Any, **more: Any) -> ModuleType:
    """Make a module of the functions that the host has, and, where CuPy is installed, CuPy has too."""
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    for key, value in vars(host).items():
        if key.startswith("_") or isinstance(value, ModuleType) or (real and not hasattr(real, key)):
            continue
        plain = isinstance(value, type) or not callable(value)
        setattr(module, key, value if plain else _on_device(key, value, getattr(real, key, None)))
    for key, value in more.items():
        setattr(module, key, value)
    module.__all__ = [k for k in vars(module) if not k.startswith("_")]  # type: ignore[attr-defined]
    sys.modules[name] = module
    return module


def install() -> None:
    """Put the stand-in in CuPy's place."""
    real: Mapping[str, Any] = {
        name: importlib.import_module(name) if REAL else None
        for name in ("cupy.linalg", "cupy.fft", "cupyx.scipy.fft", "cupyx.scipy.ndimage")
    }
    properties = {"name": b"stand-in", "totalGlobalMem": 1 << 30}
    runtime = SimpleNamespace(getDeviceCount=lambda: 1, getDeviceProperties=lambda device: properties)
    nothing = ModuleType("nothing")
    _module("cupy.cuda.device", nothing, None, Device=Device)
    cuda = _module("cupy.cuda", nothing, None, runtime=runtime, Stream=object, Device=Device)
    cupy = _module(
        "cupy", np, REAL, ndarray=ndarray, RawKernel=RawKernel, cuda=cuda,
        __version__=getattr(REAL, "__version__", "0"),
    )  # fmt: skip
    cupy.__all__ += ["linalg", "fft"]  # type: ignore[attr-defined]
    cupy.linalg = _module("cupy.linalg", np.linalg, real["cupy.linalg"])  # type: ignore[attr-defined]
    cupy.fft = _module("cupy.fft", np.fft, real["cupy.fft"])  # type: ignore[attr-defined]
    fft = _module("cupyx.scipy.fft", scipy.fft, real["cupyx.scipy.fft"])
    ndimage = _module("cupyx.scipy.ndimage", scipy.ndimage, real["cupyx.scipy.ndimage"])
    between = _module("cupyx.scipy", nothing, None, fft=fft, ndimage=ndimage)
    _module("cupyx", nothing, None, scipy=between)


install()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what ran."""
    terminalreporter.write_line("GPU cases ran on a stand-in for CuPy, not on a GPU")
