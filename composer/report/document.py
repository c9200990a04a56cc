"""What all pages have in common: how they begin, and that they need no other file and no network."""

from __future__ import annotations

import importlib.resources
from html import escape
from pathlib import Path

from composer.errors import OutputError
from composer.media.encode import check_folder

__all__ = ["asset", "beginning", "check_page"]

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
SCRIPTS = "; script-src 'unsafe-inline'"


def check_page(path: Path) -> None:
    """Check that a page can be written, before any work is done.

    Raises
    ------
    OutputError
    """
    check_folder(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{path}: it is a web page; give a name that ends in .html")


def beginning(title: str, styles: tuple[str, ...], scripts: bool = True) -> str:
    """Return a page up to where its body begins; `styles` are files beside this one."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY + SCRIPTS * scripts}">
<title>{escape(title)} · composer</title>
<style>{"".join(map(asset, styles))}</style>
</head>
<body>"""


def asset(name: str) -> str:
    """Return the text of a file beside this one."""
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")
