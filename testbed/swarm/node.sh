#!/bin/sh
# node.sh NETWORK-PID NUMBER ADDRESS CGROUP NAME OPTION…: in a fresh network namespace, one Docker engine.
# Everything of it (containerd, shims, containers, mounts) lives in namespaces that end with this process.
set -eu
network=$1 number=$2 address=$3 cgroup=$4 name=$5
shift 5
outside() { nsenter --net="/proc/$network/ns/net" ip link "$@"; }
ip link set lo up
outside del "n$number" 2>/dev/null || : # of a node that was killed, whose namespace the kernel has not yet cleared away
ip link add eth0 type veth peer name "n$number" netns "$network"
outside set "n$number" master br0 up
ip addr add "$address/24" dev eth0
ip link set eth0 up
# /run is the node's own: sockets, locks and namespaces of the machine's other engines are not there.
# shellcheck disable=SC2016 # the inner shell expands them
exec unshare -m -u -i -p -f --mount-proc --propagation private --kill-child=KILL sh -c '
    hostname "$1"
    mount -t tmpfs tmpfs /run
    mkdir /run/lock /run/docker
    group=$2
    shift 2
    exec tini -- dockerd --exec-root=/run/docker --pidfile=/run/docker.pid --cgroup-parent="$group" "$@"
' node "$name" "$cgroup" "$@"
