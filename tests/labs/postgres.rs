//! PostgreSQL over unix sockets: one here, one at the machine of the database.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use tunneld_lab::daemon::Daemon;
use tunneld_lab::etc::Account;
use tunneld_lab::postgres::{Postgres, psql};
use tunneld_lab::process::{printed, run};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::topology::Topology;

use crate::example::Example;
use crate::support::{Machine, closed, server};

const ROWS: &str = "select n, md5(n::text) from generate_series(1, 60000) as n";

/// A web server's machine and a database's, with an account for the web application.
struct Lab {
    application: Account,
    folder: PathBuf,
    database: Postgres,
    sshd: Sshd,
    lab: Topology,
}

impl Lab {
    fn new(example: &Example) -> Self {
        let mut lab = Topology::new(&["web1", "db"]);
        lab.link(("web1", &["10.1.0.2/24"]), ("db", &["10.1.0.1/24"]));
        lab.knows("web1", "db.example.com", "10.1.0.1");
        let database = Postgres::start(&lab, "db");
        let config = example.below("Match User tunnel");
        let sshd = server(&lab, "db", "10.1.0.1:22", "tunnel", &config);
        database.sql(example.lines("CREATE ROLE")[0]);
        closed(&lab, "web1", "10.1.0.1:5432");
        let application = lab.account("web1", "www-data", "/usr/sbin/nologin");
        let folder = application.home.join("tunneld-db");
        make_folder(example, &folder, &application);
        Lab {
            application,
            folder,
            database,
            sshd,
            lab,
        }
    }

    /// The daemon with the example, whose folders are those of this lab.
    fn up(&self, example: Example) -> Daemon {
        let machine = Machine::new(&self.lab, "web1");
        let theirs = self.database.socket_dir().to_str().unwrap();
        let example = example
            .with("/run/tunneld-db", self.folder.to_str().unwrap())
            .with("/run/postgresql", theirs);
        machine.may_use(&self.sshd, "db.example.com", example.rights()[0]);
        machine.up(&example, "db")
    }

    /// psql at the web server, as the application or as who else it is.
    fn query(&self, account: &Account, sql: &str) -> std::process::Command {
        let prefix = [self.lab.exec_prefix("web1"), account.exec_prefix()].concat();
        let host = self.folder.display();
        psql(&prefix, &format!("host={host} user=tunnel"), sql)
    }
}

/// Makes the folder of the socket as its line for systemd-tmpfiles says.
fn make_folder(example: &Example, folder: &Path, application: &Account) {
    let line = example.lines("d /run/tunneld-db ")[0];
    let [mode, owner, group] = line.split(' ').collect::<Vec<_>>()[2..5] else {
        panic!("{line}");
    };
    assert_eq!((owner, group), ("tunneld", application.name.as_str()));
    fs::create_dir(folder).unwrap();
    chown(folder, None, Some(application.id)).unwrap();
    let mode = u32::from_str_radix(mode, 8).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn psql_goes_from_socket_to_socket_and_permissions_say_who_may() {
    // No port is open on either side, and the database lets the account of the tunnel in by name.
    let example = Example::read("postgres");
    let lab = Lab::new(&example);
    let stranger = lab.lab.account("web1", "stranger", "/usr/sbin/nologin");
    let _daemon = lab.up(example);
    let query = |sql| run(&mut lab.query(&lab.application, sql));
    assert_eq!(query("select current_user"), "tunnel\n");
    let (here, there) = (query(ROWS), lab.database.sql(ROWS));
    assert!(here == there && here.len() > 2 << 20, "other rows came");
    closed(&lab.lab, "web1", "127.0.0.1:5432");
    let refused = lab.query(&stranger, "select 1").output().unwrap();
    let said = printed(&refused);
    assert!(said.contains("Permission denied"), "{said}");
}

#[test]
fn a_forward_from_socket_to_socket_fits_into_a_string() {
    // Its socket is for tunneld's own user, who is root here.
    let example = Example::read("postgres");
    let lab = Lab::new(&example);
    let string = "/run/tunneld-db/.s.PGSQL.5432:/run/postgresql/.s.PGSQL.5432";
    let short = example
        .with(
            "[[tunnels.db.local_forward]]",
            &format!("local_forward = [\"{string}\"]"),
        )
        .with("\nname = ", "\n# ")
        .with("\nlisten = ", "\n# ")
        .with("\nconnect = ", "\n# ")
        .with("\nsocket_mode = ", "\n# ");
    let _daemon = lab.up(short);
    let host = format!("host={} user=tunnel", lab.folder.display());
    let mut as_root = psql(&lab.lab.exec_prefix("web1"), &host, "select current_user");
    assert_eq!(run(&mut as_root), "tunnel\n");
    let refused = lab.query(&lab.application, "select 1").output().unwrap();
    let said = printed(&refused);
    assert!(said.contains("Permission denied"), "{said}");
}
