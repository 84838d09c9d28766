//! A daemon that is not there: it serves the real page, and tells it what a test wants told.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tunneld_core::status::{DaemonStatus, TunnelStatus};
use tunneld_lab::process::{POLL, run};
use tunneld_lab::target::{TcpServer, free_addr};

use crate::support::{LONG, daemon};

/// Seconds in an hour.
pub(crate) const HOUR: u64 = 3600;

/// A change of a tunnel: how many seconds ago, where it has stood since, and why.
pub(crate) type Past<'a> = (u64, &'a str, &'a str);

/// What is told: the status, and the history of each tunnel.
#[derive(Default)]
struct Story {
    status: String,
    histories: Value,
}

/// Serves until it is dropped.
pub(crate) struct StandIn {
    server: TcpServer,
    story: Arc<Mutex<Story>>,
}

impl StandIn {
    /// With the page as the program serves it, its header too.
    pub(crate) fn start() -> Self {
        let at = free_addr();
        let config =
            format!("[daemon]\ncontrol_socket = \"{{socket}}\"\nmetrics_listen = \"{at}\"\n");
        let daemon = daemon().config(&config).start();
        daemon.wait_for_log("serving metrics", LONG);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--include", "--noproxy", "*"]);
        let page = run(curl.arg(format!("http://{at}/")));
        let story = Arc::<Mutex<Story>>::default();
        let told = story.clone();
        let server = TcpServer::start_anywhere(move |stream| {
            // A browser that has gone away is no failure.
            let _ = serve(stream, &page, &told);
        });
        StandIn { server, story }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.server.addr())
    }

    /// Tells these tunnels from now on.
    pub(crate) fn tell(&self, tunnels: Vec<TunnelStatus>) {
        let status = DaemonStatus {
            version: "0.1.0".to_owned(),
            pid: 711,
            started_unix_ms: ago(27 * HOUR),
            config: "/etc/tunneld/tunneld.toml".to_owned(),
            ready: true,
            stopping: false,
            last_reload: None,
            needs_restart: Vec::new(),
            tunnels,
        };
        self.story.lock().unwrap().status = serde_json::to_string(&status).unwrap();
    }

    /// What each tunnel has been through, by its name.
    pub(crate) fn remember(&self, histories: &[(&str, &[Past])]) {
        let entry = |(seconds, phase, why): &Past| {
            let failure = json!({ "stage": "connect", "class": "transient", "cause": why });
            let failure = if why.is_empty() { Value::Null } else { failure };
            json!({ "at_unix_ms": ago(*seconds), "phase": phase, "failure": failure, "times": 1 })
        };
        let history = |(name, entries): &(&str, &[Past])| {
            let entries: Vec<_> = entries.iter().map(entry).collect();
            (
                (*name).to_owned(),
                json!({ "name": name, "entries": entries }),
            )
        };
        self.story.lock().unwrap().histories = histories.iter().map(history).collect();
    }
}

fn serve(stream: TcpStream, page: &str, story: &Mutex<Story>) -> std::io::Result<()> {
    let mut asked = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let (mut line, mut rest) = (String::new(), String::new());
        asked.read_line(&mut line)?;
        while asked.read_line(&mut rest)? > 2 {}
        let path = line.split(' ').nth(1).unwrap_or_default();
        if path == "/" && line.starts_with("GET") {
            stream.write_all(page.as_bytes())?;
        } else if path.starts_with("/v1/events") {
            return tell(stream, story);
        } else if let Some(name) = path.strip_suffix("/history") {
            let name = name.rsplit('/').next().unwrap_or_default();
            let history = story.lock().unwrap().histories[name].to_string();
            let length = history.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{history}"
            )?;
        } else if line.is_empty() {
            return Ok(());
        } else {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        }
    }
}

/// Server-sent events: the status at first, and whenever it is another.
fn tell(mut stream: TcpStream, story: &Mutex<Story>) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    )?;
    let mut last = String::new();
    loop {
        let status = story.lock().unwrap().status.clone();
        if status != last {
            write!(stream, "event: status\ndata: {status}\n\n")?;
            last = status;
        }
        std::thread::sleep(POLL);
        // So that one that nobody listens to ends.
        writeln!(stream, ":")?;
    }
}

/// A moment that is `seconds` ago, as Unix time in milliseconds.
pub(crate) fn ago(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap() - seconds * 1000
}

/// A tunnel in this phase for so many seconds; `more` has fields of its status.
pub(crate) fn tunnel(name: &str, phase: &str, since: u64, to: &str, more: Value) -> TunnelStatus {
    let mut status = json!({
        "name": name, "phase": phase, "since_unix_ms": ago(since), "destination": to,
        "attempts": 0, "sessions": 1, "sessions_open": 1, "forwards": [],
    });
    let fields = status.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    serde_json::from_value(status).unwrap()
}

/// A forward with as many connections, open and in all, and bytes each way.
pub(crate) fn forward(kind: &str, listen: &str, to: &str, counts: [u64; 4], more: Value) -> Value {
    let [open, total, sent, received] = counts;
    let mut forward = json!({
        "name": format!("{kind}-{}", listen.rsplit(':').next().unwrap()), "kind": kind,
        "listen": listen, "connect": to, "bytes_sent": sent, "bytes_received": received,
        "connections": { "open": open, "total": total, "refused": 0 },
    });
    let fields = forward.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    forward
}

/// A live session with this server.
pub(crate) fn session(peer: &str, server: &str, round_trip_us: u64) -> Value {
    json!({
        "peer": peer, "since_unix_ms": ago(HOUR), "server": format!("SSH-2.0-{server}"),
        "kex": "mlkem768x25519-sha256", "cipher": "aes128-gcm@openssh.com", "mac": "implicit",
        "compression": "none", "host_key": "ssh-ed25519", "round_trip_us": round_trip_us,
    })
}

/// A failure.
pub(crate) fn failure(stage: &str, class: &str, cause: &str, hint: &str) -> Value {
    json!({ "stage": stage, "class": class, "cause": cause, "hint": hint })
}
