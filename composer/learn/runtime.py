"""The refiner at work: onnxruntime where it is installed, else torch, over tiles that touch the mask."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend.onnx import onnx_session
from composer.errors import WeightsError
from composer.learn.refining import believed
from composer.learn.weights import read_weights
from composer.records import Rect

Array = NDArray[Any]
Network = Callable[[Array], Array]
Outputs = Callable[[Array], list[Array]]

__all__ = [
    "ALIGNED",
    "HALO",
    "SIDE",
    "TILE",
    "Network",
    "changes",
    "cut",
    "load_refiner",
    "network_of",
    "opened",
    "outputs_of",
    "shipped",
    "torch_network",
]

HALO = 48  # pixels around a window that the network looks at
TILE = 384  # windows lie within squares of this size
ALIGNED = 16  # pixels: the network's coarsest
SIDE = TILE + 2 * HALO


@lru_cache(maxsize=2)
def load_refiner(path: str = "", runtime: str = "auto") -> Network:
    """Return the network as a function from planes (11, H, W) to change and sureness (4, H, W).

    Parameters
    ----------
    path : str
        Weights (.safetensors, its .onnx beside it); "" for those that come with the package.
    runtime : "auto", "onnx" or "torch"

    Raises
    ------
    WeightsError
        Neither onnxruntime nor torch is installed, or the weights cannot be used.
    """
    home = Path(path) if path else shipped("refiner")
    if path:
        read_weights(home, "refiner")  # an .onnx beside them does not tell what it is for
    run = opened(home, runtime, "refining", lambda: _refiner(home))
    return lambda planes: _refined(planes, *run(planes))


def _refiner(path: Path) -> Any:
    from composer.learn.network import Refiner

    arrays, about = read_weights(path, "refiner")
    return torch_network(Refiner(int(about["width"])), arrays, path)


def _refined(planes: Array, change: Array, gate: Array) -> Array:
    return np.concatenate([change, believed(change, 1 / (1 + np.exp(-gate[0])), planes[3])[None]])


def shipped(name: str) -> Path:
    """Return the file of weights that comes with the package."""
    return Path(str(resources.files("composer.learn") / f"{name}.safetensors"))


def opened(path: Path, runtime: str, purpose: str, module: Callable[[], Any]) -> Outputs:
    """Return a network as a function from planes (C, H, W) to its outputs, each (C, H, W).

    Parameters
    ----------
    path : Path
        Weights (.safetensors), with or without an .onnx beside them.
    runtime : "auto", "onnx" or "torch"
    purpose : str
        What needs the network, for the error.
    module : callable
        Makes the torch module with its weights.

    Raises
    ------
    WeightsError
        Neither onnxruntime nor torch is installed, or the weights cannot be used.
    """
    onnx = path.with_suffix(".onnx")
    if runtime != "torch" and onnx.exists() and importlib.util.find_spec("onnxruntime"):
        session = onnx_session(onnx)
        return lambda planes: _ran(session, planes, onnx)
    if runtime != "onnx" and importlib.util.find_spec("torch"):
        return outputs_of(module())
    raise WeightsError(
        f"{purpose} needs onnxruntime or torch, and neither is installed; "
        "run pip install 'composer-cv[onnx]' (small) or 'composer-cv[learn]'"
    )


def torch_network(net: Any, arrays: dict[str, Array], path: Path) -> Any:
    """Give a torch module its weights.

    Raises
    ------
    WeightsError
        They are of another shape.
    """
    import torch

    wanted = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    if wanted != {name: array.shape for name, array in arrays.items()}:
        raise WeightsError(f"{path}: does not fit the network that it names; copy it again")
    net.load_state_dict({n: torch.from_numpy(a.astype(np.float32)) for n, a in arrays.items()})
    return net.eval()


def _ran(session: Any, planes: Array, path: Path) -> list[Array]:
    try:
        return [array[0] for array in session.run(None, {"planes": planes[None]})]
    except Exception as error:  # onnxruntime's own kinds have no common base
        raise WeightsError(f"{path}: does not fit ({str(error)[:120]}); train it again") from error


def outputs_of(net: Any) -> Outputs:
    """Return a torch module as a function from planes (C, H, W) to its outputs, each (C, H, W)."""
    import torch

    device = next(net.parameters()).device

    def run(planes: Array) -> list[Array]:
        with torch.no_grad():
            made = net(torch.from_numpy(planes)[None].to(device))
            return [t[0].float().cpu().numpy() for t in (made if isinstance(made, tuple) else (made,))]

    return run


def network_of(net: Any) -> Network:
    """Return the refiner's torch module as `load_refiner` does."""
    run = outputs_of(net)
    return lambda planes: _refined(planes, *run(planes))


