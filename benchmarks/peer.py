"""Stitch photographs with a peer and print one JSON line: what it used, how large, how it ended.

python benchmarks/peer.py {cv2,stitching} OUT PHOTO...
"""

from __future__ import annotations

import argparse
import json
import platform
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = (
    "composer-cv",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "opencv-contrib-python-headless",
    "opencv-python",
    "scikit-image",
    "stitching",
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of those of `PACKAGES` that are installed here."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def with_cv2(photos: list[str]) -> tuple[Any, int, str]:
    """Return picture, photos used and status from OpenCV's high-level stitcher in PANORAMA mode."""
    import cv2

    stitcher = cv2.Stitcher.create(cv2.Stitcher_PANORAMA)
    code, picture = stitcher.stitch([cv2.imread(p) for p in photos])
    if code != cv2.Stitcher_OK:
        return None, 0, f"cv2 status {code}"
    return picture, len(stitcher.component()), "ok"


def with_stitching(photos: list[str]) -> tuple[Any, int, str]:
    """Return picture, photos used and status from the package `stitching`, everything kept (no crop)."""
    import cv2
    from stitching import Stitcher
    from stitching.stitching_error import StitchingError

    stitcher = Stitcher(crop=False)
    try:
        picture = stitcher.stitch(photos)
    except (StitchingError, cv2.error) as error:
        return None, 0, f"{type(error).__name__}: {' '.join(str(error).split())[:60]}"
    return picture, len(stitcher.images.names), "ok"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peer", choices=("cv2", "stitching"))
    parser.add_argument("out")
    parser.add_argument("photos", nargs="+")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    picture, used, status = {"cv2": with_cv2, "stitching": with_stitching}[given.peer](given.photos)
    if picture is not None:
        import cv2

        if not cv2.imwrite(given.out, picture):
            status = "picture not written"
    size = None if picture is None else [picture.shape[1], picture.shape[0]]
    answer = {"photos": len(given.photos), "used": used, "size": size, "status": status}
    print(json.dumps(answer | {"versions": versions()}))


if __name__ == "__main__":
    main()
