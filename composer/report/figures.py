"""A page of figures: a table with a row for each result, and its pictures below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.media.encode import replacing
from composer.report.document import beginning
from composer.report.pictures import jpeg_uri

Array = NDArray[Any]

__all__ = ["Judged", "as_shown", "write_figures"]

SIDE = 640  # pixels: of pictures on the page
PICTURES_BYTES, MOST_BYTES = 9_000_000, 90_000  # of all pictures, of one; a third more as text
BETTER = {"psnr_db": "higher", "ssim": "higher", "ms_ssim": "higher"}


@dataclass(frozen=True)
class Judged:
    """A result on the page.

    Attributes
    ----------
    title : str
    figures : by name
    pictures : (h, w, 3) uint8 by caption
        As `as_shown` makes them.
    profile : bytes or None
        ICC profile of the pixels; None is sRGB.
    """

    title: str
    figures: Mapping[str, float]
    pictures: Mapping[str, Array]
    profile: bytes | None = None


def as_shown(pixels: Array, reference: Array | None, mask: Array | None) -> dict[str, Array]:
    """Return small pictures by caption: result, reference, error, and the mask's outline.

    Parameters
    ----------
    pixels, reference : (H, W, C) float32, 0..1
    mask : (H, W) bool or None
    """
    small = _small(pixels)
    found = {"result": small}
    if reference is not None:
        found["reference"] = _small(reference)
        found["error x 5"] = _small(np.clip(5 * np.abs(pixels - reference), 0, 1))
    if mask is not None:
        size = small.shape[1::-1]
        inside = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
        wide = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        thin = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        dimmed = (small * np.where(inside, 1.0, 0.55)[:, :, None]).astype(np.uint8)
        found["mask"] = np.where((wide & ~thin)[:, :, None], np.array([255, 60, 120], np.uint8), dimmed)
    return found


def _small(pixels: Array) -> Array:
    """Return pixels (H, W, C) float32 as (h, w, 3) uint8, averaged to at most SIDE pixels."""
    factor = min(1.0, SIDE / max(pixels.shape[:2]))
    size = max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    codes = (np.clip(small, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.broadcast_to(codes, (size[1], size[0], 3))


def write_figures(
    path: Path, judged: Sequence[Judged], figures: Mapping[str, Mapping[str, float]], notes: Sequence[str]
) -> None:
    """Write a page that needs no other file: every result's figures, and pictures of some.

    Raises
    ------
    OutputError
    """
    with replacing(path) as file:
        for part in _page(judged, figures, notes):
            file.write(part.encode("utf-8", "backslashreplace"))


def _page(
    judged: Sequence[Judged], figures: Mapping[str, Mapping[str, float]], notes: Sequence[str]
) -> Iterator[str]:
    count = f"{len(figures)} result{'s' * (len(figures) != 1)}"
    shown = f" · {len(judged)} of them shown" if len(judged) < len(figures) else ""
    said = "".join(f"<p>{escape(note)}</p>" for note in notes)
    yield f"""{beginning(f"Figures of {count}", ("page.css", "figures.css"), scripts=False)}
<header><h1>Figures</h1><p>{count}{shown}</p></header>
<main>
<section><h2>All results</h2>{_table(figures)}{said}</section>
"""
    images = sum(len(one.pictures) for one in judged)
    for one in judged:
        yield _section(one, min(MOST_BYTES, PICTURES_BYTES // max(1, images)))
    yield "</main>\n</body>\n</html>\n"


def _table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """Return a row for each result, and their mean."""
    names = list(dict.fromkeys(name for one in figures.values() for name in one))
    heads = "".join(
        f'<th scope="col">{_spoken(name)} <small>{BETTER.get(name, "lower")} is better</small></th>'
        for name in names
    )
    rows = [(f"<bdi>{escape(Path(title).name)}</bdi>", one) for title, one in figures.items()]
    if len(rows) > 1:
        values = {n: [one[n] for one in figures.values() if n in one] for n in names}
        rows.append(("<b>mean</b>", {n: sum(v) / len(v) for n, v in values.items()}))
    body = "".join(
        f'<tr><th scope="row">{title}</th>'
        + "".join(f"<td>{one[name]:.3f}</td>" if name in one else "<td></td>" for name in names)
        + "</tr>"
        for title, one in rows
    )
    head = f'<thead><tr><th scope="col">result</th>{heads}</tr></thead>'
    return f'<div class="wide"><table class="figures">{head}<tbody>{body}</tbody></table></div>'


def _section(one: Judged, budget: int) -> str:
    title = escape(one.title)
    images = "".join(
        f'<figure><img alt="{title}, {caption}" src="{jpeg_uri(picture, one.profile, budget)}">'
        f"<figcaption>{caption}</figcaption></figure>"
        for caption, picture in one.pictures.items()
    )
    facts = " · ".join(f"{_spoken(name)} {value:.3f}" for name, value in one.figures.items())
    return f'<section><h2><bdi>{title}</bdi></h2><p class="facts">{facts}</p><div class="shown">{images}</div></section>\n'  # noqa: E501


def _spoken(name: str) -> str:
    known = {
        "psnr_db": "PSNR (dB)",
        "ssim": "SSIM",
        "ms_ssim": "MS-SSIM",
        "delta_e": "ΔE2000",
        "niqe": "NIQE",
    }
    return known.get(name, name.replace("st_lpips", "ST-LPIPS").replace("_", " "))
