"""Photographs to learn from: some to train on, some held out to judge by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from composer.errors import TrainingError

Array = NDArray[Any]

__all__ = ["Split"]


@dataclass(frozen=True)
class Split:
    """Photographs (H, W, 3) uint8 to train on, those held out, and a hash of all."""

    train: tuple[Array, ...]
    held_out: tuple[Array, ...]
    digest: str

    @staticmethod
    def of(photos: list[Array]) -> Split:
        """Hold out every sixth photograph.

        Raises
        ------
        TrainingError
        """
        if len(photos) < 6:
            raise TrainingError(f"{len(photos)} photographs are too few to train on; give at least 6")
        digest = hashlib.sha256(b"".join(hashlib.sha256(p.tobytes()).digest() for p in photos))
        kept = [p for k, p in enumerate(photos) if k % 6 != 5]
        return Split(tuple(kept), tuple(photos[5::6]), digest.hexdigest())
