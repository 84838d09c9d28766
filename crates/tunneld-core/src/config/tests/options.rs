//! Keys, certificates, agents, secrets, host keys and algorithms: what is written arrives, what is
//! not is the default, and a jump host takes from its tunnel what is its own to take.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::config::{AddressFamily, Credential, IdentityAgent, RekeyLimit, Sourced, Target};

fn text(settings: &str) -> String {
    format!("[tunnels.db]\nhost = 'db'\nlocal_forward = '1:a:1'\n{settings}")
}

fn target(settings: &str) -> Target {
    tunnel(&text(settings)).target
}

fn shown(paths: &[Sourced<PathBuf>]) -> Vec<&str> {
    paths.iter().map(|p| p.value.to_str().unwrap()).collect()
}

fn secret(found: &Option<Sourced<Credential>>) -> Option<String> {
    found.as_ref().map(|v| v.value.to_string())
}

#[test]
fn what_is_left_out_adds_no_key_no_secret_and_no_limit() {
    let plain = target("");
    assert_eq!(
        plain,
        Target {
            identity_file: plain.identity_file.clone(),
            identity_file_is_default: true,
            known_hosts: plain.known_hosts.clone(),
            update_host_keys: true,
            ..Target::new("db", 22, "svc")
        }
    );
    let week = Duration::from_secs(7 * 24 * 3600);
    assert_eq!(tunnel(&text("")).certificate_expiry_warning, week);
}

#[test]
fn everything_that_is_written_about_a_server_arrives() {
    let spec = tunnel(&text(
        r#"
        certificate_file = ["id-cert.pub", "~/c"]
        identity_agent = "agent.sock"
        identities_only = true
        passphrase_credential = "Key_phrase-2.x"
        password_credential = "secrets/db"
        host_key_alias = "Db-Farm"
        update_host_keys = "no"
        required_rsa_size = 3072
        ciphers = ["^aes256-ctr"]
        macs = "hmac-sha2-256,hmac-sha2-512"
        kex_algorithms = "-*sha1,diffie-*,ecdh-*"
        host_key_algorithms = "ssh-ed25519*"
        compression = true
        rekey_limit = "512M 30m"
        address_family = "inet6"
        bind_address = "2001:DB8::0:7"
        certificate_expiry_warning = "1d"
        "#,
    ));
    let found = &spec.target;
    assert_eq!(
        shown(&found.certificate_file),
        ["/etc/tunneld/id-cert.pub", "/home/svc/c"]
    );
    let socket = PathBuf::from("/etc/tunneld/agent.sock");
    assert_eq!(found.identity_agent, Some(IdentityAgent::Socket(socket)));
    assert!(found.identities_only && !found.update_host_keys);
    assert_eq!(found.required_rsa_size, 3072);
    let phrase = found.passphrase_credential.clone().unwrap();
    assert_eq!(phrase.value, Credential::Named("Key_phrase-2.x".to_owned()));
    assert!(phrase.span.is_some());
    let password = PathBuf::from("/etc/tunneld/secrets/db");
    let found_password = found.password_credential.clone().unwrap().value;
    assert_eq!(found_password, Credential::File(password));
    assert_eq!(found.host_key_alias.as_deref(), Some("Db-Farm"));
    let lists = &found.algorithms;
    assert_eq!(lists.ciphers.as_ref().unwrap()[0], "aes256-ctr");
    assert_eq!(lists.ciphers.as_ref().unwrap().len(), 6);
    let macs = ["hmac-sha2-256", "hmac-sha2-512"].map(str::to_owned);
    assert_eq!(lists.macs.as_deref(), Some(&macs[..]));
    assert_eq!(lists.kex.as_ref().unwrap()[0], "mlkem768x25519-sha256");
    let types = ["ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519"].map(str::to_owned);
    assert_eq!(lists.host_keys.as_deref(), Some(&types[..]));
    assert!(lists.compression);
    let limit = RekeyLimit {
        bytes: Some(512 << 20),
        time: Some(Duration::from_secs(1800)),
    };
    assert_eq!(found.rekey_limit, limit);
    assert_eq!(found.address_family, AddressFamily::Inet6);
    assert_eq!(found.bind_address, Some("2001:db8::7".parse().unwrap()));
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(spec.certificate_expiry_warning, day);
}

