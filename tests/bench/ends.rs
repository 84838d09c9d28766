//! Both ends of a tunnel: the server that it leads to, and its clients. Bare sockets, threads and
//! large buffers, so that the ends are not what is measured.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use tunneld_lab::target::TcpServer;

/// The direction of a bulk transfer, as the client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bulk {
    /// From the server to the client.
    Down,
    /// From the client to the server.
    Up,
}

const BUFFER: usize = 1 << 20;

/// Starts the server. The first byte of a connection says what it is for: `d` or `u` and a length
/// for bulk data, `e` for an echo.
pub(crate) fn start_target() -> TcpServer {
    TcpServer::start_anywhere(|mut stream| {
        let mut op = [0];
        // A client that goes away has had what it wanted.
        let _ = stream.read_exact(&mut op).and_then(|()| match op[0] {
            b'd' => read_len(&mut stream).and_then(|len| send(&mut stream, len)),
            b'u' => read_len(&mut stream)
                .and_then(|len| receive(&mut stream, len))
                .and_then(|()| stream.write_all(b"!")),
            _ => echo(&mut stream),
        });
    })
}

fn read_len(stream: &mut TcpStream) -> std::io::Result<u64> {
    let mut len = [0; 8];
    stream.read_exact(&mut len)?;
    Ok(u64::from_be_bytes(len))
}

fn send(stream: &mut TcpStream, mut len: u64) -> std::io::Result<()> {
    let buffer = vec![0x5a; BUFFER];
    while len > 0 {
        let part = usize::try_from(len.min(BUFFER as u64)).unwrap();
        stream.write_all(&buffer[..part])?;
        len -= part as u64;
    }
    Ok(())
}

fn receive(stream: &mut TcpStream, mut len: u64) -> std::io::Result<()> {
    let size = usize::try_from(len.min(BUFFER as u64)).unwrap();
    let mut buffer = vec![0; size];
    while len > 0 {
        match stream.read(&mut buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => len -= n as u64,
        }
    }
    Ok(())
}

fn echo(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 512];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}

/// Moves `len` bytes and returns when the last one has arrived at its end.
pub(crate) fn transfer(addr: SocketAddr, way: Bulk, len: u64) {
    let mut stream = tunneld_lab::target::connect(addr);
    let op = if way == Bulk::Down { b'd' } else { b'u' };
    let mut head = vec![op];
    head.extend(len.to_be_bytes());
    stream.write_all(&head).unwrap();
    match way {
        Bulk::Down => receive(&mut stream, len).unwrap(),
        Bulk::Up => {
            send(&mut stream, len).unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
    }
}

/// Sends `len` bytes over a new connection and waits until the server has them: one write, as a
/// request of a program would be.
pub(crate) fn upload_at_once(addr: SocketAddr, len: usize) {
    let mut bytes = vec![b'u'];
    bytes.extend((len as u64).to_be_bytes());
    bytes.resize(9 + len, 0x5a);
    let mut stream = tunneld_lab::target::connect(addr);
    stream.write_all(&bytes).unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

/// A connection to the echo, proven to work from end to end.
pub(crate) fn echo_connection(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = tunneld_lab::target::try_connect(addr)?;
    stream.write_all(b"ex")?;
    stream.read_exact(&mut [0])?;
    Ok(stream)
}
