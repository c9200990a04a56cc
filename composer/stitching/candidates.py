"""Pairs of photographs that the user names: all, neighbours in sequence or by GPS, or from a file; and those
that blur may keep apart."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from composer.align.features import Features
from composer.align.homography import Pair
from composer.errors import OptionError
from composer.media.naming import naming
from composer.records import Photo
from composer.stitching.cameras import connected_groups

__all__ = ["blurred_apart", "check_pairs", "named_pairs"]

BLURRED = 1.12  # times the usual size of features: where a photo's are so large, the fine ones are missing
WINDOW = 2  # photos after it that a photo of a sequence is matched with
WAYS = ("auto", "all", "sequence", "gps")


def check_pairs(pairs: str) -> None:
    """Check that pairs are "auto", "all", "sequence", "gps" or a file that exists.

    Raises
    ------
    OptionError
    """
    if pairs not in WAYS and not Path(pairs).is_file():
        raise OptionError(f"pairs: no file {pairs}; give one, or {', '.join(WAYS)}")


def named_pairs(pairs: str, photos: tuple[Photo, ...], keep: int) -> list[tuple[int, int]]:
    """Return the pairs to match, sorted, (i, j) with i < j.

    Parameters
    ----------
    pairs : "all", "sequence", "gps", or a file
        A sequence goes in the order of the photos, the last followed by the first. A file names two
        photos a line, by name or stem, in quotes where a name has spaces; after a # is a comment.
    photos : tuple of Photo
    keep : int
        Nearest photos by GPS.

    Raises
    ------
    OptionError
        A photo without GPS; a file that is missing or names no two of these photos.
    """
    check_pairs(pairs)
    n = len(photos)
    if pairs == "all":
        return list(combinations(range(n), 2))
    if pairs == "sequence":
        steps = [(i, (i + d) % n) for i in range(n) for d in range(1, WINDOW + 1)]
        return sorted({(min(p), max(p)) for p in steps if p[0] != p[1]})
    return _nearest(photos, keep) if pairs == "gps" else _listed(Path(pairs), photos)


def _nearest(photos: tuple[Photo, ...], keep: int) -> list[tuple[int, int]]:
    """Pair each photo with the `keep` nearest by GPS, and with any as near as the last of these."""
    lost = [p.name for p in photos if p.gps is None]
    if lost:
        raise OptionError(f"{lost[0]}: has no GPS position ({len(lost)} such photos); leave out --pairs gps")
    lat, lon = np.radians([p.gps for p in photos if p.gps]).T
    places = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], 1)
    chosen = set()
    for i, place in enumerate(places):
        distance = np.linalg.norm(places - place, axis=1)
        distance[i] = np.inf
        reach = np.sort(distance)[: min(keep, len(places) - 1)].max(initial=0.0)
        chosen |= {(min(i, int(j)), max(i, int(j))) for j in np.flatnonzero(distance <= reach)}
    return sorted(chosen)


def _listed(file: Path, photos: tuple[Photo, ...]) -> list[tuple[int, int]]:
    """Read the pairs that a file names."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{file}: cannot be read as text ({error})") from error
    meant = naming(p.name for p in photos)
    chosen = set()
    for number, line in enumerate(lines, 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise OptionError(f"{file}, line {number}: {error}; mend the quotes") from None
        if not words:
            continue
        if len(words) != 2:
            raise OptionError(f"{file}, line {number}: {len(words)} names; give two photos a line")
        try:
            ends = [meant(word) for word in words]
        except LookupError as error:
            raise OptionError(f"{file}, line {number}: {error.args[0]}") from None
        if ends[0] == ends[1]:
            raise OptionError(f"{file}, line {number}: {words[0]} is paired with itself; name another photo")
        chosen.add((min(ends), max(ends)))
    if not chosen:
        raise OptionError(f"{file}: names no pairs; give two photos a line")
    return sorted(chosen)


def blurred_apart(features: Sequence[Features], found: Sequence[Pair]) -> list[tuple[int, int]]:
    """Return the pairs (i, j), i < j, of a blurred photo and one that it does not hang together with."""
    sizes = np.array([np.median(f.sizes) * f.scale if len(f.sizes) else 0 for f in features])
    blurred = sizes > BLURRED * np.median(sizes)
    group_of = {k: n for n, members in enumerate(connected_groups(len(sizes), found)) for k in members}
    return [
        (i, j)
        for i, j in combinations(range(len(sizes)), 2)
        if group_of[i] != group_of[j] and (blurred[i] or blurred[j])
    ]
