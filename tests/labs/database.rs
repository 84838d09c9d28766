//! PostgreSQL on the loopback of its machine, and psql on the machine of the web server.

use tunneld_lab::postgres::{Postgres, psql};
use tunneld_lab::process::run;
use tunneld_lab::topology::Topology;

use crate::example::Example;
use crate::support::{Machine, closed, server};

/// A few megabytes of rows.
const ROWS: &str = "select n, md5(n::text) from generate_series(1, 60000) as n";

#[test]
fn psql_on_the_web_server_queries_the_database_on_another_machine() {
    let mut lab = Topology::new(&["web1", "db"]);
    lab.link(("web1", &["10.1.0.2/24"]), ("db", &["10.1.0.1/24"]));
    lab.knows("web1", "db.example.com", "10.1.0.1");
    let database = Postgres::start(&lab, "db");
    database.sql("create table stock (what text, pieces int)");
    closed(&lab, "web1", "10.1.0.1:5432");
    closed(&lab, "web1", "127.0.0.1:5432");

    let example = Example::read("database");
    let sshd = server(&lab, "db", "10.1.0.1:22", "tunnel", "");
    let machine = Machine::new(&lab, "web1");
    machine.may_use(&sshd, "db.example.com", example.rights()[0]);
    let _daemon = machine.up(&example, "db");
    let prefix = lab.exec_prefix("web1");
    let query = |sql| run(&mut psql(&prefix, "host=127.0.0.1 user=postgres", sql));
    query("insert into stock values ('lamps', 12), ('chairs', 4)");
    let count = "select sum(pieces) from stock";
    assert_eq!(query(count), "16\n");
    assert_eq!(database.sql(count), "16\n");
    let (here, there) = (query(ROWS), database.sql(ROWS));
    assert!(here == there && here.len() > 2 << 20, "other rows came");
}
