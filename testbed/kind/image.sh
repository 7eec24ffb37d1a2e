#!/bin/sh
# image.sh FOLDER NAME: makes an image of one layer of FOLDER, as `docker save` writes it (but compressed, for it is copied
# twice), in PROGRAM.image beside it; what it runs is /usr/local/bin/PROGRAM, the last part of its NAME without its tag.
set -eu
program=$(basename "${2%:*}")
made=$1.archive
mkdir "$made"
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$1" -cf "$made/layer.tar" .
layer=$(sha256sum <"$made/layer.tar" | cut -d ' ' -f 1)
zstd -q --rm "$made/layer.tar" -o "$made/layer"
case $(uname -m) in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; *) machine=$(uname -m) ;; esac
cat >"$made/config.json" <<C
{"os": "linux", "architecture": "$machine", "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]},
 "config": {"Env": ["PATH=/usr/local/bin:/usr/sbin"], "Entrypoint": ["/usr/local/bin/$program"]}}
C
printf '[{"Config": "config.json", "RepoTags": ["%s"], "Layers": ["layer"]}]\n' "$2" >"$made/manifest.json"
tar -C "$made" -cf "$(dirname "$1")/$program.image" manifest.json config.json layer
rm -r "$made"
