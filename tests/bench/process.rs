//! What the kernel says about a process.

use std::fs;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Processor time of a process and its threads so far, in seconds. The kernel counts in
/// nanoseconds and shows hundredths.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process has ended");
    // The name in parentheses can hold anything; utime and stime are the 14th and 15th field.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Memory of a process, in MiB: a page that n processes share counts 1/n (PSS).
pub(crate) fn pss_mib(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    let text = text.expect("the process has ended, or belongs to somebody else");
    let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024.0
}

/// Lets this process, and those that it starts, have as many files open as is allowed.
pub(crate) fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where that is refused, the row that needs it says so.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The processor's name.
pub(crate) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let name = name
        .and_then(|rest| rest.split_once(':'))
        .map(|(_, name)| name.trim());
    name.unwrap_or("unknown processor").to_owned()
}
