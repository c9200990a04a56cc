"""The report page: complete, self-contained, and safe with any file name."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import composer
from composer.errors import OutputError
from composer.records import Unused
from composer.report import Job, Shown, reducing, write_report
from composer.report.pictures import NOBODY, label_places, labels
from composer.samples import room

VOID = {"meta", "img", "input"}


class Page(HTMLParser):
    """Collects a page's text, tags and attributes, and checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[composer.Stitched, str]:
    path = tmp_path_factory.mktemp("report") / "r.html"
    return composer.stitch(room(), device="cpu", report=path), path.read_text("utf-8")


def test_the_page_tells_of_every_photo_pair_and_stage(written: tuple[composer.Stitched, str]) -> None:
    result, text = written
    page = Page(text)
    composition = result.panoramas[0].composition
    for layer in composition.layers:
        assert layer.photo.name in page.text
        assert f"{layer.camera.focal_px:.0f} px" in page.text
    for name, _ in result.stages:
        assert name in page.text
    assert sum(tag == "line" for tag, _ in page.tags) == len(composition.links)
    assert all(about.get("alt") is not None for tag, about in page.tags if tag == "img")
    assert len(text) < 3_000_000


def test_the_page_needs_no_network_and_no_other_file(written: tuple[composer.Stitched, str]) -> None:
    for tag, about in Page(written[1]).tags:
        source = about.get("src") or about.get("href") or "data:"
        assert source.startswith("data:"), (tag, source[:60])
    assert not re.search(r"url\(|@import|https?://", written[1])


def test_hostile_names_are_only_text(written: tuple[composer.Stitched, str], tmp_path: Path) -> None:
    evil = "</title><script>alert(1)</script>\"' onload=x &amp; \udcff.jpg"
    panorama = written[0].panoramas[0]
    layers = tuple(
        replace(la, photo=replace(la.photo, name=f"{k}{evil}"))
        for k, la in enumerate(panorama.composition.layers)
    )
    assert panorama.preview is not None
    thumbnails = (np.zeros((4, 4, 3), np.uint8),) * len(layers)
    shown = Shown(
        replace(panorama.composition, layers=layers), evil, panorama.preview, thumbnails, notes=(evil,)
    )
    job = Job((shown,), (Unused(evil, evil),), ((evil, 1.0),), 1.0, ((evil, evil),), evil)
    write_report(tmp_path / "r.html", job)
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not any("onload" in about for _, about in page.tags)
    assert "alert(1)" in page.text


@pytest.mark.parametrize("size", [(700, 500), (512, 300), (37, 53)])
def test_the_reduced_picture_is_the_average_of_areas(size: tuple[int, int]) -> None:
    height, width = size
    ramp = np.linspace(0, 255, height)[:, None] * np.ones(width)
    image = np.repeat(ramp[:, :, None], 3, 2).astype(np.uint8)
    valid = np.ones(size, bool)
    small = np.zeros((23, 19, 4), np.uint8)
    bands = ((y, image[y : y + 64], valid[y : y + 64]) for y in range(0, height, 64))
    assert sum(len(rows) for _, rows, _ in reducing(bands, height, small)) == height
    edges = np.linspace(0, height, 24)
    sums = np.r_[0, np.cumsum(image[:, 0, 0].astype(float))]
    expected = np.diff(np.interp(edges, np.arange(height + 1), sums)) / np.diff(edges)
    assert np.abs(small[:, :, 0] - expected[:, None]).max() < 1
    assert (small[:, :, 3] == 255).all()


def test_labels_say_who_owns_each_place(written: tuple[composer.Stitched, str]) -> None:
    panorama = written[0].panoramas[0]
    assert panorama.preview is not None
    owner = labels(panorama.composition, panorama.preview[:, :, 3])
    assert set(np.unique(owner)) <= {0, 1, 2, NOBODY}
    assert (owner == NOBODY).any() == (panorama.preview[:, :, 3] == 0).any()
    for k, place in enumerate(label_places(owner, 3)):
        assert place is not None
        x, y = place
        assert owner[int(y * owner.shape[0]), int(x * owner.shape[1])] == k


def test_a_report_is_a_web_page() -> None:
    with pytest.raises(OutputError, match=r"\.html"):
        composer.stitch(room(), report="r.jpg")
