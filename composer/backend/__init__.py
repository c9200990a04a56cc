"""The one place that knows CPU from GPU: namespaces, transfers, primitives."""

from composer.backend.device import resolve_device, to_device, to_numpy
from composer.backend.primitives import (
    dct,
    distance_transform,
    dst,
    fft,
    gaussian,
    label,
    lookup,
    namespace,
    pyr_down,
    pyr_up,
    remap,
    resize,
    scaled,
)

__all__ = [
    "dct",
    "distance_transform",
    "dst",
    "fft",
    "gaussian",
    "label",
    "lookup",
    "namespace",
    "pyr_down",
    "pyr_up",
    "remap",
    "resize",
    "resolve_device",
    "scaled",
    "to_device",
    "to_numpy",
]
