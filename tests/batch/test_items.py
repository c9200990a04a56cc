import os
from pathlib import Path

import pytest

from composer.batch import files_below, folders_below
from composer.batch.tasks import Task, perform
from composer.errors import OptionError, OutputError, PhotoError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("10.jpg", "2.JPG", "notes.txt", ".hidden.jpg", "day/1.tif", "day/far/x.bmp", ".cache/y.jpg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return Path("in")


def results(items):
    return [str(i.output) for i in items]


def test_outputs_mirror_the_tree(tree):
    items = files_below([tree], "out")
    assert results(items) == ["out/2.JPG", "out/10.jpg", "out/day/1.tif", "out/day/far/x.png"]
    assert [i.name for i in items] == ["2.JPG", "10.jpg", "day/1.tif", "day/far/x.bmp"]
    assert [i.files for i in items] == [(i.source,) for i in items]


def test_of_several_folders_each_keeps_its_name(tree):
    assert results(files_below([tree / "day", tree / "day" / "far"], "out")) == [
        "out/day/1.tif", "out/day/far/x.png", "out/far/x.png",
    ]  # fmt: skip


def test_patterns_mirror_from_their_first_wildcard(tree):
    assert results(files_below(["in/**/*.[tb]*"], "out")) == ["out/day/1.tif", "out/day/far/x.png"]
    assert results(files_below(["in/day/1.tif", "in/10.jpg"], "out")) == ["out/1.tif", "out/10.jpg"]


def test_suffix_puts_results_beside_photographs_and_knows_them_again(tree):
    assert results(files_below([tree], tree, "_new")) == results(files_below([tree], suffix="_new"))
    items = files_below([tree], suffix="_new")
    assert results(items)[0] == "in/2_new.JPG"
    for item in items:
        item.output.write_bytes(b"y")
    assert files_below([tree], suffix="_new") == items


def test_a_folder_for_results_inside_is_not_searched(tree):
    items = files_below([tree], tree / "out")
    (tree / "out").mkdir()
    (tree / "out" / "10.jpg").write_bytes(b"y")
    assert files_below([tree], tree / "out") == items
    assert results(files_below(["in/**/*.jpg"], tree / "out")) == ["in/out/10.jpg"]


def test_a_file_named_twice_is_done_once(tree):
    assert len(files_below(["in/10.jpg", "in/*.jpg"], "out")) == 1


def test_a_folder_below_that_cannot_be_listed_is_set_aside(tree, monkeypatch):
    listed = {"scandir": os.scandir, "listdir": os.listdir}

    def refusing(name):
        def call(path="."):
            if Path(path).name == "far":
                raise PermissionError(13, "Permission denied", str(path))
            return listed[name](path)

        return call

    for name in listed:
        monkeypatch.setattr(os, name, refusing(name))
    items = files_below([tree], "out")
    assert [i.name for i in items] == ["2.JPG", "10.jpg", "day/1.tif", "day/far"]
    assert [i.name for i in folders_below([tree], "out")] == ["day", "day/far"]
    answer = perform(Task(0, items[3].source, items[3].output, Path("scratch"), items[3].files, "", {}))
    assert (answer.state, answer.reason) == ("failed", "Permission denied")
    with pytest.raises(PhotoError, match="far: cannot be listed"):
        files_below([tree / "day" / "far"], "out")


@pytest.mark.parametrize(
    ("sources", "options", "error", "said"),
    [
        (["in"], {}, OptionError, "give a folder"),
        (["in"], {"folder": "in"}, OutputError, "is one of the inputs"),
        (["in/10.jpg"], {"folder": "in"}, OutputError, "is one of the inputs"),
        (["in/10.jpg", "in/day/10.jpg"], {"folder": "out"}, OutputError, "would both become out/10.jpg"),
        (["in/day", "in/day/2.bmp"], {"folder": "out"}, OutputError, "would both become out/2.png"),
        (["in/none.jpg"], {"folder": "out"}, PhotoError, "none.jpg"),
        (["in/*.webp"], {"folder": "out"}, PhotoError, "webp"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(tree, sources, options, error, said):
    for name in ("10.jpg", "2.bmp", "2.png"):
        (tree / "day" / name).write_bytes(b"x")
    with pytest.raises(error, match=said):
        files_below(sources, **options)


def test_folders_of_photographs(tree):
    items = folders_below([tree], "out", ".tif")
    assert [(i.name, str(i.output)) for i in items] == [
        ("day", "out/day.tif"),
        ("day/far", "out/day/far.tif"),
    ]
    assert items[0].files == (tree / "day" / "1.tif",)
    assert [(i.name, i.source) for i in folders_below([tree / "day" / "far"], "out")] == [
        ("far", tree / "day" / "far")
    ]
    with pytest.raises(PhotoError, match="is no folder"):
        folders_below(["in/10.jpg"], "out")


def test_a_suffix_leads_to_no_other_folder(tree):
    with pytest.raises(OptionError, match="leave out slashes"):
        files_below([tree], "out", "/../x")


def test_a_name_that_is_nothing_is_told(tree):
    with pytest.raises(PhotoError, match="nothing: no such file"):
        files_below([tree, "nothing"], "out")


def test_photographs_of_kinds_that_are_not_read_are_items_too(tree):
    for name in ("day/2.heic", "day/1.dng"):
        (tree / name).write_bytes(b"x")
    assert [i.name for i in files_below([tree / "day"], "out")] == ["1.tif", "2.heic", "far/x.bmp"]
