"""From photos to a stack: which photo is the reference, and where the others lie on it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend.channels import mean_channel
from composer.backend.parallel import over
from composer.errors import PhotoError
from composer.fusion.registration import FINE_MP, View, farthest, foreign, registered, shared, view_of
from composer.fusion.stack import Stack
from composer.media.decode import coarse, store_of
from composer.media.picture import as_float
from composer.records import Context, Event, Photo

Array = NDArray[Any]

__all__ = ["STILL_PX", "aligned", "best_exposed", "check_sizes", "small_grey"]

STILL_PX = 0.4  # photos that lie so well are not resampled
LEAST = 0.5  # of the smaller of two photos: those that share less show different views
WELL = 0.1, 0.9  # encoded grey that shows detail


def small_grey(photo: Photo, context: Context) -> Array:
    """Return a photo's brightness (h, w) float32, 0..1, at the size that alignment looks at."""
    small = store_of(context).pixels(photo, coarse(photo, FINE_MP))[:, :, : photo.channels]
    return mean_channel(as_float(small))


def best_exposed(photos: tuple[Photo, ...], context: Context) -> int:
    """Return the photo that shows most of the scene neither dark nor bright."""

    def share(photo: Photo) -> float:
        grey = small_grey(photo, context)
        return float(((grey > WELL[0]) & (grey < WELL[1])).mean())

    return int(np.argmax(over(context, "reference", share, photos)))


def check_sizes(photos: tuple[Photo, ...], reference: int) -> None:
    """Check that all photos have the reference's size.

    Raises
    ------
    PhotoError
    """
    frame = photos[reference]
    for photo in photos:
        if (photo.width, photo.height) != (frame.width, frame.height):
            raise PhotoError(
                f"{photo.name} is {photo.width} x {photo.height}, {frame.name} {frame.width} x "
                f"{frame.height} pixels: let them be aligned (align=auto), or give photos of one size"
            )


def aligned(
    photos: tuple[Photo, ...], reference: int, model: str, context: Context
) -> tuple[Stack, tuple[str, ...]]:
    """Find where photos lie on the reference.

    Photos that do not agree with the reference itself, as when exposures are far apart, are aligned with
    the nearest photo before them, in the order given, that is.

    Returns
    -------
    stack, and a sentence for each photo that had to be taken as it lies

    Raises
    ------
    PhotoError
        A photo of another size cannot be aligned, or one shows another view.
    """
    started = time.perf_counter()

    def look(photo: Photo) -> View:
        small = store_of(context).pixels(photo, coarse(photo, FINE_MP))
        return view_of(small[:, :, : photo.channels], (photo.width, photo.height))

    views = over(context, "look", look, photos)
    others = [k for k in range(len(photos)) if k != reference]
    direct = over(context, "align", lambda k: registered(views[reference], views[k], model), others)
    known: dict[int, Array | None] = {reference: np.eye(3), **dict(zip(others, direct, strict=True))}
    for k in sorted(others, key=lambda k: abs(k - reference)):
        step = 1 if k < reference else -1
        before = known[k + step]
        if known[k] is None and before is not None:
            found = registered(views[k + step], views[k], model)
            known[k] = None if found is None else found @ before
    notes = [
        f"{photos[k].name} does not match {photos[reference].name}; it was taken as it lies: leave it out if "
        "the result shows things twice"
        for k in others
        if known[k] is None
    ]
    for k in others:
        _check_view(views[reference], views[k], known[k], (photos[reference], photos[k]))
    moved = [_unless_still(known[k], photos[k], photos[reference]) for k in range(len(photos))]
    context.observe(Event("align", 1.0, time.perf_counter() - started))
    return Stack(photos, tuple(moved), reference), tuple(notes)


def _check_view(reference: View, view: View, matrix: Array | None, photos: tuple[Photo, Photo]) -> None:
    """Check that a photo can lie on the reference: what shows another view would show through.

    Raises
    ------
    PhotoError
    """
    names = f"{photos[1].name} and {photos[0].name}"
    if matrix is not None:
        part = shared(matrix, reference.size, view.size)
        if part < LEAST:
            raise PhotoError(
                f"{names} share {part:.0%} of what they show, too little to be fused: stitch joins photos "
                "that look different ways; or leave one out"
            )
    elif reference.size != view.size:
        sizes = " and ".join(f"{w} x {h}" for w, h in (view.size, reference.size))
        raise PhotoError(
            f"{names} do not match, and cannot be taken as they lie, being {sizes} pixels: leave one out"
        )
    elif foreign(reference, view):
        raise PhotoError(
            f"{names} show different things: leave one out, or fuse them as they lie (align=none)"
        )


def _unless_still(matrix: Array | None, photo: Photo, frame: Photo) -> Array | None:
    """Return a matrix, or None where a photo lies so well that it need not be resampled."""
    size = frame.width, frame.height
    if matrix is None or ((photo.width, photo.height) == size and farthest(matrix, size) < STILL_PX):
        return None
    return matrix / matrix[2, 2]
