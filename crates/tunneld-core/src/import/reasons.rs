//! Lines of ssh_config(5) that have no effect on a tunnel, and why.

use super::note::Note;
use crate::ssh_config::Unused;

/// What is said of a line; `shown` is what somebody has written.
pub(super) fn note(unused: &Unused, shown: &str) -> Note {
    if is_always(unused) {
        return Note::Always(shown.to_owned());
    }
    let why = why(unused.keyword);
    match unused.keyword {
        "PermitRemoteOpen" => Note::Lost(shown.to_owned(), why.to_owned()),
        _ => Note::dropped(shown, why),
    }
}

/// Whether a line says what is always so.
fn is_always(unused: &Unused) -> bool {
    let says = |wanted: &[&str]| match unused.words.as_slice() {
        [word] => wanted.iter().any(|w| word.eq_ignore_ascii_case(w)),
        _ => false,
    };
    match unused.keyword {
        "BatchMode" | "TCPKeepAlive" | "StdinNull" | "ForkAfterAuthentication" => {
            says(&["yes", "true"])
        }
        "ForwardAgent"
        | "ForwardX11"
        | "ForwardX11Trusted"
        | "RequestTTY"
        | "PermitLocalCommand"
        | "Tunnel"
        | "ControlMaster"
        | "GSSAPIAuthentication"
        | "GatewayPorts"
        | "ClearAllForwardings" => says(&["no", "false"]),
        "SessionType" | "ControlPath" => says(&["none"]),
        "PermitRemoteOpen" => says(&["any"]),
        "Protocol" => says(&["2"]),
        _ => false,
    }
}

fn why(keyword: &str) -> &'static str {
    match keyword {
        "AddKeysToAgent" => "keys stay in their files",
        "BatchMode" => "nobody is ever asked",
        "ConnectionAttempts" => "it never gives up, see `reconnect`",
        "ControlMaster" | "ControlPath" | "ControlPersist" => "a session is not shared with ssh",
        "ExitOnForwardFailure" => {
            "not needed: the tunnel is `degraded`, and the port is tried again"
        }
        "ForwardAgent" => "no agent is forwarded: nothing runs at the server that could use it",
        "ForwardX11" | "ForwardX11Timeout" | "ForwardX11Trusted" | "XAuthLocation" => {
            "no windows are carried"
        }
        "GSSAPIAuthentication" | "GSSAPIDelegateCredentials" | "GSSAPIKeyExchange" => {
            "there is no GSSAPI"
        }
        "LocalCommand" | "PermitLocalCommand" => "it is not run",
        "LogLevel" | "LogVerbose" => "`tunneld run --log-level`",
        "PermitRemoteOpen" => "where clients of SOCKS at the server may go is not limited",
        "RemoteCommand" => "nothing is run at the server",
        "StreamLocalBindMask" => "the table of a forward has `socket_mode`, \"0600\" by default",
        "StreamLocalBindUnlink" => {
            "here a socket file that nobody listens on is replaced in any case; at the server \
             its own sshd_config decides"
        }
        "SyslogFacility" => "the journal",
        "Tunnel" | "TunnelDevice" => "there are no tunnel devices",
        _ => "has no effect on a tunnel",
    }
}
