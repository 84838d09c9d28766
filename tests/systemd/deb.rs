//! The Debian package in the life of a machine: installed, used, upgraded, removed, purged.

use std::path::Path;
use std::process::Command;

use tunneld_core::events;
use tunneld_lab::process::poll;

use crate::clients;
use crate::lab::{LISTEN, LONG, Lab};
use crate::made::{Made, run};

/// Where the instance listens.
pub(crate) const OFFICE: u16 = 5433;

/// The same package as the next version of it, with another file for new installations.
const NEXT: &str = r#"
dpkg-deb -R "$1" next
sed -i 's/^Version: .*/Version: 99.0-1/' next/DEBIAN/control
echo '# New in this version.' >>next/etc/tunneld/tunneld.toml
dpkg-deb -Zgzip -z1 -b next next.deb
"#;

/// What an operator writes into the file that comes with the package: its own example, with what it is
/// to be about.
const WRITTEN: &str = r#"
cd /etc/tunneld
sed -i -e 's/^#\([[a-z]\)/\1/' -e 's/"tunnel"/"lab-login"/' -e 's/db\.example\.com/127.0.0.1/' \
    -e 's/127\.0\.0\.1:5432"/127.0.0.1:9001"/' tunneld.toml
echo 'port = 2222' >>tunneld.toml
sha256sum tunneld.toml >/srv/written
"#;

#[test]
fn the_debian_package_is_installed_upgraded_and_removed_like_any_other() {
    let made = Made::new();
    let deb = made.deb();
    run(Command::new("bash")
        .args(["-euc", NEXT, "bash"])
        .arg(&deb)
        .current_dir(made.dir()));
    let lab = boot(made.dir());
    lab.run(&format!("{NAMED} >/srv/before"));
    an_installation_starts_the_service_with_no_tunnels(&lab);
    a_chroot_gets_the_folders(&lab);
    what_belongs_to_it_is_found(&lab);
    a_tunnel_that_is_written_carries_bytes(&lab);
    an_upgrade_keeps_the_file_and_its_tunnels(&lab);
    an_upgrade_leaves_a_daemon_alone_whose_file_is_broken(&lab);
    an_upgrade_judges_the_file_that_is_run(&lab);
    an_upgrade_waits_for_no_server(&lab);
    a_removal_stops_it_and_keeps_what_is_configured(&lab);
    a_purge_leaves_only_what_somebody_else_has_put_there(&lab);
}

fn boot(packages: &Path) -> Lab {
    let lab = Lab::boot_bare(
        Path::new("/"),
        &[format!("--bind-ro={}:/opt/packages", packages.display())],
    );
    // The one is there while tests/run installs what the tests need; the other has an index of all
    // manuals made each time, which takes longer than all the rest.
    lab.run("rm -f /usr/sbin/policy-rc.d /var/lib/man-db/auto-update");
    lab
}

/// What a machine has that is called after tunneld.
pub(crate) const NAMED: &str =
    "find /etc /usr /var /run -xdev -name '*tunneld*' -not -path '/run/systemd/*' | sort";

/// apt, as a program runs it that upgrades a machine by night.
const APT: &str = "DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq -y --no-install-recommends \
     -o Dpkg::Options::=--force-confold";

fn apt(lab: &Lab, arguments: &str) -> String {
    lab.run(&format!("{APT} {arguments} 2>&1"))
}

/// `apt install ./tunneld.deb`: the service is enabled and up, has nothing to do, and says so.
fn an_installation_starts_the_service_with_no_tunnels(lab: &Lab) {
    apt(lab, "install /opt/packages/tunneld.deb");
    assert_eq!(lab.run("systemctl is-active tunneld"), "active");
    assert_eq!(lab.run("systemctl is-enabled tunneld"), "enabled");
    assert_eq!(lab.property("StatusText"), "no tunnels");
    assert_eq!(
        lab.run("ps -o user= -p $(systemctl show tunneld -P MainPID)"),
        "tunneld"
    );
    the_folders_are_there(lab);
    lab.run("runuser -u tunneld -- tunneld check");
    assert_eq!(lab.run("tunneld status"), "no tunnels");
    let started = lab.entries(&format!("MESSAGE_ID={}", events::STARTED));
    assert_eq!(started.len(), 1, "{started:#?}");
}

pub(crate) fn the_folders_are_there(lab: &Lab) {
    assert_eq!(
        lab.run("cd /etc/tunneld && stat -c '%n %U %G %a' . keys tunneld.d known_hosts"),
        ". root tunneld 750\nkeys root tunneld 750\ntunneld.d root tunneld 750\n\
         known_hosts tunneld tunneld 644"
    );
}

