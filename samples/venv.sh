# Makes .venv beside pyproject.toml and installs composer into it: extras="[test]"; . samples/venv.sh
# Sets $venv_python. A system Python managed by the distribution is left alone.

find_python() {
    for candidate in python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

venv_python=.venv/bin/python
if ! "$venv_python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    if [ -z "$python" ]; then
        echo "composer needs Python 3.11 or newer; on Debian or Ubuntu: sudo apt install python3 python3-venv" >&2
        exit 1
    fi
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        echo "this Python has no venv; on Debian or Ubuntu: sudo apt install python3-venv" >&2
        exit 1
    fi
    rm -rf .venv
    "$python" -m venv .venv || exit 1
fi
echo "installing composer into .venv ..." >&2
"$venv_python" -m pip install --quiet --disable-pip-version-check -c tests/constraints.txt -e ".$extras" || exit 1
