"""Which photo a person means: by its name as given, else by its file name, else by its stem."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["naming"]


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
