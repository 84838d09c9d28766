//! Who is at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A client that came over TCP.
    Tcp(SocketAddr),
    /// A client that came over a unix socket.
    Unix,
    /// Nobody: the connection is of our own making.
    Here,
    /// Whom the server names (RFC 4254 section 7.2).
    Remote {
        /// An address, as the server writes it.
        address: String,
        /// A port, as the server has it: RFC 4254 gives it 32 bits.
        port: u32,
    },
}

impl Peer {
    /// The address to hold against `allow`. An IPv4 address that a socket for both families writes
    /// as IPv6 is IPv4.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Tcp(address) => Some(address.ip().to_canonical()),
            Peer::Unix | Peer::Here => None,
            Peer::Remote { address, .. } => parse(address).map(|ip| ip.to_canonical()),
        }
    }

    /// Where the client comes from, for people.
    pub(crate) fn host(&self) -> String {
        match (self, self.ip()) {
            (_, Some(ip)) => ip.to_string(),
            (Peer::Remote { address, .. }, None) => address.clone(),
            (_, None) => "a client of a unix socket".to_owned(),
        }
    }

    /// The originator of a direct-tcpip channel: "the numeric IP address of the machine from where
    /// the connection request originates" (RFC 4254 section 7.2).
    pub(crate) fn originator(&self) -> (String, u32) {
        match self {
            Peer::Tcp(address) => {
                let ip = address.ip().to_canonical();
                (ip.to_string(), u32::from(address.port()))
            }
            // What has no address is of this machine.
            Peer::Unix | Peer::Here => ("127.0.0.1".to_owned(), 0),
            Peer::Remote { address, port } => (address.clone(), *port),
        }
    }
}

/// An address as getnameinfo(3) writes it: a link-local one names its interface.
fn parse(address: &str) -> Option<IpAddr> {
    match address.split_once('%') {
        Some((ip, _)) => ip.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => address.parse().ok(),
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => match address.ip().to_canonical() {
                IpAddr::V4(ip) => write!(f, "{ip}:{}", address.port()),
                IpAddr::V6(_) => address.fmt(f),
            },
            Peer::Unix => f.write_str("unix"),
            Peer::Here => f.write_str("tunneld"),
            Peer::Remote { address, port } if address.contains(':') => {
                write!(f, "[{address}]:{port}")
            }
            Peer::Remote { address, port } => write!(f, "{address}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> Peer {
        Peer::Tcp(address.parse().unwrap())
    }

    fn remote(address: &str) -> Peer {
        Peer::Remote {
            address: address.to_owned(),
            port: 70_000,
        }
    }

    #[test]
    fn a_peer_is_shown_as_an_address_or_as_what_it_is() {
        assert_eq!(tcp("127.0.0.1:1234").to_string(), "127.0.0.1:1234");
        assert_eq!(tcp("[::1]:1234").to_string(), "[::1]:1234");
        assert_eq!(tcp("[::ffff:10.0.0.1]:9").to_string(), "10.0.0.1:9");
        assert_eq!(Peer::Unix.to_string(), "unix");
        assert_eq!(Peer::Here.to_string(), "tunneld");
        assert_eq!(remote("10.0.0.1").to_string(), "10.0.0.1:70000");
        assert_eq!(remote("::1").to_string(), "[::1]:70000");
    }

    #[test]
    fn an_ipv4_address_that_is_written_as_ipv6_is_ipv4() {
        let v4: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(tcp("[::ffff:10.0.0.1]:9").ip(), Some(v4));
        assert_eq!(remote("::ffff:10.0.0.1").ip(), Some(v4));
        let originator = tcp("[::ffff:10.0.0.1]:9").originator();
        assert_eq!(originator, ("10.0.0.1".to_owned(), 9));
    }

    #[test]
    fn only_what_is_an_address_counts_as_one() {
        let link_local = "fe80::1".parse().ok();
        assert_eq!(remote("fe80::1%eth0").ip(), link_local);
        for not in ["localhost", "10.0.0.1%eth0", "", "10.0.0.1 "] {
            assert_eq!(remote(not).ip(), None, "{not:?}");
        }
        assert_eq!(Peer::Unix.ip(), None);
        assert_eq!(Peer::Here.ip(), None);
    }

    #[test]
    fn the_server_hears_of_an_originator_whatever_the_peer_is() {
        let here = ("127.0.0.1".to_owned(), 0);
        assert_eq!(Peer::Unix.originator(), here);
        assert_eq!(Peer::Here.originator(), here);
        assert_eq!(remote("::1").originator(), ("::1".to_owned(), 70_000));
    }
}
