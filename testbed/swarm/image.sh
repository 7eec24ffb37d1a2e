#!/bin/sh
# image.sh DIR: makes DIR/root, the root of a container image, without a registry: busybox, and a web server that answers
# with its host name; and tells whether this kernel can carry a Swarm. Needs busybox-static and iproute2; root.
set -eu
root=$1/root
mkdir -p "$root/bin" "$root/www/cgi-bin" "$root/tmp"
cp /bin/busybox "$root/bin/"
for applet in sh httpd sleep cat kill hostname nslookup touch test; do ln -sf busybox "$root/bin/$applet"; done
printf '#!/bin/sh\necho "Content-Type: text/plain"; echo; hostname\n' >"$root/www/cgi-bin/h"
# The trap makes a stop immediate; without it every stop waits 10 s.
printf '#!/bin/sh\ntrap "kill \\$p; exit 0" TERM\nhttpd -f -p ${PORT:-8080} -h /www & p=$!\nwait $p\n' >"$root/run.sh"
chmod +x "$root/run.sh" "$root/www/cgi-bin/h"
tar -C "$root" -cf "$1/image.tar" .
# What a node and its overlay networks are made of.
unshare -n -m -p -f sh -c "
    ip link add br0 type bridge && ip link add vx0 type vxlan id 1 dstport 4789 && ip link add ve0 type veth peer name ve1" ||
    { echo "this kernel, or this container, has no bridge, vxlan or veth devices for us" >&2 && exit 1; }
