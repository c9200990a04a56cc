"""Photograph a made-up gallery all around and stitch the photographs: the main job on samples.

python samples/gallery.py [FOLDER]        writes FOLDER/photos/*.jpg and FOLDER/panorama.jpg
"""

import subprocess
import sys
from pathlib import Path

from PIL import Image

from composer.samples import circle


def main(folder: Path) -> None:
    """Write ten photographs and run `composer stitch` on them."""
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for k, view in enumerate(circle(10)):
        Image.fromarray(view.pixels).save(photos / f"view-{k:02d}.jpg", quality=93)
    panorama = folder / "panorama.jpg"
    command = [sys.executable, "-m", "composer", "stitch", str(photos), "-o", str(panorama)]
    subprocess.run(command, check=True)
    print(f"\nThe panorama lies at {panorama.resolve()}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
