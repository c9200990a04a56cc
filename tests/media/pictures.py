"""Pictures, PNG files and colour profiles that the tests of media are made of."""

import struct
import zlib

import numpy as np

from composer.media.profiles import srgb

SCALE = {"uint8": 255, "uint16": 65535, "float32": 1.0}


def picture(height=37, width=53, planes=3, dtype="uint8", seed=0):
    """Return a smooth picture with fine grain, different in every plane and corner."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [0.5 + 0.4 * np.sin(x / (5 + 3 * c) + y / (9 + c) + c) for c in range(planes)]
    values = np.clip(np.stack(waves, -1) + rng.normal(0, 0.02, (height, width, planes)), 0, 1)
    if dtype == "float32":
        return values.astype(np.float32)
    return np.round(values * SCALE[dtype]).astype(dtype)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels, colour, depth, before=b"", after=b""):
    """Return a PNG of unfiltered rows, with chunks before and after the pixels."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + r.astype(">u2" if depth == 16 else "u1").tobytes() for r in pixels)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", head) + before + chunk(b"IDAT", zlib.compress(rows)) + after
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def zeros_png(side, depth=8):
    """Return a valid RGB PNG of side x side black pixels, deflated row by row."""
    deflate = zlib.compressobj(1)
    block = bytes((1 + side * 3 * depth // 8) * 100)
    data = b"".join(deflate.compress(block) for _ in range(side // 100)) + deflate.flush()
    head = struct.pack(">IIBBBBB", side, side, depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def profile_tags(profile):
    count = struct.unpack_from(">I", profile, 128)[0]
    entries = [struct.unpack_from(">4sII", profile, 132 + 12 * k) for k in range(count)]
    return {name: (offset, size) for name, offset, size in entries}


def swapped_profile():
    """Return an RGB profile whose red and blue primaries have changed places: it swaps the channels."""
    data = bytearray(srgb())
    tags = profile_tags(data)
    red, blue = tags[b"rXYZ"][0], tags[b"bXYZ"][0]
    data[red : red + 20], data[blue : blue + 20] = data[blue : blue + 20], data[red : red + 20]
    return bytes(data)


def linear_profile():
    """Return an RGB profile with sRGB's primaries and linear values."""
    data = bytearray(srgb())
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        offset, _ = profile_tags(data)[name]
        data[offset : offset + 12] = b"curv\0\0\0\0\0\0\0\0"
    return bytes(data)


def grey_profile():
    """Return a header that says grey: enough to tell that it does not fit colours."""
    return srgb()[:16] + b"GRAY" + srgb()[20:]
