"""What is known of a lens beforehand: from the user, or from the lensfun database (extra `lens`)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from composer.errors import OptionError, PhotoError
from composer.media.metadata import read_exif
from composer.records import Optics, Photo

__all__ = ["LENSES", "polynomial_of", "with_lens", "with_profile"]

LENSES = ("rectilinear", "equidistant", "equisolid", "circular", "lensfun")

_OPTICS: dict[str, Optics] = {
    "RECTILINEAR": "rectilinear", "FISHEYE": "equidistant", "FISHEYE_EQUISOLID": "equisolid",
}  # fmt: skip


def with_lens(photo: Photo, lens: str, fov_deg: float) -> Photo:
    """Return a photo with what the user knows of its lens.

    Parameters
    ----------
    photo : Photo
    lens : "rectilinear", "equidistant", "equisolid", "circular" or "lensfun"
        "circular" is an equidistant fisheye whose picture is a circle within the photo; "lensfun" looks the
        lens up in that database.
    fov_deg : float
        What the photo's longer side (circular: the circle) shows, in degrees; 0 where EXIF says it.

    Raises
    ------
    OptionError
        A fisheye's focal length is not known, no lens shows so many degrees, or lensfun is not installed.
    PhotoError
        Lensfun does not know the lens.
    """
    if lens == "lensfun":
        photo = with_profile(photo)
    elif lens == "circular":
        radius = min(photo.width, photo.height) / 2
        photo = replace(photo, optics="equidistant", circle_px=radius)
    else:
        optics: dict[str, Optics] = {name: name for name in get_args(Optics)}
        photo = replace(photo, optics=optics[lens])
    if fov_deg:
        most = 179 if photo.optics == "rectilinear" else 360
        if not 0 < fov_deg <= most:
            raise OptionError(
                f"lens_fov is {fov_deg:g}; a lens of this kind shows more than 0 and up to {most}"
            )
        half = photo.circle_px or max(photo.width, photo.height) / 2
        angle = math.radians(fov_deg) / 2
        spread = {"rectilinear": math.tan(angle), "equidistant": angle, "equisolid": 2 * math.sin(angle / 2)}
        photo = replace(photo, focal_px=half / spread[photo.optics])
    if photo.optics != "rectilinear" and not photo.focal_px:
        raise OptionError(f"{photo.name}: says nothing of its focal length; give --lens-fov DEGREES")
    return photo


def with_profile(photo: Photo) -> Photo:
    """Return a photo with its lens's distortion and kind as the database has them.

    Raises
    ------
    OptionError
        lensfunpy is not installed.
    PhotoError
        The photo does not name camera, lens and focal length, or the database does not know them.
    """
    try:
        import lensfunpy
    except ImportError:
        raise OptionError("lens profiles need lensfunpy: pip install 'composer-cv[lens]'") from None
    maker, camera, lens, focal = _named(photo)
    database = lensfunpy.Database()
    for body in database.find_cameras(maker, camera):
        for found in database.find_lenses(body, None, lens):
            optics = _OPTICS.get(found.type.name)
            curve = found.interpolate_distortion(focal)
            if optics is not None and curve is not None:
                shrink = found.crop_factor / body.crop_factor
                abc = polynomial_of(curve.model.name, [float(t) for t in curve.terms], shrink)
                return replace(photo, optics=optics, distortion=abc)
    raise PhotoError(
        f"{photo.name}: lensfun does not know {maker} {camera} with {lens or 'its lens'} at {focal:g} mm; "
        "leave out --lens lensfun"
    )


def _named(photo: Photo) -> tuple[str, str, str, float]:
    """Return maker, camera, lens and focal length from EXIF."""
    exif = None if photo.path is None else read_exif(photo.path)
    if exif is not None:
        text = [str(exif.main.get(tag, "")).strip("\x00 ") for tag in (0x010F, 0x0110)]
        lens = str(exif.camera.get(0xA434, "")).strip("\x00 ")
        focal = float(exif.camera.get(0x920A) or 0)
        if all(text) and focal > 0:
            return text[0], text[1], lens, focal
    raise PhotoError(f"{photo.name}: says nothing of camera and focal length; leave out --lens lensfun")


def polynomial_of(model: str, terms: list[float], shrink: float = 1.0) -> tuple[float, float, float]:
    """Turn lensfun's distortion into Hugin's a, b, c.

    Parameters
    ----------
    model : "NONE", "POLY3" (1 - k + k r^2), "POLY5" (1 + k1 r^2 + k2 r^4) or "PTLENS" (Hugin's own)
    terms : list of float
        The model's coefficients, r in half shorter sides of the sensor that was measured.
    shrink : float
        The size of this sensor over that of the measured one.
    """
    r = np.linspace(0, 1.8, 64)
    seen = r * shrink
    known: dict[str, Any] = {
        "NONE": lambda: np.ones_like(r),
        "POLY3": lambda: 1 - terms[0] + terms[0] * seen**2,
        "POLY5": lambda: 1 + terms[0] * seen**2 + terms[1] * seen**4,
        "PTLENS": lambda: 1 - sum(terms[:3]) + terms[0] * seen**3 + terms[1] * seen**2 + terms[2] * seen,
    }
    growth = known[model]()
    constant, c, b, a = np.linalg.lstsq(np.vander(r, 4, increasing=True), growth, rcond=None)[0]
    total = constant + a + b + c  # Hugin's polynomial is 1 at r = 1; the rest is focal length
    return float(a / total), float(b / total), float(c / total)
