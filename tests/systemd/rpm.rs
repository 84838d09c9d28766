//! The RPM package in the life of a machine. There is no Fedora here: it is rpm that runs the scripts of
//! the package, in the systemd of this machine.

use std::path::Path;

use tunneld_lab::process::poll;

use crate::deb::{NAMED, OFFICE, it_is_told_what_is_wrong, the_folders_are_there};
use crate::lab::{LISTEN, LONG, Lab};
use crate::made::Made;

#[test]
fn the_rpm_package_is_installed_upgraded_and_removed_like_any_other() {
    let made = Made::new();
    made.rpm("1");
    made.rpm("2");
    let packages = format!("--bind-ro={}:/opt/packages", made.dir().display());
    let lab = Lab::boot_bare(Path::new("/"), &[packages]);
    lab.run(&format!("{NAMED} >/srv/before"));
    an_installation_makes_the_folders(&lab);
    an_upgrade_restarts_what_can_start_and_waits_for_nothing(&lab);
    a_removal_leaves_what_somebody_has_written(&lab);
}

fn rpm(lab: &Lab, arguments: &str) -> String {
    lab.run(&format!("timeout 100 rpm --nodeps {arguments} 2>&1"))
}

fn an_installation_makes_the_folders(lab: &Lab) {
    rpm(lab, "--install /opt/packages/tunneld-1.rpm");
    the_folders_are_there(lab);
}

fn pid(lab: &Lab, unit: &str) -> String {
    lab.run(&format!("systemctl show {unit} -P MainPID"))
}

/// The file of the service is broken by then, and the instance waits for a server that is away.
fn an_upgrade_restarts_what_can_start_and_waits_for_nothing(lab: &Lab) {
    lab.surround();
    lab.file(&[OFFICE]);
    lab.run("cd /etc/tunneld && mv tunneld.toml office.toml");
    lab.file(&[LISTEN]);
    lab.run("systemctl enable --quiet --now tunneld tunneld@office");
    assert!(lab.echoes(LISTEN) && lab.echoes(OFFICE), "{}", lab.state());
    lab.run(
        "cd /etc/tunneld && echo nonsense >>tunneld.toml
         printf '[daemon]\\nready_when = \"all\"\\n' >>office.toml",
    );
    let (service, office) = (pid(lab, "tunneld"), pid(lab, "tunneld@office"));
    lab.run("systemctl stop lab-sshd");
    let said = rpm(lab, "--upgrade /opt/packages/tunneld-2.rpm");
    it_is_told_what_is_wrong(&said, "/etc/tunneld/tunneld.toml");
    lab.run("systemctl start lab-sshd");
    let back = poll(LONG, || lab.echoes(OFFICE).then_some(()));
    assert!(back.is_some(), "{}", lab.state());
    assert_ne!(pid(lab, "tunneld@office"), office);
    assert_eq!(pid(lab, "tunneld"), service);
}

/// No daemon, no link to a unit that is gone, no empty folder.
fn a_removal_leaves_what_somebody_has_written(lab: &Lab) {
    rpm(lab, "--erase tunneld");
    assert!(!lab.sh("pgrep -x tunneld").status.success());
    let left = format!("{NAMED} | comm -13 /srv/before -");
    assert_eq!(
        lab.run(&left),
        "/etc/tunneld\n/etc/tunneld/tunneld.toml.rpmsave\n\
         /var/lib/tunneld\n/var/lib/tunneld-office"
    );
    assert_eq!(
        lab.run("cd /etc/tunneld && find . | sort"),
        ".\n./keys\n./keys/id_ed25519\n./keys/id_ed25519.pub\n./known_hosts\n./office.toml\n\
         ./tunneld.toml.rpmsave"
    );
}
