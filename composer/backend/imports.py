"""What the process imports, and when."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec

import numpy as np

__all__ = ["postpone_imports"]

_UNUSED = ("f2py", "testing", "polynomial", "ma")


def postpone_imports() -> None:
    """Have parts of NumPy that composer does not use loaded when somebody does, by `importlib`'s LazyLoader.

    SciPy imports all of NumPy's public names, a wrapper generator for Fortran among them: a third of the
    time that `scipy.sparse.linalg` takes to import. For composer's own processes.
    """
    for name in _UNUSED:
        full = f"numpy.{name}"
        spec = importlib.util.find_spec(full) if full not in sys.modules else None
        if spec is not None:
            setattr(np, name, _lazy(full, spec))


def _lazy(full: str, spec: ModuleSpec) -> object:
    """Put a module in its place that loads itself at the first use of any of its names."""
    assert spec.loader is not None, full
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    spec.loader.exec_module(module)
    return module
