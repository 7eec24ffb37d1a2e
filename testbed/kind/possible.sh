#!/bin/sh
# possible.sh FOLDER: whether this machine (its kernel, and the container that this may run in) can carry a kind cluster. Does in
# little what the engine, kubelet and kube-proxy will do, in namespaces that end with this; images will be kept in FOLDER.
# Prints a line for each thing that is missing, and ends with 1 then. Needs iproute2, iptables, mount, nftables.
set -u
status=0
lacks() { # WHAT OUTPUT: the last line of what was said is the reason
    echo "$1 ($(echo "$2" | tail -n 1))"
    status=1
}
try() { # WHAT COMMAND…
    what=$1
    shift
    said=$("$@" 2>&1) || lacks "$what" "${said:-it failed}"
}

root() { [ "$(id -u)" = 0 ] || { echo "a cluster's nodes need it" && return 1; }; }

capabilities() { # all that the kernel knows, for nodes are privileged; CAP_SYS_RESOURCE (24) is done without
    has=$((0x$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)))
    all=$(((1 << ($(cat /proc/sys/kernel/cap_last_cap) + 1)) - 1))
    [ $((has | 1 << 24)) = $all ] || { printf 'it may have %x of %x' $has $all && return 1; }
}

group() { # FOLDER: a control group can be made in it
    mkdir "$1/waypost-testbed-$$-possible" && rmdir "$1/waypost-testbed-$$-possible"
}
control_groups() {
    top=/sys/fs/cgroup
    if [ -e $top/cgroup.controllers ]; then
        for each in cpu cpuset memory pids; do
            grep -qw $each $top/cgroup.controllers || { echo "no controller $each" && return 1; }
            grep -qw $each $top/cgroup.subtree_control || echo +$each >$top/cgroup.subtree_control || return 1
        done
        group $top
        return
    fi
    for each in cpu cpuacct cpuset devices freezer memory pids; do group $top/$each || return 1; done
}

settings() { # kubelet writes these
    for each in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
        value=$(cat /proc/sys/$each) && echo "$value" >/proc/sys/$each || return 1
    done
}

kernel_log() { : </dev/kmsg; } # kubelet watches it

own_root() { # who enters a node would find himself outside it, in the root that this is a part of
    mine=$(stat -c %d:%i /) && entered=$(nsenter --mount=/proc/self/ns/mnt stat -c %d:%i /) || return 1
    [ "$mine" = "$entered" ] || { echo "this runs in a chroot" && return 1; }
}

if [ "${2:-}" = inside ]; then
    overlay() {
        mkdir -p "$1/lower" "$1/upper" "$1/work" "$1/merged" &&
            mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" overlay "$1/merged" &&
            touch "$1/merged/file"
    }
    room() { # KIB: what images and nodes take
        free=$(df -Pk "$1" | awk 'NR == 2 {print $4}')
        [ "$free" -ge "$2" ] || { echo "there are $((free >> 10)) MiB in $1" && return 1; }
    }
    wires() {
        ip link set lo up && ip link add br0 type bridge && ip link set br0 up && ip link add ve0 type veth peer name ve1 &&
            ip link set ve0 master br0 && ip addr add 10.77.0.1/24 dev br0
    }
    forwarding() { echo 1 >/proc/sys/net/ipv4/ip_forward; }
    engines_rules() {
        iptables -t nat -A POSTROUTING -s 10.77.0.0/24 ! -o br0 -j MASQUERADE &&
            iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j ACCEPT &&
            iptables -A FORWARD -o br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    }
    proxys_rules() {
        nft -f - <<'N'
table ip possible {
  map services { type ipv4_addr . inet_proto . inet_service : verdict; }
  chain endpoint { ip saddr 10.77.0.2 meta mark set 0x4000; meta l4proto tcp dnat to 10.77.0.2:80; }
  chain service { numgen random mod 2 vmap { 0 : goto endpoint, 1 : goto endpoint }; }
  chain nat { type nat hook prerouting priority dstnat; ip daddr . meta l4proto . th dport vmap @services; fib daddr type local counter; }
  chain post { type nat hook postrouting priority srcnat; meta mark & 0x4000 != 0 masquerade fully-random; }
  chain filter { type filter hook forward priority filter; ct state invalid drop; ct state new reject; }
}
N
    }
    mount -t tmpfs tmpfs /run || { lacks "a tmpfs" "see above" && exit 1; }
    mkdir -p "$1" /run/sys /run/mnt
    try "a mount of /sys" mount -t sysfs sysfs /run/sys
    try "a mount of /proc that can be written" settings
    try "an overlay of file systems in $1" overlay "$1"
    try "room for images" room "$1" 3000000
    try "namespaces of control groups" unshare -C true
    try "bridge and veth devices" wires
    try "IP forwarding" forwarding
    try "iptables as Docker needs it" engines_rules
    try "nftables as kube-proxy needs it" proxys_rules
    exit $status
fi

try "root" root
[ $status = 0 ] || exit 1
try "all capabilities" capabilities
try "control groups that can be written" control_groups
try "/dev/kmsg" kernel_log
try "the root of its mount namespace" own_root
if said=$(unshare -n -m -u -i -p -f --mount-proc --propagation private --kill-child=KILL true 2>&1); then
    unshare -n -m -u -i -p -f --mount-proc --propagation private --kill-child=KILL sh "$0" "$1" inside || status=1
else
    lacks "namespaces" "$said"
fi
exit $status
