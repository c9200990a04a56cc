"""A page on which a person corrects the mask of a photo's faults, and saves it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from composer.media.encode import replacing
from composer.records import Fault
from composer.report.document import asset, beginning
from composer.report.pictures import jpeg_uri, mask_uri, thumbnail

Array = NDArray[Any]

__all__ = ["write_painting"]

SIDE = 3000  # at which the photo is shown at most; the mask has all its pixels
PHOTO_BYTES = 3_000_000


def write_painting(
    path: Path, title: str, pixels: Array, mask: Array, faults: Sequence[Fault], *, profile: bytes | None
) -> None:
    """Write a page that shows a photo under its mask, to be painted and erased, and saved as PNG.

    It needs no other file and no network.

    Parameters
    ----------
    path : Path
    title : str
        The photo's file.
    pixels : (H, W, C) uint8, uint16 or float32
    mask : (H, W) bool
    faults : sequence of Fault
        What was found, for the counts.
    profile : bytes or None
        ICC profile of the pixels; None is sRGB.

    Raises
    ------
    OutputError
    """
    title = Path(title).name
    height, width = mask.shape
    photo = jpeg_uri(thumbnail(pixels, min(pixels.shape[2], 3), SIDE), profile, PHOTO_BYTES)
    counts = Counter(f.kind for f in faults)
    found = ", ".join(f"{kind}: {n}" for kind, n in counts.items()) or "nothing found"
    name = f"{Path(title).stem}-mask.png"
    text = f"""{beginning(f"{title} · mask", ("page.css", "painting.css"))}
<header><h1><bdi>{escape(title)}</bdi></h1><p>{width} x {height} pixels · {escape(found)}</p></header>
<main>
<section>
<form class="tools" aria-label="Tools">
<fieldset><legend>Tool</legend>
<input type="radio" name="tool" id="paint" value="paint" checked><label for="paint">Paint</label>
<input type="radio" name="tool" id="erase" value="erase"><label for="erase">Erase</label>
<input type="radio" name="tool" id="move" value="move"><label for="move">Move</label>
</fieldset>
<label class="slide">Brush <output id="size"></output>
<input type="range" id="brush" min="0" max="1" step="0.01" value="0.35"></label>
<label class="slide">Zoom <output id="times"></output>
<input type="range" id="zoom" min="0" max="1" step="0.01" value="0"></label>
<label class="check"><input type="checkbox" id="shown" checked> Mask</label>
<button type="button" id="undo" disabled>Undo</button>
<button type="button" id="redo" disabled>Redo</button>
<button type="button" id="save" data-name="{escape(name)}">Save mask</button>
</form>
<div class="frame" id="frame" tabindex="0"><div class="layers" id="layers">
<img class="flat" alt="The photo" src="{photo}" width="{width}" height="{height}">
<canvas id="mask" width="{width}" height="{height}" role="img" aria-label="What is marked"></canvas>
<span id="ring" hidden></span>
</div></div>
<img id="found" alt="" hidden src="{mask_uri(mask)}">
<p id="said" role="status">Paint over what is to be mended, erase what is to stay.
Keys: P, E, M, [ and ] for the brush, + and - for the zoom, Ctrl Z.</p>
<p>Then: <code>{escape(f"composer repair {shlex.quote(title)} --mask {shlex.quote(name)} -o OUT")}</code></p>
</section>
</main>
<script>{asset("painting.js")}</script>
</body>
</html>
"""
    with replacing(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))  # file names may be no text at all
