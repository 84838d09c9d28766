//! What is refused, with which bytes, and what the log says.

use super::*;
use crate::socks::MAX_REQUEST;

const SOCKS4_REJECTED: &[u8] = &[0, 0x5b, 0, 0, 0, 0, 0, 0];

/// The last step of a client that sends all of this at once.
fn end(bytes: &[u8]) -> Step {
    talk([bytes]).end
}

fn socks5_answer(code: u8) -> [u8; 10] {
    [5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// The end of a SOCKS 5 client whose greeting is in order, with this request.
fn socks5_end(request: &[u8]) -> Step {
    let talk = talk([b"\x05\x01\x00", request]);
    assert_eq!(talk.sent, [5, 0]);
    talk.end
}

/// The status line of a refusal, and its reason.
fn http_end(bytes: &[u8]) -> (String, String) {
    let Step::Refuse { reply, reason } = end(bytes) else {
        panic!("not refused: {bytes:?}");
    };
    let reply = String::from_utf8(reply).unwrap();
    let (status, _) = reply.split_once("\r\n").unwrap();
    (status.to_owned(), reason)
}

#[test]
fn socks4_serves_connect_and_nothing_else() {
    let bind = end(b"\x04\x02\x00\x50\x7f\x00\x00\x01jane\0");
    let reason = "SOCKS 4: BIND, only CONNECT is offered";
    assert_eq!(bind, refuse(SOCKS4_REJECTED, reason));
    let unknown = end(b"\x04\x09\x00\x50\x7f\x00\x00\x01\0");
    assert_eq!(
        unknown,
        refuse(SOCKS4_REJECTED, "SOCKS 4: unknown command 9")
    );
}

#[test]
fn socks4_refuses_what_is_too_long_without_waiting_for_its_end() {
    let head = b"\x04\x01\x00\x50\x00\x00\x00\x01";
    let user = [&head[..], &[b'u'; 255]].concat();
    assert_eq!(end(&user), Step::More);
    let user = [&head[..], &[b'u'; 256]].concat();
    let reason = "SOCKS 4: the user name has more than 255 bytes";
    assert_eq!(end(&user), refuse(SOCKS4_REJECTED, reason));
    let whole = [&user[..], b"\0db\0"].concat();
    assert_eq!(end(&whole), refuse(SOCKS4_REJECTED, reason));
    let name = [&head[..], b"\0", &[b'n'; 255]].concat();
    assert_eq!(end(&name), Step::More);
    let name = [&head[..], b"\0", &[b'n'; 256]].concat();
    let reason = "SOCKS 4: the name has more than 255 bytes";
    assert_eq!(end(&name), refuse(SOCKS4_REJECTED, reason));
    let whole = [&name[..], b"\0"].concat();
    assert_eq!(end(&whole), refuse(SOCKS4_REJECTED, reason));
}

#[test]
fn socks4_refuses_what_is_no_destination() {
    let empty = end(b"\x04\x01\x00\x50\x00\x00\x00\x01\0\0");
    assert_eq!(empty, refuse(SOCKS4_REJECTED, "SOCKS 4: the name is empty"));
    let port = end(b"\x04\x01\x00\x00\x7f\x00\x00\x01\0");
    assert_eq!(
        port,
        refuse(SOCKS4_REJECTED, "SOCKS 4: port 0 of `127.0.0.1`")
    );
}

#[test]
fn socks5_takes_a_client_only_without_authentication() {
    let reason = |methods: &str| {
        format!("SOCKS 5: the client insists on authentication (methods: {methods})")
    };
    assert_eq!(end(b"\x05\x02\x01\x02"), refuse(&[5, 0xff], &reason("1 2")));
    assert_eq!(end(b"\x05\x00"), refuse(&[5, 0xff], &reason("")));
    let many = end(&[&b"\x05\xff"[..], &[2; 255]].concat());
    assert_eq!(
        many,
        refuse(&[5, 0xff], &reason("2 2 2 2 2 2 2 2 2 2 2 2 …"))
    );
}

#[test]
fn socks5_serves_connect_and_nothing_else() {
    for (command, reason) in [
        (0, "SOCKS 5: unknown command 0"),
        (2, "SOCKS 5: BIND, only CONNECT is offered"),
        (3, "SOCKS 5: UDP ASSOCIATE, only CONNECT is offered"),
        (255, "SOCKS 5: unknown command 255"),
    ] {
        let end = socks5_end(&[5, command, 0, 1, 127, 0, 0, 1, 0, 80]);
        assert_eq!(end, refuse(&socks5_answer(7), reason));
    }
}

#[test]
fn socks5_refuses_an_address_type_that_it_does_not_know_at_once() {
    for kind in [0, 2, 5, 255] {
        let reason = format!("SOCKS 5: unknown address type {kind}");
        let expected = refuse(&socks5_answer(8), &reason);
        assert_eq!(socks5_end(&[5, 1, 0, kind]), expected);
    }
}

#[test]
fn socks5_refuses_what_is_no_request_or_no_destination() {
    for (request, reason) in [
        (
            &b"\x04\x01\x00\x01"[..],
            "a request with version 4 and reserved byte 0",
        ),
        (
            b"\x05\x01\x09\x01",
            "a request with version 5 and reserved byte 9",
        ),
        (b"\x05\x01\x00\x03\x00\x00\x50", "the name is empty"),
        (b"\x05\x01\x00\x03\x02db\x00\x00", "port 0 of `db`"),
        (
            b"\x05\x01\x00\x03\x02\xff\xff\x00\x50",
            r"the name is not UTF-8: `\xff\xff`",
        ),
        (
            b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x00",
            "port 0 of `127.0.0.1`",
        ),
    ] {
        let expected = refuse(&socks5_answer(1), &format!("SOCKS 5: {reason}"));
        assert_eq!(socks5_end(request), expected);
    }
}

#[test]
fn http_serves_connect_and_says_so_to_whoever_asks_for_more() {
    for line in [
        "GET / HTTP/1.1",
        "POST http://x/ HTTP/1.1",
        "connect db:80 HTTP/1.1",
    ] {
        let end = end(format!("{line}\r\nHost: x\r\n\r\n").as_bytes());
        let reply = b"HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\n\
            Content-Type: text/plain; charset=utf-8\r\nContent-Length: 33\r\n\
            Connection: close\r\n\r\nthis is a proxy for CONNECT only\n";
        assert_eq!(
            end,
            refuse(reply, &format!("HTTP: not CONNECT but `{line}`"))
        );
    }
}

#[test]
fn http_wants_a_host_and_a_port() {
    for (target, reason) in [
        ("db", "no valid port in `db`"),
        ("db:", "no valid port in `db:`"),
        ("db:+80", "no valid port in `db:+80`"),
        ("db:65536", "no valid port in `db:65536`"),
        ("db:http", "no valid port in `db:http`"),
        ("db:0", "port 0 of `db`"),
        (":80", "the name is empty"),
        ("[]:80", "not a host and a port: `[]:80`"),
        ("[db]:80", "not a host and a port: `[db]:80`"),
        ("[::1]", "no valid port in `[::1]`"),
        ("::1:80", "not a host and a port: `::1:80`"),
        ("http://db:80", "not a host and a port: `http://db:80`"),
        (
            "jane@db:80",
            "the name has a character that no host has: `jane@db`",
        ),
        ("/db:80", "the name has a character that no host has: `/db`"),
    ] {
        let head = format!("CONNECT {target} HTTP/1.1\r\n\r\n");
        let status = "HTTP/1.1 400 Bad Request".to_owned();
        let expected = (status, format!("HTTP: {reason}"));
        assert_eq!(http_end(head.as_bytes()), expected, "{target}");
    }
}

#[test]
fn http_refuses_what_is_no_request_at_its_first_wrong_line() {
    for (head, reason) in [
        (
            "SSH-2.0-OpenSSH_9.9\r\n",
            "invalid token in `SSH-2.0-OpenSSH_9.9`",
        ),
        (
            "PRI * HTTP/2.0\r\n",
            "invalid HTTP version in `PRI * HTTP/2.0`",
        ),
        (
            "CONNECT  HTTP/1.1\r\n",
            "invalid token in `CONNECT  HTTP/1.1`",
        ),
        (
            "CONNECT db:80 HTTP/1.1\r\nHost : x\r\n",
            "invalid header name in `CONNECT db:80 HTTP/1.1`",
        ),
        (
            "CONNECT db:80 HTTP/1.1\r\nHost: \0\r\n",
            "invalid header value in `CONNECT db:80 HTTP/1.1`",
        ),
        ("EHLO \x1b[1m\r\n", r"invalid token in `EHLO \x1b[1m`"),
    ] {
        let expected = (
            "HTTP/1.1 400 Bad Request".to_owned(),
            format!("HTTP: {reason}"),
        );
        assert_eq!(http_end(head.as_bytes()), expected);
    }
    let reply = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Length: 22\r\nConnection: close\r\n\r\nno valid port in `db`\n";
    let bare = end(b"CONNECT db HTTP/1.1\r\n\r\n");
    assert_eq!(bare, refuse(reply, "HTTP: no valid port in `db`"));
}

#[test]
fn a_step_remembers_what_it_has_looked_at() {
    let mut handshake = Handshake::new();
    for piece in ["CONNECT db:80", " HTTP/1.1\r\n", "Ho"] {
        handshake.feed(piece.as_bytes());
        assert_eq!(handshake.step(), Step::More);
        assert_eq!(handshake.seen, handshake.pending.len());
    }
}

#[test]
fn http_makes_nothing_of_half_a_line() {
    let wrong_already = b"CONNECT db:80 HTTP/1.1\r\n\r\0";
    assert_eq!(end(wrong_already), Step::More);
}

#[test]
fn http_takes_a_head_of_8_kib_and_not_a_byte_more() {
    let head = |length: usize| {
        let mut head = b"CONNECT db:80 HTTP/1.1\r\nX: ".to_vec();
        head.resize(length - 4, b'x');
        head.extend(b"\r\n\r\n");
        head
    };
    assert_eq!(end(&head(MAX_REQUEST)), ask("db", 80, Protocol::Http));
    let reason = "HTTP: more than 8192 bytes in the head of `CONNECT db:80 HTTP/1.1`";
    let expected = (
        "HTTP/1.1 431 Request Header Fields Too Large".to_owned(),
        reason.to_owned(),
    );
    assert_eq!(http_end(&head(MAX_REQUEST + 1)), expected);
}

#[test]
fn http_takes_64_headers_and_not_one_more() {
    let head = |count: usize| {
        let headers = "X: y\r\n".repeat(count);
        format!("CONNECT db:80 HTTP/1.1\r\n{headers}\r\n").into_bytes()
    };
    assert_eq!(end(&head(64)), ask("db", 80, Protocol::Http));
    let reason = "HTTP: more than 64 headers in the head of `CONNECT db:80 HTTP/1.1`";
    let expected = (
        "HTTP/1.1 431 Request Header Fields Too Large".to_owned(),
        reason.to_owned(),
    );
    assert_eq!(http_end(&head(65)), expected);
}

#[test]
fn who_speaks_another_protocol_gets_no_answer_and_the_log_says_what_came() {
    let tls = "TLS came, the port takes SOCKS and HTTP CONNECT without it";
    assert_eq!(end(b"\x16\x03\x01\x02\x00\x01"), refuse(b"", tls));
    let zeros = r"neither SOCKS nor HTTP: `\x00\x00\x00`";
    assert_eq!(end(b"\0\0\0"), refuse(b"", zeros));
    let long = format!("neither SOCKS nor HTTP: `{}…`", r"\xff".repeat(12));
    assert_eq!(end(&[0xff; 5000]), refuse(b"", &long));
    let line = format!("neither SOCKS nor HTTP: `{}…`", "1".repeat(48));
    assert_eq!(end(&[b'1'; 49]), refuse(b"", &line));
}

#[test]
fn what_is_decided_stays_decided() {
    let mut refused = Handshake::new();
    refused.feed(b"\x16");
    let last = refused.step();
    refused.feed(b"CONNECT db:80 HTTP/1.1\r\n\r\n");
    assert_eq!(refused.step(), last);
    assert_eq!(refused.into_rest(), b"");

    let mut asked = Handshake::new();
    asked.feed(b"CONNECT db:80 HTTP/1.1\r\n\r\nCONNECT x:1 HTTP/1.1\r\n\r\n");
    assert_eq!(asked.step(), ask("db", 80, Protocol::Http));
    asked.feed(b"more");
    assert_eq!(asked.step(), ask("db", 80, Protocol::Http));
    assert_eq!(asked.into_rest(), b"CONNECT x:1 HTTP/1.1\r\n\r\nmore");
}

#[test]
fn early_data_does_not_end_up_in_a_debug_line() {
    let mut handshake = Handshake::new();
    handshake.feed(b"CONNECT db:80 HTTP/1.1\r\n\r\nsecret");
    handshake.step();
    let shown = format!("{handshake:?}");
    assert!(shown.contains("pending: 6"), "{shown}");
    assert!(
        !shown.contains("secret") && !shown.contains("115"),
        "{shown}"
    );
}