/// What dpkg runs, where there is no systemd that it could talk to.
fn a_chroot_gets_the_folders(lab: &Lab) {
    lab.run(
        "cd /etc/tunneld && rm -r keys tunneld.d && chown root: . && chmod 755 .
         export DPKG_MAINTSCRIPT_PACKAGE=tunneld
         unshare --mount sh -ec 'mount -t tmpfs none /run/systemd
             /var/lib/dpkg/info/tunneld.postinst configure'",
    );
    the_folders_are_there(lab);
}

/// Manual, words of the catalog, completions, documents.
fn what_belongs_to_it_is_found(lab: &Lab) {
    for (asked, answer) in [
        ("man -w tunneld", "/usr/share/man/man8/tunneld.8.gz"),
        (
            "man -w tunneld.toml",
            "/usr/share/man/man5/tunneld.toml.5.gz",
        ),
        (
            "journalctl --list-catalog | grep -c \"$(sed -n 's/^-- \\(.*\\)/\\1/p;T;q' \
             /usr/lib/systemd/catalog/tunneld.catalog)\"",
            "1",
        ),
        (
            "source /usr/share/bash-completion/completions/tunneld; complete -p tunneld | \
             grep -o '_clap_complete_tunneld tunneld'",
            "_clap_complete_tunneld tunneld",
        ),
        (
            "zsh -fc 'autoload -Uz compinit; compinit -u -D; print $_comps[tunneld]'",
            "_tunneld",
        ),
        (
            "fish -c 'complete -C \"tunneld histo\"' | cut -f 1",
            "history",
        ),
        (
            "cd /usr/share/doc/tunneld/examples && test -s reference.toml && \
             tunneld check reference.toml 2>&1 | grep -c 'unknown key'",
            "0",
        ),
    ] {
        let said = lab.sh(asked);
        assert_eq!(
            String::from_utf8_lossy(&said.stdout).trim_end(),
            answer,
            "{asked}\n{said:?}"
        );
    }
}

/// Those of the service and of an instance.
fn pids(lab: &Lab) -> [String; 2] {
    ["tunneld", "tunneld@office"].map(|unit| lab.run(&format!("systemctl show {unit} -P MainPID")))
}

/// The example in the shipped file, made one's own; and an instance with another port.
fn a_tunnel_that_is_written_carries_bytes(lab: &Lab) {
    lab.surround();
    clients::prepare(lab);
    lab.run(WRITTEN);
    lab.run("systemctl reload tunneld");
    lab.wait_for("StatusText", |text| text == "1 of 1 up");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    lab.run(
        "cd /etc/tunneld && sed 's/:5432:/:5433:/' tunneld.toml >office.toml
         systemctl enable --quiet --now tunneld@office",
    );
    assert!(lab.echoes(OFFICE), "{}", lab.state());
}

/// The next version runs, with the file as it was written, also where it brings another one itself.
/// Clients that connect meanwhile are served.
fn an_upgrade_keeps_the_file_and_its_tunnels(lab: &Lab) {
    let before = pids(lab);
    lab.run("mkdir -p /var/lib/tunneld-web");
    let upgrade = format!("{APT} install /opt/packages/next.deb >&2");
    let clients = clients::during(lab, "port", &upgrade, "true");
    clients::all_were_served(lab, &clients);
    assert_eq!(lab.run("dpkg-query -Wf '${Version}' tunneld"), "99.0-1");
    for (before, after) in before.iter().zip(&pids(lab)) {
        assert_ne!(before, after);
    }
    assert!(lab.echoes(OFFICE), "{}", lab.state());
    lab.run("cd /etc/tunneld && sha256sum --check --quiet /srv/written");
    lab.wait_for("StatusText", |text| text == "1 of 1 up");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    assert_eq!(lab.run("systemctl is-enabled tunneld"), "enabled");
    assert_eq!(lab.property("NRestarts"), "0");
}

/// Why the service was left alone, and how to go on.
pub(crate) fn it_is_told_what_is_wrong(said: &str, file: &str) {
    for told in [
        "tunneld.service is not restarted, as its file has errors",
        &format!("runuser -u tunneld -- tunneld check '{file}'"),
        "systemctl restart tunneld.service",
    ] {
        assert!(said.contains(told), "{told}\n{said}");
    }
}

/// A daemon serves on after a reload that was refused, and would not start with that file. A key that is
/// missing is not such a reason. An instance that does not run is not told of.
fn an_upgrade_leaves_a_daemon_alone_whose_file_is_broken(lab: &Lab) {
    let before = pids(lab);
    lab.run(
        "cd /etc/tunneld && cp tunneld.toml /srv/good && echo nonsense >>tunneld.toml
         sed -i s:keys/id_ed25519:keys/none: office.toml
         ! systemctl start tunneld@nosuch",
    );
    let said = apt(lab, "install --reinstall /opt/packages/next.deb");
    it_is_told_what_is_wrong(&said, "/etc/tunneld/tunneld.toml");
    assert!(!said.contains("nosuch"), "{said}");
    let after = pids(lab);
    assert_eq!(before[0], after[0]);
    assert_ne!(before[1], after[1]);
    assert!(lab.echoes(LISTEN), "{}", lab.state());
}

