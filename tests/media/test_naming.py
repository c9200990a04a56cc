"""One way to say which photo is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from composer.media.naming import named_like, naming

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


def test_as_much_of_a_path_counts_as_there_is(tmp_path: Path) -> None:
    for name in ("a.png", "day/a.png", "b.jpg.png", "b.png", "b.txt", "c.png", "c.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")

    def found(photo: str) -> list[str]:
        return [str(p.relative_to(tmp_path)) for p in named_like(Path(photo), tmp_path)]

    assert found("photos/day/a.jpg") == ["day/a.png"]
    assert found("photos/night/a.jpg") == found("../a.jpg") == ["a.png"]
    assert found("b.jpg") == ["b.jpg.png"]
    assert found("b.tif") == ["b.png"]
    assert found("c.jpg") == ["c.png", "c.tif"]
    assert found("d.jpg") == []
