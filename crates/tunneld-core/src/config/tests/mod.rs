//! The whole way from a text to a configuration or its problems.

mod accepted;
mod bounds;
mod forward_problems;
mod forwards;
mod problems;
mod properties;
mod way_problems;
mod ways;

use super::{Config, Diagnostics, Origin, Surroundings, TunnelSpec};

fn origin() -> Origin {
    Origin::for_tests()
}

fn surroundings() -> Surroundings {
    Surroundings::for_tests()
}

fn load(text: &str) -> Result<Config, Diagnostics> {
    super::load(text, &origin(), &surroundings())
}

#[track_caller]
fn loaded(text: &str) -> Config {
    load(text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The only tunnel of a file.
#[track_caller]
fn tunnel(text: &str) -> TunnelSpec {
    let config = loaded(text);
    assert_eq!(config.tunnels.len(), 1);
    config.tunnels.into_values().next().unwrap()
}

/// The problems of `text` are exactly these.
#[track_caller]
fn assert_problems(text: &str, shown: &str) {
    let problems = load(text).expect_err("this file has problems").to_string();
    assert_eq!(problems, shown, "got:\n{problems}\nwanted:\n{shown}");
}
