"""A page of pictures before and after, one laid over the other, with an edge between them that slides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from numpy.typing import NDArray

from composer.report.document import beginning
from composer.report.pictures import jpeg_uri

Picture = tuple[NDArray[Any], bytes | None]  # (h, w, 3) uint8 and its ICC profile

__all__ = ["Pair", "write_pairs"]

PICTURES_BYTES = 6_000_000  # of all pictures; a third more as text
MOST_BYTES = 60_000  # of one
LISTED = 2000  # that were set aside; the summary has all
SCRIPT = """for (const edge of document.querySelectorAll(".pair input"))
  edge.oninput = () => edge.parentNode.style.setProperty("--edge", edge.value + "%");"""


@dataclass(frozen=True)
class Pair:
    """A picture before and after, each None if there is none to show, and what is said of it."""

    title: str
    before: Picture | None
    after: Picture | None
    said: Sequence[str]


def write_pairs(
    title: str, facts: Sequence[str], pairs: Iterable[Pair], count: int, aside: Sequence[tuple[str, str]]
) -> Iterator[str]:
    """Yield the parts of a page that needs no other file: `count` pairs, and names and reasons set aside."""
    said = [*facts, *([f"{len(aside)} set aside"] if aside else [])]
    yield f"""{beginning(title, ("page.css", "pairs.css"))}
<header><h1>{escape(title)}</h1><p>{" · ".join(map(escape, said))}</p></header>
<main>
"""
    if aside:
        rows = "".join(
            f'<tr><th scope="row"><bdi>{escape(name)}</bdi></th><td>{escape(reason)}</td></tr>'
            for name, reason in aside[:LISTED]
        )
        yield f'<section><h2>Set aside</h2><table class="plain"><tbody>{rows}</tbody></table></section>\n'
    yield '<div class="pairs">\n'
    for pair in pairs:
        yield _shown(pair, min(MOST_BYTES, PICTURES_BYTES // max(1, 2 * count)))
    yield f"</div>\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"


def _shown(pair: Pair, budget: int) -> str:
    title = escape(pair.title)
    parts = []
    if pair.after is not None:
        height, width = pair.after[0].shape[:2]
        parts.append(_image(pair.after, f"{title}, after", "after", budget))
        if pair.before is not None:
            parts.append(_image(pair.before, f"{title}, before", "before", budget))
            parts.append(
                f'<input type="range" min="0" max="100" value="50" step="0.5" aria-label="How much of '
                f'{title} is shown as it was"><span class="edge"></span>'
            )
        parts = [f'<div class="pair" style="--aspect:{width / height:.4f}">{"".join(parts)}</div>']
    said = " · ".join(map(escape, pair.said))
    return f"<section><h2><bdi>{title}</bdi></h2>{''.join(parts)}<p class='facts'>{said}</p></section>\n"


def _image(picture: Picture, alt: str, kind: str, budget: int) -> str:
    return f'<img class="{kind}" alt="{alt}" src="{jpeg_uri(*picture, budget)}">'
