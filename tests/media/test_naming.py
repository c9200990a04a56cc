"""One way to say which photo is meant."""

from __future__ import annotations

import pytest

from composer.media.naming import naming

NAMES = ["day/a.jpg", "day/b.jpg", "night/a.jpg", "c", "c.png"]


@pytest.mark.parametrize(
    ("word", "index"), [("day/a.jpg", 0), ("b.jpg", 1), ("b", 1), ("night/a.jpg", 2), ("c", 3)]
)
def test_a_name_comes_before_a_file_name_and_that_before_a_stem(word: str, index: int) -> None:
    assert naming(NAMES)(word) == index


@pytest.mark.parametrize(
    ("word", "why"),
    [("a.jpg", "may be day/a.jpg or night/a.jpg; give the path"), ("z", "no photo is called z")],
)
def test_what_names_none_or_several_is_refused(word: str, why: str) -> None:
    with pytest.raises(LookupError, match=why):
        naming(NAMES)(word)
