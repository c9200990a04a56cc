import json
import zipfile
from dataclasses import MISSING, fields, replace

import numpy as np
import pytest
from PIL import Image

from composer.errors import ComposerError, OutputError, PhotoError
from composer.media import archive
from composer.media.archive import load_plan, save_plan
from composer.media.header import photo_from_array, read_photo
from composer.records import Camera, Composition, Layer, Link, Patch, Plan, Rect, Unused
from tests.media.pictures import picture


def photograph(path, seed=0):
    Image.fromarray(picture(seed=seed)).save(path)
    return read_photo(path)


def layer(photo, k):
    turn = np.linalg.qr(np.random.default_rng(k).normal(size=(3, 3)))[0]
    camera = Camera(turn, 1234.5678901234567 / 3, (0.1 / 3, -2e-17, 0.0), (0.1, -1 / 3), "equisolid", 7 / 3)
    mesh = np.random.default_rng(k).random((3, 4, 2), np.float32)
    return Layer(
        photo, camera, (1 / 3, 1.0, 0.7), (-0.1 / 7, 0.0, 1e-300), Rect(-5, 0, 40, 30), mesh, 2 * mesh, k
    )


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "photos").mkdir()
    photos = [photograph(tmp_path / "photos" / f"{k} ä.png", k) for k in range(3)]
    rng = np.random.default_rng(0)
    patch = Patch(
        Rect(1, 2, 4, 6), rng.random((4, 3, 3), np.float32), rng.random((4, 3), np.float32), "clone"
    )
    first = Composition(
        tuple(layer(p, k) for k, p in enumerate(photos[:2])), "sphere", 640, 320, 2 / 3 * 100,
        (-1e3 / 7, 0.1), closed=True, white=3.7 / 3, seam_step=2.5, low_bands_step=16 / 3,
        seams=rng.integers(0, 2, (128, 256)).astype(np.int16), rms_px=0.1 + 0.2, patches=(patch, patch),
        low_bands=rng.random((20, 40, 3), np.float32), links=(Link(0, 1, 25, 1 / 3),),
        project="# ä \udce4\r\np w1\n",
    )  # fmt: skip
    named = [f.name for f in fields(Composition) if f.default is not MISSING]
    assert not [n for n in named if getattr(first, n) is getattr(Composition, n, None)]  # nothing is left out
    second = Composition((layer(photos[2], 9),), "plane", 10, 20, 1.0, (0.0, 0.0))
    return Plan((first, second), (Unused("a.jpg", "no overlap"),))


def assert_equal(one, other):
    """Compare records field by field, arrays bit by bit."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif hasattr(one, "__dataclass_fields__"):
        for field in fields(one):
            assert_equal(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    else:
        assert one == other


def test_everything_comes_back(tmp_path, plan):
    save_plan(tmp_path / "a.comp", plan)
    assert_equal(load_plan(tmp_path / "a.comp"), plan)


def test_numpy_numbers_are_saved_too(tmp_path, plan):
    odd = replace(
        plan.compositions[0], width=np.int64(640), scale=np.float32(0.1), closed=np.bool_(True),
        rms_px=np.float64(1 / 3),
    )  # fmt: skip
    save_plan(tmp_path / "a.comp", Plan((odd,)))
    found = load_plan(tmp_path / "a.comp").compositions[0]
    assert (found.width, found.scale, found.closed, found.rms_px) == (
        640,
        float(np.float32(0.1)),
        True,
        1 / 3,
    )


def test_folder_may_be_moved(tmp_path, plan):
    save_plan(tmp_path / "photos" / "a.comp", plan)
    (tmp_path / "photos").rename(tmp_path / "moved")
    found = load_plan(tmp_path / "moved" / "a.comp")
    assert found.compositions[0].layers[1].photo.path == tmp_path / "moved" / "1 ä.png"


def test_relative_names(tmp_path, plan, monkeypatch):
    monkeypatch.chdir(tmp_path / "photos")
    photo = read_photo("0 ä.png")
    save_plan(tmp_path / "a.comp", Plan((replace(plan.compositions[1], layers=(layer(photo, 0),)),)))
    monkeypatch.chdir("/")
    assert (
        load_plan(tmp_path / "a.comp").compositions[0].layers[0].photo.path == tmp_path / "photos" / "0 ä.png"
    )


def test_photo_changed_or_gone(tmp_path, plan):
    save_plan(tmp_path / "a.comp", plan)
    path = tmp_path / "photos" / "0 ä.png"
    photograph(path, 77)
    with pytest.raises(PhotoError, match=r"0 ä\.png: has changed .*; stitch again"):
        load_plan(tmp_path / "a.comp")
    path.unlink()
    with pytest.raises(PhotoError, match=r"0 ä\.png: .* is gone; put it back"):
        load_plan(tmp_path / "a.comp")


def test_arrays_cannot_be_saved(tmp_path, plan):
    photo = photo_from_array(picture(), "photo 1")
    with pytest.raises(ComposerError, match="photo 1 was given as an array; save"):
        save_plan(tmp_path / "a.comp", Plan((replace(plan.compositions[1], layers=(layer(photo, 0),)),)))
    assert not (tmp_path / "a.comp").exists()


def zipped(path, **members):
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name.replace("_", "."), data)


def test_other_files_are_refused(tmp_path, plan):
    path = tmp_path / "a.comp"
    save_plan(path, plan)
    good = path.read_bytes()
    harmed = bytearray(good)
    harmed[len(good) // 2] ^= 255
    for data in (b"", b"text", good[: len(good) // 2], good[-300:], bytes(harmed)):
        path.write_bytes(data)
        with pytest.raises(ComposerError, match=r"a\.comp: not a file written by --save"):
            load_plan(path)
    for about in ("[]", "{}", "null", '{"format": "other", "version": 1}', "{", '"x"'):
        zipped(path, compositions_json=about)
        with pytest.raises(ComposerError, match=r"a\.comp: not a file written by --save"):
            load_plan(path)
    with pytest.raises(ComposerError, match="no such file"):
        load_plan(tmp_path / "none")
    with pytest.raises(ComposerError, match="is a folder"):
        load_plan(tmp_path)


def test_newer_versions_are_refused(tmp_path):
    about = {"format": archive.FORMAT, "version": archive.VERSION + 1}
    zipped(tmp_path / "a.comp", compositions_json=json.dumps(about))
    with pytest.raises(ComposerError, match="newer composer; update"):
        load_plan(tmp_path / "a.comp")


def test_pickles_are_never_loaded(tmp_path, plan):
    save_plan(tmp_path / "a.comp", plan)
    with zipfile.ZipFile(tmp_path / "a.comp") as file:
        members = {n: file.read(n) for n in file.namelist()}
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], object), allow_pickle=True)
    members["0/seams.npy"] = (tmp_path / "evil.npy").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.comp", "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    with pytest.raises(ComposerError, match="not a file written by --save"):
        load_plan(tmp_path / "a.comp")
    with pytest.raises(ValueError, match=r"pickle|Object arrays"):
        save_plan(tmp_path / "b.comp", Plan((replace(plan.compositions[0], seams=np.array([{}], object)),)))
    assert not (tmp_path / "b.comp").exists()


def test_old_file_survives_a_failure(tmp_path, plan, monkeypatch):
    path = tmp_path / "a.comp"
    save_plan(path, plan)
    before = path.read_bytes()

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.np, "save", full)
    with pytest.raises(OutputError, match="No space left"):
        save_plan(path, plan)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.comp", "photos"]
