#!/bin/sh
# Sets everything up and runs all tests: sh tests/run.sh [--learn] [pytest options]
# --learn installs PyTorch, onnxruntime and the weights of figures of merit too; without it the learned tests are counted as not run.
cd "$(dirname "$0")/.." || exit 1
extras="[test]"
if [ "$1" = "--learn" ]; then
    extras="[test,learn,onnx,metrics]"
    shift
fi
. samples/venv.sh
exec "$venv_python" -m pytest "$@"