def changes(
    network: Network,
    planes: Array,
    over: Callable[[Callable[[Rect], Array], list[Rect]], list[Array]],
    corner: tuple[int, int] = (0, 0),
    margin: int = 0,
) -> Array:
    """Return change and sureness (4, H, W), zero where no window touches the mask.

    Windows lie within the squares of an absolute grid: what a pixel becomes does not depend on how much is
    refined at once. They are those that leave the network the fewest pixels to look at.

    Parameters
    ----------
    network : as `load_refiner` returns it
    planes : (11, H, W) float32
    over : callable
        Maps a function over rectangles, on as many threads as are wanted.
    corner : (x, y)
        Of the planes on the canvas that the grid belongs to.
    margin : int
        Pixels at each edge that the network looks at but that are not wanted.
    """
    _, height, width = planes.shape
    wanted = np.zeros((height, width), bool)
    inside = slice(margin, height - margin), slice(margin, width - margin)
    wanted[inside] = planes[3][inside] > 0
    windows = list(_windows(wanted, *(c % TILE for c in corner)))
    found = np.zeros((4, height, width), np.float32)

    def work(window: Rect) -> Array:
        return network(cut(planes, window.grown(HALO)))[:, HALO:-HALO, HALO:-HALO]

    for window, part in zip(windows, over(work, windows), strict=True):
        y0, x0 = max(window.y0, 0), max(window.x0, 0)
        y1, x1 = min(window.y1, height), min(window.x1, width)
        found[:, y0:y1, x0:x1] = part[:, y0 - window.y0 : y1 - window.y0, x0 - window.x0 : x1 - window.x0]
    return found


def _windows(wanted: Array, left: int, above: int) -> Iterator[Rect]:
    """Yield windows on what is wanted, of a grid that begins so far to the left and above."""
    height, width = wanted.shape
    for y in range(-above, height, TILE):
        for x in range(-left, width, TILE):
            square = np.zeros((TILE, TILE), bool)
            part = wanted[max(y, 0) : y + TILE, max(x, 0) : x + TILE]
            square[max(-y, 0) :, max(-x, 0) :][: part.shape[0], : part.shape[1]] = part
            for window in _tight(square):
                yield Rect(x + window.x0, y + window.y0, x + window.x1, y + window.y1)


def _tight(wanted: Array) -> list[Rect]:
    """Return windows on what is wanted in a square: one, or, if less is looked at, those of its quarters."""
    rows, columns = np.flatnonzero(wanted.any(1)), np.flatnonzero(wanted.any(0))
    if not rows.size:
        return []
    x0, y0 = (int(n[0]) // ALIGNED * ALIGNED for n in (columns, rows))
    x1, y1 = (-(-(int(n[-1]) + 1) // ALIGNED) * ALIGNED for n in (columns, rows))
    one, half = [Rect(x0, y0, x1, y1)], len(wanted) // 2
    if half % ALIGNED:
        return one
    quarters = [
        Rect(x + w.x0, y + w.y0, x + w.x1, y + w.y1)
        for y in (0, half)
        for x in (0, half)
        for w in _tight(wanted[y : y + half, x : x + half])
    ]
    return min(one, quarters, key=lambda windows: sum(_looked_at(w) for w in windows))


def _looked_at(window: Rect) -> int:
    around = window.grown(HALO)
    return around.width * around.height


def cut(planes: Array, rect: Rect) -> Array:
    """Cut a rectangle out of planes, nothing at all beyond their edges."""
    _, height, width = planes.shape
    found = np.zeros((len(planes), rect.height, rect.width), np.float32)
    y0, x0, y1, x1 = max(rect.y0, 0), max(rect.x0, 0), min(rect.y1, height), min(rect.x1, width)
    found[:, y0 - rect.y0 : y1 - rect.y0, x0 - rect.x0 : x1 - rect.x0] = planes[:, y0:y1, x0:x1]
    return found
