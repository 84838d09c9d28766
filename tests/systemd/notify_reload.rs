//! A systemd that knows `Type=notify-reload` (253 and later), with the drop-in that is shipped for it.

use std::path::{Path, PathBuf};

use crate::lab::{LISTEN, LONG, Lab};
use tunneld_lab::process::poll;

const DROP_IN: &str = include_str!("../../examples/systemd/notify-reload.conf");

/// Where `tests/lib/trixie-root.sh` has made the root of a Debian 13.
fn root() -> PathBuf {
    let named = std::env::var_os("TUNNELD_TRIXIE").map(PathBuf::from);
    let root = named.unwrap_or_else(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        target.join("trixie")
    });
    assert!(
        root.join("usr/lib/systemd/systemd").exists(),
        "this test needs another system: tests/lib/trixie-root.sh {}",
        root.display()
    );
    root
}

#[test]
fn notify_reload_returns_when_the_file_is_in_force_and_fails_when_it_is_refused() {
    let lab = Lab::boot_in(&root());
    let version = lab.run("systemctl --version | sed -n '1s/^systemd \\([0-9]*\\).*/\\1/p'");
    assert!(version.parse::<u32>().unwrap() >= 253, "{version}");
    lab.run(&format!(
        "mkdir /etc/systemd/system/tunneld.service.d
         cat >/etc/systemd/system/tunneld.service.d/notify-reload.conf <<'END'\n{DROP_IN}END
         systemctl daemon-reload"
    ));
    lab.verified("tunneld.service");
    lab.file(&[LISTEN]);
    lab.run("systemctl start tunneld");
    assert_eq!(lab.property("Type"), "notify-reload");
    assert_eq!(lab.property("StatusText"), "1 of 1 up");
    assert!(lab.echoes(LISTEN), "{}", lab.state());

    // The signal is enough: nothing else is told of the new file.
    let pid = lab.property("MainPID");
    lab.file(&[LISTEN, LISTEN + 1]);
    lab.run("systemctl reload tunneld");
    let status = lab.run("tunneld status --json");
    assert!(status.contains("5433"), "{status}");
    let there = poll(LONG, || lab.echoes(LISTEN + 1).then_some(()));
    assert!(there.is_some(), "{}", lab.state());

    lab.write("[tunnels.db]\nhosst = \"127.0.0.1\"");
    assert!(!lab.sh("systemctl reload tunneld").status.success());
    let now = ["ActiveState", "SubState", "MainPID"].map(|name| lab.property(name));
    assert_eq!(now, ["active", "running", &pid]);
    assert!(
        lab.echoes(LISTEN) && lab.echoes(LISTEN + 1),
        "{}",
        lab.state()
    );
    let said = lab.said("tunneld", "");
    for part in ["/etc/tunneld/tunneld.toml:2:1", "is unchanged"] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    lab.file(&[LISTEN]);
    lab.run("systemctl reload tunneld");
    assert!(!lab.echoes(LISTEN + 1), "{}", lab.state());
    lab.run("systemctl stop tunneld");
    assert_eq!(lab.property("Result"), "success");
}
