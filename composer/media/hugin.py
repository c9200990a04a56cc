"""What a Hugin project says of photos and canvas, as layers and compositions, and the other way round.

Conventions are those of `records`, except that Hugin counts pixels as the file stores them, before the
EXIF orientation, that its canvas is symmetric about the middle of the view (what is kept of it is a crop),
and that exposure comes in steps: gain = 2^(Eev - E) / (Er, 1, Eb).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.errors import ComposerError
from composer.media.project import Project, Variables
from composer.records import Camera, Composition, Layer, Optics, Photo, Projection

Array = NDArray[Any]

__all__ = ["LENS", "PROJECTIONS", "canvas_of", "canvas_variables", "changed_variables", "layer_of", "lens_of"]

LENS = ("v", "a", "b", "c", "d", "e")  # what photos of one lens share by links
PROJECTIONS: dict[int, Projection] = {
    0: "plane", 1: "cylinder", 2: "sphere", 4: "stereographic", 5: "mercator", 19: "pannini",
}  # fmt: skip
LENSES: dict[int, Optics] = {0: "rectilinear", 2: "equidistant", 3: "equidistant", 21: "equisolid"}
CIRCULAR, FULL_FRAME = 2, 3
MOST_STEPS = 24
# the curve of EMoR (Grossberg and Nayar, CVPR 2003), which Hugin works with, that is nearest to sRGB's:
# at most 0.011 away, and that in the shadows
SRGB_CURVE = {"Ra": -0.11861, "Rb": -1.08882, "Rc": -0.21375, "Rd": -0.0888, "Re": -0.01697}
_RADII = np.linspace(0, 1, 65)[:, None] ** np.arange(1, 4)  # r^2, r^4, r^6 from the centre to a corner
_STORED = {1: ((1, 0), (0, 1)), 3: ((-1, 0), (0, -1)), 6: ((0, 1), (-1, 0)), 8: ((0, -1), (1, 0))}
_UNSUPPORTED = {
    "TrX": "a moving camera", "TrY": "a moving camera", "TrZ": "a moving camera", "g": "shear", "t": "shear",
    "Vx": "vignetting off the centre", "Vy": "vignetting off the centre",
}  # fmt: skip


def layer_of(project: Project, k: int, photo: Photo) -> Layer:
    """Return a photo in its place, as the project has it."""
    stored = _stored_size(photo)
    said = (project.number(k, "w", stored[0]), project.number(k, "h", stored[1]))
    if said[0] != stored[0] or said[1] != stored[1]:
        raise ComposerError(
            f"{project.name}: {photo.name} is stored as {stored[0]} x {stored[1]} pixels, the project says "
            f"{said[0]:g} x {said[1]:g}; give the photo that the project was made from"
        )
    for name, what in _UNSUPPORTED.items():
        if project.number(k, name):
            raise ComposerError(
                f"{project.name}: photo {k} has {name} ({what}), which composer cannot do; set it to 0"
            )
    gain, vignetting = _exposure(project, k)
    return Layer(photo, _camera(project, k, photo), gain, vignetting)


def _stored_size(photo: Photo) -> tuple[int, int]:
    """Return a photo's width and height as its file has them."""
    return (photo.height, photo.width) if photo.orientation >= 5 else (photo.width, photo.height)


def _to_stored(photo: Photo) -> Array:
    """Return the (3, 3) rotation from the upright photo's camera to that of the pixels as stored."""
    if photo.orientation not in _STORED:
        raise ComposerError(f"{photo.name}: is mirrored by its EXIF orientation; save it upright")
    turn = np.eye(3)
    turn[:2, :2] = _STORED[photo.orientation]
    return turn


def _camera(project: Project, k: int, photo: Photo) -> Camera:
    code, degrees = project.number(k, "f"), project.number(k, "v")
    lens = LENSES.get(int(code))
    if lens is None:
        known = ", ".join(f"f{n} {optics}" for n, optics in LENSES.items())
        raise ComposerError(f"{project.name}: photo {k} has lens type f{code:g}; composer knows {known}")
    if not 0.01 < degrees < (180 if lens == "rectilinear" else 720):
        raise ComposerError(f"{project.name}: photo {k} has a field of view of {degrees:g} degrees")
    view = math.radians(degrees)
    drawn = {"rectilinear": 2 * math.tan(view / 2), "equidistant": view, "equisolid": 4 * math.sin(view / 4)}
    yaw, pitch, roll = (math.radians(project.number(k, n)) for n in "ypr")
    turn = _to_stored(photo)
    offset = turn[:2, :2].T @ (project.number(k, "d"), project.number(k, "e"))
    return Camera(
        turn.T @ _rotation(yaw, pitch, roll).T,
        _stored_size(photo)[0] / drawn[lens],
        (project.number(k, "a"), project.number(k, "b"), project.number(k, "c")),
        (float(offset[0]), float(offset[1])),
        lens,
        _circle(project, k, photo),
    )


