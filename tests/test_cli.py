"""The commands: what they print, write and return."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import struct
import subprocess
import sys
import zlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import composer
from composer.api.evaluating import FIGURES
from composer.cli import app
from composer.pipeline import stitching
from composer.samples import photograph, room


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for k, pixels in enumerate(room()):
        Image.fromarray(pixels).save(folder / f"{k}.jpg", quality=95)
    return folder


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_stitch_writes_what_the_function_returns(photos: Path, tmp_path: Path) -> None:
    out, summary = tmp_path / "out.png", tmp_path / "s.json"
    status, said = call("stitch", photos, "-o", out, "--summary", summary, "--device", "cpu")
    assert status == 0
    assert "3 photos" in said
    same = composer.stitch(photos, device="cpu").panoramas[0]
    written = pixels_of(out)
    assert np.array_equal(written[:, :, :3], same.image)
    assert np.array_equal(written[:, :, 3] > 0, same.valid)
    (panorama,) = json.loads(summary.read_text())["panoramas"]
    assert panorama["width"] == written.shape[1]
    assert panorama["photos"] == [str(photos / f"{k}.jpg") for k in range(3)]
    assert panorama["notes"] == []


def test_save_and_load(photos: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    assert call("stitch", photos, "-o", tmp_path / "a.png", "--save", plan, "-q")[0] == 0
    assert call("stitch", "--load", plan, "-o", tmp_path / "b.png", "-q")[0] == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert call("stitch", "--load", plan, "-o", tmp_path / "c.png", "--preview", 200, "-q")[0] == 0
    assert pixels_of(tmp_path / "c.png").shape[1] == 200


def test_layers_and_deep_zoom(photos: Path, tmp_path: Path) -> None:
    out, layers = tmp_path / "out.dzi", tmp_path / "l.tif"
    assert call("stitch", photos, "-o", out, "--layers", layers, "--max-memory", 64, "-q")[0] == 0
    assert {p.name for p in tmp_path.iterdir()} == {"out.dzi", "out_files", "l.tif"}
    with Image.open(layers) as image:
        assert image.n_frames == 6
    status, said = call("stitch", photos, "-o", tmp_path / "a.jpg", "--layers", tmp_path / "l.jpg")
    assert status == 1
    assert "layers are written as TIFF" in said


def test_a_template_places_other_photos(photos: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    assert call("stitch", photos, "-o", tmp_path / "a.png", "--save", plan, "-q")[0] == 0
    status, _ = call("stitch", "--template", plan, photos, "-o", tmp_path / "b.png", "-q")
    assert status == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    status, said = call("stitch", "--template", plan, "-o", tmp_path / "c.png")
    assert status == 2
    status, said = call("stitch", photos, "-o", tmp_path / "c.png", "--save", tmp_path / "plan.pto")
    assert status == 1
    assert "outside the project's folder" in said
    assert "match" not in said  # nothing was computed for it


def test_run_and_set(photos: Path, tmp_path: Path) -> None:
    chain = tmp_path / "p.toml"
    chain.write_text(stitching().to_toml())
    out = tmp_path / "out.jpg"
    status, _ = call(
        "run", chain, photos, "-o", out, "--set", "lay-out.projection=sphere", "--set", "lay-out.width=400"
    )
    assert status == 0
    assert pixels_of(out).shape[1] == 400


def test_left_out_photos_are_said_and_status_is_0(photos: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.jpg"
    Image.fromarray(photograph(180, seed=4).pixels).save(stranger)
    half = tmp_path / "half.jpg"
    whole = (photos / "0.jpg").read_bytes()
    half.write_bytes(whole[: len(whole) // 2])
    status, said = call("stitch", photos, stranger, half, "-o", tmp_path / "o.jpg")
    assert status == 0
    assert f"left out  {stranger}: overlaps no other photo" in said
    assert f"left out  {half}: cannot be decoded" in said


def bomb(path: Path) -> None:
    """Write a PNG of 40000 x 40000 black pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )


