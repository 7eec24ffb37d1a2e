#!/bin/sh
# runc.sh …: Docker's runtime where root lacks CAP_SYS_RESOURCE, as in some sandboxes: it does not ask for it, else
# `docker run --privileged` would fail.
before='' file=''
for word; do
    case $before in --bundle) file=$word/config.json ;; --process) file=$word ;; esac
    before=$word
done
[ -z "$file" ] || sed -i 's/"CAP_SYS_RESOURCE",//g' "$file"
exec runc "$@"
