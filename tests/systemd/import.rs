//! `tunneld import` beside the systemd that has the units.

use crate::lab::Lab;

/// An instance of a template, with what adds to both of them in different places.
const UNITS: &str = r"
set -e
start='/usr/bin/ssh -N -i /etc/tunneld/keys/id_ed25519 -L 127.0.0.1:5999:127.0.0.1:9000'
mkdir -p /run/systemd/system/autossh@.service.d /etc/systemd/system/autossh@db.service.d
cat >/usr/lib/systemd/system/autossh@.service <<END
# /etc/systemd/system/autossh@.service
[Service]
ExecStart=$start %i.example.com
END
cat >/run/systemd/system/autossh@.service.d/20-restart.conf <<END
[Service]
RestartSec=7
END
cat >/etc/systemd/system/autossh@db.service.d/10-where.conf <<END
[Service]
RestartSec=1
ExecStart=
ExecStart=$start tunnel@%i.example.org
END
systemctl daemon-reload
";

/// By its name a unit comes to what systemd runs, and to what `systemctl cat` prints of it. The file
/// has a tunnel of that name.
pub(crate) fn a_unit_is_what_systemd_makes_of_it(lab: &Lab) {
    lab.run(UNITS);
    let named = lab.run("tunneld import autossh@db");
    let printed = lab.run("systemctl cat autossh@db | tunneld import --instance db -");
    assert_eq!(named, printed);
    let runs = lab.run("systemctl show autossh@db -P ExecStart -P RestartUSec");
    for (systemd, ours) in [
        (" tunnel@db.example.org ", "host = \"db.example.org\"\n"),
        ("7s", "reconnect = { initial = \"7s\" }\n"),
    ] {
        assert!(runs.contains(systemd), "{runs}");
        assert!(named.contains(ours), "{named}");
    }
    assert!(named.contains("[tunnels.db-2]\n"), "{named}");
    let added = "cp /etc/tunneld/tunneld.toml /srv/added.toml
                 tunneld import autossh@db >>/srv/added.toml
                 tunneld check /srv/added.toml";
    lab.run(added);
    lab.run(
        "rm -r /run/systemd/system/autossh@.service.d /etc/systemd/system/autossh@db.service.d
         rm /usr/lib/systemd/system/autossh@.service /srv/added.toml
         systemctl daemon-reload",
    );
}
