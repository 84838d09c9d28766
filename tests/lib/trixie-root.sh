#!/bin/bash
# Makes the root of a Debian 13 for systemd-lab.sh: a systemd that knows more than the one here.
#   trixie-root.sh FOLDER     nothing is done when the folder is there
# Needs root and debootstrap, and Debian's packages.
set -euo pipefail
to=${1:?the folder to make}
[ ! -e "$to" ] || exit 0

if [ "${2:-}" != inner ]; then
    rm -rf --one-file-system "$to.new"
    mkdir -p "$to.new"
    trap 'rm -rf --one-file-system "$to.new"' EXIT
    unshare --mount --propagation private "$(readlink -f "$0")" "$to" inner
    # Whole or not there.
    mv "$to.new" "$to"
    exit
fi

# In memory it takes half the time: packages are synced to the disk one by one.
made=$(mktemp -d)
trap 'umount "$made"; rmdir "$made"' EXIT
mount -t tmpfs -o size=1g,mode=755 tmpfs "$made"
# Where this machine has its own packages from.
site=$(apt-get indextargets --format '$(SITE)' 'Origin: Debian' 'Created-By: Packages' 2>/dev/null |
    grep -v security | head -n 1 || true)
# What the lab uses, and no more.
if ! said=$(debootstrap --variant=minbase --include=systemd,openssh-server,iproute2,procps \
    trixie "$made" ${site:+"$site"} 2>&1); then
    tail -n 5 <<<"$said" >&2
    exit 1
fi
rm -rf "$made"/var/cache/apt/archives/*.deb "$made"/var/lib/apt/lists/*
cp -a "$made/." "$to.new"
