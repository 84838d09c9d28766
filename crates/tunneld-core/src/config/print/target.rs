//! A server and the way to it: of a tunnel, and of each of its jump hosts.

use std::fmt::Display;
use std::path::PathBuf;

use super::printer::Printer;
use super::{array, path, string};
use crate::config::algorithms::Kind;
use crate::config::{ProxyCommand, Sourced, Target, Via};

/// What a tunnel and a jump host have in common. A jump host takes what it does not say from its
/// `tunnel`.
pub(super) fn write_server(out: &mut Printer<'_>, target: &Target, tunnel: Option<&Target>) {
    out.key("host", string(&target.host));
    out.key("port", target.port);
    out.key("user", string(&target.user));
    write_login(out, target, tunnel);
    write_trust(out, target);
    write_algorithms(out, target, tunnel);
    out.key("rekey_limit", string(&target.rekey_limit.to_string()));
}

/// What only the connection that leaves this machine has, and the session that carries the bytes.
pub(super) fn write_way(out: &mut Printer<'_>, target: &Target) {
    out.key("compression", target.algorithms.compression);
    out.key("address_family", string(target.address_family.as_str()));
    write_or_none(out, "bind_address", target.bind_address.as_ref());
    if !matches!(target.via, Via::Jump(_)) {
        // Jump hosts follow as tables.
        out.key("proxy_jump", string("none"));
    }
    write_first_via(out, target.first_via());
}

/// How the first host on the way is reached: the other key of the two is off.
fn write_first_via(out: &mut Printer<'_>, via: &Via) {
    let none = string("none");
    let proxy = match via {
        Via::Proxy(proxy) => string(&proxy.to_string()),
        Via::Command(_) | Via::Direct | Via::Jump(_) => none.clone(),
    };
    let command = match via {
        Via::Command(ProxyCommand::Shell(line)) => string(line),
        Via::Command(ProxyCommand::Argv(words)) => array(words.iter().map(|w| string(w))),
        Via::Proxy(_) | Via::Direct | Via::Jump(_) => none,
    };
    out.key("proxy", proxy);
    out.key("proxy_command", command);
}

fn write_login(out: &mut Printer<'_>, target: &Target, tunnel: Option<&Target>) {
    let keys = paths(&target.identity_file);
    let inherits = tunnel.is_some_and(|tunnel| !tunnel.identity_file_is_default);
    match (target.identity_file_is_default, inherits) {
        (true, true) => out.key("identity_file", string("default")),
        // Written out, default keys that do not exist would be errors.
        (true, false) => out.default("identity_file", keys, ": those that exist"),
        (false, _) if target.identity_file.is_empty() => out.key("identity_file", string("none")),
        (false, _) => out.key("identity_file", keys),
    }
    out.key("certificate_file", paths(&target.certificate_file));
    write_or_none(out, "identity_agent", target.identity_agent.as_ref());
    out.key("identities_only", target.identities_only);
    let passphrase = target.passphrase_credential.as_ref().map(|v| &v.value);
    write_or_none(out, "passphrase_credential", passphrase);
    let password = target.password_credential.as_ref().map(|v| &v.value);
    write_or_none(out, "password_credential", password);
}

fn write_trust(out: &mut Printer<'_>, target: &Target) {
    let strict = target.strict_host_key_checking.as_str();
    out.key("known_hosts", paths(&target.known_hosts));
    out.key("strict_host_key_checking", string(strict));
    let pins = target.host_key_fingerprint.iter();
    let pins = array(pins.map(|pin| string(pin.as_str())));
    out.key("host_key_fingerprint", pins);
    write_or_none(out, "host_key_alias", target.host_key_alias.as_ref());
    out.key("update_host_keys", target.update_host_keys);
    out.key("required_rsa_size", target.required_rsa_size);
}

fn write_algorithms(out: &mut Printer<'_>, target: &Target, tunnel: Option<&Target>) {
    for (kind, why) in [
        (
            Kind::Cipher,
            "; without AES in the processor ChaCha20 is first",
        ),
        (Kind::Mac, ""),
        (Kind::Kex, ""),
        (
            Kind::HostKey,
            "; types that are known of the host are first",
        ),
    ] {
        let inherits = tunnel.is_some_and(|tunnel| tunnel.algorithms.of(kind).is_some());
        match target.algorithms.of(kind) {
            Some(names) => out.key(kind.key(), array(names.iter().map(|name| string(name)))),
            None if inherits => out.key(kind.key(), string("default")),
            None => {
                let names = array(kind.defaults(true).into_iter().map(string));
                out.default(kind.key(), names, why);
            }
        }
    }
}

fn write_or_none(out: &mut Printer<'_>, key: &str, value: Option<&impl Display>) {
    let shown = value.map_or_else(|| "none".to_owned(), ToString::to_string);
    out.key(key, string(&shown));
}

fn paths(files: &[Sourced<PathBuf>]) -> String {
    array(files.iter().map(|file| path(&file.value)))
}
