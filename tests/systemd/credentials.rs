//! Secrets that systemd passes to the shipped unit.

use serde_json::Value;
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
         install -d -m 700 /etc/credstore.encrypted
         umask 077 && echo '{PHRASE}' >/srv/phrase
         systemd-creds encrypt --name=key-phrase /srv/phrase /etc/credstore.encrypted/key-phrase 2>&1"
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
        "LoadCredentialEncrypted=key-phrase:/etc/credstore.encrypted/key-phrase",
        &format!("SetCredential=key-phrase:{PHRASE}"),
    ] {
        lab.drop_in("credential", line);
        lab.run("systemctl restart tunneld");
        lab.wait_for("StatusText", |text| text == "1 of 1 up");
        assert!(lab.echoes(LISTEN), "{line}\n{}", lab.state());
    }
    let said = lab.entries("");
    let told = |entry: &Value| entry.to_string().contains(PHRASE);
    assert!(!said.is_empty() && !said.iter().any(told));
    lab.no_drop_ins();
    lab.file(&[LISTEN]);
    lab.run("systemctl restart tunneld");
}
