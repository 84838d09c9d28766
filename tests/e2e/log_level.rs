//! `--log-level info,db=debug`: how much is logged, and of which tunnel.

use tunneld_core::events;
use tunneld_core::status::Phase;
use tunneld_lab::journal::parse_json_lines;
use tunneld_lab::target::echoes;

use crate::support::{Bed, Folder, LONG, assert_exit, assert_has, builder, dead_tunnel, stderr};
use crate::support::{tunneld, up};

/// The tunnels and levels of the lines, as JSON has them.
fn lines(text: &str) -> Vec<(Option<String>, String)> {
    let entries = parse_json_lines(text).into_iter();
    let pair = entries.map(|entry| {
        let tunnel = entry["tunnel"].as_str().map(str::to_owned);
        (tunnel, entry["level"].as_str().unwrap().to_owned())
    });
    pair.collect()
}

#[test]
fn a_tunnel_can_have_more_lines_and_another_fewer() {
    // By the environment; the rest of the program follows the first level.
    let (bed, folder) = (Bed::new(), Folder::new());
    let text = bed.db() + &dead_tunnel("\"a-dead.one\"", &folder.key());
    let daemon = builder()
        .config(&text)
        .args(&["--log-format", "json"])
        .log_filter("warn,db=debug,a-dead.one=error");
    let mut daemon = up(daemon);
    echoes(bed.listen).unwrap();
    daemon.wait_phase("a-dead.one", Phase::Waiting, LONG);
    assert_exit(&daemon.cli(&["restart", "db"]), 0);
    daemon.terminate(LONG);
    let lines = lines(&daemon.log_text());
    assert!(
        lines.iter().all(|(name, _)| name.as_deref() == Some("db")),
        "{lines:?}"
    );
    for level in ["DEBUG", "INFO"] {
        assert!(lines.iter().any(|(_, l)| l == level), "{lines:?}");
    }
    // What an attempt does is among them.
    assert_has(
        &daemon.log_text(),
        &["tried to authenticate", "connection opened"],
    );
}

#[test]
fn a_name_that_the_file_does_not_have_is_warned_of_and_counts_after_a_reload() {
    let bed = Bed::new();
    let args = ["--log-format", "json", "--log-level", "warn,dbb=debug"];
    let daemon = up(builder().config(&bed.db()).args(&args));
    let line = daemon.wait_for_log("there is no such tunnel", LONG);
    let entry = &parse_json_lines(&line)[0];
    assert_eq!(entry["message_id"], events::LOG_LEVEL_UNUSED);
    assert_eq!(entry["hint"], "did you mean `db`?");
    daemon.write_config(&bed.db().replace("tunnels.db", "tunnels.dbb"));
    assert_exit(&daemon.reload(), 0);
    daemon.wait_for_log("session established", LONG);
}

#[test]
fn a_level_that_makes_no_sense_is_a_usage_error_with_what_was_meant() {
    for (level, meant) in [
        ("inf", "did you mean `info`?"),
        ("db", "one for the tunnel `db` is `db=debug`"),
        ("debug=db", "did you mean `db=debug`?"),
        ("info,db=debgu", "did you mean `debug`?"),
        ("info,debug", "NAME=debug"),
    ] {
        let output = tunneld(&["run", "--log-level", level]);
        assert_exit(&output, 2);
        assert_has(&stderr(&output), &["--log-level", level, meant]);
    }
}