BAD = ["missing", "empty", "half", "text", "tiny", "identical", "apart", "bomb", "nowhere", "suffix"]


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line_and_leaves_nothing(case: str, photos: Path, tmp_path: Path) -> None:
    inside, results = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    results.mkdir()
    good, bad, out = photos / "0.jpg", inside / "bad.jpg", results / "o.jpg"
    whole = good.read_bytes()
    expected = {
        "missing": "no such file",
        "empty": "is empty",
        "half": "cut short",
        "text": "not an image",
        "tiny": "fewer than two usable photos|no two photos overlap",
        "identical": "the same file as",
        "apart": "no two photos overlap",
        "bomb": "bad.jpg: 40000 x 40000 pixels need",
        "nowhere": "does not exist",
        "suffix": "cannot write .xyz",
    }[case]
    if case == "empty":
        bad.write_bytes(b"")
    elif case in ("half", "nowhere", "suffix", "identical"):
        bad.write_bytes(whole if case == "identical" else whole[: len(whole) // 2])
    elif case == "text":
        bad.write_text("not a picture")
    elif case == "tiny":
        Image.new("RGB", (1, 1)).save(bad)
    elif case == "apart":
        Image.fromarray(photograph(180, seed=3).pixels).save(bad)
    elif case == "bomb":
        bomb(bad)
    if case == "nowhere":
        out = tmp_path / "no" / "such" / "folder.jpg"
    if case == "suffix":
        out = results / "o.xyz"
    status, said = call("stitch", good, bad, "-o", out, "-q")
    assert status == 1
    lines = [line for line in said.splitlines() if line.startswith("composer: ")]
    assert len(lines) == 1
    assert re.search(expected, said)
    assert "Traceback" not in said
    assert list(results.iterdir()) == []


def test_an_unwritable_folder_is_refused_before_any_work(photos: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    status, said = call("stitch", photos, "-o", folder / "o.jpg")
    assert status == 1
    assert "not writable" in said


def test_wrong_usage_is_status_2(photos: Path, tmp_path: Path) -> None:
    assert call("stitch", "-o", tmp_path / "o.jpg")[0] == 2
    assert call("stitch", photos)[0] == 2
    assert call("stitch", photos, "-o", tmp_path / "o.jpg", "--projection", "globe")[0] == 2
    for words in (
        ("stitch", photos, "--fov", "axb"), ("stitch", photos, "--fov", "nan"),
        ("stitch", photos, "--set", "a"), ("stitch", photos, "--patch", "down"),
        ("repair", photos / "0.jpg", "--box", "1,2,3"),
    ):  # fmt: skip
        status, said = call(*words, "-o", tmp_path / "o.jpg", "-q")
        assert (status, said.startswith(f"composer: {words[2]} {words[3]}: ")) == (2, True)


def test_nothing_to_stitch_still_writes_the_summary(photos: Path, tmp_path: Path) -> None:
    summary = tmp_path / "s.json"
    status, said = call("stitch", photos / "0.jpg", "-o", tmp_path / "o.jpg", "--summary", summary)
    assert status == 1
    assert "give at least two" in said
    assert json.loads(summary.read_text())["panoramas"] == []


def test_help_says_what_memory_is_by_default() -> None:
    assert "half of what is free" in " ".join(re.sub("[│ ]+", " ", call("repair", "--help")[1]).split())


def test_help_names_every_figure() -> None:
    said = call("evaluate", "--help")[1]
    assert [name for name in FIGURES if name not in said] == []


def test_a_shell_completes_what_there_is() -> None:
    assert set(composer.__all__) <= set(dir(composer))


def test_modules_that_people_use_need_no_import_of_their_own() -> None:
    code = "import composer; composer.pipeline.stitching; composer.errors.PhotoError; composer.samples.room"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_is_said() -> None:
    assert call("--version") == (0, f"composer {composer.__version__}\n")


def test_what_the_system_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: object, **options: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "far/a.jpg")

    monkeypatch.setattr("composer.api.repairing.read_picture", refused)
    status, said = call("repair", tmp_path / "a.jpg", "-o", tmp_path / "b.jpg")
    assert (status, said) == (1, "composer: far/a.jpg: Input/output error\n")


def test_no_photo_or_mask_that_was_given_is_overwritten(photos: Path, tmp_path: Path) -> None:
    for name in ("0.jpg", "1.jpg"):
        (tmp_path / name).write_bytes((photos / name).read_bytes())
    Image.fromarray(photograph(180).pixels).save(tmp_path / "far.png")
    Image.fromarray(pixels_of(photos / "0.jpg")[:, :, 0] // 9).save(tmp_path / "mask.png")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    one, two, far, mask = (tmp_path / n for n in ("0.jpg", "1.jpg", "far.png", "mask.png"))
    for words in (
        ("stitch", one, two, far, "-o", far),
        ("stitch", one, two, "-o", tmp_path / "a.jpg", "--save", one),
        ("stitch", one, two, "-o", tmp_path / "a.jpg", "--summary", one),
        ("stitch", one, two, "-o", tmp_path / "a.jpg", "--summary", "-"),
        ("repair", one, "--mask", mask, "-o", mask),
        ("repair", one, "--donor", far, "--box", "1,1,4,4", "-o", far),
        ("clone", one, two, "--mask", mask, "-o", mask),
        ("harmonize", one, "--mask", mask, "-o", mask),
    ):
        assert call(*words)[0] == 1
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_names_longer_than_the_system_takes_are_told(photos: Path, tmp_path: Path) -> None:
    status, said = call("repair", photos / "0.jpg", "-o", tmp_path / f"{'n' * 300}.jpg")
    assert (status, said.endswith(": File name too long\n")) == (1, True)


def test_a_name_without_ending_is_a_folder(photos: Path, tmp_path: Path) -> None:
    status, said = call("repair", photos / "0.jpg", "-o", tmp_path / "out", "--workers", 1)
    assert (status, "1 done" in said) == (0, True)
    assert (tmp_path / "out" / "0.jpg").exists()


def test_kinds_may_be_listed_as_people_do(photos: Path, tmp_path: Path) -> None:
    words = ("repair", photos / "0.jpg", "-o", tmp_path / "a.jpg", "--faults", "line, pixel,noise")
    status, said = call(*words, "--without", "noise, line", "--find-only")
    assert (status, "name that ends in .png" in said) == (1, True)
    status, said = call(*words, "--without", "noise, line", "--without", "pixel")
    assert (status, "no kind of fault is left" in said) == (1, True)


def test_without_standard_error_the_job_is_done(photos: Path, tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m composer repair "{photos}/0.jpg" -o "{tmp_path}/a.jpg" 2>&-'
    subprocess.run(command, shell=True, check=True)
    assert (tmp_path / "a.jpg").exists()


@pytest.mark.parametrize("words", ["doctor", "--help"])
def test_what_cannot_be_said_is_one_line(words: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "composer", words], stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"composer: standard output: No space left on device\n")


def test_the_package_says_that_it_has_types() -> None:
    assert resources.files("composer").joinpath("py.typed").is_file()


def test_doctor_speaks_of_every_part() -> None:
    status, said = call("doctor")
    assert status == 0
    for word in ("numpy", "opencv", "gpu", "cores", "memory", "torch"):
        assert word in said


def test_importing_and_stitching_needs_neither_torch_nor_cupy_nor_a_display(
    photos: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['cupy'] = None\n"
        "import composer; assert 'numpy' not in sys.modules\n"
        f"composer.stitch({str(photos)!r}, {str(tmp_path / 'o.jpg')!r})\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=environment)
    assert (tmp_path / "o.jpg").exists()


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_a_signal_ends_with_its_status_and_leaves_nothing(
    number: int, times: int, photos: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "composer",
        "stitch",
        photos,
        "-o",
        tmp_path / "o.tif",
        "--width",
        "12000",
    ]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    ) as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith("low-bands"):
            assert process.poll() is None
        for _ in range(times):
            process.send_signal(number)
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_the_command_is_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "composer", "--help"], capture_output=True, text=True, check=True
    )
    assert "stitch" in done.stdout
