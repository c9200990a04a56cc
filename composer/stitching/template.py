"""A saved plan applied to other photographs of the same rig: brackets, time-lapse, a second floor."""

from __future__ import annotations

from dataclasses import replace

from composer.errors import OptionError
from composer.records import Composition, Photo, Photos, Plan

__all__ = ["applied"]


def applied(plan: Plan, photos: Photos) -> Plan:
    """Put other photographs in the places of a plan's own, in the order in which the plan lists them.

    Cameras, canvas, seams and gains are the plan's. What was made of its photos' pixels, wide bands,
    factors and patches, is left out.

    Raises
    ------
    OptionError
        Too many or too few photos, one that is unusable, or one of another size; or a plan whose seams
        were found at another size than it was saved at.
    """
    if any(c.seam_step != int(c.seam_step) for c in plan.compositions):
        raise OptionError("the template was resized when it was saved; save it anew without --load")
    places = [la.photo for c in plan.compositions for la in c.layers]
    _check(places, photos)
    given = iter(photos.items)
    return Plan(tuple(_with_photos(c, [next(given) for _ in c.layers]) for c in plan.compositions))


def _check(places: list[Photo], photos: Photos) -> None:
    if photos.unused:
        why = "; ".join(f"{u.photo}: {u.reason}" for u in photos.unused)
        raise OptionError(f"the template needs every photo ({why}); give others")
    if len(places) != len(photos.items):
        raise OptionError(
            f"the template places {len(places)} photos and {len(photos.items)} were given; give one for "
            f"each of {', '.join(p.name for p in places)}"
        )
    for place, photo in zip(places, photos.items, strict=True):
        if (place.width, place.height) != (photo.width, photo.height):
            raise OptionError(
                f"{photo.name}: is {photo.width} x {photo.height} pixels, and {place.name}, whose place it "
                f"takes, is {place.width} x {place.height}; give photos of the template's sizes, in its order"
            )


def _with_photos(composition: Composition, photos: list[Photo]) -> Composition:
    layers = tuple(
        replace(la, photo=p, factors=None) for la, p in zip(composition.layers, photos, strict=True)
    )
    return replace(composition, layers=layers, low_bands=None, patches=())
