"""What the stages say of photos that they leave out."""

from __future__ import annotations

import pytest

from composer.errors import NothingToStitch
from composer.records import Context, Photo
from composer.stitching.stages import EstimateCameras, MatchGraph


@pytest.mark.parametrize(("matches", "reason"), [(250, "--lens-fov"), (12, "overlap")])
def test_photos_that_share_much_but_no_geometry_are_told_of_the_lens(matches: int, reason: str) -> None:
    photos = tuple(Photo(name, None, 600, 400, 3, "uint8") for name in ("one", "two"))
    with pytest.raises(NothingToStitch) as error:
        EstimateCameras()(MatchGraph(photos, (), (matches, matches)), Context())
    assert all(reason in text for text in (str(error.value), *(u.reason for u in error.value.unused)))
