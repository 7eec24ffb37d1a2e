#!/bin/sh
# network.sh FILE: in a fresh network namespace, the bridge that a Swarm's nodes are attached to, and a cable to the machine.
# Writes the first three bytes of its addresses to FILE, and stays. With this process everything it made is gone.
# $PPID is the keeper, in the machine's own network.
set -eu
ip link set lo up
ip link add br0 type bridge
ip link set br0 up
# The cable's end in the machine has the number in its name, so that no two Swarms choose the same one.
number=$(($$ % 200))
until ip link add up0 type veth peer name "wpsw$number" netns $PPID 2>/dev/null; do
    number=$(((number + 1) % 200))
done
net=10.77.$number
ip link set up0 master br0 up
nsenter --net=/proc/$PPID/ns/net sh -c "ip addr add $net.254/24 dev wpsw$number && ip link set wpsw$number up"
echo "$net" >"$1.part"
mv "$1.part" "$1"
exec sleep infinity