#[test]
fn an_agent_is_a_socket_or_a_variable_or_none() {
    let agent = |written: &str| target(&format!("identity_agent = '{written}'")).identity_agent;
    let variable = |name: &str| Some(IdentityAgent::Variable(name.to_owned()));
    assert_eq!(agent("none"), None);
    assert_eq!(agent("SSH_AUTH_SOCK"), variable("SSH_AUTH_SOCK"));
    assert_eq!(agent("$SSH_AUTH_SOCK"), variable("SSH_AUTH_SOCK"));
    assert_eq!(agent("$_MY_2"), variable("_MY_2"));
    for (written, path) in [
        ("/run/a.sock", "/run/a.sock"),
        ("~/a.sock", "/home/svc/a.sock"),
        ("./none", "/etc/tunneld/none"),
        ("./$X", "/etc/tunneld/$X"),
    ] {
        assert_eq!(agent(written), Some(IdentityAgent::Socket(path.into())));
    }
}

#[test]
fn a_credential_is_a_name_or_a_path() {
    let secret = |written: &str| {
        let found = target(&format!("password_credential = '{written}'"));
        found.password_credential.map(|v| v.value)
    };
    let named = |name: &str| Some(Credential::Named(name.to_owned()));
    let file = |path: &str| Some(Credential::File(path.into()));
    let longest = "x".repeat(255);
    assert_eq!(secret("none"), None);
    assert_eq!(secret("db-password"), named("db-password"));
    assert_eq!(secret(&longest), named(&longest));
    assert_eq!(secret("~/x"), file("/home/svc/x"));
    assert_eq!(secret("./x"), file("/etc/tunneld/x"));
    assert_eq!(secret("/run/none"), file("/run/none"));
}

#[test]
fn a_tunnel_may_use_no_key_at_all() {
    // IdentityFile none of ssh_config(5): an agent or a password is left, and not the usual files.
    for none in ["identity_file = 'none'", "identity_file = 'None'"] {
        let found = target(none);
        assert!(found.identity_file.is_empty());
        assert!(!found.identity_file_is_default);
    }
    let defaults = "[defaults]\nidentity_file = '/id'\n";
    let off = tunnel(&format!("{defaults}{}", text("identity_file = 'none'")));
    assert!(off.target.identity_file.is_empty());
    let config = loaded(&text("identity_file = 'none'"));
    let printed = crate::config::effective(&config);
    assert!(
        printed.contains("\nidentity_file = \"none\"\n"),
        "{printed}"
    );
    assert_eq!(loaded(&printed), config);
}

#[test]
fn known_hosts_grow_by_themselves_only_where_nobody_has_named_them() {
    // As ssh's UpdateHostKeys; unlike it also with accept-new; and never where the key is pinned.
    let pin = "host_key_fingerprint = 'SHA256:uNiVztksCsDhcc0u9e8BrrEYTWAD7Q3F3XcIcYQ1X4U'";
    let new = "strict_host_key_checking = 'accept-new'";
    for (settings, updates) in [
        (String::new(), true),
        ("known_hosts = '/kh'".to_owned(), false),
        (format!("known_hosts = '/kh'\n{new}"), true),
        (
            format!("known_hosts = '/kh'\n{new}\nupdate_host_keys = false"),
            false,
        ),
        (
            "known_hosts = '/kh'\nupdate_host_keys = true".to_owned(),
            true,
        ),
        (
            "known_hosts = '/kh'\nupdate_host_keys = 'yes'".to_owned(),
            true,
        ),
        ("update_host_keys = 'no'".to_owned(), false),
        (pin.to_owned(), false),
        (format!("{pin}\nupdate_host_keys = true"), false),
    ] {
        assert_eq!(target(&settings).update_host_keys, updates, "{settings}");
    }
    let defaults = format!("[defaults]\nknown_hosts = '/kh'\n{}", text(""));
    assert!(!tunnel(&defaults).target.update_host_keys);
}

