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

failed=0
sh tools/check.sh || failed=1
echo "test: running the tests; what is skipped is listed with its reason at the end"
.venv/bin/pytest -rs "$@" || failed=1
if [ $failed = 1 ]; then
    echo "test: failed (see above)" >&2
    exit 1
fi
