//! Clients of forwards that ask where to: what they send, and what they are told.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use tempfile::TempDir;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{connect, free_addr};

use crate::support::{LONG, Table, daemon, text, up, with_hosts};

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Socks4,
    Socks4a,
    Socks5,
    Http,
}

use Protocol::{Http, Socks4, Socks4a, Socks5};

/// All of them.
pub(crate) const PROTOCOLS: [Protocol; 4] = [Socks4, Socks4a, Socks5, Http];

/// Those that can carry a name.
pub(crate) const BY_NAME: [Protocol; 3] = [Socks4a, Socks5, Http];

impl Protocol {
    /// All that a client says to be connected to a place, in one piece.
    pub(crate) fn request(self, host: &str, port: u16) -> Vec<u8> {
        let port_bytes = port.to_be_bytes();
        let length = u8::try_from(host.len()).unwrap();
        match (self, host.parse()) {
            (Socks4, Ok(IpAddr::V4(ip))) => {
                [&[4, 1], &port_bytes[..], &ip.octets(), b"me\0"].concat()
            }
            (Socks4, _) => panic!("SOCKS 4 knows only IPv4 addresses, not {host}"),
            (Socks4a, _) => {
                let name = [host.as_bytes(), b"\0"].concat();
                [&[4, 1], &port_bytes[..], &[0, 0, 0, 1], b"\0", &name].concat()
            }
            (Socks5, address) => {
                let to = match address {
                    Ok(IpAddr::V4(ip)) => [&[1], &ip.octets()[..]].concat(),
                    Ok(IpAddr::V6(ip)) => [&[4], &ip.octets()[..]].concat(),
                    Err(_) => [&[3, length], host.as_bytes()].concat(),
                };
                [&[5, 1, 0, 5, 1, 0], &to[..], &port_bytes].concat()
            }
            (Http, Ok(IpAddr::V6(ip))) => http(&format!("[{ip}]:{port}")),
            (Http, _) => http(&format!("{host}:{port}")),
        }
    }

    /// The code for a connection that is made.
    pub(crate) fn granted(self) -> u16 {
        match self {
            Socks4 | Socks4a => 0x5a,
            Socks5 => 0,
            Http => 200,
        }
    }

    /// Reads what a client is told, and not a byte more; its code.
    pub(crate) fn answer(self, stream: &mut TcpStream) -> u16 {
        match self {
            Socks4 | Socks4a => {
                let mut reply = [0; 8];
                stream.read_exact(&mut reply).unwrap();
                assert_eq!(reply[0], 0);
                reply[1].into()
            }
            Socks5 => {
                let mut reply = [0; 12];
                stream.read_exact(&mut reply).unwrap();
                assert_eq!(reply[..3], [5, 0, 5]);
                assert_eq!(reply[4..6], [0, 1], "another form of address");
                reply[3].into()
            }
            Http => status(stream),
        }
    }
}

fn http(authority: &str) -> Vec<u8> {
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").into_bytes()
}

fn status(stream: &mut TcpStream) -> u16 {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let code = head.strip_prefix("HTTP/1.1 ").unwrap_or_default().get(..3);
    code.unwrap_or_else(|| panic!("{head}")).parse().unwrap()
}

/// A client that is connected through `listen` in this protocol, and has been told so.
pub(crate) fn ask(protocol: Protocol, listen: SocketAddr, to: SocketAddr) -> TcpStream {
    let mut client = connect(listen);
    client.set_read_timeout(Some(LONG)).unwrap();
    let request = protocol.request(&to.ip().to_string(), to.port());
    client.write_all(&request).unwrap();
    assert_eq!(protocol.answer(&mut client), protocol.granted());
    client
}

/// What a client is told, and that nothing but that comes: text behind it in HTTP only.
pub(crate) fn told(protocol: Protocol, listen: SocketAddr, host: &str, port: u16) -> u16 {
    let mut client = connect(listen);
    client.set_read_timeout(Some(LONG)).unwrap();
    client.write_all(&protocol.request(host, port)).unwrap();
    let code = protocol.answer(&mut client);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.is_empty(), protocol != Http, "{rest:?}");
    code
}

/// A server with a dynamic forward to its side and one to ours, and names that only one side knows.
pub(crate) struct Both {
    pub(crate) daemon: Daemon,
    pub(crate) sshd: Sshd,
    /// What is asked here leaves the server.
    pub(crate) near: SocketAddr,
    /// What is asked here leaves tunneld.
    pub(crate) far: SocketAddr,
    _dir: TempDir,
}

impl Both {
    pub(crate) fn new() -> Self {
        Self::with("", "")
    }

    /// With more lines of sshd_config, and more keys for the forward to the server's side.
    /// `far.internal` is known there and `near.internal` here; both are 127.0.0.1.
    pub(crate) fn with(lines: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let knows = |name: &str| {
            let hosts = dir.path().join(name);
            fs::write(&hosts, format!("127.0.0.1 localhost {name}\n")).unwrap();
            with_hosts(&hosts)
        };
        let config = format!("GatewayPorts clientspecified\n{lines}");
        let builder = Sshd::builder().config(&config);
        let sshd = builder.prefix(&knows("far.internal")).start();
        let (near, far) = (free_addr(), free_addr());
        let table = Table::to(&sshd)
            .dynamic_with(near, more)
            .raw("remote_forward", text(far));
        let builder = daemon().config(&table.toml());
        let daemon = builder.prefix(&knows("near.internal")).start();
        up(&daemon, "t");
        Both {
            daemon,
            sshd,
            near,
            far,
            _dir: dir,
        }
    }
}
