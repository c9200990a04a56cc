"""The page on which a person corrects the mask of what was found."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import composer
from composer.cli import app
from composer.errors import OptionError, OutputError
from composer.report.pictures import MARKED, mask_uri
from composer.samples import picture


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_mask_comes_back_from_its_uri(share: float) -> None:
    mask = np.random.default_rng(0).random((37, 53)) < share
    shown = np.asarray(opened(mask_uri(mask)).convert("RGBA"))
    assert np.array_equal(shown[:, :, 3] > 0, mask)
    assert (shown[mask] == [*MARKED, 255]).all()


def test_the_script_paints_in_the_masks_colour() -> None:
    script = Path(composer.__file__).with_name("report") / "painting.js"
    assert '"#{:02x}{:02x}{:02x}"'.format(*MARKED) in script.read_text()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_page_holds_photo_and_mask_and_nothing_from_elsewhere(tmp_path: Path, dtype: str) -> None:
    photo = picture("coffee.png")[:200, :300].copy()
    photo[50:80, 100:140] = 0
    given = photo if dtype == "uint8" else photo.astype(dtype) * {"uint16": 257, "float32": 1}[dtype]
    given = given / np.float32(255) if dtype == "float32" else given
    result = composer.repair(given, faults="hole", find_only=True, page=tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text()
    HTMLParser().feed(text)
    jpeg, mask = re.findall(r'src="(data:[^"]+)"', text)
    assert opened(jpeg).size == opened(mask).size == (300, 200)
    assert abs(np.asarray(opened(jpeg), float) - photo).mean() < 6
    assert np.array_equal(np.asarray(opened(mask).convert("RGBA"))[:, :, 3] > 0, result.mask)
    assert result.mask[50:80, 100:140].all()
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "hole: 1" in text


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    photo = tmp_path / "a <b> & c.png"
    Image.fromarray(picture("coffee.png")[:100, :100]).save(photo)
    words = ["repair", str(photo), "--find-only", "--page", str(tmp_path / "p.html")]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0
    assert "open it in a browser" in said.output
    text = (tmp_path / "p.html").read_text()
    assert "<b>" not in text
    assert 'data-name="a &lt;b&gt; &amp; c-mask.png"' in text
    assert CliRunner().invoke(app, [*words, str(photo)]).exit_code == 2


def test_what_a_page_refuses(tmp_path: Path) -> None:
    photo = picture("coffee.png")[:40, :40]
    with pytest.raises(OptionError, match="give find_only"):
        composer.repair(photo, page=tmp_path / "p.html")
    with pytest.raises(OutputError, match=r"ends in \.html"):
        composer.repair(photo, find_only=True, page=tmp_path / "p.png")
    with pytest.raises(OptionError, match="page is no option for many"):
        composer.repair_each(tmp_path, tmp_path / "out", {"page": "p.html", "find_only": True})
