"""Which photo a person means: by its name as given, else by its file name, else by its stem."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from composer.errors import PhotoError
from composer.media.inputs import among

__all__ = ["named_like", "naming", "own_mask"]


def naming(names: Iterable[str]) -> Callable[[str], int]:
    """Return what tells the index of the photo that a word means; it raises LookupError, saying why."""
    given = list(names)
    forms: list[dict[str, list[int]]] = [{}, {}, {}]
    for k, name in enumerate(given):
        for known, form in zip(forms, (name, Path(name).name, Path(name).stem), strict=True):
            known.setdefault(form, []).append(k)

    def meant(word: str) -> int:
        found = next((known[word] for known in forms if word in known), [])
        if not found:
            raise LookupError(f"no photo is called {word}; give the name or stem of one")
        if len(found) > 1:
            raise LookupError(f"{word} may be {given[found[0]]} or {given[found[1]]}; give the path")
        return found[0]

    return meant


def named_like(photo: Path, folder: Path) -> list[Path]:
    """Return the pictures in and below a folder that are called like a photo: by file name, else by stem.

    As much as possible of the photo's path counts: of a/x.png and x.png the first is that of PHOTOS/a/x.jpg.
    """
    above = Path(os.path.abspath(photo)).parts[1:-1]
    for k in range(len(above) + 1):
        here = folder.joinpath(*above[k:])
        if here.is_dir():
            names = [Path(n) for n in among(sorted(n for n in os.listdir(here) if n.startswith(photo.stem)))]
            for form in (photo.name, photo.stem):
                if found := [here / n for n in names if n.stem == form]:
                    return found
    return []


def own_mask(photo: Path, masks: Path) -> Path:
    """Return a photo's mask: of a folder the one that is called like it, else the mask that is for all.

    Raises
    ------
    PhotoError
        The folder has none, or several.
    """
    if not masks.is_dir():
        return masks
    found = named_like(photo, masks)
    if len(found) != 1:
        which = "none is" if not found else f"{len(found)} are"
        raise PhotoError(f"{masks}: {which} called {photo.stem}; a photo has one mask")
    return found[0]
