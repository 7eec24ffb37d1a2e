#!/bin/sh
# base.sh DIR: makes DIR/base.tar, the root of a container image with Debian's Python and nothing to build with, without a
# registry: packages are only unpacked. Prints the Python's version into DIR/python. Needs mmdebstrap; root.
set -eu
root=$1/root
for sources in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/*.sources /etc/apt/sources.list; do
    [ ! -s "$sources" ] || break
done
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mmdebstrap --quiet --mode=root --variant=extract --dpkgopt='path-exclude=/usr/share/*' \
    --dpkgopt='path-include=/usr/share/ca-certificates/*' \
    --include=python3-minimal,libpython3-stdlib,libstdc++6,ca-certificates "$suite" "$root" - <"$sources"
cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
basename "$(readlink "$root/usr/bin/python3")" | sed 's/^python//' >"$1/python"
tar -C "$root" -cf "$1/base.tar" .
rm -r "$root"
