#!/bin/sh
# Every check that needs no server. All of them run, so that one call tells everything; fails if any did.
set -u
cd "$(dirname "$0")/.."
bin=.venv/bin
failed=

check() {
    name=$1
    shift
    echo "check: $name"
    "$@" || failed="$failed $name"
}

check format $bin/ruff format --quiet --check --diff .
check lint $bin/ruff check --quiet .
check types $bin/mypy --no-error-summary
check layers $bin/lint-imports --no-logo
check tree $bin/python tools/check_tree.py

if [ -n "$failed" ]; then
    echo "check: failed:$failed" >&2
    exit 1
fi
echo "check: all is well"
