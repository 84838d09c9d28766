//! What is sent, and what becomes of it where nobody reads.

use std::io::IoSliceMut;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Instant;

use rustix::fs::fcntl_get_seals;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tempfile::TempDir;
use tracing_subscriber::layer::SubscriberExt;

use super::super::patience::PATIENCE;
use super::*;

/// A journal that is read by the test.
struct Bed {
    dir: TempDir,
    reader: UnixDatagram,
}

impl Bed {
    fn new() -> (Self, Journal) {
        let dir = tempfile::tempdir().unwrap();
        let reader = UnixDatagram::bind(dir.path().join("socket")).unwrap();
        reader.set_nonblocking(true).unwrap();
        let journal = Journal::at(&dir.path().join("socket")).unwrap();
        let bed = Bed { dir, reader };
        assert_eq!(bed.read(), Some(Vec::new()));
        (bed, journal)
    }

    fn read(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 1 << 20];
        let length = self.reader.recv(&mut bytes).ok()?;
        bytes.truncate(length);
        Some(bytes)
    }

    /// The fields of what comes next.
    fn fields(&self) -> Option<Vec<(String, String)>> {
        self.read().map(|bytes| fields(&bytes))
    }
}

fn fields(mut bytes: &[u8]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|b| *b == b'\n').unwrap();
        let name = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let (length, rest) = bytes[end + 1..].split_at(8);
        let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
        let value = String::from_utf8(rest[..length].to_vec()).unwrap();
        assert_eq!(rest[length], b'\n');
        bytes = &rest[length + 1..];
        found.push((name, value));
    }
    found
}

fn get<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = fields.iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value.as_str())
}

#[test]
fn an_entry_has_its_own_fields_and_nothing_of_the_source() {
    // No CODE_FILE, CODE_LINE or TARGET; names in capitals; a value may have several lines.
    let (bed, journal) = Bed::new();
    let subscriber = tracing_subscriber::registry().with(journal);
    tracing::subscriber::with_default(subscriber, || {
        tracing::warn!(
            tunnel = "db",
            attempt = 3,
            hint = None::<&str>,
            "down\nMESSAGE=no"
        );
    });
    let expected = [
        ("PRIORITY", "4"),
        ("SYSLOG_IDENTIFIER", "tunneld"),
        ("SYSLOG_FACILITY", "3"),
        ("TUNNEL", "db"),
        ("ATTEMPT", "3"),
        ("MESSAGE", "db: down\nMESSAGE=no"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(bed.fields().unwrap(), expected);
}

#[test]
fn a_message_begins_with_its_tunnel_unless_it_names_it() {
    // The field may come before the message or after it. A host of the same name is not the tunnel.
    let (bed, journal) = Bed::new();
    let subscriber = tracing_subscriber::registry().with(journal);
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!({ tunnel = "db" }, "tunnel up");
        tracing::info!(message = "connect db:22", tunnel = "db");
        tracing::info!(tunnel = %"db", "tunnel `db` has no key");
        tracing::info!("`db`: no tunnel");
    });
    for message in [
        "db: tunnel up",
        "db: connect db:22",
        "tunnel `db` has no key",
        "`db`: no tunnel",
    ] {
        let fields = bed.fields().unwrap();
        assert_eq!(get(&fields, "MESSAGE"), Some(message));
    }
}

#[test]
fn an_entry_that_is_larger_than_a_datagram_comes_as_a_sealed_file() {
    let (bed, journal) = Bed::new();
    let mut entry = Entry::new(Level::ERROR);
    let text = "x".repeat(1 << 20);
    entry.put("MESSAGE", text.as_bytes());
    journal.write(&entry.0);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut nothing = [0; 8];
    let mut into = [IoSliceMut::new(&mut nothing)];
    let got = recvmsg(&bed.reader, &mut into, &mut control, RecvFlags::empty()).unwrap();
    assert_eq!(got.bytes, 0);
    let mut files = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    let file = File::from(files.next().unwrap().next().unwrap());
    assert!(fcntl_get_seals(&file).unwrap().contains(SealFlags::WRITE));
    let mut bytes = vec![0; entry.0.len()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(get(&fields(&bytes), "MESSAGE"), Some(text.as_str()));
}

#[test]
fn a_journal_that_does_not_read_holds_nobody_up_and_what_is_lost_is_counted() {
    // The first lines wait; the ten thousand after them do not.
    let (bed, journal) = Bed::new();
    let began = Instant::now();
    for _ in 0..10_000 {
        journal.write(b"X\n\0\0\0\0\0\0\0\0\n");
    }
    assert!(began.elapsed() < PATIENCE * 8, "{:?}", began.elapsed());
    let mut read = 0;
    while bed.read().is_some() {
        read += 1;
    }
    assert!(read > 0);
    journal.write(b"X\n\0\0\0\0\0\0\0\0\n");
    assert_eq!(get(&bed.fields().unwrap(), "X"), Some(""));
    let told = bed.fields().unwrap();
    let lost = (10_000 - read).to_string();
    assert_eq!(get(&told, "SUPPRESSED"), Some(lost.as_str()));
    assert_eq!(get(&told, "MESSAGE_ID"), Some(events::LOG_LINES_LOST));
    // Once.
    journal.write(b"X\n\0\0\0\0\0\0\0\0\n");
    bed.read().unwrap();
    assert!(bed.read().is_none());
}

#[test]
fn a_journal_that_is_slow_holds_nobody_up_for_longer_than_one_that_hangs() {
    // It takes an entry each time it looks, and always is behind: a line that waits gets in, and the
    // next one would wait again. Two threads have no more time than one.
    let (bed, journal) = Bed::new();
    bed.reader.set_nonblocking(false).unwrap();
    let pace = Duration::from_millis(50);
    bed.reader.set_read_timeout(Some(pace)).unwrap();
    let (stop, stopped) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (bed, stopped) = (bed, stopped);
            while stopped.recv_timeout(pace) == Err(RecvTimeoutError::Timeout) {
                bed.read();
            }
        });
        let writers = [(); 2].map(|()| {
            scope.spawn(|| {
                let began = Instant::now();
                for _ in 0..1000 {
                    journal.write(b"X\n\0\0\0\0\0\0\0\0\n");
                }
                began.elapsed()
            })
        });
        for writer in writers {
            let took = writer.join().unwrap();
            assert!(took < PATIENCE * 8, "{took:?}");
        }
        drop(stop);
    });
    assert!(journal.lost.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_journal_that_is_started_anew_is_found_again() {
    let (bed, journal) = Bed::new();
    let place = bed.dir.path().join("socket");
    std::fs::remove_file(&place).unwrap();
    journal.write(b"lost");
    let reader = UnixDatagram::bind(&place).unwrap();
    journal.write(b"there");
    let mut bytes = [0; 16];
    assert_eq!(reader.recv(&mut bytes).unwrap(), 5);
    reader.set_nonblocking(true).unwrap();
    let mut bytes = [0; 1024];
    let length = reader.recv(&mut bytes).unwrap();
    assert_eq!(get(&fields(&bytes[..length]), "SUPPRESSED"), Some("1"));
}
