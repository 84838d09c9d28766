//! What the package puts into place, and who may use it.

use tunneld_lab::process::printed;

use crate::lab::{LISTEN, Lab};

/// systemd knows every key of the unit, and thinks well of what it may do.
pub(crate) fn the_unit_is_right_and_hardened(lab: &Lab) {
    let unit = "/usr/lib/systemd/system/tunneld.service";
    lab.verified(unit);
    // Exposure of at most 1.5 of 10.
    lab.run(&format!(
        "systemd-analyze security --offline=true --threshold=15 {unit}"
    ));
}

/// What root adds with `tunneld trust` the service can read and add to: the file stays its own, and
/// is the one that the unit lets it write.
pub(crate) fn host_keys_have_a_file_that_root_and_the_service_can_write(lab: &Lab) {
    lab.file(&[LISTEN]);
    let is = || lab.run("stat -c '%U %G %a' /etc/tunneld/known_hosts");
    assert_eq!(is(), "tunneld tunneld 644");
    lab.run(
        ": >/etc/tunneld/known_hosts
         key=$(ssh-keygen -lf /srv/host_key.pub | cut -d ' ' -f 2)
         tunneld trust db --yes --fingerprint $key",
    );
    assert_eq!(lab.run("wc -l </etc/tunneld/known_hosts"), "1");
    assert_eq!(is(), "tunneld tunneld 644");
    let unit = "/usr/lib/systemd/system/tunneld.service";
    lab.run(&format!(
        "grep -x ReadWritePaths=-/etc/tunneld/known_hosts {unit}"
    ));
}

/// Members of the group `tunneld` use the commands; strangers are told what to do.
pub(crate) fn the_group_may_command_and_others_may_not(lab: &Lab) {
    assert_eq!(
        lab.run("stat -c '%a %U %G' /run/tunneld/control.sock"),
        "660 tunneld tunneld"
    );
    lab.run("runuser -u lab-member -- tunneld status");
    let refused = lab.sh("runuser -u lab-stranger -- tunneld status");
    assert_eq!(refused.status.code(), Some(4), "{}", printed(&refused));
    let join = "hint: join its group: `sudo usermod -aG tunneld lab-stranger`";
    for said in ["permission denied", join] {
        assert!(printed(&refused).contains(said), "{}", printed(&refused));
    }
}
