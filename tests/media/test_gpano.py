"""What viewers read of a sphere: sizes that agree with each other and with the canvas."""

from __future__ import annotations

import math
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from composer.media.gpano import sphere_fields, with_sphere
from composer.records import Composition

FULL = Composition((), "sphere", 640, 320, 640 / (2 * math.pi), (-319.5, -159.5), closed=True)
PANORAMA = "{http://ns.google.com/photos/1.0/panorama/}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
PACKET = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF '
    b'xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:Description r:about="uuid:1" '
    b'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"/></r:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def numbers(composition: Composition) -> list[int]:
    """Return full width and height, the part's width and height, and its left and top."""
    fields = sphere_fields(composition)
    names = ("FullPano{}Pixels", "CroppedAreaImage{}Pixels")
    sizes = [int(fields[name.format(side)]) for name in names for side in ("Width", "Height")]
    return [*sizes, int(fields["CroppedAreaLeftPixels"]), int(fields["CroppedAreaTopPixels"])]


def test_a_whole_sphere_is_not_cropped() -> None:
    assert numbers(FULL) == [640, 320, 640, 320, 0, 0]
    odd = replace(FULL, width=641, scale=641 / (2 * math.pi), origin=(-320.0, -159.5))
    assert numbers(odd) == [641, 321, 641, 320, 0, 0]


def test_a_part_of_a_sphere_says_where_it_lies() -> None:
    part = replace(FULL, width=200, height=100, origin=(-119.5, -29.5), closed=False)
    assert numbers(part) == [640, 320, 200, 100, 200, 130]
    band = replace(FULL, height=100, origin=(-319.5, -29.5))
    assert numbers(band) == [640, 320, 640, 100, 0, 130]


@pytest.mark.parametrize("scale", [101.3, 101.86, 102.1, 1234.567])
def test_the_part_always_fits_the_sphere(scale: float) -> None:
    width, height = math.ceil(2 * math.pi * scale), math.ceil(math.pi * scale)
    whole = replace(FULL, scale=scale, width=width, height=height, closed=False)
    for origin in ((0.5 - width / 2, 0.5 - height / 2), (0.9 - width / 2, 0.9 - height / 2)):
        wide, high, part_wide, part_high, left, top = numbers(replace(whole, origin=origin))
        assert wide == 2 * high
        assert 0 <= left <= wide - part_wide
        assert 0 <= top <= high - part_high
        assert wide == pytest.approx(2 * math.pi * scale, abs=2.1)


@pytest.mark.parametrize("packet", [None, PACKET, b'<r:RDF xmlns:r="empty"/>'])
def test_the_packet_is_xmp_and_keeps_what_it_had(packet: bytes | None) -> None:
    found = with_sphere(packet, FULL)
    assert found is not None
    described = list(ElementTree.fromstring(found).iter(f"{RDF}Description"))
    assert described[-1].attrib[f"{PANORAMA}FullPanoWidthPixels"] == "640"
    assert described[-1].attrib[f"{PANORAMA}ProjectionType"] == "equirectangular"
    if packet == PACKET:
        assert described[0].attrib["{http://ns.adobe.com/xap/1.0/}Rating"] == "5"
        assert {d.attrib[f"{RDF}about"] for d in described} == {"uuid:1"}


def test_other_projections_are_no_spheres() -> None:
    assert with_sphere(PACKET, replace(FULL, projection="cylinder")) == PACKET
    assert with_sphere(None, replace(FULL, projection="plane")) is None
