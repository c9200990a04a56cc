import numpy as np
import pytest

from composer.errors import PhotoError
from composer.media.inputs import expand


@pytest.fixture
def folder(tmp_path):
    for name in ("10.jpg", "2.JPG", "1.png", ".hidden.jpg", "notes.txt", "b3.tif", "B2.webp"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub.jpg").mkdir()
    return tmp_path


def names(found):
    return [p.name for p in found]


def test_folder_in_natural_order(folder):
    assert names(expand([folder])) == ["1.png", "2.JPG", "10.jpg", "B2.webp", "b3.tif"]
    assert names(expand([str(folder)])) == names(expand([folder]))


def test_pattern_in_natural_order(folder):
    assert names(expand([f"{folder}/*.[jJ][pP][gG]"])) == ["2.JPG", "10.jpg"]
    assert names(expand([folder / "1*"])) == ["1.png", "10.jpg"]


def test_pattern_over_folders_keeps_folders_together(tmp_path):
    for name in ("day 10", "day 2"):
        (tmp_path / name).mkdir()
        for number in (1, 12, 3):
            (tmp_path / name / f"{number}.jpg").write_bytes(b"x")
    found = [str(p.relative_to(tmp_path)) for p in expand([f"{tmp_path}/**/*.jpg"])]
    assert found == [f"day {d}/{n}.jpg" for d in (2, 10) for n in (1, 3, 12)]


def test_order_of_arguments_is_kept(folder):
    array = np.zeros((2, 2), np.uint8)
    found = expand([folder / "b3.tif", array, str(folder / "1.png")])
    assert found[1] is array
    assert [found[0], found[2]] == [folder / "b3.tif", folder / "1.png"]


def test_brackets_in_a_name_that_exists(tmp_path):
    (tmp_path / "a[1].jpg").write_bytes(b"x")
    (tmp_path / "a1.jpg").write_bytes(b"x")
    assert names(expand([tmp_path / "a[1].jpg"])) == ["a[1].jpg"]
    (tmp_path / "a[1].jpg").unlink()
    assert names(expand([tmp_path / "a[1].jpg"])) == ["a1.jpg"]


def test_superscripts_and_other_digits(tmp_path):
    for name in ("²", "10", "٣", "1²3"):
        (tmp_path / f"{name}.jpg").write_bytes(b"x")
    assert len(expand([tmp_path])) == 4


def test_missing_file_is_left_to_the_reader(tmp_path):
    assert expand([tmp_path / "none.jpg"]) == [tmp_path / "none.jpg"]
    assert len(expand(["x" * 5000])) == 1


@pytest.mark.parametrize("inside", [[], ["notes.txt"], [".hidden.jpg"]])
def test_folder_without_photographs(tmp_path, inside):
    for name in inside:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(PhotoError, match=r"has no photographs .*; name another"):
        expand([tmp_path])


def test_pattern_without_match(folder):
    for pattern in ("*.jpeg", "sub.*"):
        with pytest.raises(PhotoError, match="matches no file; check"):
            expand([f"{folder}/{pattern}"])


def test_unreadable_folder(folder, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", denied)  # root may read everything
    with pytest.raises(PhotoError, match="permission denied; make"):
        expand([folder])


def test_photographs_further_down_are_pointed_at(tmp_path):
    (tmp_path / "day").mkdir()
    with pytest.raises(PhotoError, match="name a folder in it, or stitch these with --each"):
        expand([tmp_path])


def test_kinds_that_are_not_read_are_named_where_asked(folder):
    for name in ("a.HEIC", "2.NEF", "c.dng", ".d.heic", "e.gif"):
        (folder / name).write_bytes(b"x")
    assert [n for n in names(expand([folder], unread=True)) if n not in names(expand([folder]))] == [
        "a.HEIC", "c.dng",
    ]  # fmt: skip
