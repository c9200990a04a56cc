"""A row of the page's table a photo: how well it fits, its exposure and its lens."""

from __future__ import annotations

import math

import numpy as np

from composer.records import Camera, Composition, Layer, Photo

__all__ = ["PHOTO_COLUMNS", "photo_residual", "photo_row"]

PHOTO_COLUMNS = ("photo", "matches", "residual", "exposure", "white balance", "focal length", "lens")


def photo_residual(composition: Composition, k: int) -> tuple[int, int, float]:
    """Return how many photos layer k was matched with, by how many points, and their rms distance in px."""
    mine = [link for link in composition.links if k in (link.i, link.j)]
    matches = sum(link.matches for link in mine)
    squares = sum(link.matches * link.rms_px**2 for link in mine)
    return len(mine), matches, math.sqrt(squares / matches) if matches else 0.0


def photo_row(composition: Composition, k: int, name: str, picture: str) -> str:
    """Return a photo's row; `name` is escaped, `picture` a data URI."""
    layer = composition.layers[k]
    pairs, matches, rms_px = photo_residual(composition, k)
    red, green, blue = np.log2(layer.gain)
    cells = [
        f"{matches} with {pairs} photo{'s' * (pairs != 1)}",
        f"{rms_px:.2f} px" if matches else "not known",
        f"{_stops((red + green + blue) / 3)} EV",
        f"R {_stops(red - green)}, B {_stops(blue - green)} EV",
        _focal(layer.photo, layer.camera, composition.projection == "affine"),
        _lens(layer),
    ]
    columns = zip(PHOTO_COLUMNS[1:], cells, strict=True)
    data = "".join(f'<td data-label="{column}">{cell}</td>' for column, cell in columns)
    image = f'<img alt="Photo {k + 1}" loading="lazy" src="{picture}">'
    return f'<tr><th scope="row">{image}<span><b>{k + 1}</b> <bdi>{name}</bdi></span></th>{data}</tr>'


def _stops(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"  # never -0.00


def _focal(photo: Photo, camera: Camera, flat: bool) -> str:
    if flat:
        return "flat scan"
    across = photo.width / 2 / camera.focal_px
    angle = {
        "rectilinear": math.atan(across),
        "equidistant": across,
        "equisolid": 2 * math.asin(min(across / 2, 1.0)),
    }[camera.optics]
    return f"{camera.focal_px:.0f} px, {math.degrees(2 * angle):.1f}° across"


def _lens(layer: Layer) -> str:
    """Return optics, radial distortion, optical centre and fall-off, as far as they are not nothing."""
    camera = layer.camera
    found = [] if camera.optics == "rectilinear" else [f"{camera.optics} fisheye"]
    found += [f"{n} {v:+.4f}" for n, v in zip("abc", camera.distortion, strict=True) if v]
    if any(camera.offset):
        found.append(f"centre {camera.offset[0]:+.1f}, {camera.offset[1]:+.1f} px")
    if any(layer.vignetting):
        found.append(f"corners {sum(layer.vignetting) / math.log(2):+.2f} EV")
    if layer.mesh is not None:
        found.append(f"bent by up to {float(np.abs(layer.mesh).max()):.1f} px")
    return ", ".join(found) or "ideal"