def _rotation(yaw: float, pitch: float, roll: float) -> Array:
    """Return Ry(yaw) Rx(pitch) Rz(roll): camera to world."""
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    spin = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    tilt = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return np.asarray(spin @ tilt @ [[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])


def _circle(project: Project, k: int, photo: Photo) -> float | None:
    """Return the radius about the optical centre to which a circular fisheye is cropped."""
    said, size = project.photos[k].get("S"), _stored_size(photo)
    if said is None:
        return None
    left, right, top, bottom = project.rectangle(f"photo {k}: S", said)
    if int(project.number(k, "f")) != CIRCULAR:
        if left > 0 or top > 0 or 0 < right < size[0] or 0 < bottom < size[1]:
            raise ComposerError(
                f"{project.name}: photo {k} is cropped (S{said}), and composer crops circular fisheyes only; "
                "remove the crop"
            )
        return None
    centre = size[0] / 2 + project.number(k, "d"), size[1] / 2 + project.number(k, "e")
    away = math.hypot((left + right) / 2 - centre[0], (top + bottom) / 2 - centre[1])
    radius = min(right - left, bottom - top) / 2 - (away if away > 1 else 0)  # S is in whole pixels
    if radius <= 0:
        raise ComposerError(f"{project.name}: photo {k}: the crop S{said} misses the optical centre")
    return radius


def _exposure(project: Project, k: int) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return a photo's gain and vignetting, the logarithm of Hugin's polynomial fitted by ours."""
    red, blue, level = (project.number(k, n, 1.0) for n in ("Er", "Eb", "Va"))
    steps = project.number(k, "Eev") - project.of_canvas("E", 0.0)
    if min(red, blue, level) < 0.001 or abs(steps) > MOST_STEPS:
        raise ComposerError(
            f"{project.name}: photo {k}: Eev less E is {steps:g}, Er {red:g}, Eb {blue:g}, Va {level:g}; "
            f"composer corrects {MOST_STEPS} steps at most, and factors above 0.001"
        )
    gain = 2**steps / level
    gains = gain / red, gain, gain / blue
    terms = np.array([project.number(k, n) for n in ("Vb", "Vc", "Vd")]) / level
    mode, left = int(project.number(k, "Vm", 5)), 1 + _RADII @ terms
    if not mode & 3 or not terms.any():
        return gains, (0.0, 0.0, 0.0)
    if mode != 5 or left.min() <= 0:
        raise ComposerError(f"{project.name}: composer cannot undo the vignetting of photo {k}; set Vm to 0")
    v1, v2, v3 = np.linalg.lstsq(_RADII, np.log(left))[0]
    return gains, (float(v1), float(v2), float(v3))


def canvas_of(project: Project, layers: tuple[Layer, ...], text: str) -> Composition:
    """Return layers on a project's canvas."""
    code, shape = project.of_canvas("f"), project.numbers("P", project.canvas.get("P", ""))
    projection = PROJECTIONS.get(int(code))
    if projection is None or (projection == "pannini" and shape not in ([], [100.0, 0.0, 0.0])):
        known = ", ".join(f"f{n} {name}" for n, name in PROJECTIONS.items())
        raise ComposerError(
            f"{project.name}: the canvas has projection f{code:g} {project.canvas.get('P', '')}; composer "
            f'knows {known} with P"100 0 0"'
        )
    width, height, view = project.of_canvas("w"), project.of_canvas("h"), math.radians(project.of_canvas("v"))
    left, right, top, bottom = 0.0, width, 0.0, height
    if "S" in project.canvas:
        left, right, top, bottom = project.rectangle("S", project.canvas["S"])
    most = math.pi if projection == "plane" else 2 * math.pi + 1e-9
    if right - left < 1 or bottom - top < 1 or not 1e-4 < view < most:
        raise ComposerError(f"{project.name}: the canvas is empty, or its field of view cannot be")
    across = {"plane": 2 * math.tan(view / 2), "stereographic": 4 * math.tan(view / 4)}
    across["pannini"] = across["stereographic"]
    closed = projection not in across and right - left >= width and view > 2 * math.pi - 1e-9
    return Composition(
        layers, projection, int(right - left), int(bottom - top), width / across.get(projection, view),
        (left + 0.5 - width / 2, top + 0.5 - height / 2), closed, project=text,
    )  # fmt: skip


def changed_variables(before: Layer | None, layer: Layer, shown_at: float) -> Variables:
    """Return the variables of a photo that are not what they were, all but its name and links."""
    values: Variables = {}
    if before is None:
        width, height = _stored_size(layer.photo)
        values |= {"w": str(width), "h": str(height)}
    if before is None or lens_of(before) != lens_of(layer):
        values |= _lens_variables(layer)
    if before is None or not np.array_equal(before.camera.rotation, layer.camera.rotation):
        angles = _angles((_to_stored(layer.photo) @ layer.camera.rotation).T)
        values |= {n: _text(math.degrees(a)) for n, a in zip("ypr", angles, strict=True)}
    if before is None or (before.gain, before.vignetting) != (layer.gain, layer.vignetting):
        values |= {n: _text(x) for n, x in {**SRGB_CURVE, **_exposure_variables(layer, shown_at)}.items()}
    return values


def _exposure_variables(layer: Layer, shown_at: float) -> dict[str, float]:
    red, green, blue = layer.gain
    b, c, d = np.linalg.lstsq(_RADII, np.expm1(_RADII @ layer.vignetting))[0]
    steps = {"Eev": shown_at + math.log2(green), "Er": green / red, "Eb": green / blue}
    return {**steps, "Va": 1, "Vb": b, "Vc": c, "Vd": d, "Vm": 5}


def lens_of(layer: Layer) -> tuple[Any, ...]:
    """Return what photos of one lens have in common."""
    camera = layer.camera
    lens = (camera.optics, camera.focal_px, camera.distortion, camera.offset, camera.circle_px)
    return (_stored_size(layer.photo), layer.photo.orientation, *lens)


def _lens_variables(layer: Layer) -> Variables:
    camera, size = layer.camera, _stored_size(layer.photo)
    half = size[0] / 2 / camera.focal_px
    if camera.optics == "equisolid" and half > 2:
        raise ComposerError(
            f"{layer.photo.name}: is wider than an equisolid lens draws, which Hugin cannot say; crop it"
        )
    code = FULL_FRAME if camera.optics == "equidistant" else {v: k for k, v in LENSES.items()}[camera.optics]
    view = {"rectilinear": lambda: 2 * math.atan(half), "equisolid": lambda: 4 * math.asin(half / 2)}
    degrees = math.degrees(view.get(camera.optics, lambda: 2 * half)())
    offset = _to_stored(layer.photo)[:2, :2] @ camera.offset
    values = dict(zip(LENS, map(_text, (degrees, *camera.distortion, *offset)), strict=True))
    if camera.optics == "equidistant" and camera.circle_px is not None:
        code, radius = CIRCULAR, camera.circle_px
        centre = size[0] / 2 + offset[0], size[1] / 2 + offset[1]
        values["S"] = ",".join(str(round(c + r)) for c in centre for r in (-radius, radius))
    return {"f": str(code), **values}


def _angles(turn: Array) -> tuple[float, float, float]:
    """Return yaw, pitch and roll of a rotation from camera to world; looking straight up, roll is 0."""
    pitch = math.atan2(-turn[1, 2], math.hypot(turn[0, 2], turn[2, 2]))
    if math.hypot(turn[0, 2], turn[2, 2]) < 1e-9:
        return math.atan2(-turn[2, 0], turn[0, 0]), pitch, 0.0
    return math.atan2(turn[0, 2], turn[2, 2]), pitch, math.atan2(turn[1, 0], turn[1, 1])


def canvas_variables(composition: Composition) -> Variables:
    """Return the canvas as Hugin's: symmetric about the middle of the view, and what is kept of it."""
    width, left = _symmetric(composition.origin[0] - 0.5, composition.width)
    height, top = _symmetric(composition.origin[1] - 0.5, composition.height)
    across, projection = width / composition.scale, composition.projection
    view = min(across, 2 * math.pi)
    if projection in ("stereographic", "pannini"):
        view = 4 * math.atan(across / 4)
    elif projection == "plane":
        view = 2 * math.atan(across / 2)
    code = {name: k for k, name in PROJECTIONS.items()}[projection]
    kept = left, left + composition.width, top, top + composition.height
    values = {"f": str(code), "w": str(width), "h": str(height), "v": _text(math.degrees(view))}
    values["S"] = ",".join(map(str, kept))
    return {**values, "P": '"100 0 0"'} if projection == "pannini" else values


def _symmetric(start: float, size: int) -> tuple[int, int]:
    """Return a symmetric canvas that holds `size` pixels from `start`, and where they begin, rounded.

    Of an odd and an even canvas the one is chosen that needs less rounding: at most a quarter pixel.
    """
    full = max(size, math.ceil(2 * max(-start, start + size) - 1e-6))
    left = start + full / 2
    if abs(left - round(left)) > 0.25:
        full, left = full + 1, left + 0.5
    return full, round(left)


def _text(number: float) -> str:
    return f"{number + 0.0:.15g}"
