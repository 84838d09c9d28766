//! What changes about the server of a tunnel and the way to it: each of these replaces the session.

use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;

use super::{KeyChange, change};
use crate::config::{
    AddressFamily, Credential, IdentityAgent, Proxy, ProxyCommand, Sourced, StrictHostKeyChecking,
    Target, Via,
};
use crate::text::clip;

/// The longest value that is shown, in characters.
pub(super) const MAX_SHOWN: usize = 60;

/// The changed keys of a server and of the way to it.
pub(super) fn target_changes(before: &Target, after: &Target) -> Vec<KeyChange> {
    let (old, new) = (before, after);
    let server = [
        change("host", &old.host, &new.host, String::clone),
        change("port", &old.port, &new.port, u16::to_string),
        change("user", &old.user, &new.user, String::clone),
    ];
    let mut out: Vec<KeyChange> = server.into_iter().flatten().collect();
    out.extend(login_changes(before, after));
    out.extend(trust_changes(before, after));
    out.extend(transport_changes(before, after));
    out.extend(way_changes(before, after));
    if before != after && out.is_empty() {
        // Default keys that are written out now, or the other way round.
        out.push(KeyChange::unshown("identity_file"));
    }
    out
}

fn login_changes(old: &Target, new: &Target) -> impl Iterator<Item = KeyChange> {
    let agent = |v: &Option<IdentityAgent>| or_none(v.as_ref());
    let credential = |v: &Option<Sourced<Credential>>| or_none(v.as_ref().map(|v| &v.value));
    let changes = [
        change(
            "identity_file",
            &old.identity_file,
            &new.identity_file,
            |v| files(v),
        ),
        change(
            "certificate_file",
            &old.certificate_file,
            &new.certificate_file,
            |v| files(v),
        ),
        change(
            "identity_agent",
            &old.identity_agent,
            &new.identity_agent,
            agent,
        ),
        change(
            "identities_only",
            &old.identities_only,
            &new.identities_only,
            bool::to_string,
        ),
        change(
            "passphrase_credential",
            &old.passphrase_credential,
            &new.passphrase_credential,
            credential,
        ),
        change(
            "password_credential",
            &old.password_credential,
            &new.password_credential,
            credential,
        ),
    ];
    changes.into_iter().flatten()
}

fn trust_changes(old: &Target, new: &Target) -> impl Iterator<Item = KeyChange> {
    let strictness = |v: &StrictHostKeyChecking| v.as_str().to_owned();
    let pins = (old.host_key_fingerprint != new.host_key_fingerprint)
        .then(|| KeyChange::unshown("host_key_fingerprint"));
    let changes = [
        change("known_hosts", &old.known_hosts, &new.known_hosts, |v| {
            files(v)
        }),
        change(
            "strict_host_key_checking",
            &old.strict_host_key_checking,
            &new.strict_host_key_checking,
            strictness,
        ),
        pins,
        change(
            "host_key_alias",
            &old.host_key_alias,
            &new.host_key_alias,
            |v| or_none(v.as_ref()),
        ),
        change(
            "update_host_keys",
            &old.update_host_keys,
            &new.update_host_keys,
            bool::to_string,
        ),
        change(
            "required_rsa_size",
            &old.required_rsa_size,
            &new.required_rsa_size,
            u32::to_string,
        ),
    ];
    changes.into_iter().flatten()
}

fn transport_changes(old: &Target, new: &Target) -> impl Iterator<Item = KeyChange> {
    let names = |v: &Option<Vec<String>>| match v {
        Some(names) => clip(&names.join(", "), MAX_SHOWN),
        None => "default".to_owned(),
    };
    let (before, after) = (&old.algorithms, &new.algorithms);
    let changes = [
        change("ciphers", &before.ciphers, &after.ciphers, names),
        change("macs", &before.macs, &after.macs, names),
        change("kex_algorithms", &before.kex, &after.kex, names),
        change(
            "host_key_algorithms",
            &before.host_keys,
            &after.host_keys,
            names,
        ),
        change(
            "compression",
            &before.compression,
            &after.compression,
            bool::to_string,
        ),
        change("rekey_limit", &old.rekey_limit, &new.rekey_limit, |limit| {
            limit.to_string()
        }),
    ];
    changes.into_iter().flatten()
}

/// What changes on the way to the host.
fn way_changes(before: &Target, after: &Target) -> impl Iterator<Item = KeyChange> {
    // Alone, and without what is not its own.
    let hops = |target: &Target| -> Vec<Target> {
        let alone = |hop: &Target| Target {
            via: Via::Direct,
            address_family: AddressFamily::Any,
            bind_address: None,
            ..hop.clone()
        };
        target.hops().into_iter().map(alone).collect()
    };
    let shown_hops = |hops: &Vec<Target>| match hops.is_empty() {
        true => "none".to_owned(),
        false => {
            let hops: Vec<String> = hops.iter().map(Target::to_string).collect();
            hops.join(", ")
        }
    };
    let proxy = |via: &Via| match via {
        Via::Proxy(proxy) => Some(proxy.clone()),
        Via::Direct | Via::Jump(_) | Via::Command(_) => None,
    };
    let command = |via: &Via| match via {
        Via::Command(command) => Some(command.clone()),
        Via::Direct | Via::Jump(_) | Via::Proxy(_) => None,
    };
    let shown_command = |command: &Option<ProxyCommand>| match command {
        Some(command) => clip(&command.to_string().escape_debug().to_string(), MAX_SHOWN),
        None => "none".to_owned(),
    };
    let (old, new) = (before.first_via(), after.first_via());
    let changes = [
        change(
            "address_family",
            &before.address_family,
            &after.address_family,
            |family| family.as_str().to_owned(),
        ),
        change(
            "bind_address",
            &before.bind_address,
            &after.bind_address,
            |v: &Option<IpAddr>| or_none(v.as_ref()),
        ),
        change("proxy_jump", &hops(before), &hops(after), shown_hops),
        change("proxy", &proxy(old), &proxy(new), |v: &Option<Proxy>| {
            or_none(v.as_ref())
        }),
        change("proxy_command", &command(old), &command(new), shown_command),
    ];
    changes.into_iter().flatten()
}

fn files(files: &[Sourced<PathBuf>]) -> String {
    if files.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<String> = files
        .iter()
        .map(|p| p.value.display().to_string())
        .collect();
    shown.join(", ")
}

fn or_none(value: Option<&impl Display>) -> String {
    value.map_or_else(|| "none".to_owned(), ToString::to_string)
}
