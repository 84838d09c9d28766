#!/bin/bash
# Boots a real systemd, PID 1 of its own namespaces, on a throw-away overlay of this machine's root, or
# of another that is in the folder $ROOT.
#   systemd-lab.sh boot [NSPAWN ARGUMENTS]   returns when systemd is "running" or "degraded"
#   systemd-lab.sh exec COMMAND...           runs COMMAND inside, as root, with nothing of our environment
#   systemd-lab.sh stop                      ends it and removes everything
# $LAB is its folder and its name; labs with different ones stand side by side. Needs root, systemd
# and systemd-container. /tmp, /run and other file systems of this machine are not inside: bind what
# is needed with --bind-ro=HERE:THERE.
set -euo pipefail
: "${LAB:?a folder for the lab}"
export LAB
NAME=$(basename "$LAB")
me=$(readlink -f "$0")

case ${1:-} in
boot)
    shift
    [ ! -e "$LAB/leader" ] || { echo "already up: $LAB" >&2; exit 1; }
    mkdir -p "$LAB"
    setsid unshare --mount --propagation private "$me" inner "$@" >"$LAB/console.log" 2>&1 </dev/null &
    nspawn=$!
    for _ in $(seq 600); do
        leader=$(cat "$LAB/leader.new" 2>/dev/null || true)
        if [ -z "$leader" ]; then
            for child in $(cat "/proc/$nspawn/task/$nspawn/children" 2>/dev/null); do
                # The program's own name: nspawn's helpers have ours in their arguments.
                case $(tr '\0' '\n' 2>/dev/null <"/proc/$child/cmdline" | head -n 1) in
                */systemd) echo "$child" >"$LAB/leader.new" ;;
                esac
            done
        elif nsenter -t "$leader" -m test -S /run/systemd/private 2>/dev/null; then
            state=$(nsenter -t "$leader" -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
                systemctl is-system-running --wait 2>/dev/null || true)
            case $state in
            running | degraded)
                mv "$LAB/leader.new" "$LAB/leader"
                exit 0
                ;;
            esac
        fi
        kill -0 "$nspawn" 2>/dev/null || break
        sleep 0.1
    done
    echo "systemd did not boot:" >&2
    tail -20 "$LAB/console.log" >&2
    exit 1
    ;;
inner)
    shift
    # A cgroup of its own in a pure v2 tree; nspawn makes the cgroup namespace below it.
    umount -R /sys/fs/cgroup 2>/dev/null || true
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir -p "/sys/fs/cgroup/$NAME"
    echo $$ >"/sys/fs/cgroup/$NAME/cgroup.procs"
    # What nspawn leaves behind goes with this mount namespace.
    mkdir -p /run/systemd/nspawn
    mount -t tmpfs tmpfs /run/systemd/nspawn
    mkdir -p "$LAB/overlay"
    mount -t tmpfs -o size=1g tmpfs "$LAB/overlay"
    mkdir "$LAB"/overlay/{upper,work,root}
    root=$LAB/overlay/root
    mount -t overlay overlay \
        -o "lowerdir=${ROOT:-/},upperdir=$LAB/overlay/upper,workdir=$LAB/overlay/work" "$root"
    # Only what a test needs: nothing of what this machine starts at boot.
    echo "$NAME" >"$root/etc/hostname"
    : >"$root/etc/machine-id"
    rm -f "$root/var/lib/dbus/machine-id"
    rm -rf "$root"/var/log/journal "$root"/run/* "$root"/etc/systemd/system/*.wants
    mkdir -p "$root/etc/systemd/system" "$root/var/log/journal"
    for unit in tmp.mount ssh.service console-getty.service getty@.service \
        systemd-timesyncd.service systemd-logind.service dev-hugepages.mount; do
        ln -sfn /dev/null "$root/etc/systemd/system/$unit"
    done
    ln -sfn /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
    exec systemd-nspawn --quiet --register=no --keep-unit --link-journal=no --machine="$NAME" \
        --capability=all --private-network --resolv-conf=off \
        --system-call-filter="bpf landlock_create_ruleset landlock_add_rule landlock_restrict_self" \
        --timezone=off --console=read-only --directory="$root" "$@" --boot
    ;;
exec)
    shift
    exec nsenter -t "$(cat "$LAB/leader")" -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root TERM=dumb LANG=C.UTF-8 SYSTEMD_PAGER= SYSTEMD_COLORS=0 "$@"
    ;;
stop)
    cgroups=$(mktemp -d)
    mount -t cgroup2 cgroup2 "$cgroups"
    # Everything inside, and only that.
    [ ! -e "$cgroups/$NAME/cgroup.kill" ] || echo 1 >"$cgroups/$NAME/cgroup.kill"
    for _ in $(seq 100); do
        [ -d "$cgroups/$NAME" ] || break
        find "$cgroups/$NAME" -depth -type d -exec rmdir {} \; 2>/dev/null || true
        sleep 0.05
    done
    umount "$cgroups"
    rmdir "$cgroups"
    rm -rf --one-file-system "$LAB"
    ;;
*)
    echo "usage: LAB=FOLDER $0 boot|exec|stop" >&2
    exit 2
    ;;
esac