/// A drop-in has named another file, in the environment or as an argument: the service cannot read it any
/// more. What is in the file that the instance does not run does not matter.
fn an_upgrade_judges_the_file_that_is_run(lab: &Lab) {
    lab.run(
        r#"cd /etc/tunneld
        elsewhere() {
            (cat /srv/good; printf '[daemon]\ncontrol_socket = "/run/%s/control.sock"\n' "$2") >"$3"
            mkdir -p "/etc/systemd/system/$1.service.d"
            printf '%s\n' '[Service]' "$4" >"/etc/systemd/system/$1.service.d/elsewhere.conf"
        }
        elsewhere tunneld tunneld 'our site.toml' \
            'Environment="TUNNELD_CONFIG=/etc/tunneld/our site.toml"'
        elsewhere tunneld@office tunneld-office branch.toml \
            $'ExecStart=\nExecStart=tunneld run --config=/etc/tunneld/branch.toml'
        sed -i s/:5432:/:5433:/ branch.toml
        systemctl daemon-reload
        systemctl restart tunneld tunneld@office
        chmod 600 'our site.toml'
        echo nonsense >>office.toml"#,
    );
    let before = pids(lab);
    let said = apt(lab, "install --reinstall /opt/packages/next.deb");
    it_is_told_what_is_wrong(&said, "/etc/tunneld/our site.toml");
    let after = pids(lab);
    assert_eq!(before[0], after[0]);
    assert_ne!(before[1], after[1]);
    assert!(lab.echoes(OFFICE), "{}", lab.state());
    lab.run(
        "cd /etc/tunneld && rm 'our site.toml' branch.toml
         rm -r /etc/systemd/system/tunneld*.service.d && systemctl daemon-reload
         cp /srv/good tunneld.toml && sed s/:5432:/:5433:/ tunneld.toml >office.toml
         systemctl restart tunneld tunneld@office",
    );
}

/// `ready_when = "all"` makes a start wait for the server; whoever upgrades has other things to do.
fn an_upgrade_waits_for_no_server(lab: &Lab) {
    lab.run(
        "systemctl stop lab-sshd && cp /srv/good /etc/tunneld/tunneld.toml
         printf '[daemon]\nready_when = \"all\"\n' >>/etc/tunneld/tunneld.toml",
    );
    let [before, _] = pids(lab);
    apt(lab, "install --reinstall /opt/packages/next.deb");
    assert_eq!(lab.property("ActiveState"), "activating");
    assert_ne!(lab.property("MainPID"), before);
    lab.run("cp /srv/good /etc/tunneld/tunneld.toml && systemctl start lab-sshd");
    lab.wait_for("ActiveState", |state| state == "active");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
}

/// The service is stopped and gone; who installs the package again has the tunnels again, those of an
/// instance that is enabled, too.
fn a_removal_stops_it_and_keeps_what_is_configured(lab: &Lab) {
    apt(lab, "remove tunneld");
    assert!(!lab.sh("systemctl is-active tunneld").status.success());
    assert!(!lab.sh("pgrep -x tunneld").status.success());
    assert!(!lab.echoes(LISTEN));
    lab.run("test ! -e /usr/bin/tunneld && test ! -e /usr/lib/systemd/system/tunneld.service");
    lab.run("cd /etc/tunneld && sha256sum --check --quiet /srv/written");
    apt(lab, "install /opt/packages/next.deb");
    for port in [LISTEN, OFFICE] {
        let back = poll(LONG, || lab.echoes(port).then_some(()));
        assert!(back.is_some(), "{port}\n{}", lab.state());
    }
}

/// The file, the known hosts and the history are gone; what no package has made, such as keys, is there,
/// and its folder, and the user that it belongs to.
fn a_purge_leaves_only_what_somebody_else_has_put_there(lab: &Lab) {
    lab.run("test -d /var/lib/tunneld/history && touch /var/lib/tunneld/mine");
    apt(lab, "purge tunneld");
    assert!(!lab.echoes(LISTEN));
    // The link of the instance that was enabled is gone, too.
    let left = format!("{NAMED} | comm -13 /srv/before -");
    assert_eq!(lab.run(&left), "/etc/tunneld\n/var/lib/tunneld");
    assert_eq!(
        lab.run("find /etc/tunneld /var/lib/tunneld -type f | sort"),
        "/etc/tunneld/keys/id_ed25519\n/etc/tunneld/keys/id_ed25519.pub\n\
         /etc/tunneld/office.toml\n/var/lib/tunneld/mine"
    );
    lab.run("id tunneld");
    lab.run("rm -r /etc/tunneld /var/lib/tunneld");
    let units = lab.sh("systemctl list-unit-files 'tunneld*'");
    assert!(!units.status.success(), "{units:?}");
}
