"""Parts of NumPy that load when they are used."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from composer.backend.imports import postpone_imports
postpone_imports()
import scipy.sparse.linalg
print("numpy.f2py.crackfortran" in sys.modules)
import numpy as np
print(np.ma.masked_array([1, 2], [0, 1]).sum(), np.polynomial.Polynomial([1, 2])(3.0))
from numpy.testing import assert_allclose
import numpy.f2py
assert_allclose(1, 1)
print(numpy.f2py.get_include() != "", "numpy.f2py.crackfortran" in sys.modules)
"""


def test_what_scipy_does_not_need_is_loaded_when_it_is_used() -> None:
    run = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True)
    assert run.stdout.split() == ["False", "1", "7.0", "True", "True"], run.stderr
