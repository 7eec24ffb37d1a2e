#!/bin/sh
# debian.sh [NAME…]: the Debian packages that these parts of the testbed need, those that are missing only.
# As root or by sudo without a password; else it says what is left out, and fails. No daemon is started by what it installs.
set -eu

[ $# -gt 0 ] || set -- etcd consul coredns kube helm mesos swarm image zookeeper bind knot witness
wanted="ca-certificates"
for part in "$@"; do
    case $part in
    mesos) wanted="$wanted gcc libc6-dev libsasl2-2 libstdc++6 zlib1g" ;; # to link stand-ins; what libmesos loads
    swarm) wanted="$wanted docker.io iptables busybox-static iproute2 tini mount" ;;
    image) wanted="$wanted docker.io iptables busybox-static iproute2 tini mount mmdebstrap" ;;
    node) wanted="$wanted mmdebstrap containerd gcc libc6-dev zstd" ;; # its root, its images, the program "pause"
    kind) wanted="$wanted docker.io iptables iproute2 nftables tini mount" ;; # nftables: possible.sh tries it
    zookeeper) wanted="$wanted libzookeeper-java default-jre-headless" ;;
    witness) wanted="$wanted bind9-dnsutils" ;;                           # dig
    bind) wanted="$wanted bind9" ;;
    knot) wanted="$wanted knot" ;;
    esac
done
# Debian's python3 can make no environment without this; another Python brings what it needs.
if [ "$(command -v python3)" = /usr/bin/python3 ] && ! /usr/bin/python3 -c 'import ensurepip' 2>/dev/null; then
    wanted="$wanted python3-venv"
fi

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "testbed: this is no Debian: to be installed by hand, if absent: gcc and the C library's headers, dig, dockerd, busybox, ZooKeeper's jars"
    exit 0
fi

missing=
for package in $wanted; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root="env"
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "testbed: neither root nor sudo without a password; not installed:$missing" >&2
    case $missing in *gcc* | *libc6-dev* | *libsasl2*) echo "testbed: left out: mesos" >&2 ;; esac
    case $missing in *docker.io* | *busybox-static* | *iptables*) echo "testbed: left out: swarm, kind" >&2 ;; esac
    case $missing in *mmdebstrap*) echo "testbed: left out: image, node" >&2 ;; esac
    case $missing in *zookeeper* | *jre*) echo "testbed: left out: zookeeper" >&2 ;; esac
    case $missing in *bind9-dnsutils*) echo "testbed: left out: dig" >&2 ;; esac
    case "$missing " in *" bind9 "*) echo "testbed: left out: bind" >&2 ;; esac
    case "$missing " in *" knot "*) echo "testbed: left out: knot" >&2 ;; esac
    echo "testbed: an administrator can: apt-get install$missing" >&2
    exit 1
fi

# invoke-rc.d asks this script whether it may start a daemon; 101: no. One that was there already is left alone.
policy=/usr/sbin/policy-rc.d
made_policy=
restore() {
    [ -z "$made_policy" ] || $as_root rm -f $policy
}
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [ ! -e $policy ]; then
    made_policy=1
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod 755 $policy
fi

log=$(mktemp)
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" \
        >"$log" 2>&1 </dev/null
}
echo "testbed: installing Debian packages (about a minute):$missing"
# shellcheck disable=SC2086 # words on purpose
if ! apt install --yes --no-install-recommends $missing; then
    echo "testbed: reading the package lists first"
    if ! apt update || ! apt install --yes --no-install-recommends $missing; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        echo "testbed: these Debian packages could not be installed:$missing" >&2
        exit 1
    fi
fi
rm -f "$log"
# Nor at the next boot: the testbed starts engines of its own.
case $missing in *docker.io*) [ ! -d /run/systemd/system ] ||
    $as_root systemctl -q disable docker.service docker.socket containerd.service || true ;;
esac
