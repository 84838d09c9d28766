//! What a pipe has in it, and what becomes of the rest.

use std::io::{PipeReader, Read, pipe};

use super::super::patience::PATIENCE;
use super::*;

/// A pipe as it mostly is: writing to it waits for as long as it is full.
fn bed() -> (PipeReader, Lines<impl Fn(u64) -> String>) {
    let (reader, writer) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    let stream = Stream::on(Some(writer.into()));
    (reader, Lines::on(stream, |lost| format!("lost {lost}\n")))
}

/// What is there to be read now.
fn read(mut reader: &PipeReader) -> String {
    let mut text = Vec::new();
    let end = reader.read_to_end(&mut text).unwrap_err();
    assert_eq!(end.kind(), io::ErrorKind::WouldBlock);
    String::from_utf8(text).unwrap()
}

#[test]
fn a_pipe_that_is_not_read_holds_nobody_up_and_what_is_lost_is_counted() {
    // The first lines wait; the ten thousand after them do not. What is missing is told in its place.
    let (reader, lines) = bed();
    let line = format!("{}\n", "x".repeat(99));
    let began = Instant::now();
    for _ in 0..10_000 {
        (&lines).write_all(line.as_bytes()).unwrap();
    }
    assert!(began.elapsed() < PATIENCE * 8, "{:?}", began.elapsed());
    let there = read(&reader);
    assert_eq!(there.replace(&line, ""), "");
    let lost = 10_000 - there.len() / line.len();
    (&lines).write_all(b"next\n").unwrap();
    // Once.
    (&lines).write_all(b"after it\n").unwrap();
    assert_eq!(read(&reader), format!("lost {lost}\nnext\nafter it\n"));
}

#[test]
fn a_line_that_could_not_be_finished_is_ended_before_the_next_one() {
    let (reader, lines) = bed();
    let long = "x".repeat(1 << 20) + "\n";
    (&lines).write_all(long.as_bytes()).unwrap();
    let begun = read(&reader);
    assert!(!begun.is_empty() && long.starts_with(&begun));
    (&lines).write_all(b"next\n").unwrap();
    assert_eq!(read(&reader), "\nlost 1\nnext\n");
}
