#!/bin/sh
# Makes .venv: the pinned tools of requirements/dev.txt and the project itself, editable.
# Does nothing when neither the pins nor pyproject.toml changed since. Several may call it at once.
set -eu
cd "$(dirname "$0")/.."

new_enough() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "env: no Python >= 3.11 with venv was found (Debian, Ubuntu: apt-get install python3 python3-venv; or set PYTHON)" >&2
    return 1
}

# Stamps hold a digest of what was installed, so that neither a fresh clone's dates nor a branch change fool them.
digest() {
    cat "$@" | cksum
}

if [ -z "${WAYPOST_ENV_LOCKED:-}" ] && command -v flock >/dev/null; then
    WAYPOST_ENV_LOCKED=1 exec flock .env.lock "$0"
fi

# A tree that was moved or whose Python is gone: start again.
if [ -e .venv ] && ! .venv/bin/python -c "import sys; sys.exit(sys.prefix != '$PWD/.venv')" 2>/dev/null; then
    rm -rf .venv
fi
if [ ! -x .venv/bin/pip ]; then
    python=$(find_python)
    echo "env: making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

pip="env PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 .venv/bin/python -m pip install --quiet --root-user-action ignore"
tools=$(digest requirements/dev.txt)
if [ "$(cat .venv/tools.stamp 2>/dev/null)" != "$tools" ]; then
    echo "env: installing $(grep -c '==' requirements/dev.txt) pinned packages (a minute or two the first time)"
    $pip --require-hashes -r requirements/dev.txt
    echo "$tools" >.venv/tools.stamp
fi
project=$(digest requirements/dev.txt pyproject.toml)
if [ "$(cat .venv/project.stamp 2>/dev/null)" != "$project" ]; then
    echo "env: installing waypost, editable"
    $pip --no-deps --no-build-isolation --editable .
    echo "$project" >.venv/project.stamp
fi
