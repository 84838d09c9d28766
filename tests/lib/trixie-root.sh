#!/bin/bash
# Makes the root of a Debian 13 for systemd-lab.sh: a systemd that knows more than the one here.
#   trixie-root.sh FOLDER     nothing is done when the folder is there
# Needs root and debootstrap, and Debian's packages.
set -euo pipefail
to=${1:?the folder to make}
[ ! -e "$to" ] || exit 0

# Where this machine has its own packages from.
mirror=$(apt-get indextargets --format '$(SITE)' 'Origin: Debian' 'Created-By: Packages' 2>/dev/null |
    grep -m 1 -v security || true)
half=$to.new
rm -rf --one-file-system "$half"
mkdir -p "$half"
# What the lab uses, and no more.
debootstrap --variant=minbase --include=systemd,dbus,openssh-server,iproute2,procps \
    trixie "$half" "${mirror:-http://deb.debian.org/debian}" >"$half.log" 2>&1 || {
    tail -5 "$half.log" >&2
    exit 1
}
rm -rf "$half"/var/cache/apt/archives/*.deb "$half"/var/lib/apt/lists/* "$half.log"
# Whole or not there.
mv "$half" "$to"
