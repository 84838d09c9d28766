//! What a client is told of its request, byte by byte.

use super::*;

const OUTCOMES: [Outcome; 9] = [
    Outcome::Connected,
    Outcome::Prohibited,
    Outcome::Refused,
    Outcome::HostUnreachable,
    Outcome::NetworkUnreachable,
    Outcome::TimedOut,
    Outcome::NotResolved,
    Outcome::Down,
    Outcome::Other,
];

fn request(host: &str, protocol: Protocol) -> Request {
    Request {
        destination: Destination::tcp(host, 80),
        protocol,
    }
}

#[test]
fn socks4_grants_or_rejects() {
    for protocol in [Protocol::Socks4, Protocol::Socks4a] {
        for outcome in OUTCOMES {
            let code = if outcome == Outcome::Connected {
                0x5a
            } else {
                0x5b
            };
            let reply = request("db", protocol).reply(outcome);
            assert_eq!(reply, [0, code, 0, 0, 0, 0, 0, 0]);
        }
    }
}

#[test]
fn socks5_answers_with_the_codes_of_rfc_1928_and_the_bound_address_that_ssh_gives() {
    let codes = [0, 2, 5, 4, 3, 6, 4, 1, 1];
    for (outcome, code) in OUTCOMES.into_iter().zip(codes) {
        let reply = request("db", Protocol::Socks5).reply(outcome);
        assert_eq!(reply, [5, code, 0, 1, 0, 0, 0, 0, 0, 0], "{outcome:?}");
    }
}

#[test]
fn http_says_200_without_content_when_connected() {
    let reply = request("db", Protocol::Http).reply(Outcome::Connected);
    assert_eq!(reply, b"HTTP/1.1 200 Connection established\r\n\r\n");
}

#[test]
fn http_says_what_went_wrong_in_a_status_and_a_line() {
    let told = [
        (Outcome::Prohibited, "403 Forbidden", "db:80: not allowed\n"),
        (
            Outcome::Refused,
            "502 Bad Gateway",
            "db:80: connection refused\n",
        ),
        (
            Outcome::HostUnreachable,
            "502 Bad Gateway",
            "db:80: host unreachable\n",
        ),
        (
            Outcome::NetworkUnreachable,
            "502 Bad Gateway",
            "db:80: network unreachable\n",
        ),
        (
            Outcome::TimedOut,
            "504 Gateway Timeout",
            "db:80: no answer in time\n",
        ),
        (
            Outcome::NotResolved,
            "502 Bad Gateway",
            "db:80: the name has no address\n",
        ),
        (
            Outcome::Down,
            "503 Service Unavailable",
            "db:80: the tunnel is down\n",
        ),
        (Outcome::Other, "502 Bad Gateway", "db:80: no connection\n"),
    ];
    for (outcome, status, body) in told {
        let length = body.len();
        let expected = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let reply = request("db", Protocol::Http).reply(outcome);
        assert_eq!(String::from_utf8(reply).unwrap(), expected);
    }
}

#[test]
fn the_length_of_an_http_body_is_counted_in_bytes() {
    let reply = request("bücher", Protocol::Http).reply(Outcome::Other);
    let reply = String::from_utf8(reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "bücher:80: no connection\n");
    assert!(head.contains("\r\nContent-Length: 26\r\n"), "{head}");
}

#[test]
fn a_protocol_has_the_name_that_people_know() {
    let protocols = [
        Protocol::Socks4,
        Protocol::Socks4a,
        Protocol::Socks5,
        Protocol::Http,
    ];
    let names = protocols.map(|protocol| protocol.to_string());
    assert_eq!(names, ["SOCKS 4", "SOCKS 4a", "SOCKS 5", "HTTP CONNECT"]);
}
