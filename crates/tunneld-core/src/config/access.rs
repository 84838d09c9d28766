//! Who may use a forward: `allow`, `socket_mode` and `socket_owner`.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use toml::de::DeValue;

use super::SocketOwner;
use super::items::{list, parsed};
use super::raw::{Item, Problems};
use super::render::quoted;
use super::values::{ValueError, parse_user};

/// `allow`: where clients may come from.
pub(super) fn allow(item: Item<'_, '_>, problems: &mut Problems) -> Option<Vec<IpNet>> {
    let items = list(item, problems)?;
    let mut found = Vec::with_capacity(items.len());
    for item in &items {
        let wanted = "an address, a network, or an array of them";
        found.extend(parsed(*item, wanted, parse_network, problems));
    }
    (found.len() == items.len()).then_some(found)
}

/// An address, or a network in CIDR notation (RFC 4632 section 3.1).
fn parse_network(text: &str) -> Result<IpNet, ValueError> {
    const HELP: &str = r#"write "192.0.2.7", "192.0.2.0/24" or "2001:db8::/32""#;
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| {
            let said = format!("has no address and no network in {}", quoted(text));
            ValueError::new(said).with_help(HELP)
        })?,
    };
    // A client that comes over such an address is one of IPv4, and is looked for there.
    if let Some(plain) = mapped(&network) {
        let said = format!(
            "has an IPv4 network that is written as one of IPv6: {}",
            quoted(text)
        );
        return Err(ValueError::new(said).with_help(format!("write \"{plain}\"")));
    }
    let right = network.trunc();
    if right != network {
        let said = format!("has bits of a host in a network: {}", quoted(text));
        return Err(ValueError::new(said).with_help(format!(
            "the network is \"{right}\", the address alone \"{}\"",
            network.addr()
        )));
    }
    Ok(network)
}

/// The IPv4 network that `::ffff:a.b.c.d/n` stands for (RFC 4291 section 2.5.5.2).
fn mapped(network: &IpNet) -> Option<Ipv4Net> {
    let IpNet::V6(network) = network else {
        return None;
    };
    let address = network.addr().to_ipv4_mapped()?;
    let bits = network.prefix_len().checked_sub(96)?;
    Ipv4Net::new(address, bits).ok().map(|n| n.trunc())
}

/// `socket_mode`: permission bits in octal digits.
pub(super) fn socket_mode(item: Item<'_, '_>, problems: &mut Problems) -> Option<u32> {
    if let DeValue::Integer(number) = item.get() {
        let wrong = item.wants("a string of octal digits");
        problems.report(wrong.with_help(as_octal(number.as_str())));
        return None;
    }
    parsed(item, "a string of octal digits", parse_mode, problems)
}

/// The mode that the digits of a bare number were meant to be.
fn as_octal(digits: &str) -> String {
    let digits = match parse_mode(digits) {
        Ok(1..) => digits.trim_start_matches('0'),
        Ok(0) | Err(_) => "660",
    };
    format!(
        "write \"{digits:0>4}\": the bare number {digits} is another one than the octal 0o{digits}"
    )
}

fn parse_mode(text: &str) -> Result<u32, ValueError> {
    const HELP: &str = r#"write "0600", "0660" or "0666""#;
    let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| octal);
    match mode {
        Some(mode) if mode <= 0o777 => Ok(mode),
        Some(_) => Err(
            ValueError::new(format!("has more than permission bits: {}", quoted(text)))
                .with_help(HELP),
        ),
        None => Err(ValueError::new(format!(
            "is not three or four octal digits: {}",
            quoted(text)
        ))
        .with_help(HELP)),
    }
}

/// `socket_owner`: `USER`, `USER:GROUP` or `:GROUP`.
pub(super) fn socket_owner(item: Item<'_, '_>, problems: &mut Problems) -> Option<SocketOwner> {
    parsed(
        item,
        "\"user\", \"user:group\" or \":group\"",
        parse_owner,
        problems,
    )
}

fn parse_owner(text: &str) -> Result<SocketOwner, ValueError> {
    const HELP: &str = r#"write "user", "user:group" or ":group""#;
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    if group == Some("") {
        return Err(ValueError::new("has no group after `:`").with_help(HELP));
    }
    let user = match (user, group) {
        ("", Some(_)) => None,
        (user, _) => Some(named("user", user)?),
    };
    let group = group.map(|group| named("group", group)).transpose()?;
    Ok(SocketOwner { user, group })
}

fn named(what: &str, name: &str) -> Result<String, ValueError> {
    if name.contains([':', '/']) {
        let said = format!("has {} where a {what} is wanted", quoted(name));
        return Err(ValueError::new(said));
    }
    parse_user(name).map_err(|e| ValueError {
        message: format!("has a {what} that {}", e.message),
        ..e
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_network_of_one() {
        for (text, network) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(parse_network(text).unwrap().to_string(), network);
        }
    }

    #[test]
    fn a_network_is_written_as_it_is_meant() {
        let said = |text: &str| {
            let error = parse_network(text).unwrap_err();
            (error.message, error.help.unwrap())
        };
        for bad in [
            "",
            "lan",
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.1:80",
            "::1/129",
        ] {
            let (message, help) = said(bad);
            assert_eq!(message, format!("has no address and no network in `{bad}`"));
            assert!(help.starts_with("write "));
        }
        assert_eq!(
            said("10.1.2.3/8"),
            (
                "has bits of a host in a network: `10.1.2.3/8`".to_owned(),
                "the network is \"10.0.0.0/8\", the address alone \"10.1.2.3\"".to_owned()
            )
        );
        for (mapped, plain) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ] {
            assert_eq!(said(mapped).1, format!("write \"{plain}\""));
        }
        assert!(parse_network("::/0").is_ok());
    }

    #[test]
    fn a_mode_is_octal_and_has_permission_bits_only() {
        assert_eq!(parse_mode("0660"), Ok(0o660));
        assert_eq!(parse_mode("600"), Ok(0o600));
        for bad in ["", "66", "0o660", "00660", "0680", "+660", "rw-rw----"] {
            let said = parse_mode(bad).unwrap_err().message;
            assert_eq!(said, format!("is not three or four octal digits: `{bad}`"));
        }
        let said = parse_mode("4755").unwrap_err().message;
        assert_eq!(said, "has more than permission bits: `4755`");
    }

    #[test]
    fn a_bare_number_is_told_the_mode_with_its_digits() {
        for (digits, said) in [
            ("600", "0600"),
            ("666", "0666"),
            ("999", "0660"),
            ("6", "0660"),
        ] {
            let help = as_octal(digits);
            assert!(help.starts_with(&format!("write \"{said}\": ")), "{help}");
        }
    }

    #[test]
    fn an_owner_is_a_user_or_a_group_or_both() {
        for good in ["web", "web:www-data", ":www-data", "33:33"] {
            assert_eq!(parse_owner(good).unwrap().to_string(), good);
        }
        for (bad, said) in [
            ("", "has a user that is empty"),
            (":", "has no group after `:`"),
            ("web:", "has no group after `:`"),
            ("a:b:c", "has `b:c` where a group is wanted"),
            (
                "a b",
                "has a user that has a character that no login name has: ' '",
            ),
        ] {
            assert_eq!(parse_owner(bad).unwrap_err().message, said, "{bad}");
        }
    }
}
