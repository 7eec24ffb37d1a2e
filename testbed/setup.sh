#!/bin/sh
# setup.sh [--list] [NAME…]: makes the testbed's servers (default: etcd consul coredns kube helm mesos swarm image zookeeper bind knot witness), what is missing or outdated only.
# Says what it does and how long that takes; exits with 1 and a list when something could not be had. See README.md beside it.
set -u
cd "$(dirname "$0")/.." || exit 1

has_pip() {
    [ -x "$1" ] && "$1" -c 'import sys, pip, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# The project's environment, else the machine's Python, else an environment in the cache: Debian's Python has no pip.
find_python() {
    cached=${WAYPOST_TESTBED:-${XDG_CACHE_HOME:-$HOME/.cache}/waypost-testbed}/python
    for candidate in "$PWD/.venv/bin/python" "$(command -v python3)" "$cached/bin/python"; do
        if has_pip "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    rm -rf "$cached"
    if ! python3 -m venv "$cached" >&2; then
        echo "testbed: a Python >= 3.11 with pip or venv is needed (Debian: apt-get install python3 python3-venv)" >&2
        return 1
    fi
    echo "$cached/bin/python"
}

status=0
case ${1:-} in
-*) ;;
*) sh testbed/debian.sh "$@" || status=1 ;;
esac
python=$(find_python) || exit 1
"$python" -m testbed.install "$@" || status=$?
[ "$status" = 0 ] || echo "testbed: not everything is there; see above" >&2
exit "$status"
