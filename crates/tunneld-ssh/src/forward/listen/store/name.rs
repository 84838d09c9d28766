//! The names of stored sockets (`FDNAME=` of sd_notify(3)): at most 255 characters of ASCII, and no
//! colon.
//!
//! `tunneld-store-1-tcp-127.0.0.1%3A5432` and `tunneld-store-1-unix-DEVICE-INODE-/run/db.sock`. The
//! number is that of this way to name and to use them: what another version has stored is not for us
//! to guess at. A unix socket does not know the name that its file got after it was bound; device
//! and inode prove that a path still leads to it, for it holds its inode as long as it lives.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::Id;

/// What names of stored sockets begin with, in every version.
const PREFIX: &str = "tunneld-store-";
const VERSION: &str = "1";
const LONGEST: usize = 255;

/// What a name says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    Tcp,
    Unix { file: Id, path: PathBuf },
}

/// Whether a socket is a stored one, of whatever version, and not that of a `.socket` unit.
pub(in crate::forward::listen) fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
}

pub(super) fn tcp(address: SocketAddr) -> Option<String> {
    let address = escape(address.to_string().as_bytes());
    fits(format!("{PREFIX}{VERSION}-tcp-{address}"))
}

pub(super) fn unix(path: &Path, file: Id) -> Option<String> {
    let Id { device, inode } = file;
    let path = escape(path.as_os_str().as_bytes());
    fits(format!("{PREFIX}{VERSION}-unix-{device}-{inode}-{path}"))
}

fn fits(name: String) -> Option<String> {
    (name.len() <= LONGEST).then_some(name)
}

/// `None` for a name that this version has not given.
pub(super) fn parse(name: &str) -> Option<Named> {
    let rest = name.strip_prefix(PREFIX)?.strip_prefix(VERSION)?;
    let (kind, rest) = rest.strip_prefix('-')?.split_once('-')?;
    match kind {
        "tcp" => Some(Named::Tcp),
        "unix" => {
            let mut parts = rest.splitn(3, '-');
            let mut number = || parts.next()?.parse().ok();
            let (device, inode) = (number()?, number()?);
            Some(Named::Unix {
                file: Id { device, inode },
                path: unescape(parts.next()?)?,
            })
        }
        _ => None,
    }
}

/// The folder of a stored unix socket, by its name.
pub(in crate::forward::listen) fn folder(name: &str) -> Option<PathBuf> {
    match parse(name)? {
        Named::Unix { path, .. } => Some(path.parent()?.to_owned()),
        Named::Tcp => None,
    }
}

fn escape(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b':' && byte != b'%';
    let escaped = bytes.iter().map(|byte| match plain(*byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    escaped.collect()
}

fn unescape(text: &str) -> Option<PathBuf> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, plain) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(plain.as_bytes());
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Id = Id {
        device: 25,
        inode: 77,
    };

    #[test]
    fn a_path_comes_back_as_it_was_and_its_name_is_one_that_systemd_takes() {
        for path in [
            "/run/db.sock",
            "/run/a-b-c",
            "/run/a:b%3A",
            "/srv/für alle\n",
        ] {
            let path = PathBuf::from(path);
            let name = unix(&path, FILE).unwrap();
            let taken = |byte: u8| byte.is_ascii_graphic() && byte != b':';
            assert!(name.bytes().all(taken), "{name}");
            assert!(is_ours(&name));
            assert_eq!(parse(&name), Some(Named::Unix { file: FILE, path }));
        }
    }

    #[test]
    fn the_folders_of_unix_sockets_are_found_among_all_names() {
        let mut names = vec!["tunneld-web.socket".to_owned(), String::new()];
        names.extend(tcp("127.0.0.1:80".parse().unwrap()));
        names.extend(["/run/a:b/s", "/s"].map(|path| unix(Path::new(path), FILE).unwrap()));
        let found: Vec<_> = names.iter().filter_map(|name| folder(name)).collect();
        assert_eq!(found, [Path::new("/run/a:b"), Path::new("/")]);
    }

    #[test]
    fn ports_have_a_name_each() {
        let name = |address: &str| tcp(address.parse().unwrap()).unwrap();
        let names = ["127.0.0.1:80", "127.0.0.1:8080", "[::1]:80"].map(name);
        assert_eq!(
            names,
            [
                "tunneld-store-1-tcp-127.0.0.1%3A80",
                "tunneld-store-1-tcp-127.0.0.1%3A8080",
                "tunneld-store-1-tcp-[%3A%3A1]%3A80",
            ]
        );
        assert!(names.iter().all(|name| parse(name) == Some(Named::Tcp)));
    }

    #[test]
    fn a_path_whose_name_would_be_too_long_has_none() {
        assert!(unix(Path::new(&format!("/{}", "x".repeat(106))), FILE).is_some());
        assert!(unix(Path::new(&format!("/{}", "ü".repeat(53))), FILE).is_none());
    }

    #[test]
    fn what_this_version_has_not_named_is_nothing_to_it() {
        for name in [
            "tunneld-store-2-tcp-127.0.0.1%3A80",
            "tunneld-store-12-tcp-127.0.0.1%3A80",
            "tunneld-store-1-udp-127.0.0.1%3A80",
            "tunneld-store-1-unix-25-/run/db.sock",
            "tunneld-store-1-unix-25-77-%",
            "tunneld-store-1-unix-25-77-/%Zü",
            "tunneld-store-1",
            "tunneld-store-",
        ] {
            assert!(is_ours(name));
            assert_eq!(parse(name), None, "{name}");
        }
        assert!(!is_ours("tunneld-web.socket"));
        assert!(!is_ours("stored"));
    }
}
