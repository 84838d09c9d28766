//! The whole way from a text to a configuration or its problems.

mod accepted;
mod bounds;
mod forward_problems;
mod forwards;
mod hooks;
mod includes;
mod option_problems;
mod options;
mod problems;
mod properties;
mod secrets;
mod servers;
mod ssh;
mod ssh_ways;
mod way_problems;
mod ways;

use std::path::Path;

use super::{Config, Diagnostics, Origin, Surroundings, TunnelSpec};
use crate::ssh_config::{Environment, Sources};

fn origin() -> Origin {
    Origin::for_tests()
}

fn surroundings() -> Surroundings {
    Surroundings::for_tests()
}

fn load(text: &str) -> Result<Config, Diagnostics> {
    super::load(text, &origin(), &surroundings())
}

#[track_caller]
fn loaded(text: &str) -> Config {
    load(text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The only tunnel of a file.
#[track_caller]
fn tunnel(text: &str) -> TunnelSpec {
    let config = loaded(text);
    assert_eq!(config.tunnels.len(), 1);
    config.tunnels.into_values().next().unwrap()
}

/// The problems of `text` are exactly these.
#[track_caller]
fn assert_problems(text: &str, shown: &str) {
    let problems = load(text).expect_err("this file has problems").to_string();
    assert_eq!(problems, shown, "got:\n{problems}\nwanted:\n{shown}");
}

/// Surroundings in which files of ssh were read: by the path in `ssh_config`.
fn with_ssh(files: &[(&str, &str)]) -> Surroundings {
    let base = surroundings();
    let environment = Environment {
        user: base.user.clone(),
        home: base.home.clone(),
        ..Environment::default()
    };
    let read = files.iter().map(|(path, text)| {
        let path = Path::new(path);
        let sources = Sources::new(path, (*text).to_owned(), environment.clone());
        (path.to_owned(), Ok(sources))
    });
    Surroundings {
        ssh_configs: read.collect(),
        ..base
    }
}

/// A configuration whose `[defaults]` name a file of ssh, with what is in that file.
fn load_with_ssh(text: &str, ssh: &str) -> Result<Config, Diagnostics> {
    let surroundings = with_ssh(&[("/etc/ssh/ssh_config", ssh)]);
    let text = format!("defaults.ssh_config = \"/etc/ssh/ssh_config\"\n{text}");
    super::load(&text, &origin(), &surroundings)
}

/// The only tunnel of a configuration with a file of ssh.
#[track_caller]
fn tunnel_with_ssh(text: &str, ssh: &str) -> TunnelSpec {
    let text = format!("[tunnels.db]\nhost = \"db\"\nlocal_forward = \"1:a:1\"\n{text}");
    let config = load_with_ssh(&text, ssh).unwrap_or_else(|problems| panic!("{problems}"));
    config.tunnels.into_values().next().unwrap()
}

/// What the effective configuration has where a file says nothing about keys, hosts and algorithms.
const UNWRITTEN: &str = r##"# identity_file = ["/home/svc/.ssh/id_ed25519", "/home/svc/.ssh/id_ecdsa", "/home/svc/.ssh/id_rsa"]  # the default: those that exist
certificate_file = []
identity_agent = "none"
identities_only = false
passphrase_credential = "none"
password_credential = "none"
known_hosts = ["/etc/tunneld/known_hosts", "/home/svc/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"]
strict_host_key_checking = "yes"
host_key_fingerprint = []
host_key_alias = "none"
update_host_keys = true
required_rsa_size = 1024
# ciphers = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr"]  # the default; without AES in the processor ChaCha20 is first
# macs = ["hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512", "hmac-sha2-256", "hmac-sha1-etm@openssh.com", "hmac-sha1"]  # the default
# kex_algorithms = ["mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521", "diffie-hellman-group-exchange-sha256", "diffie-hellman-group18-sha512", "diffie-hellman-group17-sha512", "diffie-hellman-group16-sha512", "diffie-hellman-group15-sha512", "diffie-hellman-group14-sha256"]  # the default
# host_key_algorithms = ["ssh-ed25519-cert-v01@openssh.com", "ecdsa-sha2-nistp256-cert-v01@openssh.com", "ecdsa-sha2-nistp384-cert-v01@openssh.com", "ecdsa-sha2-nistp521-cert-v01@openssh.com", "rsa-sha2-512-cert-v01@openssh.com", "rsa-sha2-256-cert-v01@openssh.com", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256"]  # the default; types that are known of the host are first
rekey_limit = "default none"
"##;
