//! tunneld beside `ssh -N -L`: the same work through both, in turns, on one machine.
//!
//! Run by hand with `cargo bench -p tunneld --bench side_by_side`; README.md says what each row is.
//! Each round does a piece of work through one of the two and at once through the other, so that
//! whatever else the machine does meets both; a ratio is the median of the rounds' ratios.

// A benchmark that cannot do its work has to end there and then.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ends;
mod memory;
mod process;
mod reconnect;
mod roads;
mod table;
mod tunnels;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use table::Table;
use tunnels::Pair;

const USAGE: &str = "\
usage: cargo bench -p tunneld --bench side_by_side -- [OPTION]…
  --rounds N   rounds of each row (5)
  --mib N      size of a bulk transfer (1024)
  --tunnels N  idle tunnels in the memory rows (100)
  --only WORD  only this part: gcm, chacha, defaults, roads, reconnect or memory
The program is the one that cargo has just built, or the one that TUNNELD_BIN names.";

const AES: &str = "aes128-gcm@openssh.com";
const CHACHA: &str = "chacha20-poly1305@openssh.com";

/// What was asked for.
struct Options {
    rounds: usize,
    mib: u64,
    tunnels: usize,
    only: Option<String>,
    program: PathBuf,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let fallback = env!("CARGO_BIN_EXE_tunneld");
        let mut options = Options {
            rounds: 5,
            mib: 1024,
            tunnels: 100,
            only: None,
            program: tunneld_lab::daemon::Daemon::binary_or(fallback),
        };
        while let Some(name) = args.next() {
            match name.as_str() {
                "--bench" => {}
                "--rounds" => options.rounds = args.next()?.parse().ok().filter(|n| *n > 0)?,
                "--mib" => options.mib = args.next()?.parse().ok().filter(|n| *n > 0)?,
                "--tunnels" => options.tunnels = args.next()?.parse().ok().filter(|n| *n > 0)?,
                "--only" => options.only = Some(args.next()?),
                _ => return None,
            }
        }
        Some(options)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == part)
    }
}

fn main() -> ExitCode {
    // Only `cargo bench` says it: `cargo test --all-targets` runs this program, too.
    if !std::env::args().any(|argument| argument == "--bench") {
        eprintln!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let Some(options) = Options::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    process::allow_many_files();
    print_machine(&options);
    let mut table = Table::default();
    if options.wants("gcm") {
        same_cipher(&options, &mut table);
    }
    if options.wants("chacha") {
        let pair = Pair::start(&options.program, Some(CHACHA));
        eprintln!("chacha20 on both sides: tunneld has {}", pair.cipher());
        bulk("chacha20", &options, &pair, &mut table);
    }
    if options.wants("defaults") {
        let pair = Pair::start(&options.program, None);
        let name = format!("chacha20 against {}", short(&pair.cipher()));
        eprintln!("the defaults of both: {name}");
        bulk(&name, &options, &pair, &mut table);
    }
    let mut sessions = Table::between("one session", "max_sessions = 4");
    if options.wants("roads") {
        roads::jump(&options, &mut table);
        roads::sessions(&options, &mut sessions);
    }
    let mut reconnects = Table::between("autossh -M 0", "tunneld");
    if options.wants("reconnect") {
        reconnect::rows(&options, &mut reconnects);
    }
    // Last, so that no other process of either program shares its pages with those measured.
    if options.wants("memory") {
        memory::rows(&options, &mut table);
    }
    for table in [table, sessions, reconnects] {
        table.print();
    }
    ExitCode::SUCCESS
}

/// Everything on one session with the same cipher on both sides.
fn same_cipher(options: &Options, table: &mut Table) {
    let pair = Pair::start(&options.program, Some(AES));
    eprintln!("aes128-gcm on both sides: tunneld has {}", pair.cipher());
    let direct = work::bulk(ends::Bulk::Down, options.mib, pair.target(), None);
    eprintln!("without any tunnel: {:.0} MiB/s down", direct.mib_per_s);
    bulk("aes128-gcm", options, &pair, table);
    let rounds = options.rounds;
    let trips = pair.rounds(rounds, |side| work::round_trips(side.addr(), 2000));
    table.lower("1-byte round trip, p50, µs", &trips, |t| t.p50_us);
    table.lower("1-byte round trip, p99, µs", &trips, |t| t.p99_us);
    for (at_once, each) in [(1, 600), (64, 30)] {
        let name = format!("new connections per second, {at_once} at once");
        let rates = pair.rounds(rounds, |side| {
            work::connections_per_second(side.addr(), at_once, each)
        });
        table.higher(&name, &rates, |rate| *rate);
    }
    let fresh = pair.rounds(rounds, |side| work::fresh_upload_ms(side.addr(), 20));
    table.lower("256 KiB up on a fresh connection, ms", &fresh, |ms| *ms);
}

/// Bulk data both ways, and what it costs the client process.
fn bulk(cipher: &str, options: &Options, pair: &Pair, table: &mut Table) {
    for (way, word) in [(ends::Bulk::Down, "down"), (ends::Bulk::Up, "up")] {
        let runs = pair.rounds(options.rounds, |side| {
            work::bulk(way, options.mib, side.addr(), Some(side.pid()))
        });
        let name = |what| format!("{cipher}, {word}, {what}");
        table.higher(&name("MiB/s"), &runs, |r| r.mib_per_s);
        table.lower(&name("client CPU s/GiB"), &runs, |r| r.cpu_s_per_gib);
    }
}

fn short(cipher: &str) -> &str {
    cipher.split('@').next().unwrap_or(cipher)
}

fn print_machine(options: &Options) {
    let (major, minor) = tunneld_lab::sshd::openssh_version();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    println!(
        "{cores} cores, {}; OpenSSH {major}.{minor}; {} rounds of {} MiB; load at the start {load}\n",
        process::processor(),
        options.rounds,
        options.mib
    );
}
