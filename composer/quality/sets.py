"""How alike two sets of pictures are, from the features of each.

KID (Binkowski et al., ICLR 2018), precision and recall (Kynkäänniemi et al., NeurIPS 2019), density and
coverage (Naeem et al., ICML 2020). FID is left out: its bias under 5,000 pictures exceeds what it measures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from composer.errors import OptionError

Array = NDArray[Any]

__all__ = ["LEAST", "check_sizes", "compared_sets", "coverage", "kid"]

NEIGHBOURS = 5
LEAST = 2 * NEIGHBOURS  # pictures a set
HALVES = 200  # that the standard error is taken from


def compared_sets(made: Array, real: Array, seed: int = 0) -> dict[str, float]:
    """Return every figure by name.

    Parameters
    ----------
    made, real : (N, D), (M, D)
        A picture's features each; at least 10.
    seed : int
        Of the halves drawn for KID's standard error.

    Returns
    -------
    kid (0 if alike; without bias, so it may be negative, as it is if both have the same pictures) and
    kid_error, its standard error; precision, recall, density (1 if alike) and coverage (0.97 if alike).

    Raises
    ------
    OptionError
        Too few pictures.
    """
    check_sizes(len(made), len(real))
    value, error = kid(made, real, seed)
    return {"kid": value, "kid_error": error, **coverage(made, real)}


def check_sizes(made: int, real: int) -> None:
    """Check that sets have pictures enough to be compared.

    Raises
    ------
    OptionError
    """
    if min(made, real) < LEAST:
        raise OptionError(f"sets of {made} and {real} pictures; give at least {LEAST} in each")


def kid(made: Array, real: Array, seed: int = 0) -> tuple[float, float]:
    """Return the kernel inception distance on given features, and its standard error.

    The unbiased squared maximum mean discrepancy under (x . y / D + 1)^3. The error is the root mean square
    by which random halves of both sets depart from it (Shao and Wu's jackknife); it is on the safe side where
    the sets are alike.
    """
    x, y = (p.astype(np.float64) for p in (made, real))
    kernels = [(a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    rng = np.random.default_rng(seed)
    chosen = [np.concatenate([np.ones((1, len(p))), _halves(len(p), rng)]) for p in (x, y)]
    own = [_mean_beside(k, some) for k, some in zip(kernels[:2], chosen, strict=True)]
    counts = chosen[0].sum(1) * chosen[1].sum(1)
    found = own[0] + own[1] - 2 * ((chosen[0] @ kernels[2]) * chosen[1]).sum(1) / counts
    return float(found[0]), float(np.sqrt(np.mean((found[1:] - found[0]) ** 2)))


def _halves(count: int, rng: np.random.Generator) -> Array:
    """Return random halves of a set as rows of 0 and 1."""
    return (rng.permuted(np.tile(np.arange(count), (HALVES, 1)), axis=1) < count // 2).astype(np.float64)


def _mean_beside(kernel: Array, chosen: Array) -> Array:
    """Return the kernel's mean over pairs of two different members, for each row of `chosen`."""
    counts = chosen.sum(1)
    pairs = ((chosen @ kernel) * chosen).sum(1) - chosen @ np.diag(kernel)
    return pairs / (counts * (counts - 1))


def coverage(made: Array, real: Array, neighbours: int = NEIGHBOURS) -> dict[str, float]:
    """Return precision, recall, density and coverage, from balls that reach to the k-th neighbour."""
    reach_made, reach_real = (_reach(p, neighbours) for p in (made, real))
    between = cdist(real, made)
    inside = between < reach_real[:, None]
    return {
        "precision": float(inside.any(0).mean()),
        "recall": float((between < reach_made).any(1).mean()),
        "density": float(inside.sum(0).mean() / neighbours),
        "coverage": float(inside.any(1).mean()),
    }


def _reach(points: Array, neighbours: int) -> Array:
    """Return each point's distance to its k-th neighbour among the others."""
    return np.partition(cdist(points, points), neighbours, axis=1)[:, neighbours]
