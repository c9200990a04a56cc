"""The job of benchmarks/batch.py, for worker processes: smooth a photograph and write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2

from composer.media.picture import read_picture, write_picture


def smooth(source: str, output: str, options: dict[str, Any]) -> dict[str, Any]:
    """Filter a photograph with a bilateral filter, as a stand-in for a repair."""
    cv2.setNumThreads(1)
    found = read_picture(source, "photo")
    pixels = cv2.bilateralFilter(found.pixels, options["diameter"], 20, 5)
    write_picture(Path(output), pixels, None, found)
    return {"width": pixels.shape[1], "height": pixels.shape[0]}


def smooth_file(pair: tuple[str, str, int]) -> str:
    """Do the same for a pool without a journal; returns the reason where it fails."""
    try:
        smooth(pair[0], pair[1], {"diameter": pair[2]})
    except Exception as error:  # noqa: BLE001
        return str(error)
    return ""
