//! The hosts on a tunnel's way, as people name them.

use tunneld_core::config::{Target, host_port};

/// Whether a host goes by this name: `host`, `host:port`, and both with `user@` before them, in
/// whatever case.
pub(super) fn goes_by(target: &Target, name: &str) -> bool {
    let place = host_port(&target.host, target.port);
    let host = match name.rsplit_once('@') {
        Some((user, _)) if !user.eq_ignore_ascii_case(&target.user) => return false,
        Some((_, host)) => host,
        None => name,
    };
    [&target.host, &place]
        .iter()
        .any(|own| own.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_goes_by_its_name_with_or_without_port_and_user_in_whatever_case() {
        let target = Target::new("Bastion.example.com", 2222, "ops");
        for name in [
            "bastion.example.com",
            "BASTION.example.com:2222",
            "ops@bastion.example.com",
            "ops@bastion.example.com:2222",
        ] {
            assert!(goes_by(&target, name), "{name}");
        }
        for name in [
            "",
            "bastion",
            "bastion.example.com:22",
            "you@bastion.example.com",
            "@bastion.example.com",
        ] {
            assert!(!goes_by(&target, name), "{name}");
        }
        let target = Target::new("::1", 22, "ops");
        for name in ["::1", "[::1]:22", "ops@[::1]:22"] {
            assert!(goes_by(&target, name), "{name}");
        }
    }
}
