#!/bin/bash
# Runs a command with a private, real systemd-journald at /run/systemd/journal.
#   with-journald.sh COMMAND...     then, inside: journalctl --sync; journalctl TUNNEL=db -o json
# Needs root and systemd's binaries; nothing of the machine's own /run is touched. $JLOG takes
# what journald itself has to say.
set -euo pipefail
if [ "${1:-}" != --inner ]; then exec unshare --mount --propagation private bash "$0" --inner "$@"; fi
shift
mkdir -p /run/systemd /run/log
mount -t tmpfs -o mode=755 tmpfs /run/systemd
mount -t tmpfs -o mode=755 tmpfs /run/log
mkdir -p /run/systemd/journald.conf.d /run/log/journal
printf '[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nForwardToWall=no\nRateLimitIntervalSec=0\n' \
    >/run/systemd/journald.conf.d/private.conf
SYSTEMD_LOG_TARGET=console /lib/systemd/systemd-journald 2>"${JLOG:-/dev/null}" </dev/null >/dev/null &
journald=$!
echo "$journald" >/run/systemd/journald.pid
ready() { [ -S /run/systemd/journal/socket ] && [ -S /run/systemd/journal/stdout ]; }
for _ in $(seq 1000); do
    if ready; then break; fi
    kill -0 "$journald" || { echo "systemd-journald did not start" >&2; exit 1; }
    sleep 0.01
done
ready || { echo "systemd-journald opened no socket" >&2; kill "$journald"; exit 1; }
status=0
"$@" || status=$?
kill -TERM "$journald"
wait "$journald" 2>/dev/null || true
exit "$status"
