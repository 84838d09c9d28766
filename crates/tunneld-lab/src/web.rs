//! A real web server, of another maker: Python's.

use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;

use crate::process::require;
use crate::service::Service;
use crate::topology::Topology;

/// A running web server at a node, with files of its own. Dropped, it is gone.
pub struct WebServer {
    service: Service,
    dir: TempDir,
}

impl WebServer {
    /// Serves `page` as `/`, at this node and on this address only. Returns once it listens.
    ///
    /// # Panics
    /// Without python3, or when it does not come up.
    pub fn start(lab: &Topology, node: &str, addr: SocketAddr, page: &str) -> Self {
        require("python3", "python3");
        let dir = tempfile::Builder::new().prefix("tl-").tempdir().unwrap();
        fs::write(dir.path().join("index.html"), page).unwrap();
        let mut command = lab.command(node, "python3");
        command
            .args(["-u", "-m", "http.server", "--directory"])
            .arg(dir.path())
            .args(["--bind", &addr.ip().to_string(), &addr.port().to_string()]);
        WebServer {
            service: Service::start(&mut command, "Serving HTTP on"),
            dir,
        }
    }

    /// Serves one more file, as `/NAME`.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    /// The addresses that asked for something, in their order.
    pub fn clients(&self) -> Vec<String> {
        // 10.1.0.2 - - [21/Nov/2025 13:30:00] "GET / HTTP/1.1" 200 -
        let lines = self.service.log().lines();
        let request = |line: &String| Some(line.split_once(" - - [")?.0.to_owned());
        lines.iter().filter_map(request).collect()
    }
}
