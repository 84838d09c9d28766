//! The promise: a page has everything, at every width, and no line is wider than the terminal.

use std::time::Duration;

use jiff::tz::{Offset, TimeZone};
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::status::{
    CertificateStatus, ConnectionCounts, DaemonStatus, ForwardStatus, Phase, ReloadStatus,
    SessionStatus, TunnelStatus,
};

use super::layout::{columns, line};
use super::page::{Page, Pen};
use super::words::{bytes, short};
use crate::cli::times::Wall;

const NOW: u64 = 1_795_168_800_000;

fn tunnel(name: &str, phase: Phase) -> TunnelStatus {
    let host = "svc@bastion.example.com:22".into();
    TunnelStatus::new(name.parse().unwrap(), phase, NOW - 7_800_000, host)
}

fn forward(kind: &str, listen: &str, connect: &str, total: u64) -> ForwardStatus {
    ForwardStatus {
        name: "f".parse().unwrap(),
        kind: kind.into(),
        listen: listen.into(),
        allocated_port: None,
        connect: connect.into(),
        failure: None,
        probe_answered: None,
        connections: ConnectionCounts {
            open: total.min(2),
            total,
            ..ConnectionCounts::default()
        },
        bytes_sent: total * 30_000,
        bytes_received: total * 810_000,
        last_refusal: None,
    }
}

fn up() -> TunnelStatus {
    TunnelStatus {
        sessions: 3,
        sessions_open: 1,
        session: Some(SessionStatus {
            peer: "192.0.2.7:22".into(),
            since_unix_ms: NOW - 7_800_000,
            server: "SSH-2.0-OpenSSH_9.9".into(),
            kex: "mlkem768x25519-sha256".into(),
            cipher: "chacha20-poly1305@openssh.com".into(),
            mac: "implicit".into(),
            compression: "none".into(),
            host_key: "ssh-ed25519".into(),
            round_trip_us: Some(12_345),
        }),
        forwards: vec![
            forward("local", "127.0.0.1:5432", "db.internal:5432", 41),
            ForwardStatus {
                allocated_port: Some(40_001),
                ..forward("remote", "localhost:0", "localhost:80", 0)
            },
        ],
        warnings: vec!["keepalive is off".into()],
        certificates: vec![CertificateStatus {
            file: "/etc/tunneld/id-cert.pub".into(),
            key_id: "the id".into(),
            fingerprint: "SHA256:x".into(),
            valid_after_unix_s: None,
            valid_before_unix_s: Some(NOW / 1000),
        }],
        ..tunnel("db", Phase::Up)
    }
}

fn waiting() -> TunnelStatus {
    let cause = "host key changed: bastion.example.com:22 offers ED25519 SHA256:abcdefghijklmnop";
    TunnelStatus {
        attempts: 4,
        failure: Some(Failure::blocked(Stage::HostKey, cause).with_hint("compare it, and act")),
        retry_at_unix_ms: Some(NOW + 8_000),
        forwards: vec![ForwardStatus {
            failure: Some(
                Failure::transient(Stage::Forward, "address in use").with_hint("free it"),
            ),
            connections: ConnectionCounts {
                open: 0,
                total: 2,
                refused: 2,
                ..ConnectionCounts::default()
            },
            last_refusal: Some("the tunnel is down".into()),
            ..forward("dynamic", "127.0.0.1:1080", "SOCKS", 2)
        }],
        ..tunnel("gone", Phase::Blocked)
    }
}

fn status(tunnels: Vec<TunnelStatus>) -> DaemonStatus {
    DaemonStatus {
        version: "1".into(),
        pid: 1,
        started_unix_ms: 0,
        config: "/t.toml".into(),
        ready: true,
        stopping: false,
        last_reload: Some(ReloadStatus {
            at_unix_ms: NOW - 60_000,
            ok: false,
            error: Some("2 errors".into()),
            accepted: 0,
            refused: 1,
        }),
        needs_restart: Vec::new(),
        tunnels,
    }
}

/// An hour and a half east of UTC.
fn wall() -> Wall {
    Wall {
        zone: TimeZone::fixed(Offset::from_seconds(5_400).unwrap()),
    }
}

fn pen(width: Option<usize>) -> Pen {
    Pen {
        colour: false,
        utf8: true,
        width,
    }
}

fn all(width: Option<usize>) -> String {
    let status = status(vec![up(), waiting(), tunnel("old", Phase::Stopped)]);
    let page = Page {
        status: &status,
        wall: wall(),
        now: NOW,
        pen: pen(width),
    };
    page.all()
}

