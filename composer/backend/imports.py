"""What the process imports, and when."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np

__all__ = ["postpone_f2py"]


def postpone_f2py() -> None:
    """Have NumPy's wrapper generator for Fortran loaded when somebody uses it, by `importlib`'s LazyLoader.

    SciPy imports all of NumPy's public names, and that is a fifth of the time that `scipy.sparse.linalg`
    takes to import. For composer's own processes. (Modules that threads use must not be left so: Python
    3.11 loads them without a lock.)
    """
    spec = importlib.util.find_spec("numpy.f2py") if "numpy.f2py" not in sys.modules else None
    if spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    np.f2py = module
