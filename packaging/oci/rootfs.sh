#!/bin/bash
# Makes the file tree of the container image: tunneld, the libraries that it is linked with, and the
# few files that name lookups and accounts need. No shell, no package manager, nothing else.
#
#   packaging/oci/rootfs.sh PROGRAM FOLDER
#
# PROGRAM may be linked statically: then it comes alone.
set -euo pipefail

if [ $# -ne 2 ] || [ ! -x "$1" ]; then
    echo "usage: $0 PROGRAM FOLDER" >&2
    exit 2
fi
program=$1
root=$2
# A number that no distribution gives to anybody, and that Kubernetes can check.
id=65532

umask 022
install -D -m 755 "$program" "$root/usr/bin/tunneld"
# `NAME => /PATH (ADDRESS)`, and the loader, which is its own path. Not one for a static program.
libraries=$(ldd "$program" 2>/dev/null | grep -oE '/[^ ]+' || true)
for library in $libraries; do
    install -D -m 755 "$library" "$root$library"
done

mkdir -p "$root"/{etc/tunneld,dev,proc,sys,run,var/lib}
echo "tunneld:x:$id:$id:SSH tunnels:/var/lib/tunneld:/sbin/nologin" >"$root/etc/passwd"
echo "tunneld:x:$id:" >"$root/etc/group"
echo "hosts: files dns" >"$root/etc/nsswitch.conf"
# For the control socket. An engine mounts a tmpfs here, which has the mode of this folder and is root's
# (docker run --tmpfs). Nobody else is in the container: the socket's own mode is 0660.
install -d -m 1777 "$root/run/tunneld" "$root/tmp"
# What is kept beyond a restart: a volume takes owner and mode from here.
install -d -m 750 "$root/var/lib/tunneld"
if [ "$(id -u)" -eq 0 ]; then chown "$id:$id" "$root/run/tunneld" "$root/var/lib/tunneld"; fi
