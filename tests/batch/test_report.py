"""The page with pictures before and after."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from composer.batch import Batch, files_below, run_batch
from composer.batch.items import Item
from composer.batch.outcomes import Outcome
from composer.batch.pace import Pace
from composer.batch.summary import write_batch_report
from composer.progress import spoken
from composer.records import Event
from composer.report import Pair, write_pairs
from composer.samples import picture


def test_pictures_lie_over_each_other(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(picture("coffee.png")).save(tmp_path / "in" / "a&b.png")
    (tmp_path / "in" / "bad.jpg").write_bytes(b"<script>")
    out = tmp_path / "out"
    items = files_below([tmp_path / "in"], out)
    run_batch(items, "tests.batch.jobs:flip", {}, out, workers=1, report=out / "r.html")
    text = (out / "r.html").read_text()
    assert text.count('src="data:image/jpeg;base64,') == 2
    assert '<input type="range"' in text
    assert "a&amp;b.png, before" in text
    assert "bad.jpg" in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    HTMLParser().feed(text)


def test_what_was_done_is_said_in_words(tmp_path: Path) -> None:
    item = Item("a.png", tmp_path / "a.png", tmp_path / "b.png", ())
    told = {"faults": 0, "kinds": "", "width": 9, "notes": ["no faults found"], "each": []}
    batch = Batch((Outcome(item, files=(item.output,), told=told),), tmp_path, 1.0)
    write_batch_report(tmp_path / "r.html", batch, "Repair")
    assert "width 9 · no faults found · 0.00 s" in (tmp_path / "r.html").read_text("utf-8")


def test_a_page_has_bounded_size() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (300, 400, 3), np.uint8)
    pairs = [Pair(f"{k}", (noise, None), (noise, None), ()) for k in range(4)]
    pages = "".join(write_pairs("T", [], pairs, 400, []))
    assert len(pages) < 4 * 2 * 6_000_000 / 800 * 1.5 + 20_000


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "1 s"), (42, "40 s"), (240, "4 min"), (9000, "2.5 h")])
def test_durations_are_said_roughly(seconds: float, said: str) -> None:
    assert spoken(seconds) == said


def test_what_is_kept_does_not_count_for_the_rate() -> None:
    now, events = [0.0], list[Event]()
    pace = Pace("batch", 110, events.append, lambda: now[0])

    def after(seconds: float, **how: Any) -> str:
        now[0] += seconds
        pace(**{"kept": False, "aside": False, **how})
        return events[-1].message

    for _ in range(100):
        said = after(0.01, kept=True)
    assert said == "100 of 110"
    assert after(2.0) == "101 of 110, 30.0/min, about 20 s left"
    assert after(2.0, aside=True) == "102 of 110, 30.0/min, about 15 s left, 1 set aside"
