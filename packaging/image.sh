#!/bin/sh
# image.sh [DIR]: puts into DIR (build/image) what the image is made of: the Dockerfile, and Waypost with the packages of
# requirements/run.txt by version and hash. Then makes the image, where an engine is there and no DIR was given.
#   BASE=image  PYTHON_VERSION=its Python (3.11)  IMAGE=name (waypost)  WHEELS=folder that has the packages already
set -eu
cd "$(dirname "$0")/.."
: "${PYTHON_VERSION:=3.11}" "${IMAGE:=waypost}"
target=${1:-build/image}
pip="env PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore .venv/bin/python -m pip"

rm -rf "$target"
mkdir -p "$target/wheels"
if [ -n "${WHEELS:-}" ]; then
    cp "$WHEELS"/*.whl "$target/wheels/"
else
    $pip download --quiet --only-binary=:all: --python-version "$PYTHON_VERSION" --require-hashes -r requirements/run.txt -d "$target/wheels"
fi
$pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$target/wheels" .
$pip install --quiet --no-deps --no-index --no-compile --only-binary=:all: --python-version "$PYTHON_VERSION" --target "$target/packages" "$target"/wheels/*.whl
rm -r "$target/wheels" "$target/packages/bin"
cp packaging/Dockerfile "$target/"
chmod -R a+rX "$target"

[ $# -eq 0 ] || exit 0
if command -v docker >/dev/null; then
    docker build --quiet ${BASE:+--build-arg "BASE=$BASE"} --tag "$IMAGE" "$target"
else
    echo "image: docker is not here; what it is made of is in $target: docker build ${BASE:+--build-arg BASE=$BASE }--tag $IMAGE $target"
fi
