//! The `Match` block of sshd_config(5): what the forwards depend on, and the same limits once more,
//! for every key of the account.

use super::rights::Rights;

/// The addresses on which sshd listens without `GatewayPorts`, if they are asked for.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The block; `None` where the name of the user cannot be written in one.
pub(super) fn block(user: &str, rights: &Rights) -> Option<String> {
    // A list of patterns, in a line that is split at quotes and backslashes.
    if user.contains(|c| "*?!,\"'\\#".contains(c)) {
        return None;
    }
    let mut lines = Vec::new();
    // OpenSSH asks it about unix sockets too.
    let (open, listen) = (rights.opens(), !rights.listen.is_empty());
    lines.push(format!("AllowTcpForwarding {}", sides(open, listen)));
    if let (true, Some(patterns)) = (open, rights.open_patterns()) {
        lines.push(match patterns.is_empty() {
            true => "PermitOpen none".to_owned(),
            false => format!("PermitOpen {}", words(&patterns)),
        });
    }
    if listen {
        listening(rights, &mut lines);
    }
    let unix = sides(rights.opens_unix(), rights.listens_unix());
    lines.push(format!("AllowStreamLocalForwarding {unix}"));
    if rights.listens_unix() {
        lines.push("StreamLocalBindUnlink yes".to_owned());
    }
    // No command, no shell and no file transfer, and what goes with them.
    for never in [
        "MaxSessions 0",
        "PermitTTY no",
        "X11Forwarding no",
        "AllowAgentForwarding no",
        "PermitTunnel no",
    ] {
        lines.push(never.to_owned());
    }
    Some(format!("Match User {user}\n    {}\n", lines.join("\n    ")))
}

fn listening(rights: &Rights, lines: &mut Vec<String>) {
    let patterns = rights.listen_patterns();
    if patterns.is_empty() {
        lines.push("PermitListen none".to_owned());
    } else {
        lines.push(format!("PermitListen {}", words(&patterns)));
        let beyond = |(bind, _): (&str, u16)| !LOOPBACK.contains(&bind);
        lines.push(match rights.tcp_listeners().any(beyond) {
            true => "GatewayPorts clientspecified".to_owned(),
            // With `yes`, the whole network could connect to what is for the server alone.
            false => "GatewayPorts no".to_owned(),
        });
    }
    // What a dead session listens on is free again after a minute.
    lines.push("ClientAliveInterval 15".to_owned());
    lines.push("ClientAliveCountMax 3".to_owned());
}

fn sides(local: bool, remote: bool) -> &'static str {
    match (local, remote) {
        (true, true) => "yes",
        (true, false) => "local",
        (false, true) => "remote",
        (false, false) => "no",
    }
}

/// Words of a line, in quotes where they have to be.
fn words(patterns: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-:/[]*%+=@~".contains(c);
    let word = |pattern: &String| match pattern.chars().all(plain) {
        true => pattern.clone(),
        false => format!("\"{}\"", pattern.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    let words: Vec<_> = patterns.iter().map(word).collect();
    words.join(" ")
}