#[test]
fn eighty_columns_have_room_for_what_matters() {
    let expected = "\
db    up           2h10m  svc@bastion.example.com:22  12.3 ms  chacha20-poly1305
      warning: keepalive is off
      127.0.0.1:5432 ─▶ bastion.example.com ─▶ db.internal:5432
        2 open, 41 in all, 1.2 MiB sent, 31.7 MiB received
      localhost:0 (port 40001) at bastion.example.com ─▶ here ─▶ localhost:80
        no connections yet
gone  blocked      2h10m  svc@bastion.example.com:22
      host key changed: bastion.example.com:22 offers ED25519
        SHA256:abcdefghijklmnop; next try in 8s
      hint: compare it, and act
      127.0.0.1:1080 ─▶ bastion.example.com ─▶ SOCKS
        0 open, 2 in all, 58.6 KiB sent, 1.5 MiB received
      ✗ address in use
        hint: free it
        2 refused; last: the tunnel is down
old   stopped      2h10m  svc@bastion.example.com:22

1 of 2 up, 1 blocked, 1 stopped
warning: the last reload was refused 1m ago: 2 errors; `tunneld check /t.toml`
  shows all of it
";

    let page = all(Some(80));
    assert_eq!(page, expected, "\n{page}");
}

#[test]
fn a_screen_begins_with_what_is_not_up_and_folds_what_is() {
    // The sum, those that a person has to see, and the forwards of the others where there is room.
    let status = status(vec![
        up(),
        tunnel("late", Phase::Connecting),
        tunnel("old", Phase::Stopped),
        waiting(),
        tunnel("off", Phase::Waiting),
        tunnel("part", Phase::Degraded),
    ]);
    let page = Page {
        status: &status,
        wall: wall(),
        now: NOW,
        pen: pen(None),
    };
    let heads = |page: &str| {
        let lines = page.lines().filter(|line| !line.starts_with(' '));
        let words = lines.filter_map(|line| line.split(' ').next());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let whole = page.screen(17);
    assert_eq!(whole.lines().count(), 17, "{whole}");
    let order = [
        "1", "warning:", "", "gone", "off", "part", "late", "db", "old",
    ];
    assert_eq!(heads(&whole), order, "{whole}");
    assert!(whole.starts_with("1 of 5 up, "), "{whole}");
    assert!(whole.contains("127.0.0.1:5432"), "{whole}");
    let folded = page.screen(16);
    let order = ["1", "warning:", "gone", "off", "part", "late", "db", "old"];
    assert_eq!(heads(&folded), order, "{folded}");
    assert!(!folded.contains("127.0.0.1:5432"), "{folded}");
    assert!(folded.contains("127.0.0.1:1080") && folded.contains("warning: keepalive is off"));
}

#[test]
fn what_is_not_so_any_more_and_not_yet_is_told_of_the_whole_daemon() {
    // That it stops before all else; keys that wait for a restart at the end.
    let mut status = status(vec![tunnel("old", Phase::Stopped)]);
    status.last_reload = None;
    (status.stopping, status.needs_restart) = (true, vec!["a".into(), "b".into()]);
    let page = Page {
        status: &status,
        wall: wall(),
        now: NOW,
        pen: pen(None),
    };
    let first = "stopping: the daemon ends when its connections have, or drain_timeout is over\n";
    let tunnel = "old  stopped      2h10m  svc@bastion.example.com:22\n";
    let last = "warning: changed in [daemon] and in force only after a restart: a, b\n";
    assert_eq!(page.all(), format!("{first}{tunnel}\n{last}"));
    assert_eq!(page.screen(9), format!("{first}{last}\n{tunnel}"));
    assert!(page.one(&status.tunnels[0]).starts_with(first));
}

#[test]
fn two_hundred_columns_and_a_pipe_have_a_line_for_each() {
    for width in [Some(200), None] {
        let page = all(width);
        for part in [
            "svc@bastion.example.com:22  12.3 ms  chacha20-poly1305  mlkem768x25519-sha256\n",
            "22  host key changed: bastion.example.com:22 offers ED25519 SHA256:abcdefghijklmnop; \
             next try in 8s\n",
            "      127.0.0.1:5432 ─▶ bastion.example.com ─▶ db.internal:5432                \
             2 open, 41 in all, 1.2 MiB sent, 31.7 MiB received\n",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
    }
}

#[test]
fn no_line_is_wider_than_the_terminal_and_no_word_is_lost() {
    let words = |text: &str| text.split_whitespace().collect::<String>();
    let status = status(vec![up(), waiting()]);
    for width in [1, 20, 37, 59, 60, 80, 133] {
        for colour in [false, true] {
            let with = |width| Page {
                status: &status,
                wall: wall(),
                now: NOW,
                pen: Pen {
                    colour,
                    ..pen(width)
                },
            };
            let page = with(Some(width)).all() + &with(Some(width)).one(&status.tunnels[0]);
            for line in page.lines() {
                assert!(columns(line) <= width.max(2), "{width}: {line}");
            }
            let whole = with(None).one(&status.tunnels[1]);
            let narrow = with(Some(width)).one(&status.tunnels[1]);
            assert_eq!(words(&narrow), words(&whole), "{width}");
        }
    }
}

#[test]
fn one_tunnel_is_told_with_everything() {
    let status = status(vec![up()]);
    let page = Page {
        status: &status,
        wall: wall(),
        now: NOW,
        pen: pen(None),
    };
    let page = page.one(&status.tunnels[0]);
    for part in [
        "up since: 2026-11-20 09:20:00 +01:30\n",
        "session: 192.0.2.7:22 since 2h10m, number 3\n",
        "server: SSH-2.0-OpenSSH_9.9\n",
        "cipher: chacha20-poly1305@openssh.com, key exchange: mlkem768x25519-sha256, host key: ssh-ed25519\n",
        "round trip: 12.3 ms\n",
        "certificate: /etc/tunneld/id-cert.pub (the id), for SHA256:x, valid until 2026-11-20 11:30:00 +01:30\n",
        "warning: keepalive is off\n",
        "forward `f`: remote, localhost:0\n",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[test]
fn what_is_down_is_so_since_it_went_down() {
    // And not since its last attempt; one that was never up has attempts since the start.
    let down = TunnelStatus {
        since_unix_ms: NOW - 2_000,
        down_since_unix_ms: Some(NOW - 1_020_000),
        attempts: 26,
        ..waiting()
    };
    let status = status(vec![down]);
    let page = Page {
        status: &status,
        now: NOW,
        wall: wall(),
        pen: pen(Some(80)),
    };
    let text = page.one(&status.tunnels[0]);
    for said in [" 17m  svc@", "down since: ", "attempts: 26 since the start"] {
        assert!(text.contains(said), "{said}\n{text}");
    }
}

#[test]
fn what_comes_from_elsewhere_moves_no_cursor_and_turns_no_line_around() {
    let mut bad = waiting();
    let evil = "x\x1b[2J\r\n\x07y\u{202e}z\u{2028}";
    bad.failure = Some(Failure::transient(Stage::Session, evil).with_hint(evil));
    bad.forwards[0].last_refusal = Some(evil.into());
    bad.warnings = vec![evil.into()];
    bad.destination = evil.into();
    let status = status(vec![bad, up()]);
    let page = Page {
        status: &status,
        wall: wall(),
        now: NOW,
        pen: pen(Some(80)),
    };
    let page = page.all() + &page.one(&status.tunnels[0]);
    assert!(
        !page.contains(['\x1b', '\r', '\x07', '\u{202e}', '\u{2028}']),
        "{page:?}"
    );
}

#[test]
fn a_terminal_without_more_than_ascii_gets_ascii() {
    let status = status(vec![up(), waiting()]);
    let ascii = Pen {
        utf8: false,
        ..pen(Some(80))
    };
    let page = Page {
        status: &status,
        wall: wall(),
        now: NOW,
        pen: ascii,
    };
    let page = page.all() + &page.one(&status.tunnels[1]);
    assert!(page.is_ascii() && page.contains(" -> "), "{page}");
}

#[test]
fn long_words_are_broken_and_short_ones_are_not() {
    let mut out = String::new();
    line(
        &mut out,
        8,
        "one two three abcdefghijklmnopqrstuvwxyz end",
        Some(16),
    );
    assert_eq!(
        out,
        "    one two\n    three\n    abcdefghijkl\n    mnopqrstuvwx\n    yz end\n"
    );
    let mut wide = String::new();
    line(&mut wide, 0, "漢字漢字 x", Some(5));
    assert_eq!(wide, "漢字\n 漢字\n x\n");
}

#[test]
fn times_and_sizes_are_short() {
    let seconds = [0, 59, 60, 130, 3600, 11_100, 90_000];
    let shown = seconds.map(|s| short(Duration::from_secs(s)));
    assert_eq!(shown, ["0s", "59s", "1m", "2m10s", "1h", "3h5m", "1d1h"]);
    assert_eq!(
        [0, 1023, 1024, 3_355_443].map(bytes),
        ["0 B", "1023 B", "1.0 KiB", "3.2 MiB"]
    );
}
