#!/bin/sh
# Writes requirements/*.txt: every package for Linux and macOS, Python 3.11 and later, by version and hash, and no index address.
# run.txt is what the product needs with all extras; dev.txt adds what is used to work on it. Versions move only with UPGRADE=1.
set -eu
cd "$(dirname "$0")/.."

compile() {
    out=$1
    shift
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --custom-compile-command "make pins" ${UPGRADE:+--upgrade} --output-file "$out" "$@"
}

compile requirements/dev.txt pyproject.toml --extra all --group dev
UPGRADE='' compile requirements/run.txt pyproject.toml --extra all --constraints requirements/dev.txt
