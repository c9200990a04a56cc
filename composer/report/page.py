"""The page: sections for panoramas, photos, what was left out, time and settings."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from composer.align.canvas import ROUND
from composer.media.encode import replacing
from composer.records import Composition, Unused
from composer.report.document import asset, beginning
from composer.report.graph import LEVELS, match_graph, numbers
from composer.report.photos import PHOTO_COLUMNS, photo_row
from composer.report.pictures import jpeg_uri, label_places, labels, labels_uri

Array = NDArray[Any]

__all__ = ["Job", "Shown", "write_report"]

PICTURE_BYTES, THUMBNAIL_BYTES = 1_300_000, 500_000  # of all panoramas, of all photos; a third more as text
PACKAGES = ("composer-cv", "numpy", "scipy", "opencv-python-headless", "pillow")


@dataclass(frozen=True)
class Shown:
    """A panorama on the page.

    Attributes
    ----------
    composition : Composition
    title : str
        What it is called: its file.
    picture : (h, w, 4) uint8
        Small, RGB and validity.
    thumbnails : tuple of (h, w, 3) uint8
        One a layer.
    profile : bytes or None
        ICC profile of the pixels; None is sRGB.
    notes : tuple of str
    """

    composition: Composition
    title: str
    picture: Array
    thumbnails: tuple[Array, ...]
    profile: bytes | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """What a page tells: `stages` are names and seconds, `settings` names and values, `pipeline` TOML."""

    panoramas: tuple[Shown, ...]
    unused: tuple[Unused, ...]
    stages: tuple[tuple[str, float], ...]
    peak_mb: float
    settings: tuple[tuple[str, str], ...]
    pipeline: str


def write_report(path: Path, job: Job) -> None:
    """Write a job as one HTML page that needs no other file and no network.

    Raises
    ------
    OutputError
    """
    with replacing(path) as file:
        file.write(_page(job).encode("utf-8", "backslashreplace"))  # file names may be no text at all


def _page(job: Job) -> str:
    used = sum(len(s.composition.layers) for s in job.panoramas)
    parts = [_counted(used, "photo") + " in " + _counted(len(job.panoramas), "panorama")]
    parts += [f"{len(job.unused)} left out"] if job.unused else []
    parts += [f"{sum(s for _, s in job.stages):.1f} s", f"{job.peak_mb:.0f} MB"]
    sections = [_panorama(shown, k, job) for k, shown in enumerate(job.panoramas)]
    return f"""{beginning(", ".join(s.title for s in job.panoramas), ("page.css",))}
<header><h1>Stitching report</h1><p>{" · ".join(parts)}</p></header>
<main>
{"".join(sections)}
{_left_out(job.unused)}
{_time(job)}
{_made_with(job)}
</main>
<script>{asset("page.js")}</script>
</body>
</html>
"""


def _panorama(shown: Shown, k: int, job: Job) -> str:
    """Return a panorama's section: the picture with its views, then its photos."""
    c = shown.composition
    wide, high = c.fov_deg
    view = f"{wide:.0f}° x {high:.0f}°" if wide else "flat"
    facts = [f"{c.width} x {c.height} pixels", c.projection, view, f"residual {c.rms_px:.2f} px"]
    facts.insert(0, _counted(len(c.layers), "photo"))
    names = _short([la.photo.name for la in c.layers])
    share = THUMBNAIL_BYTES // max(1, sum(len(s.thumbnails) for s in job.panoramas))
    thumbnails = [jpeg_uri(t, shown.profile, min(share, 8000)) for t in shown.thumbnails]
    rows = [
        photo_row(c, n, escape(name), picture)
        for n, (name, picture) in enumerate(zip(names, thumbnails, strict=True))
    ]
    notes = "".join(f"<p>{escape(n)}</p>" for n in shown.notes)
    return f"""<section aria-labelledby="p{k}">
<h2 id="p{k}"><bdi>{escape(shown.title)}</bdi></h2>
<p class="facts">{" · ".join(facts)}</p>
{_figure(shown, k, names, PICTURE_BYTES // len(job.panoramas))}
{notes}<h3>Photos</h3>
{_table(PHOTO_COLUMNS, rows, "photos")}
</section>
"""


