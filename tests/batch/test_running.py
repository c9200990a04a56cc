"""Whole batches: what is done, kept and set aside, in whatever way a run ends."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from composer.batch import Batch, common_folder, files_below, run_batch
from composer.batch.journal import NAME
from composer.batch.pool import Processes
from composer.errors import BatchError, Cancelled, OptionError, OutputError

COPY = "tests.batch.jobs:copy"
RUN = """
import json, sys
from pathlib import Path
from composer.batch import files_below, run_batch
source, output, settings = sys.argv[1:]
items, settings = files_below([source], output), json.loads(settings)
run_batch(items, "tests.batch.jobs:copy", settings, Path(output), workers=2)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return filled(tmp_path / "in", "a", "b", "sub/c", "sub/d")


def filled(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"photo {name}".encode() * 99)
    return folder


def run(folder: Path, settings: dict[str, Any] | None = None, workers: int = 1, **options: Any) -> Batch:
    out = folder.parent / "out"
    return run_batch(files_below([folder], out), COPY, settings or {}, out, workers=workers, **options)


def rows(folder: Path, what: str) -> dict[str, Any]:
    with sqlite3.connect(folder.parent / "out" / NAME) as connection:
        found = dict(connection.execute(f"SELECT name, {what} FROM items").fetchall())
    connection.close()
    return found


def pictures(folder: Path) -> dict[str, bytes]:
    out = folder.parent / "out"
    found = sorted([*out.glob("*.jpg"), *out.glob("[!.]*/*.jpg")])  # not what is being written
    return {str(p.relative_to(out)): p.read_bytes() for p in found}


def left_over(folder: Path) -> list[Path]:
    return list((folder.parent / "out").rglob(".composer-*.part*"))


def test_every_result_is_in_place_and_told(folder: Path) -> None:
    batch = run(folder)
    assert [o.item.name for o in batch.done] == ["a.jpg", "b.jpg", "sub/c.jpg", "sub/d.jpg"]
    assert pictures(folder) == {o.item.name: o.item.source.read_bytes()[::-1] for o in batch.outcomes}
    assert batch.outcomes[2].files == (folder.parent / "out" / "sub" / "c.jpg",)
    assert all(o.told["notes"] == [f"{o.item.output}: is backwards"] for o in batch.outcomes)
    assert set(rows(folder, "state").values()) == {"done"}
    assert not left_over(folder)


def test_a_second_run_keeps_what_is_intact(folder: Path) -> None:
    first = run(folder)
    out = folder.parent / "out"
    (out / "a.jpg").write_bytes(b"altered")
    (out / "b.jpg").unlink()
    (folder / "sub" / "c.jpg").write_bytes(b"another photo")
    again = run(folder)
    assert [o.item.name for o in again.outcomes if o.kept] == ["sub/d.jpg"]
    assert again.outcomes[3].told == first.outcomes[3].told
    assert pictures(folder)["sub/c.jpg"] == b"another photo"[::-1]
    assert rows(folder, "made") == {"a.jpg": 2, "b.jpg": 2, "sub/c.jpg": 1, "sub/d.jpg": 1}
    assert all(o.kept for o in run(folder).outcomes)


def test_settings_count_and_means_do_not(folder: Path) -> None:
    run(folder)
    assert all(o.kept for o in run(folder, means={"seconds": 0.0}).outcomes)
    assert not any(o.kept for o in run(folder, {"add": "!"}).outcomes)
    assert pictures(folder)["a.jpg"].endswith(b"!")


def test_what_fails_is_set_aside_and_the_rest_goes_on(folder: Path, tmp_path: Path) -> None:
    filled(folder, "bad", "fault", "nothing", "extra", "exits", "dies", "dies-once", "z")
    batch = run(folder, {"marks": str(tmp_path)}, workers=2)
    reasons = {o.item.name: o.reason for o in batch.set_aside}
    assert reasons == {
        "bad.jpg": "cannot be decoded; copy it again",
        "fault.jpg": "ZeroDivisionError: a fault in the job",
        "nothing.jpg": "the job ended well and wrote nothing",
        "extra.jpg": f"it would replace {tmp_path.resolve()}/out/a.jpg; rename extra.jpg",
        "exits.jpg": "a worker died on it (exit status 7)",
        "dies.jpg": "a worker died on it (SIGKILL, perhaps for want of memory)",
    }
    assert [o.item.name for o in batch.done] == [
        "a.jpg", "b.jpg", "dies-once.jpg", "sub/c.jpg", "sub/d.jpg", "z.jpg",
    ]  # fmt: skip
    assert set(rows(folder, "made").values()) == {0, 1}
    assert rows(folder, "reason")["bad.jpg"] == reasons["bad.jpg"]
    assert not left_over(folder)


