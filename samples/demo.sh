#!/bin/sh
# Sets everything up and stitches the sample photographs: sh samples/demo.sh
cd "$(dirname "$0")/.." || exit 1
extras=""
. samples/venv.sh
exec "$venv_python" samples/gallery.py out
