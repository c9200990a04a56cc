"""Radiance HDR (.hdr) and OpenEXR (.exr): linear light in the file, encoded in memory as all pictures.

Values above white are kept. EXR is written as 32-bit scan lines, sixteen to a ZIP block, and read as such
(float, half or integer; uncompressed, ZIP or ZIPS). HDR is written as RGBE in run-length form.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend.channels import max_channel
from composer.errors import PhotoError
from composer.records import to_encoded, to_linear

Array = NDArray[Any]
Bands = Iterator[tuple[int, Array, Array]]

__all__ = ["is_radiance", "radiance_layout", "read_radiance", "write_exr", "write_hdr"]

EXR_MAGIC = b"v/1\x01"
HDR_MAGICS = (b"#?RADIANCE", b"#?RGBE")
HEADER_BYTES = 1 << 16
ROWS_A_BLOCK = {0: 1, 2: 1, 3: 16}  # by compression: none, ZIPS, ZIP
SAMPLES: dict[int, np.dtype[Any]] = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}
RUNS = 8, 32767  # widths that the run-length form allows
# chromaticities of sRGB's primaries and D65, x and y of red, green, blue, white
SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)


def is_radiance(path: Path) -> bool:
    """Tell whether a file starts like a Radiance HDR or an OpenEXR."""
    with path.open("rb") as file:
        start = file.read(10)
    return start.startswith((EXR_MAGIC, *HDR_MAGICS))


def radiance_layout(path: Path) -> tuple[int, int, int, bool]:
    """Return width, height, colour channels and whether there is alpha.

    Raises
    ------
    PhotoError
        Parts, tiles, channels or a compression that composer does not read.
    """
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    if head.startswith(EXR_MAGIC):
        header = _exr_header(path, head)
        return header.width, header.height, 1 if "Y" in header.names else 3, "A" in header.names
    found = head.split(b"\n\n", 1)
    words = found[-1].split(b"\n", 1)[0].split()
    if len(found) < 2 or len(words) != 4 or words[0] != b"-Y" or words[2] != b"+X":
        raise PhotoError(f"{path}: is no upright Radiance picture; save it again, top row first")
    return int(words[3]), int(words[1]), 3, False


def read_radiance(path: Path) -> Array:
    """Read a picture as (H, W, C) float32, sRGB-encoded beyond white, alpha last.

    Raises
    ------
    PhotoError
    """
    data = path.read_bytes()
    if data.startswith(EXR_MAGIC):
        return _read_exr(path, data)
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise PhotoError(f"{path}: cannot be decoded as Radiance HDR; copy it again")
    return to_encoded(found[:, :, ::-1])


def write_hdr(file: BinaryIO, bands: Bands, shape: tuple[int, int, int]) -> None:
    """Write rows of encoded float32 as RGBE of their light; grey becomes colour, invalid pixels black."""
    height, width, _ = shape
    file.write(b"#?RADIANCE\nSOFTWARE=composer\nFORMAT=32-bit_rle_rgbe\n\n")
    file.write(f"-Y {height} +X {width}\n".encode())
    for _, rows, covered in bands:
        light = np.broadcast_to(_light(rows, covered), (*rows.shape[:2], 3))
        for pixels in _rgbe(light):
            file.write(_runs(pixels) if RUNS[0] <= width <= RUNS[1] else pixels.tobytes())


def _light(rows: Array, covered: Array) -> Array:
    """Return rows in linear light, black where they are not valid."""
    share = covered if covered.dtype == bool else covered.astype(np.float32)
    return to_linear(rows) * share[:, :, None]


def _rgbe(light: Array) -> Array:
    """Return (h, w, 3) light as mantissas and their common exponent (h, w, 4) uint8 (Ward 1991)."""
    light = np.clip(np.nan_to_num(light), 0, 1e38)
    most = max_channel(light)
    exponent = np.frexp(most)[1]
    mantissas = np.rint(np.ldexp(light, (8 - exponent)[:, :, None]))
    over = max_channel(mantissas) > 255  # rounded up to the next power of two
    exponent = exponent + over
    mantissas = np.where(over[:, :, None], np.rint(mantissas / 2), mantissas)
    seen = (most > 1e-38)[:, :, None]
    return np.where(seen, np.dstack([mantissas, exponent + 128]), 0).astype(np.uint8)


def _runs(pixels: Array) -> bytes:
    """Return a row (w, 4) in run-length form, of literal runs only."""
    width = len(pixels)
    parts = [bytes((2, 2, width >> 8, width & 255))]
    for plane in pixels.T:
        data = plane.tobytes()
        for k in range(0, width, 128):
            piece = data[k : k + 128]
            parts += [bytes((len(piece),)), piece]
    return b"".join(parts)


def write_exr(file: BinaryIO, bands: Bands, shape: tuple[int, int, int], holes: bool) -> None:
    """Write rows of encoded float32 as 32-bit linear light, alpha associated as OpenEXR wants it."""
    height, width, channels = shape
    names = (["A"] if holes else []) + (["Y"] if channels == 1 else ["B", "G", "R"])
    head = _header_bytes(names, width, height)
    blocks = -(-height // 16)
    file.write(head + bytes(8 * blocks))
    places = []
    for k, rows in enumerate(_sixteens(bands, holes)):
        # of each row all of A, then B, then G, then R
        planes = np.moveaxis(rows, 2, 1).astype("<f4")
        packed = _packed(planes.tobytes())
        places.append(file.tell())
        file.write(struct.pack("<ii", 16 * k, len(packed)) + packed)
    file.seek(len(head))
    file.write(struct.pack(f"<{blocks}Q", *places))
    file.seek(0, 2)


def _sixteens(bands: Bands, holes: bool) -> Iterator[Array]:
    """Yield sixteen rows at a time of linear planes in EXR's order: alpha, then blue to red."""
    waiting: Array | None = None
    for _, rows, covered in bands:
        light = _light(rows, covered)[:, :, ::-1]
        made = np.dstack([covered.astype(np.float32), light]) if holes else light
        made = made if waiting is None else np.concatenate([waiting, made])
        whole = len(made) // 16 * 16
        yield from (made[k : k + 16] for k in range(0, whole, 16))
        waiting = made[whole:]
    if waiting is not None and len(waiting):
        yield waiting


