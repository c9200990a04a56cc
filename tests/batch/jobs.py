"""Jobs that the tests run in worker processes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from composer.errors import PhotoError


def copy(source: str, output: str, options: dict[str, Any]) -> dict[str, Any]:
    """Write the source's bytes backwards; names decide what goes wrong."""
    name = Path(source).name
    time.sleep(options.get("seconds", 0.0))
    if name.startswith("dies") and not _second_time(options, name, "dies-once"):
        os.kill(os.getpid(), 9)
    if name.startswith("exits"):
        os._exit(7)
    if name.startswith("bad"):
        raise PhotoError(f"{source}: cannot be decoded; copy it again")
    if name.startswith("fault"):
        raise ZeroDivisionError("a fault in the job")
    if name.startswith("nothing"):
        return {}
    if name.startswith("extra"):
        Path(output).with_name("a.jpg").write_bytes(b"not mine")
        (Path(output).parent / "tiles").mkdir()
        (Path(output).parent / "tiles" / "0").write_bytes(b"tile")
    print("a job may print")
    Path(output).write_bytes(Path(source).read_bytes()[::-1] + options.get("add", "").encode())
    return {"bytes": len(Path(output).read_bytes()), "pid": os.getpid(), "notes": [f"{output}: is backwards"]}


def _second_time(options: dict[str, Any], name: str, prefix: str) -> bool:
    if not name.startswith(prefix):
        return False
    mark = Path(options["marks"]) / name
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return True
    return False


def flip(source: str, output: str, options: dict[str, Any]) -> dict[str, Any]:
    """Turn a picture upside down."""
    from composer.media.picture import read_picture, write_picture

    found = read_picture(source, "photo")
    write_picture(Path(output), found.pixels[::-1].copy(), found.alpha, found)
    return {"rows": len(found.pixels)}
