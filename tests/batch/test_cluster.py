"""The same batch on a Dask cluster."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from composer.batch import files_below, run_batch
from composer.batch.cluster import Cluster
from composer.errors import BatchError, DeviceError

HAS_DASK = importlib.util.find_spec("distributed") is not None
needs_dask = pytest.mark.skipif(not HAS_DASK, reason="distributed is not installed")
COPY = "tests.batch.jobs:copy"


@pytest.mark.skipif(HAS_DASK, reason="distributed is installed")
def test_a_scheduler_needs_the_package(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(DeviceError, match=r"composer-cv\[dist\]"):
        run_batch(
            files_below([tmp_path], tmp_path / "out"), COPY, {}, tmp_path / "out", scheduler="tcp://x:1"
        )


@needs_dask
@pytest.mark.filterwarnings("default")
def test_a_cluster_gives_what_processes_give(tmp_path: Path) -> None:
    from distributed import LocalCluster

    (tmp_path / "in").mkdir()
    for name in ("a", "b", "bad", "c"):
        (tmp_path / "in" / f"{name}.jpg").write_bytes(name.encode() * 99)
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    found = {}
    with LocalCluster(**options) as cluster:
        for place, how in (("here", {"workers": 1}), ("there", {"scheduler": cluster.scheduler_address})):
            out = tmp_path / place
            batch = run_batch(files_below([tmp_path / "in"], out), COPY, {}, out, **how)
            assert not list(out.glob("*.part"))
            written = {p.name: p.read_bytes() for p in out.glob("*.jpg")}
            found[place] = [(o.item.name, o.reason) for o in batch.outcomes], written
        items = files_below([tmp_path / "in"], tmp_path / "here")
        again = run_batch(items, COPY, {}, tmp_path / "here", scheduler=cluster.scheduler_address)
        assert [o.kept for o in again.outcomes] == [True, True, False, True]
    assert found["here"] == found["there"]


@needs_dask
@pytest.mark.filterwarnings("default")
def test_no_scheduler_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("composer.batch.cluster.PATIENCE_S", 0.3)
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(BatchError, match="no scheduler answers"):
        run_batch(
            files_below([tmp_path], tmp_path / "o"), COPY, {}, tmp_path / "o", scheduler="tcp://127.0.0.1:9"
        )


@needs_dask
def test_what_is_no_address_is_refused_at_once() -> None:
    with pytest.raises(BatchError, match="write tcp://HOST:PORT"):
        Cluster("scheduler")