def _header_bytes(names: list[str], width: int, height: int) -> bytes:
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    listed = b"".join(n.encode() + b"\0" + struct.pack("<iiii", 2, 0, 1, 1) for n in names) + b"\0"
    fields = [
        ("channels", "chlist", listed),
        ("chromaticities", "chromaticities", struct.pack("<8f", *SRGB)),
        ("compression", "compression", b"\3"),
        ("dataWindow", "box2i", window),
        ("displayWindow", "box2i", window),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1)),
        ("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1)),
    ]
    parts = [f"{n}\0{k}\0".encode() + struct.pack("<i", len(v)) + v for n, k, v in fields]
    return EXR_MAGIC + struct.pack("<i", 2) + b"".join(parts) + b"\0"


def _packed(data: bytes) -> bytes:
    """Compress a block: even bytes before odd ones, differences, deflate; as it is where that is no less."""
    raw = np.frombuffer(data, np.uint8)
    parted = np.concatenate([raw[::2], raw[1::2]])
    parted[1:] = np.diff(parted) + np.uint8(128)
    packed = zlib.compress(parted.tobytes(), 4)
    return packed if len(packed) < len(data) else data


def _unpacked(data: bytes, size: int) -> bytes:
    if len(data) == size:
        return data
    parted = np.frombuffer(zlib.decompress(data), np.uint8)
    steps = parted.copy()
    steps[1:] -= np.uint8(128)
    parted = np.cumsum(steps, dtype=np.uint8)
    raw = np.empty(len(parted), np.uint8)
    half = (len(parted) + 1) // 2
    raw[::2], raw[1::2] = parted[:half], parted[half:]
    return raw.tobytes()


class _Header:
    """What an EXR's header says."""

    def __init__(self, fields: dict[str, bytes], end: int) -> None:
        self.end = end
        self.compression = fields["compression"][0]
        x0, y0, x1, y1 = struct.unpack("<4i", fields["dataWindow"])
        self.width, self.height, self.top = x1 - x0 + 1, y1 - y0 + 1, y0
        self.names: dict[str, np.dtype[Any]] = {}
        self.subsampled = False
        rest = fields["channels"]
        while rest[:1] not in (b"", b"\0"):
            name, rest = rest.split(b"\0", 1)
            kind, _, across, down = struct.unpack("<iiii", rest[:16])
            self.names[name.decode("latin-1")] = SAMPLES[kind]
            self.subsampled |= (across, down) != (1, 1)
            rest = rest[16:]


def _exr_header(path: Path, data: bytes) -> _Header:
    """Read a header, and refuse what is not read here."""
    flags = struct.unpack("<i", data[4:8])[0]
    fields: dict[str, bytes] = {}
    at = 8
    while data[at : at + 1] not in (b"", b"\0"):
        name = data[at : data.index(b"\0", at)]
        at += len(name) + 1
        at = data.index(b"\0", at) + 1
        size = struct.unpack("<i", data[at : at + 4])[0]
        fields[name.decode("latin-1")] = data[at + 4 : at + 4 + size]
        at += 4 + size
    header = _Header(fields, at + 1)
    colours = set(header.names) - {"A"}
    if flags & ~0xFF & ~0x400 or header.compression not in ROWS_A_BLOCK or header.subsampled:
        raise PhotoError(f"{path}: an EXR of tiles, parts or such compression is not read; save it as ZIP")
    if colours != {"Y"} and not {"R", "G", "B"} <= colours:
        raise PhotoError(f"{path}: has the channels {', '.join(header.names)}; save it as RGB, RGBA or Y")
    return header


def _read_exr(path: Path, data: bytes) -> Array:
    header = _exr_header(path, data)
    rows_a_block = ROWS_A_BLOCK[header.compression]
    blocks = -(-header.height // rows_a_block)
    places = struct.unpack(f"<{blocks}Q", data[header.end : header.end + 8 * blocks])
    line = sum(k.itemsize for k in header.names.values()) * header.width
    wanted = ["Y"] if "Y" in header.names else ["R", "G", "B"]
    wanted += ["A"] if "A" in header.names else []
    out = np.empty((header.height, header.width, len(wanted)), np.float32)
    for place in places:
        y, size = struct.unpack("<ii", data[place : place + 8])
        y -= header.top
        count = min(rows_a_block, header.height - y)
        raw = _unpacked(data[place + 8 : place + 8 + size], count * line)
        for k in range(count):
            at = k * line
            for name, kind in header.names.items():
                if name in wanted:
                    found = np.frombuffer(raw, kind, header.width, at)
                    out[y + k, :, wanted.index(name)] = found
                at += kind.itemsize * header.width
    if wanted[-1] != "A":
        return to_encoded(out)
    alpha = out[:, :, -1:]
    light = out[:, :, :-1] / np.where(alpha > 0, alpha, 1)  # stored associated
    return np.concatenate([to_encoded(light), alpha], axis=2)