def _figure(shown: Shown, k: int, names: list[str], budget: int) -> str:
    """Return the picture and what can be laid over it; which, is chosen above it."""
    c = shown.composition
    owner = labels(c, shown.picture[:, :, 3])
    height, width = shown.picture.shape[:2]
    views = {"picture": "Picture", "turn": "Turn", "seams": "Seams", "matches": "Matches"}
    if not (c.closed and c.projection in ROUND):
        del views["turn"]
    choices = "".join(
        f'<input type="radio" name="view{k}" id="view{k}-{v}" class="{v}"{" checked" * (v == "picture")}>'
        f'<label for="view{k}-{v}">{said}</label>'
        for v, said in views.items()
    )
    span = [c.origin[0] - 0.5, c.origin[1] - 0.5, c.width, c.height]
    legend = "".join(
        f'<span class="{name}">{"over 5" if limit > 5 else f"up to {limit:g}"} px</span>'
        for limit, name in LEVELS
    )
    places = numbers(label_places(owner, len(c.layers)), width / height)
    return f"""<figure data-names="{escape(json.dumps(names))}" data-projection="{c.projection}"
 data-span="{escape(json.dumps([v / c.scale for v in span]))}">
{choices}
<div class="frame"><div class="layers" style="--aspect:{width / height:.4f}">
<img class="flat" alt="Panorama of {_counted(len(names), "photo")}" width="{width}" height="{height}"
 src="{jpeg_uri(shown.picture[:, :, :3], shown.profile, budget)}">
<img class="labels" alt="" hidden src="{labels_uri(owner)}">
<canvas class="regions" role="img" aria-label="Which photo shows each place"></canvas>
{places}{match_graph(c, names)}
</div>
<canvas class="globe" tabindex="0" role="img" aria-label="The panorama seen from inside; arrows turn it">\
</canvas></div>
<p class="legend" aria-label="Residual of a pair">residual of a pair: {legend}; thick: many matches</p>
<figcaption aria-live="polite">&nbsp;</figcaption>
</figure>"""


def _left_out(unused: Sequence[Unused]) -> str:
    if not unused:
        return ""
    rows = [
        f'<tr><th scope="row"><bdi>{escape(u.photo)}</bdi></th><td>{escape(u.reason)}</td></tr>'
        for u in unused
    ]
    return f"<section><h2>Left out</h2>{_table(('photo', 'why'), rows, 'plain')}</section>"


def _time(job: Job) -> str:
    """Return seconds by stage as bars, and the memory."""
    longest = max((s for _, s in job.stages), default=0.0) or 1.0
    rows = [
        f'<tr><th scope="row">{escape(name)}</th><td>{seconds:.2f} s</td>'
        f'<td><div class="bar" style="width:{100 * seconds / longest:.1f}%"></div></td></tr>'
        for name, seconds in job.stages
    ]
    table = _table(("stage", "time", "share"), rows, "time")
    said = f"{sum(s for _, s in job.stages):.2f} s in all; at most {job.peak_mb:.0f} MB of memory"
    return f"<section><h2>Time and memory</h2>{table}<p>{said}</p></section>"


def _made_with(job: Job) -> str:
    pairs = [*job.settings, *_versions()]
    listed = "".join(f"<dt>{escape(n)}</dt><dd><bdi>{escape(v)}</bdi></dd>" for n, v in pairs)
    return (
        f"<section><h2>Made with</h2><dl>{listed}</dl><details><summary>Every option, as a pipeline for "
        f"composer run</summary><pre>{escape(job.pipeline)}</pre></details></section>"
    )


def _versions() -> list[tuple[str, str]]:
    from importlib import metadata  # slow, and needed only here

    found = [("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")]
    for name in PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found


def _table(columns: Iterable[str], rows: Iterable[str], kind: str) -> str:
    heads = "".join(f'<th scope="col">{escape(c)}</th>' for c in columns)
    return f'<table class="{kind}"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _short(names: list[str]) -> list[str]:
    """Return file names without their folders where that leaves them different."""
    short = [Path(n).name for n in names]
    return short if len(set(short)) == len(short) else names


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
