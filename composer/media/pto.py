"""Hugin's projects (.pto): compositions in files that Hugin and `nona` read, and back.

A project that was read is kept as text. Writing changes the variables whose value is another now, and
nothing else: lines, comments, variables and control points that composer does not know stay as they are.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from composer.errors import ComposerError
from composer.media.encode import replacing
from composer.media.header import read_photo
from composer.media.hugin import (
    LENS,
    PROJECTIONS,
    canvas_of,
    canvas_variables,
    changed_variables,
    layer_of,
    lens_of,
)
from composer.media.project import Project, Variables, kind, parsed, replaced
from composer.records import Composition, Layer, Photo, Plan

__all__ = ["load_project", "name_in_project", "project_text", "save_project"]

_CANVAS = 'p f0 w0 h0 v0 k0 E0 R0 S0,0,0,0 n"TIFF_m c:LZW r:CROP"'
_PHOTO = (
    "i w0 h0 f0 v0 Ra0 Rb0 Rc0 Rd0 Re0 Eev0 Er1 Eb1 r0 p0 y0 TrX0 TrY0 TrZ0 Tpy0 Tpp0 j0 a0 b0 c0 d0 e0 g0 "
    't0 Va1 Vb0 Vc0 Vd0 Vx0 Vy0 Vm5 n""'
)


def load_project(path: Path, max_memory: int = 2 << 30) -> Composition:
    """Read a Hugin project: cameras, exposure and canvas. Seams and the layers' rectangles are not in it.

    Raises
    ------
    ComposerError
        Not a project, or something in it that composer cannot do.
    PhotoError
        A photo is missing or not an image.
    """
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        raise ComposerError(f"{path}: no such file; check the name") from None
    except IsADirectoryError:
        raise ComposerError(f"{path}: is a folder; give a Hugin project") from None
    except PermissionError:
        raise ComposerError(f"{path}: permission denied; make it readable") from None
    project = parsed(text, str(path))
    photos = [read_photo(_inside(project, k, path), max_memory) for k in range(len(project.photos))]
    layers = tuple(layer_of(project, k, photo) for k, photo in enumerate(photos))
    return canvas_of(project, layers, text)


def save_project(path: Path, plan: Plan) -> tuple[str, ...]:
    """Write each composition as a Hugin project: FILE, FILE-2, FILE-3.

    Returns
    -------
    tuple of str
        What the projects do not hold.

    Raises
    ------
    ComposerError
        A flat mosaic, a photo outside the project's folder, or one given as an array.
    OutputError
        A file cannot be written.
    """
    texts = {}
    for k, composition in enumerate(plan.compositions, 1):
        name = path if k == 1 else path.with_stem(f"{path.stem}-{k}")
        texts[name] = project_text(composition, name)
    for name, text in texts.items():
        with replacing(name) as file:
            file.write(text.encode("utf-8", "surrogateescape"))
    layers = [la for c in plan.compositions for la in c.layers]
    lost = {
        "local alignment": any(la.mesh is not None for la in layers),
        "brackets": any(la.bracket is not None for la in layers),
        "patches": any(c.patches for c in plan.compositions),
        "the circle of an equisolid lens": any(
            la.camera.circle_px is not None and la.camera.optics == "equisolid" for la in layers
        ),
    }
    return tuple(f"{path}: a Hugin project cannot hold {what}" for what, there in lost.items() if there)


def project_text(composition: Composition, path: Path) -> str:
    """Return a composition as the text of a project that is to be written to `path`.

    Raises
    ------
    ComposerError
    """
    if composition.projection not in PROJECTIONS.values():
        raise ComposerError(
            f"{path}: a Hugin project has no projection {composition.projection}; save under another suffix"
        )
    layers = composition.layers
    names = [name_in_project(la.photo, path) for la in layers]
    project = parsed(composition.project or _blank(len(layers)), str(path))
    places = _places(project, layers)
    if places is None:
        project = parsed(_blank(len(layers)), str(path))
        places = list(range(len(layers)))
    fresh = project.canvas["w"] == "0"
    changes: dict[int, Variables] = {}
    for k, (place, layer) in enumerate(zip(places, layers, strict=True)):
        before = None if fresh else layer_of(project, place, layer.photo)
        changes[place] = changed_variables(before, layer, project.of_canvas("E", 0.0))
        twin = next(j for j, la in enumerate(layers) if lens_of(la) == lens_of(layer))
        if fresh and twin < k:
            changes[place] |= dict.fromkeys(LENS, f"={twin}")
        if _tidy(project.photos[place].get("n", "")) != names[k]:
            changes[place]["n"] = f'"{names[k]}"'
    _keep_linked(project, changes)
    canvas = canvas_variables(composition)
    same = not fresh and canvas == canvas_variables(canvas_of(project, (), ""))
    order = iter(range(len(project.photos)))
    lines = list(project.lines)
    for k, line in enumerate(lines):
        if kind(line) == "i":
            lines[k] = replaced(line, changes.get(next(order), {}))
        elif kind(line) == "p" and not same:
            lines[k] = replaced(line, canvas)
    return "".join(lines)


def _keep_linked(project: Project, changes: dict[int, Variables]) -> None:
    """Give photos that are linked to a variable which changes the value that it had."""
    for k, variables in enumerate(project.photos):
        for name, value in variables.items():
            link = value[1:] if value.startswith("=") else ""
            if link.isdecimal() and name in changes.get(int(link), {}):
                changes.setdefault(k, {}).setdefault(name, repr(project.number(k, name)))


def _inside(project: Project, k: int, path: Path) -> Path:
    """Return where a photo's file is; it must not leave the project's folder."""
    name = project.photos[k].get("n", "")
    if not name:
        raise ComposerError(f'{path}: photo {k} has no file name (n"..."); give it one')
    for pure in (PurePosixPath(name), PureWindowsPath(name)):
        if pure.anchor or ".." in pure.parts:
            raise ComposerError(
                f"{path}: photo {k} ({name}) lies outside the project's folder; save the project beside its "
                "photos"
            )
    return path.parent / name


def _blank(count: int) -> str:
    """Return the text of a project with nothing filled in."""
    head = "# hugin project file\n#hugin_ptoversion 2\n"
    return f"{head}{_CANVAS}\nm i0\n\n" + f"{_PHOTO}\n" * count + "\nv\n"


def _places(project: Project, layers: tuple[Layer, ...]) -> list[int] | None:
    """Return which of a project's photos each layer is: by name, else in order; None if that fails."""
    free = {k: _tidy(variables.get("n", "")) for k, variables in enumerate(project.photos)}
    found = []
    for layer in layers:
        where = f"/{layer.photo.path.as_posix()}" if layer.photo.path else ""
        place = next((k for k, name in free.items() if name and where.endswith(f"/{name}")), None)
        if place is None:
            return list(range(len(layers))) if len(layers) == len(project.photos) else None
        found.append(place)
        del free[place]
    return found


def _tidy(name: str) -> str:
    return os.path.normpath(name) if name else ""


def name_in_project(photo: Photo, path: Path) -> str:
    """Return a photo's path relative to the project's folder.

    Raises
    ------
    ComposerError
        It lies outside, was given as an array, or has a name that a project cannot hold.
    """
    if photo.path is None:
        raise ComposerError(f"{photo.name} was given as an array; save projects of files only")
    folder = photo.path.parent.resolve()
    try:
        name = str((folder / photo.path.name).relative_to(path.parent.resolve()).as_posix())
    except ValueError:
        raise ComposerError(
            f"{path}: {photo.name} lies outside the project's folder, where Hugin looks for photos; save "
            f"the project beside them, as {folder / path.name}"
        ) from None
    if set(name) & set('"\r\n'):
        raise ComposerError(f"{photo.name}: a project cannot name it; rename the photo without quotes")
    return name
