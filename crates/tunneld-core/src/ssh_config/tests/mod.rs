//! Tests of the rules, and comparison with ssh itself.

mod corpus;
mod problems;
mod properties;
mod rules;
mod ssh;

use std::path::{Path, PathBuf};

use super::*;

/// A user `svc` with a home directory and a variable `LAB`.
fn environment() -> Environment {
    Environment {
        user: Some("svc".to_owned()),
        home: Some("/home/svc".into()),
        variables: [("LAB".to_owned(), "/lab".to_owned())].into(),
    }
}

/// A file without any others.
fn sources(text: &str) -> Sources {
    Sources::new(
        Path::new("/etc/ssh/ssh_config"),
        text.to_owned(),
        environment(),
    )
}

/// What a file says about a host; there is nothing wrong with it.
fn answer(text: &str, host: &str) -> Answer {
    let sources = sources(text);
    assert_eq!(sources.problems(), [], "{text}");
    let answer = evaluate(&sources, &Query::new(host));
    assert_eq!(answer.problems, [], "{text}");
    answer
}

/// The value alone.
fn value<T: Clone>(found: &Option<Found<T>>) -> Option<T> {
    found.as_ref().map(|f| f.value.clone())
}

/// The paths alone.
fn paths(found: &Option<Vec<Found<PathBuf>>>) -> Option<Vec<String>> {
    let text = |f: &Found<PathBuf>| f.value.display().to_string();
    found.as_ref().map(|all| all.iter().map(text).collect())
}

/// What is wrong with a file for a host: `LINE: message (help)`.
fn problems(text: &str, query: &Query<'_>) -> Vec<String> {
    let sources = sources(text);
    shown(&sources, query)
}

/// What is wrong with files: `LINE: message (help)`, with the file in front where it is not the
/// first.
fn shown(sources: &Sources, query: &Query<'_>) -> Vec<String> {
    let mut all = sources.problems();
    all.extend(evaluate(sources, query).problems);
    let files: Vec<_> = sources.files().collect();
    let show = |problem: Problem| {
        let (path, text) = files[problem.file];
        let line = text[..problem.start].matches('\n').count() + 1;
        assert!(
            text.get(problem.start..problem.end).is_some(),
            "{problem:?}"
        );
        let name = path.file_name().unwrap().to_string_lossy();
        let file = if problem.file == 0 {
            String::new()
        } else {
            format!("{name}:")
        };
        let help = problem.help.map(|h| format!(" ({h})")).unwrap_or_default();
        format!("{file}{line}: {}{help}", problem.message)
    };
    all.into_iter().map(show).collect()
}
