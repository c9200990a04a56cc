"""The text of a Hugin project: lines of variables, a letter or two before each value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from composer.errors import ComposerError

__all__ = ["Project", "Variables", "kind", "parsed", "replaced"]

Variables = dict[str, str]

LARGEST = 1e6
_VARIABLE = re.compile(r'(?<!\S)([A-Za-z]+)("[^"]*"|[^\s"]*)')


@dataclass(frozen=True)
class Project:
    """A project's lines, and the variables of its canvas and photos as text."""

    name: str
    lines: tuple[str, ...]
    canvas: Variables
    photos: tuple[Variables, ...]

    def number(self, k: int, variable: str, default: float = 0.0) -> float:
        """Return a variable of photo k, links to other photos followed.

        Raises
        ------
        ComposerError
            Not a number, or a link to nothing.
        """
        value = self.photos[k].get(variable)
        for _ in self.photos:
            if value is None or not value.startswith("="):
                break
            place = value[1:]
            if not place.isdecimal() or int(place) >= len(self.photos):
                raise ComposerError(
                    f"{self.name}: photo {k}: {variable}{value} links to no photo; repair the link"
                )
            value = self.photos[int(place)].get(variable)
        return default if value is None else self._float(f"photo {k}: {variable}", value)

    def of_canvas(self, variable: str, default: float | None = None) -> float:
        """Return a variable of the canvas.

        Raises
        ------
        ComposerError
            Not a number, or missing without a default.
        """
        value = self.canvas.get(variable)
        if value is None and default is None:
            raise ComposerError(f"{self.name}: the p-line has no {variable}; save the project in Hugin")
        return self._float(variable, str(default) if value is None else value)

    def numbers(self, what: str, text: str) -> list[float]:
        """Return numbers separated by commas or spaces."""
        return [self._float(what, part) for part in re.split(r"[\s,]+", text.strip()) if part]

    def rectangle(self, what: str, text: str) -> tuple[float, float, float, float]:
        """Return left, right, top and bottom of a crop."""
        found = self.numbers(what, text)
        if len(found) != 4:
            raise ComposerError(f'{self.name}: {what} is "{text}"; give left,right,top,bottom')
        return found[0], found[1], found[2], found[3]

    def _float(self, what: str, text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not abs(found) <= LARGEST:
            raise ComposerError(f'{self.name}: {what} is "{text}"; give a number, at most a million')
        return found


def parsed(text: str, name: str) -> Project:
    """Take a project's text apart; the lines joined are the text.

    Raises
    ------
    ComposerError
        It has no canvas or no photos.
    """
    lines = tuple(re.findall(r"[^\n]*\n|[^\n]+", text))
    canvas = [_variables(line) for line in lines if kind(line) == "p"]
    photos = tuple(_variables(line) for line in lines if kind(line) == "i")
    if not canvas or not photos:
        raise ComposerError(f"{name}: not a Hugin project: it has no p-line or no i-lines; save it in Hugin")
    return Project(name, lines, canvas[0], photos)


def kind(line: str) -> str:
    """Return the letter that says what a line is about: p canvas, i photo; none for anything else."""
    return line[0] if line[1:2].isspace() else ""


def replaced(line: str, values: Mapping[str, str]) -> str:
    """Return a line with variables given other values; those it does not have are put at its end."""
    there = _variables(line)
    changed = _VARIABLE.sub(lambda m: m[1] + values.get(m[1], m[2]), line[1:])
    text = line[0] + changed
    body = text.rstrip()
    return body + "".join(f" {n}{v}" for n, v in values.items() if n not in there) + text[len(body) :]


def _variables(line: str) -> Variables:
    return {name: value.strip('"') for name, value in _VARIABLE.findall(line[1:])}
