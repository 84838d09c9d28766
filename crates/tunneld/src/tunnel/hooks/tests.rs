//! What the hooks of several tunnels have to do with each other.

use std::fs;
use std::path::Path;
use std::time::Instant;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use tunneld_core::config::{Origin, Surroundings, load};

use super::*;

fn spec(name: &str, line: &str) -> TunnelSpec {
    let hooks = ["on_up", "on_down"].map(|key| format!("{key} = ['/bin/sh', '-c', '{line}']\n"));
    let text = format!(
        "[tunnels.{name}]\nhost = 'h'\nuser = 'u'\nlocal_forward = '1:a:1'\n{}",
        hooks.concat()
    );
    let origin = Origin::of_file("/t.toml".as_ref());
    let config = load(&text, &origin, &Surroundings::default()).unwrap();
    config.tunnels.into_values().next().unwrap()
}

fn turns() -> (Turns, CancellationToken) {
    let shutdown = CancellationToken::new();
    let config = Path::new("/t.toml");
    let turns = Turns::new(config, shutdown.clone(), CancellationToken::new());
    (turns, shutdown)
}

fn lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn no_more_programs_run_at_once_than_the_limit() {
    // All of them get their turn.
    let dir = tempfile::tempdir().unwrap();
    let (turns, _) = turns();
    let line = format!(
        "cd {}; mkdir run.$$; ls -d run.* | wc -l >count.$$; sleep 0.2; rmdir run.$$",
        dir.path().display()
    );
    let tunnels = (0..80).map(|n| {
        let mut hooks = Hooks::new(&spec(&format!("t{n}"), &line), turns.clone());
        hooks.phase(Phase::Up, None, None);
        async move { hooks.end().await }
    });
    join_all(tunnels).await;
    let counts = fs::read_dir(dir.path()).unwrap().map(|entry| {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        text.trim().parse::<usize>().unwrap()
    });
    let counts: Vec<usize> = counts.collect();
    assert_eq!(counts.len(), 80);
    assert!(counts.iter().all(|count| *count <= 32), "{counts:?}");
}

#[tokio::test]
async fn a_tunnel_of_the_same_name_waits_for_the_end_of_the_one_before() {
    // A reload that takes one away and another that gives it back: `down` comes before `up`.
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let (turns, _) = turns();
    let line = format!("sleep 0.1; echo $TUNNELD_STATE >>{}", seen.display());
    let spec = spec("t", &line);
    let mut old = Hooks::new(&spec, turns.clone());
    old.phase(Phase::Up, None, None);
    while lines(&seen).is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut new = Hooks::new(&spec, turns);
    new.phase(Phase::Connecting, None, None);
    new.phase(Phase::Up, None, None);
    old.phase(Phase::Stopped, None, None);
    tokio::join!(old.end(), new.end());
    assert_eq!(lines(&seen), ["up", "stopped", "up"]);
}

#[tokio::test]
async fn a_daemon_that_stops_does_not_wait_for_a_turn_longer_than_for_a_program() {
    // Though every turn is taken by programs that have their hour.
    let (turns, shutdown) = turns();
    let mut busy = Vec::new();
    while let Ok(Some(turn)) = tokio::time::timeout(Duration::from_millis(50), turns.turn()).await {
        busy.push(turn);
    }
    let mut spec = spec("t", "true");
    let hook = spec.on_up.as_mut().unwrap();
    hook.value.timeout = Duration::from_millis(100);
    let mut hooks = Hooks::new(&spec, turns.clone());
    shutdown.cancel();
    let began = Instant::now();
    hooks.phase(Phase::Up, None, None);
    hooks.end().await;
    let took = began.elapsed();
    let patience = Duration::from_millis(100) + GRACE;
    assert!(took >= patience && took < patience * 2, "{took:?}");
    assert!(turns.patience() > patience);
}
