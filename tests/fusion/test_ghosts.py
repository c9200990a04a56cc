"""Moving things are told from what the exposure explains."""

from __future__ import annotations

import numpy as np

import composer
from composer.fusion.ghosts import find_moved
from composer.records import to_encoded, to_linear
from composer.samples import picture


def exposures(stops: float) -> tuple[np.ndarray, np.ndarray]:
    photo = picture("coffee.png").astype(np.float32) / 255
    return photo, np.clip(to_encoded(to_linear(photo) * np.float32(2**stops)), 0, 1)


def test_another_exposure_is_no_ghost() -> None:
    for stops in (-3, 2):
        assert find_moved(*exposures(stops)).still.mean() > 0.99


def test_a_thing_that_came_is_a_ghost_and_the_rest_is_not() -> None:
    for stops in (-2, 2):
        reference, photo = exposures(stops)
        photo = photo.copy()
        photo[120:180, 300:360] = 0.9 if stops < 0 else 0.1
        share = find_moved(reference, photo).still
        assert share[125:175, 305:355].mean() < 0.1
        share[100:200, 280:380] = 1
        assert share.mean() > 0.98


def test_what_is_not_valid_is_no_ghost() -> None:
    reference, photo = exposures(1)
    valid = np.ones(photo.shape[:2], bool)
    valid[:, :50] = False
    photo = photo.copy()
    photo[:, :50] = 0
    assert find_moved(reference, photo, valid).still.mean() > 0.99


def stacks() -> list[list[np.ndarray]]:
    """Return exposures by 0, -2 and 2 stops, and the same with something in the last that the others lack."""
    (first, dark), (_, bright) = exposures(-2), exposures(2)
    spoiled = bright.copy()
    spoiled[120:220, 260:400] = (0.1, 0.2, 0.7)
    return [[np.rint(255 * p).astype(np.uint8) for p in (first, dark, last)] for last in (bright, spoiled)]


def test_a_ghost_leaves_no_halo_and_no_other_exposure() -> None:
    both = stacks()
    wanted, kept = (composer.fuse(s, align="none", reference="photo 2").image.astype(float) for s in both)
    found = composer.fuse(both[1], align="none", reference="photo 2", ghosts="remove").image.astype(float)
    near = np.s_[90:250, 230:430]
    assert np.abs(found - wanted)[near].mean() < 7 < 15 < np.abs(kept - wanted)[near].mean()


def test_hdr_without_what_moved() -> None:
    both = [[dark, first, last] for first, dark, last in stacks()]
    wanted, kept = (composer.fuse(s, method="hdr", align="none").image.astype(float) for s in both)
    found = composer.fuse(both[1], method="hdr", align="none", ghosts="remove").image.astype(float)
    near = np.s_[120:220, 260:400]
    assert np.abs(found - wanted)[near].mean() < 6 < 20 < np.abs(kept - wanted)[near].mean()
