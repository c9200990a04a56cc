"""Marks for tests that need the extra `metrics`."""

from __future__ import annotations

import pytest

from composer.learn.published import LITE0, ST_LPIPS, absent

needs_st_lpips = pytest.mark.skipif(bool(absent(ST_LPIPS)), reason=f"extra metrics: {absent(ST_LPIPS)}")
needs_lite0 = pytest.mark.skipif(bool(absent(LITE0)), reason=f"extra metrics: {absent(LITE0)}")
