//! Whatever the text of the files: no panic, every place in its file, and an end.
#![no_main]

use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use tunneld_core::ssh_config::{Environment, Query, Sources, evaluate};

fuzz_target!(|input: (&str, &str)| {
    let (text, other) = input;
    let environment = Environment {
        user: Some("svc".to_owned()),
        home: Some(PathBuf::from("/home/svc")),
        variables: [("LAB".to_owned(), "/lab".to_owned())].into(),
    };
    let mut sources = Sources::new(
        Path::new("/etc/ssh/ssh_config"),
        text.to_owned(),
        environment,
    );
    // What the file includes, and what those include.
    for _ in 0..2 {
        for pattern in sources.missing() {
            sources.add(pattern.clone(), Ok(vec![(pattern, other.to_owned())]));
        }
    }
    let files: Vec<String> = sources.files().map(|(_, text)| text.to_owned()).collect();
    for host in ["db", "db.example.com", "::1", ""] {
        let answer = evaluate(&sources, &Query::new(host));
        for problem in sources.problems().iter().chain(&answer.problems) {
            assert!(
                !problem.message.chars().any(char::is_control),
                "{problem:?}"
            );
            let file = &files[problem.file];
            assert!(
                file.get(problem.start..problem.end).is_some(),
                "{problem:?}"
            );
        }
    }
});
