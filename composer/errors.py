"""Every error that composer raises on purpose; each message says what is wrong and what to do."""

from __future__ import annotations

__all__ = [
    "BatchError",
    "Cancelled",
    "ComposerError",
    "DeviceError",
    "ImageTooLarge",
    "NothingToFuse",
    "NothingToStitch",
    "OptionError",
    "OutputError",
    "PhotoError",
    "PipelineError",
    "SolverError",
    "TrainingError",
    "WeightsError",
]


class ComposerError(Exception):
    """Base of all errors that composer raises on purpose."""


class PhotoError(ComposerError):
    """A photograph cannot be read: missing, empty, cut short, or not an image."""


class ImageTooLarge(PhotoError):
    """Decoding an image would need more memory than allowed."""


class OutputError(ComposerError):
    """An output cannot be written: folder, permission, disk, or a limit of the file format."""


class OptionError(ComposerError, ValueError):
    """An option has a value that makes no sense."""


class PipelineError(ComposerError):
    """A pipeline's stages are unknown, misspelt, or do not fit each other."""


class BatchError(ComposerError):
    """A batch cannot run: its folder is in use, or its workers do not start."""


class DeviceError(ComposerError):
    """The device asked for cannot be used."""


class SolverError(ComposerError):
    """A solver did not reach the accuracy asked for.

    Attributes
    ----------
    residual : float
        What it did reach.
    """

    def __init__(self, message: str, residual: float = 0.0) -> None:
        super().__init__(message)
        self.residual = residual


class NothingToStitch(ComposerError):
    """No two photographs overlap.

    Attributes
    ----------
    unused : tuple of Unused
        Every photograph given, with the reason why it was left out.
    """

    def __init__(self, message: str, unused: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.unused = unused


class NothingToFuse(ComposerError):
    """Fewer than two photographs are left to fuse."""


class Cancelled(ComposerError):
    """The caller asked to stop."""


class WeightsError(ComposerError):
    """A file of learned weights is missing, damaged, a pickle, or made for something else."""


class TrainingError(ComposerError):
    """Training cannot begin or go on: too few photographs, or a run that does not fit its options."""
