"""Compositions saved to a file and loaded again: a ZIP of JSON and arrays, photos by path and hash.

A name that ends in .pto stands for a Hugin project.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.errors import ComposerError, PhotoError
from composer.media.encode import replacing
from composer.media.opening import DAMAGE, reason
from composer.media.pto import load_project, name_in_project, save_project
from composer.records import Camera, Composition, Layer, Link, Patch, Photo, Plan, Rect, Unused

Array = NDArray[Any]

__all__ = ["check_saving", "load_plan", "save_plan"]

FORMAT = "composer-compositions"
VERSION = 2
PROJECT = ".pto"
_PHOTO_FIELDS = (
    "name",
    "width",
    "height",
    "channels",
    "dtype",
    "alpha",
    "orientation",
    "focal_px",
    "camera",
    "sha256",
    "optics",
    "distortion",
    "circle_px",
)
_MASKS = "include", "exclude"
_NODES = "mesh", "factors"


def check_saving(path: Path, photos: Iterable[Photo]) -> None:
    """Refuse, before any work, photos that `save_plan` would refuse.

    Raises
    ------
    ComposerError
    """
    for photo in photos:
        if path.suffix.lower() == PROJECT:
            name_in_project(photo, path)
        elif photo.path is None:
            raise ComposerError(f"{photo.name} was given as an array; save compositions of files only")


def save_plan(path: Path, plan: Plan) -> tuple[str, ...]:
    """Save compositions; paths of photos are stored relative to the file.

    Returns
    -------
    tuple of str
        What the file does not hold.

    Raises
    ------
    OutputError
        The file cannot be written.
    ComposerError
        A photo was handed in as an array: it has no path to find it by.
    """
    if path.suffix.lower() == PROJECT:
        return save_project(path, plan)
    arrays: dict[str, Array] = {}
    compositions = [_composition(c, k, path, arrays) for k, c in enumerate(plan.compositions)]
    unused = [{"photo": u.photo, "reason": u.reason} for u in plan.unused]
    about = {"format": FORMAT, "version": VERSION, "compositions": compositions, "unused": unused}
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("compositions.json", json.dumps(about, indent=1, default=_plain))
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            archive.writestr(name, buffer.getvalue())
    return ()


def load_plan(path: Path, max_memory: int = 2 << 30, unchanged: bool = True) -> Plan:
    """Load saved compositions; every photo must still be where it was, `unchanged` unless told otherwise.

    Of a Hugin project, photos that need more than `max_memory` bytes decoded are refused.

    Raises
    ------
    ComposerError
        Not such a file, or from a newer version.
    PhotoError
        A photo is missing or has changed.
    """
    if path.suffix.lower() == PROJECT:
        return Plan((load_project(path, max_memory),))
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read("compositions.json"))
            if about["format"] != FORMAT:
                raise ValueError("another format")
            if about["version"] > VERSION:
                raise ComposerError(f"{path}: saved by a newer composer; update composer")
            arrays = {
                n: np.load(io.BytesIO(archive.read(n)), allow_pickle=False)
                for n in archive.namelist()
                if n.endswith(".npy")
            }
            compositions = tuple(
                _loaded(c, k, path if unchanged else None, arrays)
                for k, c in enumerate(about["compositions"])
            )
            unused = tuple(Unused(**u) for u in about["unused"])
    except FileNotFoundError:
        raise ComposerError(f"{path}: no such file; check the name") from None
    except IsADirectoryError:
        raise ComposerError(f"{path}: is a folder; give a file written by --save") from None
    except PermissionError:
        raise ComposerError(f"{path}: permission denied; make it readable") from None
    except (*DAMAGE, zipfile.BadZipFile, MemoryError) as error:
        raise ComposerError(
            f"{path}: not a file written by --save, or damaged ({reason(error)}); save it again"
        ) from error
    return Plan(compositions, unused)


def _text(mask: bytes | None) -> str:
    """Return a mask's PNG bytes as text, for JSON; "" for none."""
    return base64.b64encode(mask or b"").decode()


