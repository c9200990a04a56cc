"""composer: stitch, blend and repair photographs. Importing it imports neither torch nor cupy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from composer.api.evaluating import evaluate
    from composer.api.refining import refine
    from composer.api.stitching import run, stitch
    from composer.errors import ComposerError
    from composer.pipeline import Pipeline
    from composer.records import Camera, Composition, Context, Layer, Patch, Photo, Tile
    from composer.results import Panorama, Refined, Stitched

__version__ = "0.1.0"

__all__ = [
    "Camera",
    "ComposerError",
    "Composition",
    "Context",
    "Layer",
    "Panorama",
    "Patch",
    "Photo",
    "Pipeline",
    "Refined",
    "Stitched",
    "Tile",
    "evaluate",
    "refine",
    "run",
    "stitch",
]

_HOMES = {
    "ComposerError": "errors",
    "Panorama": "results",
    "Pipeline": "pipeline",
    "Stitched": "results",
    "Refined": "results",
    "evaluate": "api.evaluating",
    "refine": "api.refining",
    "run": "api.stitching",
    "stitch": "api.stitching",
}


def __getattr__(name: str) -> Any:
    """Import public names when first used: the command's help must not wait for OpenCV."""
    if name not in __all__:
        raise AttributeError(f"module 'composer' has no attribute {name!r}")
    return getattr(import_module(f"composer.{_HOMES.get(name, 'records')}"), name)