def test_further_files_of_a_result_come_along(folder: Path, tmp_path: Path) -> None:
    only = filled(tmp_path / "other", "extra")
    batch = run(only)
    out = tmp_path / "out"
    assert batch.outcomes[0].files == (out / "extra.jpg", out / "a.jpg", out / "tiles" / "0")
    (out / "tiles" / "0").write_bytes(b"TILE")
    assert not run(only).outcomes[0].kept


def test_results_beside_their_photographs(folder: Path) -> None:
    for kept in (False, True):
        items = files_below([folder], suffix="-new")
        batch = run_batch(items, COPY, {}, common_folder(items), workers=1)
        assert [o.kept for o in batch.done] == [kept] * 4
    assert (folder / "sub" / "c-new.jpg").read_bytes() == (folder / "sub" / "c.jpg").read_bytes()[::-1]
    assert (folder / "summary.csv").exists()


def test_summaries(folder: Path) -> None:
    filled(folder, "bad, worse")
    run(folder)
    out = folder.parent / "out"
    found = json.loads((out / "summary.json").read_text())
    assert (found["items"], found["done"], found["kept"], found["set_aside"]) == (5, 4, 0, 1)
    assert [o["state"] for o in found["outcomes"]] == ["done", "done", "set aside", "done", "done"]
    with (out / "summary.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [r["name"] for r in table] == ["a.jpg", "b.jpg", "bad, worse.jpg", "sub/c.jpg", "sub/d.jpg"]
    assert table[0]["bytes"] == str(len(pictures(folder)["a.jpg"]))
    assert table[2]["reason"].endswith("cannot be decoded; copy it again")


def test_progress_has_rate_and_time_left(folder: Path) -> None:
    events = []
    run(folder, {"seconds": 0.02}, observe=events.append, stage="repair")
    assert [e.fraction for e in events] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert events[3].message.startswith("3 of 4, ")
    assert events[3].message.endswith(" left")
    assert events[4].seconds is not None
    assert "left" not in events[4].message


def start(folder: Path, settings: dict[str, Any]) -> subprocess.Popen[bytes]:
    out = folder.parent / "out"
    return subprocess.Popen([sys.executable, "-c", RUN, str(folder), str(out), json.dumps(settings)])


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_killed_run_goes_on_and_does_nothing_twice(tmp_path: Path) -> None:
    names = [f"{k}" for k in range(24)]
    folder = filled(tmp_path / "in", *names)
    settings = {"seconds": 0.03}
    for much in (3, 11):
        process = start(folder, settings)
        wait_for(lambda much=much: len(pictures(folder)) >= much)
        process.kill()
        process.wait()
    assert left_over(folder)
    before = pictures(folder)
    assert len(before) < 24
    batch = run(folder, settings)
    assert sum(o.kept for o in batch.outcomes) >= len(before)
    assert pictures(folder) == {f"{n}.jpg": (folder / f"{n}.jpg").read_bytes()[::-1] for n in names}
    assert set(rows(folder, "made").values()) == {1}
    assert not left_over(folder)


@pytest.mark.parametrize("moved", [False, True])
def test_a_run_killed_between_noting_and_moving(folder: Path, moved: bool) -> None:
    run(folder)
    out = folder.parent / "out"
    scratch = out / ".composer-batch-x.part" / "0"
    scratch.mkdir(parents=True)
    if not moved:
        (out / "a.jpg").rename(scratch / "a.jpg")
    with sqlite3.connect(out / NAME) as connection:
        connection.execute(
            "UPDATE items SET state = 'written', scratch = ? WHERE name = 'a.jpg'",
            (str(scratch.relative_to(out)),),
        )
    connection.close()
    assert all(o.kept for o in run(folder).outcomes)
    assert rows(folder, "made")["a.jpg"] == 1
    assert set(rows(folder, "state").values()) == {"done"}
    assert not left_over(folder)


def test_a_run_killed_while_it_moves_the_files_of_one_result(tmp_path: Path) -> None:
    folder = filled(tmp_path / "in", "extra")
    script = """
import os
whole, calls = os.replace, []
def replace(a, b):
    calls.append(a)
    if len(calls) == 2:
        os.kill(os.getpid(), 9)
    whole(a, b)
os.replace = replace
"""
    words = [sys.executable, "-c", script + RUN, str(folder), str(tmp_path / "out"), "{}"]
    assert subprocess.run(words, check=False).returncode == -9
    assert [p.name for p in left_over(folder)]
    assert rows(folder, "state") == {"extra.jpg": "written"}
    batch = run(folder)
    assert batch.outcomes[0].kept
    assert len(batch.outcomes[0].files) == 3
    assert rows(folder, "made") == {"extra.jpg": 1}
    assert not left_over(folder)


def test_workers_end_with_the_run(tmp_path: Path) -> None:
    folder = filled(tmp_path / "in", "a", "b")
    process = start(folder, {"seconds": 60})
    wait_for(lambda: len(children(process.pid)) == 2)
    workers = children(process.pid)
    wait_for(lambda: len(list(tmp_path.glob("out/.composer-batch-*.part/*"))) == 2)
    process.kill()
    process.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(p) for p in (task / "children").read_text().split()]
    return found