def _plain(value: Any) -> Any:
    """Return a NumPy number as Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be saved")


def _composition(c: Composition, number: int, path: Path, arrays: dict[str, Array]) -> dict[str, Any]:
    for name in ("seams", "low_bands"):
        array = getattr(c, name)
        if array is not None:
            arrays[f"{number}/{name}.npy"] = array
    for k, layer in enumerate(c.layers):
        for name in _NODES:
            if (nodes := getattr(layer, name)) is not None:
                arrays[f"{number}/{name}-{k}.npy"] = nodes
    patches = []
    for k, patch in enumerate(c.patches):
        arrays[f"{number}/patch-{k}-pixels.npy"] = patch.pixels
        arrays[f"{number}/patch-{k}-alpha.npy"] = patch.alpha
        patches.append({"rect": list(patch.rect), "by": patch.by})
    return {
        "projection": c.projection, "width": c.width, "height": c.height, "scale": c.scale,
        "origin": list(c.origin), "closed": c.closed, "white": c.white, "seam_step": c.seam_step,
        "low_bands_step": c.low_bands_step, "rms_px": c.rms_px, "patches": patches,
        "layers": [_layer(la, path) for la in c.layers], "links": [vars(li) for li in c.links],
        "project": c.project,
    }  # fmt: skip


def _layer(layer: Layer, path: Path) -> dict[str, Any]:
    photo = layer.photo
    check_saving(path, [photo])
    assert photo.path is not None
    return {
        "photo": {
            **{n: getattr(photo, n) for n in _PHOTO_FIELDS},
            **{n: _text(getattr(photo, n)) for n in _MASKS},
            "path": os.path.relpath(photo.path.resolve(), path.resolve().parent),
        },
        "camera": {**vars(layer.camera), "rotation": layer.camera.rotation.tolist()},
        "gain": list(layer.gain), "vignetting": list(layer.vignetting), "rect": list(layer.rect),
        "bracket": layer.bracket,
    }  # fmt: skip


def _loaded(c: dict[str, Any], number: int, path: Path | None, arrays: dict[str, Array]) -> Composition:
    patches = tuple(
        Patch(
            Rect(*p["rect"]),
            arrays[f"{number}/patch-{k}-pixels.npy"],
            arrays[f"{number}/patch-{k}-alpha.npy"],
            p["by"],
        )
        for k, p in enumerate(c["patches"])
    )
    return Composition(
        tuple(
            _loaded_layer(la, path, {n: arrays.get(f"{number}/{n}-{k}.npy") for n in _NODES})
            for k, la in enumerate(c["layers"])
        ),
        c["projection"], c["width"], c["height"], c["scale"], tuple(c["origin"]), c["closed"], c["white"],
        c["seam_step"], arrays.get(f"{number}/seams.npy"),
        c["low_bands_step"], arrays.get(f"{number}/low_bands.npy"), patches, c["rms_px"],
        tuple(Link(**li) for li in c["links"]), c.get("project", ""),
    )  # fmt: skip


def _loaded_layer(la: dict[str, Any], path: Path | None, nodes: dict[str, Array | None]) -> Layer:
    c = la["camera"]
    camera = Camera(
        np.array(c["rotation"]), c["focal_px"], tuple(c["distortion"]), tuple(c["offset"]), c["optics"],
        c["circle_px"],
    )  # fmt: skip
    photo = _loaded_photo(la["photo"], path)
    return Layer(
        photo, camera, tuple(la["gain"]), tuple(la["vignetting"]), Rect(*la["rect"]),
        mesh=nodes["mesh"], factors=nodes["factors"], bracket=la.get("bracket"),
    )  # fmt: skip


def _loaded_photo(p: dict[str, Any], path: Path | None) -> Photo:
    """Return a photo of the file at `path`, None where it need not be there."""
    known = {n: p[n] for n in _PHOTO_FIELDS}
    known["distortion"] = tuple(known["distortion"])
    known |= {n: base64.b64decode(p[n]) for n in _MASKS if p.get(n)}
    if path is None:
        return Photo(path=None, **known)
    where = (path.resolve().parent / p["path"]).resolve()
    try:
        with where.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        raise PhotoError(f"{where}: the photo that {path} was made from is gone; put it back") from None
    if digest != p["sha256"]:
        raise PhotoError(f"{where}: has changed since {path} was saved; stitch again")
    return Photo(path=where, **known)
