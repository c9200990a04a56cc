"""What is loaded when it is used."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from composer.backend.imports import postpone_f2py
postpone_f2py()
import scipy.sparse.linalg
print("numpy.f2py.crackfortran" in sys.modules)
import numpy.f2py
print(numpy.f2py.get_include() != "", "numpy.f2py.crackfortran" in sys.modules)
"""


def test_what_scipy_does_not_need_is_loaded_when_it_is_used() -> None:
    run = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True)
    assert run.stdout.split() == ["False", "True", "True"], run.stderr