def test_one_run_at_a_time(folder: Path, tmp_path: Path) -> None:
    process = start(folder, {"seconds": 60})
    wait_for(lambda: list(tmp_path.glob("out/.composer-batch-*.part")))
    with pytest.raises(BatchError, match=rf"process {process.pid} on .* works on it since "):
        run(folder)
    process.kill()
    process.wait()
    assert len(run(folder).done) == 4


def test_stopping_is_quick_and_leaves_nothing_half_done(folder: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.6, stop.set).start()
    with pytest.raises(Cancelled):
        run(folder, {"seconds": 30}, cancelled=stop.is_set)
    assert not left_over(folder)
    assert not pictures(folder)
    assert len(run(folder).done) == 4


def test_what_a_batch_refuses(folder: Path) -> None:
    out = folder.parent / "out"
    items = files_below([folder], out)
    with pytest.raises(OptionError, match="cannot be imported"):
        run_batch(items, "tests.batch.jobs:nothing_such", {}, out)
    with pytest.raises(OptionError, match="workers is 0"):
        run_batch(items, COPY, {}, out, workers=0)
    with pytest.raises(OutputError, match="would both become"):
        run_batch([*items, *items], COPY, {}, out)
    with pytest.raises(OutputError, match="ends in"):
        run_batch(items, COPY, {}, out, report=out / "page.txt")
    (out / NAME).write_bytes(b"no database" * 99)
    with pytest.raises(OutputError, match="move it away"):
        run_batch(items, COPY, {}, out)


def test_workers_that_do_not_start_are_said(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BatchError, match="workers do not start \\(exit status 1\\)"):
        run(folder)


def test_a_worker_killed_from_outside_is_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pools = []
    plain = Processes.__init__

    def kept(self: Processes, workers: int) -> None:
        plain(self, workers)
        pools.append(self)

    monkeypatch.setattr(Processes, "__init__", kept)

    def kill(event: Any) -> None:
        if event.fraction == 0.25:
            os.kill(pools[0].pids[0], signal.SIGKILL)

    batch = run(folder, {"seconds": 0.1}, workers=2, observe=kill)
    assert len(batch.done) == 4
    assert set(rows(folder, "made").values()) == {1}


def test_names_that_are_no_text(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"1")
    (folder / "\u00e9\u732b.jpg").write_bytes(b"2")
    assert len(run(folder).done) == 2
    assert all(o.kept for o in run(folder).outcomes)
