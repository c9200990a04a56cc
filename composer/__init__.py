"""Stitch, fuse, clone, harmonize, repair and refine photographs; evaluate what came of it.

The verbs are functions: `stitch`, `fuse`, `clone`, `harmonize`, `repair`, `refine`, `run`, `evaluate`,
`train_refiner` and others. They take paths, arrays in RGB or Pillow's images, and return a result whose
`image` is the picture as an array (of `stitch`: each of its `panoramas`), or write it where `output` says.
`repair_each`, `run_each` and `stitch_each` take folders. What goes wrong is a `ComposerError`. Importing
composer imports neither torch nor cupy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from composer.api.batches import repair_each, run_each, stitch_each
    from composer.api.cloning import clone
    from composer.api.evaluating import evaluate
    from composer.api.fusing import fuse
    from composer.api.harmonizing import harmonize
    from composer.api.refining import refine
    from composer.api.repairing import repair
    from composer.api.stitching import run, stitch
    from composer.api.training import train_burst, train_detector, train_refiner
    from composer.batch import Batch
    from composer.errors import ComposerError
    from composer.pipeline import Pipeline
    from composer.records import Camera, Composition, Context, Fault, Layer, Patch, Photo, Tile
    from composer.results import (
        Changed,
        Cloned,
        Evaluation,
        Fused,
        Harmonized,
        Panorama,
        Refined,
        Repaired,
        Stitched,
    )

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Camera",
    "Changed",
    "Cloned",
    "ComposerError",
    "Composition",
    "Context",
    "Evaluation",
    "Fault",
    "Fused",
    "Harmonized",
    "Layer",
    "Panorama",
    "Patch",
    "Photo",
    "Pipeline",
    "Refined",
    "Repaired",
    "Stitched",
    "Tile",
    "clone",
    "evaluate",
    "fuse",
    "harmonize",
    "refine",
    "repair",
    "repair_each",
    "run",
    "run_each",
    "stitch",
    "stitch_each",
    "train_burst",
    "train_detector",
    "train_refiner",
]

_HOMES = {
    "Batch": "batch",
    "Changed": "results",
    "Cloned": "results",
    "ComposerError": "errors",
    "Evaluation": "results",
    "Fused": "results",
    "Harmonized": "results",
    "Panorama": "results",
    "Pipeline": "pipeline",
    "Refined": "results",
    "Repaired": "results",
    "Stitched": "results",
    "clone": "api.cloning",
    "evaluate": "api.evaluating",
    "fuse": "api.fusing",
    "harmonize": "api.harmonizing",
    "refine": "api.refining",
    "repair": "api.repairing",
    "repair_each": "api.batches",
    "run": "api.stitching",
    "run_each": "api.batches",
    "stitch": "api.stitching",
    "stitch_each": "api.batches",
    "train_burst": "api.training",
    "train_detector": "api.training",
    "train_refiner": "api.training",
}

_MODULES = "errors", "pipeline", "records", "results", "samples"  # whose further names people use


def __getattr__(name: str) -> Any:
    """Import public names when first used: the command's help must not wait for OpenCV."""
    if name in _MODULES:
        return import_module(f"composer.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'composer' has no attribute {name!r}")
    return getattr(import_module(f"composer.{_HOMES.get(name, 'records')}"), name)


def __dir__() -> list[str]:
    """Name what may be imported too: a person's shell completes names by it."""
    return sorted({*globals(), *__all__, *_MODULES})
