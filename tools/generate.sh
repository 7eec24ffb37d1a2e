#!/bin/sh
# Writes what is generated and yet kept in git: the protobuf modules beside each .proto, crds/ from the settings' structs, what
# the chart has of them, and, where helm is in the testbed, the plain manifests that the chart makes.
set -eu
cd "$(dirname "$0")/.."

for root in operator adapters; do
    find "$root" -name '*.proto' -print | while read -r proto; do
        echo "generate: $proto"
        PATH="$PWD/.venv/bin:$PATH" python -m grpc_tools.protoc -I "$root" --python_out="$root" --mypy_out="$root" "$proto"
    done
done

echo "generate: crds/, docs/manifests.md"
.venv/bin/python -m waypost.settings.schema crds docs/manifests.md

echo "generate: charts/"
cp crds/*.yaml adapters/waypost_adapters/kubernetes/fence.yaml charts/waypost/files/
.venv/bin/python tools/plain.py
