//! The real PostgreSQL, at a node: on its loopback and on a unix socket.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::etc::Account;
use crate::process::{Signal, prefixed, require, run};
use crate::service::Service;
use crate::topology::Topology;

/// Where Debian puts the versions of the server. None of them is on PATH.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The port, at the node's loopback, and in the name of the socket.
pub const PORT: u16 = 5432;

/// A running server with an empty database `postgres`. Over TCP anybody is let in; on the socket it
/// is who the account is called (`peer`), as on Debian. Dropped, it is gone.
pub struct Postgres {
    service: Service,
    prefix: Vec<String>,
    socket_dir: PathBuf,
}

impl Postgres {
    /// Makes a database cluster in a folder of its own, owned by an account `postgres` of the node,
    /// and starts it on 127.0.0.1 and in [`Postgres::socket_dir`]. Returns once psql has an answer.
    ///
    /// # Panics
    /// Without PostgreSQL, or when it does not come up.
    pub fn start(lab: &Topology, node: &str) -> Self {
        let programs = server_programs(Path::new(VERSIONS));
        require("psql", "postgresql-client");
        require("setpriv", "util-linux");
        let account = lab.account(node, "postgres", "/bin/sh");
        let prefix = [lab.exec_prefix(node), account.exec_prefix()].concat();
        let data = account.home.join("data");
        run(as_account(&prefix, &account, &programs.join("initdb"))
            .args(["--no-sync", "--locale=C", "--encoding=UTF8"])
            .args(["--auth-local=peer", "--auth-host=trust"])
            .args([Path::new("-D"), &data]));
        let socket_dir = account.home.join("run");
        run(as_account(&prefix, &account, Path::new("mkdir")).arg(&socket_dir));
        let mut server = as_account(&prefix, &account, &programs.join("postgres"));
        server
            .args([Path::new("-D"), &data, Path::new("-k"), &socket_dir])
            .args(["-h", "127.0.0.1", "-p", &PORT.to_string()])
            .args(["-c", "fsync=off", "-c", "shared_buffers=16MB"]);
        let postgres = Postgres {
            service: Service::start(&mut server, "ready to accept connections"),
            prefix,
            socket_dir,
        };
        assert_eq!(postgres.sql("select 'awake'"), "awake\n");
        postgres
    }

    /// The folder of its socket: what psql takes for a host.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// Runs SQL as the superuser, at the node and over the socket; the rows as text.
    pub fn sql(&self, sql: &str) -> String {
        let host = self.socket_dir.display();
        run(&mut psql(
            &self.prefix,
            &format!("host={host} user=postgres"),
            sql,
        ))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // "Immediate": killed outright, it would leave shared memory behind.
        self.service.stop(Signal::QUIT);
    }
}

/// A psql that runs `sql` below `prefix`, and prints the rows: `host=127.0.0.1 user=shop`.
pub fn psql(prefix: &[String], connection: &str, sql: &str) -> Command {
    let mut command = prefixed(prefix, "psql");
    command
        .args(["-X", "-w", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .arg(format!(
            "port={PORT} dbname=postgres connect_timeout=20 {connection}"
        ));
    command
}

fn as_account(prefix: &[String], account: &Account, program: &Path) -> Command {
    let mut command = prefixed(prefix, program);
    command.current_dir("/").env("HOME", &account.home);
    command
}

/// The folder with the newest server's programs.
fn server_programs(versions: &Path) -> PathBuf {
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<f32>().ok();
    let found = fs::read_dir(versions).ok().and_then(|entries| {
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths
            .filter(|path| path.join("bin/postgres").exists())
            .max_by(|a, b| version(a).partial_cmp(&version(b)).unwrap())
    });
    let found = found.unwrap_or_else(|| {
        panic!(
            "no {}/*/bin/postgres: install postgresql (apt-get install postgresql)",
            versions.display()
        )
    });
    found.join("bin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["9.6", "15", "17"] {
            let bin = dir.path().join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            if version != "17" {
                fs::write(bin.join("postgres"), "").unwrap();
            }
        }
        assert_eq!(server_programs(dir.path()), dir.path().join("15/bin"));
    }

    #[test]
    #[should_panic(expected = "install postgresql (apt-get install postgresql)")]
    fn a_missing_server_says_what_to_install() {
        server_programs(Path::new("/nowhere"));
    }
}
