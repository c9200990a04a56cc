"""Pairs that the user names."""

from __future__ import annotations

from pathlib import Path

import pytest

from composer.errors import OptionError
from composer.records import Photo
from composer.stitching.candidates import check_pairs, named_pairs


def photo(name: str, gps: tuple[float, float] | None = None) -> Photo:
    return Photo(name, Path(name), 60, 40, 3, "uint8", gps=gps)


PHOTOS = tuple(photo(f"in/{name}") for name in ("a.jpg", "b.jpg", "c d.png", "e.tif", "f.jpg"))


def test_all_pairs() -> None:
    assert named_pairs("all", PHOTOS[:3], 5) == [(0, 1), (0, 2), (1, 2)]


def test_a_sequence_closes_its_ring() -> None:
    found = named_pairs("sequence", PHOTOS + tuple(photo(n) for n in "xyz"), 5)
    assert (0, 1) in found
    assert (0, 2) in found
    assert (0, 7) in found
    assert (0, 4) not in found
    assert len(found) == 16


def test_the_nearest_by_gps_across_the_date_line() -> None:
    places = [(10.0, 179.99), (10.0, -179.99), (10.0, 170.0), (10.0, 169.9)]
    photos = tuple(photo(f"{k}.jpg", gps) for k, gps in enumerate(places))
    assert named_pairs("gps", photos, 1) == [(0, 1), (2, 3)]


def test_photos_without_gps_are_named() -> None:
    with pytest.raises(OptionError, match=r"b\.jpg: has no GPS position \(1 such"):
        named_pairs("gps", (photo("a.jpg", (1, 2)), photo("b.jpg")), 5)


def test_a_file_names_pairs_by_stem_name_or_path(tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text("# by hand\nb a.jpg  # the first two\n\n'c d' in/e.tif\na b\n")
    assert named_pairs(str(file), PHOTOS, 5) == [(0, 1), (2, 3)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a b c", "line 1: 3 names; give two"),
        ("a b\na stranger", "line 2: no photo is called stranger"),
        ("a a.jpg", "line 1: a is paired with itself"),
        ("# nothing", "names no pairs"),
        ("'a b", "line 1: No closing quotation"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text(text)
    with pytest.raises(OptionError, match=said):
        named_pairs(str(file), PHOTOS, 5)


def test_a_name_that_two_photos_share_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text("a b")
    with pytest.raises(OptionError, match=r"line 1: a may be .*a\.jpg or other/a\.jpg; give the path"):
        named_pairs(str(file), (*PHOTOS, photo("other/a.jpg")), 5)


def test_a_missing_file_is_said_early() -> None:
    check_pairs("gps")
    with pytest.raises(OptionError, match=r"no file nowhere\.txt; give one, or auto, all, sequence, gps"):
        check_pairs("nowhere.txt")