#[test]
fn a_tunnel_turns_off_what_the_defaults_have() {
    let defaults = "[defaults]\ncertificate_file = 'c'\nidentity_agent = '/a'\n\
                    passphrase_credential = 'p'\npassword_credential = 'p'\nhost_key_alias = 'h'\n\
                    bind_address = '::1'\naddress_family = 'inet6'\ncompression = true\n\
                    rekey_limit = '1G'\nidentities_only = true\n";
    let off = "certificate_file = 'none'\nidentity_agent = 'none'\npassphrase_credential = 'none'\n\
               password_credential = 'None'\nhost_key_alias = 'none'\nbind_address = 'none'\n\
               address_family = 'any'\ncompression = false\nrekey_limit = 'default'\n\
               identities_only = false\n";
    let taken = tunnel(&format!("{defaults}{}", text(""))).target;
    assert_eq!(taken.certificate_file.len(), 1);
    assert_eq!(taken.host_key_alias.as_deref(), Some("h"));
    let own = tunnel(&format!("{defaults}{}", text(off))).target;
    assert_eq!(own, target(""));
}

/// The jump host of a tunnel that says everything.
fn hop(written: &str) -> Target {
    let spec = tunnel(&format!(
        "[defaults]\npassword_credential = 'for-all'\nhost_key_alias = 'all'\n\
         ciphers = '*-ctr'\nrekey_limit = '2G'\n\
         [tunnels.db]\nhost = 'db'\nlocal_forward = '1:a:1'\n\
         identity_file = '/id'\ncertificate_file = '/id-cert.pub'\nidentity_agent = '/agent'\n\
         identities_only = true\npassphrase_credential = 'phrase'\npassword_credential = 'word'\n\
         known_hosts = '/kh'\nhost_key_alias = 'farm'\nupdate_host_keys = true\n\
         ciphers = 'aes256-ctr'\nmacs = 'hmac-sha2-256'\nkex_algorithms = 'curve25519-sha256'\n\
         host_key_algorithms = 'ssh-ed25519'\ncompression = true\nrekey_limit = '1G 1h'\n\
         address_family = 'inet'\nbind_address = '127.0.0.2'\n\
         proxy_jump = {{ host = 'b'{written} }}\n"
    ));
    assert_eq!(secret(&spec.target.password_credential).unwrap(), "word");
    spec.target.hops()[0].clone()
}

#[test]
fn a_jump_host_takes_the_keys_of_its_tunnel_and_the_way_to_it() {
    let taken = hop("");
    assert_eq!(shown(&taken.identity_file), ["/id"]);
    assert_eq!(shown(&taken.certificate_file), ["/id-cert.pub"]);
    assert!(taken.identity_agent.is_some() && taken.identities_only);
    assert_eq!(secret(&taken.passphrase_credential).unwrap(), "phrase");
    assert!(taken.update_host_keys);
    // The one connection that leaves this machine is made to the first of them.
    assert_eq!(taken.address_family, AddressFamily::Inet);
    assert_eq!(taken.bind_address, Some("127.0.0.2".parse().unwrap()));
}

#[test]
fn the_password_of_a_tunnel_is_never_shown_to_its_jump_hosts() {
    assert_eq!(secret(&hop("").password_credential).unwrap(), "for-all");
    let own = hop(", password_credential = 'own'");
    assert_eq!(secret(&own.password_credential).unwrap(), "own");
    let none = hop(", password_credential = 'none'");
    assert_eq!(none.password_credential, None);
    let without = tunnel(&text("password_credential = 'word'\nproxy_jump = 'b'"));
    assert_eq!(without.target.hops()[0].password_credential, None);
}

