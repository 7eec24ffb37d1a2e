#!/bin/sh
# All there is to run: the environment, the servers of the testbed, the checks, the tests.
# Wants Python >= 3.11 with venv, make and git; the rest it installs. Needs no terminal and no input.
set -eu
cd "$(dirname "$0")/.."

if [ "$(id -u)" = 0 ]; then
    echo "test: running as root: nothing is left out"
elif sudo -n true 2>/dev/null; then
    echo "test: running as $(id -un) with sudo, which installs what the servers need from the distribution"
else
    echo "test: running as $(id -un) without root or sudo: servers that must be installed, and tests in network"
    echo "test: namespaces of their own (Docker, Swarm, kind), are left out unless they are there already"
fi

sh tools/env.sh
sh testbed/setup.sh || echo "test: going on without what is missing; with CI=true its tests fail, else they are skipped"

# What failed in the last run, a test a line.
failures() {
    .venv/bin/python -c 'import json, pathlib, sys
path = pathlib.Path(".pytest_cache/v/cache/lastfailed")
print(*(json.loads(path.read_text()) if path.exists() else []), sep="\n")' | grep . || true
}

failed=0
sh tools/check.sh || failed=1
# Half of the tests wait for servers most of their time: two more workers than processors keep these busy. How the work
# is divided: tests/lanes.py.
workers=$(.venv/bin/python -c 'import os; print((os.cpu_count() or 1) + 2)')
echo "test: running the tests, $workers at a time; what is skipped is listed with its reason at the end"
rm -f .pytest_cache/v/cache/lastfailed
if ! .venv/bin/pytest -n "$workers" --dist loadfile -rs "$@"; then
    again=$(failures)
    if [ -n "$again" ] && [ "$(echo "$again" | wc -l)" -le 3 ]; then
        echo "test: a busy machine can be too slow for real servers: these run once more, one at a time"
        echo "$again"
        .venv/bin/pytest --last-failed -rs || failed=1
        echo "test: failed beside others, and ran once more alone; if this comes again it is a fault:"
        echo "$again"
    else
        failed=1
    fi
fi
if [ $failed = 1 ]; then
    echo "test: failed (see above)" >&2
    exit 1
fi
