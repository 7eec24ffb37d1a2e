#!/bin/sh
# node.sh DIR: makes DIR/node.tar, the root of kind's nodes, and DIR/version, of its Kubernetes, without a registry or an engine.
#   PARTS=the testbed's cache, which has the programs  GO=go  KIND=version of kind
# The root is Debian with systemd and containerd; kind's own start script and units are copied from its Go module; the
# cluster's images (repository "testbed") hold one static binary each, and are in containerd's store already.
# Kubernetes 1.35 is the last that runs on Debian 12's containerd 1.6. Needs mmdebstrap, containerd, gcc, zstd; root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=$1
work=$target/.work
root=$work/root
mkdir -p "$work"
program() { echo "$PARTS"/*/"$1"; } # its name is in one part only

debian() {
    for sources in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/*.sources /etc/apt/sources.list; do
        [ ! -s "$sources" ] || break
    done
    # shellcheck source=/dev/null
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mmdebstrap --quiet --mode=root --variant=apt \
        --include=systemd,systemd-sysv,containerd,runc,containernetworking-plugins,iptables,nftables,conntrack,iproute2,kmod,procps,jq \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt=force-unsafe-io "$suite" "$root" - <"$sources"
}

kinds_own() {
    mkdir "$work/module"
    module=$(cd "$work/module" && GOFLAGS=-mod=mod "$GO" mod download -json "sigs.k8s.io/kind@$KIND" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    for folder in etc kind usr; do cp -r --no-preserve=mode "$module/images/base/files/$folder" "$root/"; done
    chmod 755 "$root"/usr/local/bin/* "$root"/kind/bin/*
    # What nothing here runs: other ways to make a network, and shims for containerd 1.2.
    find "$root/usr/lib/cni" -type f ! -name bridge ! -name host-local ! -name loopback ! -name portmap -delete
    rm -f "$root/usr/bin/containerd-shim" "$root/usr/bin/containerd-shim-runc-v1"
    # What kind expects at other places than Debian.
    ln -s /usr/bin/containerd "$root/usr/local/bin/containerd"
    mkdir -p "$root/opt/cni" "$root/etc/kubernetes/manifests" "$root/kind/manifests"
    ln -s /usr/lib/cni "$root/opt/cni/bin"
    for name in kubelet kubeadm kubectl; do cp "$(program $name)" "$root/usr/bin/"; done
    "$root/usr/bin/kubeadm" version -o short >"$root/kind/version"
}

services() { # no others; nothing of the image touches the machine's binfmt_misc or kernel log
    rm -f "$root"/etc/systemd/system/*.wants/* "$root"/lib/systemd/system/multi-user.target.wants/* \
        "$root"/lib/systemd/system/local-fs.target.wants/* "$root"/lib/systemd/system/basic.target.wants/* \
        "$root"/lib/systemd/system/sockets.target.wants/*udev* "$root"/lib/systemd/system/sockets.target.wants/*initctl* \
        "$root"/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service
    echo ReadKMsg=no >>"$root/etc/systemd/journald.conf"
    chroot "$root" systemctl --quiet enable kubelet containerd undo-mount-hacks
    chroot "$root" systemctl --quiet mask systemd-binfmt
}

containers() {
    chroot "$root" ctr oci spec | chroot "$root" jq 'del(.process.rlimits)
        | .hooks.createContainer = [{path: "/kind/bin/mount-product-files.sh"}]' >"$root/etc/containerd/cri-base.json"
    # A root without CAP_SYS_RESOURCE may not lower oom_score_adj; runc would fail with "can't get final child's PID".
    sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' "$root/etc/containerd/config.toml"
    # Pods are on a bridge with addresses from the node's podCIDR; whoever makes the cluster adds routes between nodes.
    cat >"$root/etc/containerd/cni.tmpl" <<'C'
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "{{.PodCIDR}}"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
C
    cat >>"$root/etc/containerd/config.toml" <<'C'
[plugins."io.containerd.grpc.v1.cri".cni]
  conf_template = "/etc/containerd/cni.tmpl"
C
    cat >"$root/kind/manifests/default-storage.yaml" <<'C'
{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: standard}, provisioner: none.invalid/none}
C
}

content() { # NAME FOLDER: what the image NAME has, and the node must know of it
    mkdir -p "$2/usr/local/bin" "$2/tmp"
    program=$(basename "${1%:*}")
    case $program in
    pause)
        gcc -static -Os -s -o "$2/usr/local/bin/pause" "$here/pause.c"
        sed -i "s#sandbox_image = .*#sandbox_image = \"$1\"#" "$root/etc/containerd/config.toml"
        return
        ;;
    kube-proxy) # it runs nft
        for file in /usr/sbin/nft $(chroot "$root" ldd /usr/sbin/nft | grep -o '/[^ ]*'); do
            mkdir -p "$2$(dirname "$file")"
            cp -L "$root$file" "$2$file"
        done
        ;;
    esac
    cp "$(program "$program")" "$2/usr/local/bin/"
}

images() {
    "$root/usr/bin/kubeadm" config images list --kubernetes-version "$(cat "$root/kind/version")" --image-repository testbed >"$work/names"
    while read -r name; do
        content "$name" "$work/image"
        sh "$here/image.sh" "$work/image" "$name"
        rm -r "$work/image"
    done <"$work/names"
}

# A containerd of its own, which takes images and runs nothing. Its socket's path may have 107 bytes.
store() {
    socket=$(mktemp -d)/c.sock
    cat >"$work/config.toml" <<'C'
version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.restart",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
C
    containerd --config "$work/config.toml" --root "$root/var/lib/containerd" --state "$work/state" --address "$socket" &
    pid=$!
    trap 'kill $pid 2>/dev/null || :; rm -rf "$(dirname "$socket")"' EXIT
    tries=0
    until ctr -a "$socket" version >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || { echo "containerd did not start" >&2 && exit 1; }
        sleep .1
    done
    for image in "$work"/*.image; do ctr -a "$socket" -n k8s.io images import --no-unpack "$image"; done
    kill $pid
    wait $pid || :
}

debian
kinds_own
services
containers
images
store
cp "$root/kind/version" "$target/version"
tar --numeric-owner -C "$root" -cf "$target/node.tar" .
rm -rf "$work"
