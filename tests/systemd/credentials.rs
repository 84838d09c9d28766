//! Secrets that systemd passes to the shipped unit.

use tunneld_lab::process::poll;

use crate::lab::{LISTEN, LONG, Lab};

const PHRASE: &str = "a secret phrase";

/// An encrypted key is opened with a passphrase that comes in each of systemd's ways, and that
/// nobody but root could read before.
pub(crate) fn a_passphrase_comes_in_every_way_that_systemd_has(lab: &Lab) {
    lab.run(&format!(
        "cd /etc/tunneld/keys
         ssh-keygen -q -t ed25519 -a 1 -N '{PHRASE}' -f locked && chown tunneld: locked
         cat locked.pub >>/home/lab-login/.ssh/authorized_keys
         umask 077 && echo '{PHRASE}' >/srv/phrase
         systemd-creds encrypt --name=key-phrase /srv/phrase /srv/phrase.cred 2>&1"
    ));
    lab.write(&format!(
        "[tunnels.db]\nhost = \"127.0.0.1\"\nport = 2222\nuser = \"lab-login\"\n\
         identity_file = \"/etc/tunneld/keys/locked\"\npassphrase_credential = \"key-phrase\"\n\
         known_hosts = \"/etc/tunneld/known_hosts\"\n\
         local_forward = [\"127.0.0.1:{LISTEN}:127.0.0.1:9000\"]\n"
    ));
    lab.run("systemctl restart tunneld");
    let missing = "credential \"key-phrase\" is missing: $CREDENTIALS_DIRECTORY is not set";
    let said = poll(LONG, || {
        lab.property("StatusText").contains(missing).then_some(())
    });
    assert!(said.is_some(), "{}", lab.state());

    for line in [
        "LoadCredential=key-phrase:/srv/phrase",
        "LoadCredentialEncrypted=key-phrase:/srv/phrase.cred",
        &format!("SetCredential=key-phrase:{PHRASE}"),
    ] {
        lab.run(&format!(
            "mkdir -p /run/systemd/system/tunneld.service.d
             echo '[Service]\n{line}' >/run/systemd/system/tunneld.service.d/credential.conf
             systemctl daemon-reload && systemctl restart tunneld"
        ));
        lab.wait_for("StatusText", |text| text == "1 of 1 up");
        assert!(lab.echoes(LISTEN), "{line}\n{}", lab.state());
    }
    let said = lab.run("journalctl --sync; journalctl -u tunneld -o json --no-pager");
    assert!(!said.contains(PHRASE));
    lab.run("rm -r /run/systemd/system/tunneld.service.d && systemctl daemon-reload");
    lab.file(&[LISTEN]);
    lab.run("systemctl restart tunneld");
}
