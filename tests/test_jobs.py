"""What every job begins with."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import composer
from composer.api.jobs import allowed, one_thread_each
from composer.backend.memory import cores
from composer.doctor import examine
from composer.errors import OptionError
from composer.samples import room


def blas_threads() -> set[int]:
    np.linalg.inv(np.eye(3))
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_threads_of_libraries_are_held_to_one_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        with threadpool_limits(2, user_api="blas"):
            with one_thread_each():
                assert cv2.getNumThreads() == 1
                assert blas_threads() == {1}
            assert cv2.getNumThreads() == 3
            assert blas_threads() == {2}
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize("bytes_", [0, -5 << 20])
def test_no_memory_at_all_is_refused(bytes_: int) -> None:
    with pytest.raises(OptionError, match="give more than nothing"):
        allowed(bytes_)


def test_a_system_that_does_not_tell_which_cores_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores() == os.cpu_count()
    assert composer.fuse(room()[:2], align="none", method="average").image.any()
    assert "cores" in [finding.what for finding in examine()]
