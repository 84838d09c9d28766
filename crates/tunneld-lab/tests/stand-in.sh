#!/bin/sh
# Has the outside of tunneld that the harness relies on, for the harness's own tests.
case $1 in
run)
    if [ -n "$LAB_REFUSE" ]; then echo "bad file" >&2; exit 78; fi
    trap 'echo bye >&2; exit 7' TERM
    echo "hello $LAB_WORD $TUNNELD_LOG $2" >&2
    echo "notify $NOTIFY_SOCKET"
    while :; do sleep 0.01; done
    ;;
status)
    echo '{"version": "0", "pid": 1, "started_unix_ms": 0, "config": "c", "ready": false,
        "tunnels": [{"name": "db", "phase": "waiting", "since_unix_ms": 0, "attempts": 1,
        "destination": "u@h:22", "sessions": 0, "forwards": []}]}'
    exit 3
    ;;
*) echo "$@" ;;
esac
