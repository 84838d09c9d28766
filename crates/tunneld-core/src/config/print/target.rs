//! A server and the way to it: of a tunnel, and of each of its jump hosts.

use std::fmt::{self, Display, Write};
use std::path::PathBuf;

use super::{array, path, string};
use crate::config::algorithms::Kind;
use crate::config::{ProxyCommand, Sourced, Target, Via};

/// What a tunnel and a jump host have in common.
pub(super) fn write_server(out: &mut String, target: &Target) -> fmt::Result {
    writeln!(out, "host = {}", string(&target.host))?;
    writeln!(out, "port = {}", target.port)?;
    writeln!(out, "user = {}", string(&target.user))?;
    write_login(out, target)?;
    write_trust(out, target)?;
    write_algorithms(out, target)?;
    let limit = string(&target.rekey_limit.to_string());
    writeln!(out, "rekey_limit = {limit}")
}

/// What only the connection that leaves this machine has, and the session that carries the bytes.
pub(super) fn write_way(out: &mut String, target: &Target) -> fmt::Result {
    writeln!(out, "compression = {}", target.algorithms.compression)?;
    let family = string(target.address_family.as_str());
    writeln!(out, "address_family = {family}")?;
    write_or_none(out, "bind_address", target.bind_address.as_ref())?;
    if matches!(target.via, Via::Jump(_)) {
        // Its jump hosts follow as tables.
        return write_first_via(out, target.first_via());
    }
    writeln!(out, "proxy_jump = \"none\"")?;
    write_first_via(out, &target.via)
}

/// How the first host on the way is reached: the other key of the two is off.
fn write_first_via(out: &mut String, via: &Via) -> fmt::Result {
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
    writeln!(out, "proxy = {proxy}")?;
    writeln!(out, "proxy_command = {command}")
}

fn write_login(out: &mut String, target: &Target) -> fmt::Result {
    // Written out, default keys that do not exist would be errors.
    let (mark, why) = if target.identity_file_is_default {
        ("# ", "  # the default: those that exist")
    } else {
        ("", "")
    };
    let keys = match target.identity_file.is_empty() && !target.identity_file_is_default {
        true => string("none"),
        false => paths(&target.identity_file),
    };
    writeln!(out, "{mark}identity_file = {keys}{why}")?;
    let certificates = paths(&target.certificate_file);
    writeln!(out, "certificate_file = {certificates}")?;
    write_or_none(out, "identity_agent", target.identity_agent.as_ref())?;
    writeln!(out, "identities_only = {}", target.identities_only)?;
    let passphrase = target.passphrase_credential.as_ref().map(|v| &v.value);
    write_or_none(out, "passphrase_credential", passphrase)?;
    let password = target.password_credential.as_ref().map(|v| &v.value);
    write_or_none(out, "password_credential", password)
}

fn write_trust(out: &mut String, target: &Target) -> fmt::Result {
    let strict = target.strict_host_key_checking.as_str();
    writeln!(out, "known_hosts = {}", paths(&target.known_hosts))?;
    writeln!(out, "strict_host_key_checking = {}", string(strict))?;
    let pins = target.host_key_fingerprint.iter();
    let pins = array(pins.map(|pin| string(pin.as_str())));
    writeln!(out, "host_key_fingerprint = {pins}")?;
    write_or_none(out, "host_key_alias", target.host_key_alias.as_ref())?;
    writeln!(out, "update_host_keys = {}", target.update_host_keys)
}

fn write_algorithms(out: &mut String, target: &Target) -> fmt::Result {
    let lists = &target.algorithms;
    for (kind, written, why) in [
        (
            Kind::Cipher,
            &lists.ciphers,
            "; without AES in the processor ChaCha20 is first",
        ),
        (Kind::Mac, &lists.macs, ""),
        (Kind::Kex, &lists.kex, ""),
        (
            Kind::HostKey,
            &lists.host_keys,
            "; types that are known of the host are first",
        ),
    ] {
        let key = kind.key();
        match written {
            Some(names) => {
                let names = array(names.iter().map(|name| string(name)));
                writeln!(out, "{key} = {names}")?;
            }
            None => {
                let names = kind.defaults(true);
                let names = array(names.into_iter().map(string));
                writeln!(out, "# {key} = {names}  # the default{why}")?;
            }
        }
    }
    Ok(())
}

fn write_or_none(out: &mut String, key: &str, value: Option<&impl Display>) -> fmt::Result {
    let shown = value.map_or_else(|| "none".to_owned(), ToString::to_string);
    writeln!(out, "{key} = {}", string(&shown))
}

fn paths(files: &[Sourced<PathBuf>]) -> String {
    array(files.iter().map(|file| path(&file.value)))
}