#[test]
fn a_tunnel_that_wants_no_password_keeps_that_of_the_defaults_from_its_jump_hosts_too() {
    let jump = "password_credential = 'none'\nproxy_jump = ['a', \
                { host = 'b', password_credential = 'own' }]";
    let spec = tunnel(&format!(
        "[defaults]\npassword_credential = 'for-all'\n{}",
        text(jump)
    ));
    assert_eq!(spec.target.password_credential, None);
    let hops = spec.target.hops();
    assert_eq!(hops[0].password_credential, None);
    assert_eq!(secret(&hops[1].password_credential).unwrap(), "own");
}

#[test]
fn an_alias_is_that_of_one_host() {
    assert_eq!(hop("").host_key_alias, None);
    let own = hop(", host_key_alias = 'b1'");
    assert_eq!(own.host_key_alias.as_deref(), Some("b1"));
}

#[test]
fn a_jump_host_with_keys_of_its_own_takes_nothing_that_belongs_to_those_of_the_tunnel() {
    let own = hop(", identity_file = '/b'");
    assert_eq!(shown(&own.identity_file), ["/b"]);
    assert!(own.certificate_file.is_empty());
    assert_eq!(own.identity_agent, None);
    assert_eq!(own.passphrase_credential, None);
    let none = hop(", identity_file = 'none'");
    assert!(none.identity_file.is_empty() && none.certificate_file.is_empty());
    assert_eq!(none.identity_agent, None);
    // What it says beside the keys of the tunnel goes with them.
    let with = hop(", certificate_file = '/b-cert.pub', identity_agent = 'none'");
    assert_eq!(shown(&with.identity_file), ["/id"]);
    assert_eq!(shown(&with.certificate_file), ["/b-cert.pub"]);
    assert_eq!(with.identity_agent, None);
    assert_eq!(secret(&with.passphrase_credential).unwrap(), "phrase");
}

#[test]
fn that_only_named_keys_are_tried_holds_for_every_host_on_the_way() {
    let agent = ", identity_file = '/b', identity_agent = '/c'";
    assert!(hop("").identities_only && hop(agent).identities_only);
    assert!(!hop(", identity_file = '/b', identities_only = false").identities_only);
}

#[test]
fn a_jump_host_has_algorithms_of_its_own_and_compresses_nothing() {
    // What a server can do is its own: what is said of the tunnel's is not said of its jump hosts.
    let taken = hop("");
    assert_eq!(taken.algorithms.ciphers.as_ref().unwrap().len(), 3);
    assert_eq!(taken.algorithms.macs, None);
    assert_eq!(taken.algorithms.kex, None);
    assert_eq!(taken.algorithms.host_keys, None);
    assert_eq!(taken.rekey_limit.bytes, Some(2 << 30));
    assert!(!taken.algorithms.compression);
    let own = hop(", ciphers = 'aes128-ctr', rekey_limit = 'default', update_host_keys = false");
    assert_eq!(own.algorithms.ciphers.unwrap(), ["aes128-ctr"]);
    assert_eq!(own.algorithms.macs, None);
    assert_eq!(own.rekey_limit, RekeyLimit::default());
    assert!(!own.update_host_keys);
}

#[test]
fn a_file_that_an_agent_or_a_secret_is_in_is_found_from_the_folder_of_the_file() {
    let origin = Origin::of_file(Path::new("etc/t.toml"));
    let text = text("identity_agent = 'a'\npassword_credential = './p'");
    let config = crate::config::load(&text, &origin, &surroundings()).unwrap();
    let target = &config.tunnels.values().next().unwrap().target;
    let socket = IdentityAgent::Socket("etc/a".into());
    assert_eq!(target.identity_agent, Some(socket));
    assert_eq!(secret(&target.password_credential).unwrap(), "etc/./p");
}
