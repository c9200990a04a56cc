"""What a batch works on: files or folders found below those that are named, and where results go."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from composer.errors import OptionError, OutputError, PhotoError
from composer.media.inputs import SUFFIXES, among, natural

__all__ = ["Item", "check_items", "common_folder", "files_below", "folders_below"]

WRITTEN_AS = {".bmp": ".png", ".jpe": ".jpg"}  # what photographs of a kind that is only read become


@dataclass(frozen=True)
class Item:
    """One piece of work.

    Attributes
    ----------
    name : str
        What messages and the summary call it: its path below the folder that was named.
    source : Path
        The file or folder that the job is given.
    output : Path
        Where its result goes; the job may write more files beside it.
    files : tuple of Path
        Files whose content decides whether it must be done again: the photo, its mask, its settings.
    """

    name: str
    source: Path
    output: Path
    files: tuple[Path, ...]


def files_below(
    sources: Iterable[str | Path], folder: str | Path | None = None, suffix: str = ""
) -> list[Item]:
    """Return an item for each photograph among and below files, folders and glob patterns.

    Parameters
    ----------
    sources : paths or patterns
        Folders are searched whole, hidden names apart. Of several folders each keeps its name. Photographs
        of kinds that composer does not read are items too, to be set aside with the reason, and so are
        folders below that cannot be listed.
    folder : path or None
        Where results go, in the same tree; None puts them beside the photographs.
    suffix : str
        Put behind each name, before its extension. What ends in it and lies where results go is taken for
        an earlier one.

    Raises
    ------
    PhotoError
        A name that is nothing, a folder without photographs, a pattern that matches nothing.
    OptionError
        Neither `folder` nor `suffix`: results would replace the photographs. Or a suffix with a slash.
    OutputError
        Two results, or a result and a photograph, have the same name.
    """
    if folder is None and not suffix:
        raise OptionError("results would replace the photographs; give a folder for them, or a suffix")
    if "/" in suffix:
        raise OptionError(f'suffix is "{suffix}"; it is put behind a name, so leave out slashes')
    found = list(_listed(list(sources), None if folder is None else Path(folder)))
    stems = {path.with_suffix("") for _, path in found}
    items = {}
    for root, path in found:
        inside = path.relative_to(root)
        kind = WRITTEN_AS.get(path.suffix.lower(), path.suffix)
        output = (Path(folder) if folder is not None else root) / inside.with_name(path.stem + suffix + kind)
        original = path.with_name(path.stem.removesuffix(suffix))
        beside = output.parent.resolve() == path.parent.resolve()
        if suffix and beside and path.stem.endswith(suffix) and original in stems:
            continue
        items[path, output] = Item(str(inside), path, output, (path,))
    return check_items(list(items.values()))


def folders_below(sources: Iterable[str | Path], folder: str | Path, kind: str = ".jpg") -> list[Item]:
    """Return an item for each folder of photographs below those named, or for those themselves.

    A folder named A with photographs in A/x and A/y/z gives the results x.jpg and y/z.jpg; one without
    such folders gives A.jpg.

    Raises
    ------
    PhotoError
        A name that is no folder, or a folder without photographs.
    OutputError
        Two results have the same name.
    """
    items = []
    for source in sources:
        root = Path(source)
        if not root.is_dir():
            raise PhotoError(f"{source}: is no folder; name folders whose sub-folders hold photographs")
        members: dict[Path, list[Path]] = {}
        for path in _walked(root, Path(folder)):
            members.setdefault(path if path.is_dir() else path.parent, []).append(path)
        if len(members) > 1:
            members.pop(root, None)
        for scene, photos in members.items():
            inside = scene.relative_to(root) if scene != root else Path(root.resolve().name)
            output = Path(folder) / inside.with_name(inside.name + kind)
            items.append(Item(str(inside), scene, output, tuple(photos)))
    return check_items(items)


def common_folder(items: Sequence[Item]) -> Path:
    """Return the folder that all results lie in or below."""
    return Path(os.path.commonpath([item.output.parent.resolve() for item in items]))


def check_items(items: list[Item]) -> list[Item]:
    """Check that each result has a name of its own and replaces no input.

    Raises
    ------
    OutputError
    """
    inputs = {path.resolve() for item in items for path in item.files}
    owners: dict[Path, Item] = {}
    for item in items:
        output = item.output.resolve()
        if output in inputs:
            raise OutputError(f"{item.output}: is one of the inputs; choose another folder for the results")
        if output in owners:
            raise OutputError(
                f"{owners[output].source} and {item.source} would both become {item.output}; "
                "rename one, or do them apart"
            )
        owners[output] = item
    return items


def _listed(sources: Sequence[str | Path], skip: Path | None) -> Iterator[tuple[Path, Path]]:
    """Yield photographs, each with the folder above which its path is not mirrored."""
    several = sum(os.path.isdir(s) for s in sources) > 1
    for source in sources:
        path = Path(source)
        if path.is_dir():
            root = path.resolve().parent if several else path
            found = _walked(path.resolve() if several else path, skip)
        elif glob.has_magic(str(source)) and not os.path.lexists(source):
            root = _fixed_part(path)
            inside = _below(skip, root)
            matches = (Path(p) for p in glob.glob(str(source), recursive=True))
            photos = (p for p in matches if p.suffix.lower() in SUFFIXES and p.is_file())
            found = sorted((p for p in photos if not (inside and _below(p, skip))), key=natural)
        elif path.exists():
            root, found = path.parent, [path]
        else:
            raise PhotoError(f"{source}: no such file or folder; check the name")
        if not found:
            raise PhotoError(f"{source}: has no photographs (JPEG, PNG, TIFF, WebP); check the name")
        yield from ((root, p) for p in found)


def _walked(root: Path, skip: Path | None) -> list[Path]:
    """Return the photographs in and below a folder, in natural order, without those in folder `skip`.

    Folders below it that cannot be listed are among them, to be set aside with the reason.
    """

    def unreadable(error: OSError) -> None:
        if Path(error.filename) == root:
            raise PhotoError(f"{root}: cannot be listed ({error.strerror}); make the folder readable")
        found.append(Path(error.filename))

    found: list[Path] = []
    inside = _below(skip, root)
    for above, folders, names in os.walk(root, onerror=unreadable):
        here = Path(above)
        folders[:] = [f for f in folders if not f.startswith(".") and not (inside and _same(here / f, skip))]
        found += [p for n in among(names, unread=True) if (p := here / n).is_file()]
    if not found:
        raise PhotoError(f"{root}: has no photographs (JPEG, PNG, TIFF, WebP); name another folder")
    return sorted(found, key=natural)


def _below(path: Path | None, folder: Path | None) -> bool:
    """Tell whether a path lies in a folder, and is not that folder."""
    return path is not None and folder is not None and folder.resolve() in path.resolve().parents


def _same(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.resolve() == folder.resolve()


def _fixed_part(pattern: Path) -> Path:
    """Return the folders of a pattern before its first wildcard."""
    fixed = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)
