"""Learned features and matchers from ONNX files that a user supplies: DISK, ALIKED, SuperPoint, LightGlue.

What the files take and give is what their public exports and OpenCV 5's own classes agree on. OpenCV's are
not called: 5.0 ends with a segmentation fault on LightGlue, and its next release changes their arguments.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.features import Features, spread, to_grey8
from composer.backend.onnx import onnx_session
from composer.errors import WeightsError
from composer.records import scale_points

Array = NDArray[Any]

__all__ = ["check_network", "find_learned_features", "match_learned"]

STRIDE = 32  # the networks halve a picture up to five times
PATCH = 8.0  # working pixels that a feature looks at, roughly: the networks do not say
EDGE = 4  # working pixels: what lies nearer to the edge may see what is put beside the picture
FEATURES = (("one picture",), ("keypoints", "scores", "descriptors"))
MATCHER = (("kpts0", "kpts1", "desc0", "desc1"), ("matches0",))


@lru_cache(maxsize=2)
def check_network(path: str, matcher: bool = False) -> Any:
    """Open an ONNX file that finds features or matches them; the same file is opened once.

    A finder takes one picture (1, 3 or 1, height, width), 0..1, RGB or grey, of a fixed size or any, and
    gives `keypoints` (1, N, 2) in pixels or, where all are within -1..1, from edge to edge, `scores` and
    `descriptors` (1, N, D). A matcher takes `kpts0`, `kpts1` (1, N, 2), from -1 to 1 along the longer side,
    `desc0`, `desc1`, and gives `matches0`: pairs (K, 2), or for each of the first its partner or -1.

    Raises
    ------
    WeightsError
        onnxruntime is not installed, or the file is no such network.
    """
    session = onnx_session(Path(path))
    takes = [i.name for i in session.get_inputs()]
    gives = [o.name for o in session.get_outputs()]
    wanted, given = MATCHER if matcher else FEATURES
    fits = set(takes) == set(wanted) if matcher else len(takes) == 1
    if not fits or not set(given) <= set(gives):
        kind = "a matcher" if matcher else "a finder"
        raise WeightsError(
            f"{path}: takes {', '.join(takes)} and gives {', '.join(gives)}; {kind} of features takes "
            f"{', '.join(wanted)} and gives {', '.join(given)}"
        )
    return session


def find_learned_features(
    path: str, pixels: Array, megapixels: float = 0.16, count: int = 700, full: tuple[int, int] | None = None
) -> Features:
    """Find features by a network; the arguments are those of `find_features`, but for (H, W, C) pixels.

    Raises
    ------
    WeightsError
    """
    session = check_network(path)
    width, height = full or (pixels.shape[1], pixels.shape[0])
    (taken,) = session.get_inputs()
    channels, *fixed = (n if isinstance(n, int) else 0 for n in taken.shape[1:])
    scale = min(1.0, math.sqrt(megapixels * 1e6 / (width * height)))
    if all(fixed):
        scale = min(1.0, fixed[1] / width, fixed[0] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    planes = _planes(pixels, size, channels, fixed)
    given = dict(
        zip((o.name for o in session.get_outputs()), session.run(None, {taken.name: planes}), strict=True)
    )
    points = given["keypoints"].reshape(-1, 2).astype(np.float64)
    if len(points) and np.abs(points).max() <= 1:
        points = (points + 1) / 2 * (planes.shape[3] - 1, planes.shape[2] - 1)
    inside = ((points >= EDGE) & (points <= np.array(size) - 1 - EDGE)).all(1)
    scores, points = given["scores"].reshape(-1)[inside], points[inside]
    kept = spread(points, scores, size[::-1], count)
    descriptors = given["descriptors"].reshape(len(inside), -1)[inside][kept].astype(np.float32)
    descriptors /= np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-9)
    growth = np.array([width / size[0], height / size[1]])
    sizes = np.full(len(kept), PATCH / scale)
    return Features(scale_points(points[kept], growth), descriptors, sizes, scale)


def match_learned(
    path: str, features: tuple[Features, Features], sizes: tuple[tuple[int, int], ...]
) -> Array:
    """Match two photographs' features by a network such as LightGlue (Lindenberger, ICCV 2023).

    Parameters
    ----------
    features : two of Features
    sizes : (width, height) of both photographs

    Returns
    -------
    (K, 2) int array of indices into both.

    Raises
    ------
    WeightsError
        The network was made for other features.
    """
    if min(len(f.points) for f in features) < 2:
        return np.zeros((0, 2), int)
    fed: dict[str, Array] = {}
    for k, (found, size) in enumerate(zip(features, sizes, strict=True)):
        centred = (found.points + 0.5 - np.array(size) / 2) / (max(size) / 2)
        fed[f"kpts{k}"] = centred[None].astype(np.float32)
        fed[f"desc{k}"] = found.descriptors[None]
    try:
        (matches,) = check_network(path, matcher=True).run(["matches0"], fed)
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(
            f"{path}: does not match these features ({str(error)[:120]}); use the matcher trained for them"
        ) from error
    if matches.shape != (1, len(features[0].points)) and matches.ndim == 2:
        return np.asarray(matches[:, -2:], int)  # some put the index of the pair of photos before
    partners = np.asarray(matches, int).reshape(-1)
    (matched,) = np.nonzero(partners >= 0)
    return np.stack([matched, partners[matched]], 1)


def _planes(pixels: Array, size: tuple[int, int], channels: int, fixed: list[int]) -> Array:
    """Return (1, C, H, W) float32, 0..1: the picture reduced to `size`, its edge repeated up to a stride."""
    grey = channels == 1 or pixels.shape[2] < 3
    layers = [pixels] if grey else [pixels[:, :, c : c + 1] for c in range(3)]
    small = [cv2.resize(to_grey8(la), size, interpolation=cv2.INTER_AREA) for la in layers]
    height, width = fixed if all(fixed) else (-(-n // STRIDE) * STRIDE for n in size[::-1])
    over = (0, height - size[1]), (0, width - size[0])
    padded = np.stack([np.pad(p, over, mode="edge") for p in small]).astype(np.float32) / 255
    return np.repeat(padded, channels // len(padded), 0)[None] if channels else padded[None]
