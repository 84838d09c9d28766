//! A supervisor that hangs while everything else of the daemon goes on: the watchdog notices.

use tunneld_lab::process::poll;

use crate::lab::{LISTEN, LONG, Lab, db};

/// The shipped unit once more, with folders of its own and the fault.
const UNIT: &str = r"
set -e
cp /usr/lib/systemd/system/tunneld.service /run/systemd/system/lab-wedged.service
mkdir -p /run/systemd/system/lab-wedged.service.d
cat >/run/systemd/system/lab-wedged.service.d/wedged.conf <<END
[Service]
ExecStart=
ExecStart=/usr/bin/tunneld run --config /etc/tunneld/wedged.toml
Environment=TUNNELD_INJECT=wedge-supervisor:0
WatchdogSec=1s
RuntimeDirectory=
RuntimeDirectory=lab-wedged
StateDirectory=
StateDirectory=lab-wedged
END
systemctl daemon-reload
systemctl start lab-wedged
";

/// It takes more than ten seconds to be sure that a supervisor hangs: other things are looked at
/// meanwhile.
pub(crate) struct Wedged;

/// Its tunnels come up all the same, and it counts as started.
pub(crate) fn start(lab: &Lab) -> Wedged {
    let file = format!(
        "[daemon]\ncontrol_socket = \"/run/lab-wedged/control.sock\"\n{}",
        db("127.0.0.1", &[LISTEN + 10])
    );
    lab.run(&format!(
        "cat >/etc/tunneld/wedged.toml <<'END'\n{file}END\n{UNIT}"
    ));
    assert!(lab.echoes(LISTEN + 10), "{}", lab.state());
    Wedged
}

impl Wedged {
    /// It is not fed any more, ended, and started anew.
    pub(crate) fn comes_again(self, lab: &Lab) {
        let show = |name| lab.run(&format!("systemctl show lab-wedged -P {name}"));
        let again = poll(LONG, || (show("NRestarts") != "0").then_some(()));
        let said = lab.said("lab-wedged", "");
        assert!(
            again.is_some() && said.contains("Watchdog timeout"),
            "{said}"
        );
        let back = poll(LONG, || lab.echoes(LISTEN + 10).then_some(()));
        assert!(back.is_some(), "{said}");
        lab.run(
            "systemctl stop lab-wedged
             rm -r /run/systemd/system/lab-wedged.service* /etc/tunneld/wedged.toml
             systemctl daemon-reload",
        );
    }
}
