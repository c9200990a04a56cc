"""Google's Photo Sphere XMP, by which viewers know that a picture is a sphere, and which part of it.

https://developers.google.com/streetview/spherical-metadata
"""

from __future__ import annotations

import math
import re

from composer.records import Composition

__all__ = ["sphere_fields", "with_sphere"]

NAMESPACE = "http://ns.google.com/photos/1.0/panorama/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_END = re.compile(rb"</([\w.-]+):RDF\s*>(?!.*</\1:RDF)", re.DOTALL)
_ABOUT = re.compile(rb"""[\w.-]+:about\s*=\s*("[^"]*"|'[^']*')""")


def sphere_fields(composition: Composition) -> dict[str, str]:
    """Return the fields for a picture of projection "sphere", sizes and places in whole pixels.

    The full sphere is twice as wide as high, and its middle is the middle of the view. A closed circle is
    the whole width, also where that is odd.
    """
    height = max(round(math.pi * composition.scale), composition.height, -(-composition.width // 2))
    width = composition.width if composition.closed else 2 * height
    left = round(composition.origin[0] - 0.5 + width / 2)
    top = round(composition.origin[1] - 0.5 + height / 2)
    return {
        "ProjectionType": "equirectangular",
        "UsePanoramaViewer": "True",
        "FullPanoWidthPixels": str(width),
        "FullPanoHeightPixels": str(height),
        "CroppedAreaImageWidthPixels": str(composition.width),
        "CroppedAreaImageHeightPixels": str(composition.height),
        "CroppedAreaLeftPixels": str(min(max(left, 0), width - composition.width)),
        "CroppedAreaTopPixels": str(min(max(top, 0), height - composition.height)),
    }


def with_sphere(xmp: bytes | None, composition: Composition) -> bytes | None:
    """Return an XMP packet, or a new one, with the fields of a sphere; any other projection's as it is."""
    if composition.projection != "sphere":
        return xmp
    fields = "".join(f' GPano:{name}="{value}"' for name, value in sphere_fields(composition).items())
    described = f' xmlns:GPano="{NAMESPACE}"{fields}/>'.encode()
    end = _END.search(xmp) if xmp else None
    if xmp is None or end is None:
        return (
            b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
            b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="' + _RDF.encode() + b'">'
            b'<rdf:Description rdf:about=""' + described + b'</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
        )
    prefix, about = end[1], _ABOUT.search(xmp)
    subject = about[1] if about else b'""'
    added = b"<%b:Description %b:about=%b" % (prefix, prefix, subject)
    return xmp[: end.start()] + added + described + xmp[end.start() :]
