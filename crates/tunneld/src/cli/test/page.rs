//! What `tunneld test` says to people, line by line as it happens.

use std::io;

use tunneld_core::config::ForwardSpec;
use tunneld_core::failure::{Failure, Stage};

use super::report::{Answer, Check, Forward, Host, Step, Tried, What};
use crate::exit::Exit;
use crate::terminal::{colour, painted, utf8};

/// How wide the place of a forward may make its column.
const WIDEST: usize = 40;
/// More addresses of a host than this are counted.
const MOST_ADDRESSES: usize = 3;

/// What there is to write with.
#[derive(Debug, Clone, Copy)]
struct Pen {
    colour: bool,
    utf8: bool,
}

/// How a line begins.
#[derive(Debug, Clone, Copy)]
enum Mark {
    Works,
    Fails,
    /// Worth knowing, and neither.
    Note,
}

impl Mark {
    fn of(ok: bool) -> Self {
        match ok {
            true => Mark::Works,
            false => Mark::Fails,
        }
    }
}

/// The page of one test.
pub(super) struct Page {
    pen: Pen,
    /// What programs get is printed at the end, and by somebody else.
    silent: bool,
    /// How many hosts were shown, and how many steps with the last of them.
    shown: (usize, usize),
    /// How wide the names and the places of the forwards are.
    columns: (usize, usize),
    exit: Exit,
}

impl Page {
    /// An empty page; a silent one stays empty.
    pub(super) fn new(silent: bool) -> Self {
        Page {
            pen: Pen {
                colour: colour(&io::stdout()),
                utf8: utf8(),
            },
            silent,
            shown: (0, 0),
            columns: (0, 0),
            exit: Exit::Done,
        }
    }

    /// Whether it could be written.
    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// Shows what is new.
    pub(super) fn catch_up<'a>(&mut self, hosts: impl Iterator<Item = &'a Host>) {
        let (shown, mut steps) = self.shown;
        for (at, host) in hosts.enumerate().skip(shown.saturating_sub(1)) {
            if at >= shown {
                steps = 0;
                self.say(&format!("  {}@{}\n", host.user, host.host));
            }
            for step in host.steps.iter().skip(steps) {
                let text = self.pen.step(step, host);
                self.say(&text);
            }
            steps = host.steps.len();
            self.shown = (at + 1, steps);
        }
    }

    /// The heading of the forwards that follow.
    pub(super) fn begin_forwards(&mut self, forwards: &[ForwardSpec]) {
        let width = |of: &dyn Fn(&ForwardSpec) -> usize| forwards.iter().map(of).max().unwrap_or(0);
        let name = width(&|f| f.name.as_str().chars().count());
        let place = width(&|f| {
            let place = self.pen.place(&f.listen_text(), &f.goal().to_string());
            place.chars().count()
        });
        self.columns = (name, place.min(WIDEST));
        if !forwards.is_empty() {
            self.say("  forwards\n");
        }
    }

    /// One forward.
    pub(super) fn forward(&mut self, forward: &Forward) {
        let text = self.pen.forward(forward, self.columns);
        self.say(&text);
    }

    /// A line of its own.
    pub(super) fn say(&mut self, text: &str) {
        if !self.silent && self.exit == Exit::Done {
            self.exit = super::super::print(text);
        }
    }
}

impl Pen {
    fn step(self, step: &Step, host: &Host) -> String {
        let label = step.step.as_str().replace('-', " ");
        let mut out = String::new();
        let accepted = |t: &&Tried| matches!(t.answer, Answer::Accepted | Answer::Partial);
        for t in step.tried.iter().filter(|t| !accepted(t) || !step.ok) {
            out.push_str(&self.line(Mark::Note, &label, &tried(t), Some(t.ms)));
        }
        let text = match &step.failure {
            Some(failure) => failure.cause.clone(),
            None if step.step == Stage::Authenticate => {
                let with = step.tried.iter().filter(accepted);
                let with: Vec<_> = with.map(|t| format!("{} {}", t.method, t.with)).collect();
                with.join(", then ")
            }
            None => done(step, host),
        };
        out.push_str(&self.line(Mark::of(step.ok), &label, &text, Some(step.ms)));
        out.push_str(&fix(step.failure.as_ref()));
        out
    }

    fn forward(self, f: &Forward, (name, place): (usize, usize)) -> String {
        let said = f.checks.iter().map(checked).chain(f.note.clone());
        let said: Vec<String> = said.collect();
        let where_to = self.place(&f.listen, &f.connect);
        let label = format!("{:name$}  {:7}  {where_to:place$}", f.name, f.kind);
        let mark = match f.checks.is_empty() {
            true => Mark::Note,
            false => Mark::of(f.ok),
        };
        let ms = (!f.checks.is_empty()).then(|| f.checks.iter().map(|c| c.ms).sum());
        let mut out = self.line(mark, &label, &said.join("; "), ms);
        for check in &f.checks {
            out.push_str(&fix(check.failure.as_ref()));
        }
        out
    }

    fn place(self, listen: &str, connect: &str) -> String {
        let arrow = if self.utf8 { "→" } else { "->" };
        format!("{listen} {arrow} {connect}")
    }

    /// One line: the times below each other, and what may be long at its end.
    fn line(self, mark: Mark, label: &str, text: &str, ms: Option<u64>) -> String {
        let (mark, colour) = match (mark, self.utf8) {
            (Mark::Works, true) => ("✓", "32"),
            (Mark::Works, false) => ("ok  ", "32"),
            (Mark::Fails, true) => ("✗", "31"),
            (Mark::Fails, false) => ("FAIL", "31"),
            (Mark::Note, true) => ("·", "2"),
            (Mark::Note, false) => ("-   ", "2"),
        };
        let mark = painted(self.colour, mark, colour);
        let took = ms.map(took).unwrap_or_default();
        let line = format!("    {mark} {label:12} {took:>7}  {text}");
        format!("{}\n", line.trim_end())
    }
}

/// What came of a step that was done.
fn done(step: &Step, host: &Host) -> String {
    if let Some(resolved) = &step.resolved {
        let shown = resolved.addresses.iter().take(MOST_ADDRESSES);
        let mut shown: Vec<_> = shown.map(ToString::to_string).collect();
        let more = resolved.addresses.len().saturating_sub(MOST_ADDRESSES);
        if more > 0 {
            shown.push(format!("{more} more"));
        }
        let shown = shown.join(", ");
        let name = host.host.rsplit_once(':').map(|(name, _)| name);
        return match name.map(|name| name.trim_matches(['[', ']'])) {
            Some(name) if name == resolved.name => shown,
            // A proxy's.
            _ => format!("{}: {shown}", resolved.name),
        };
    }
    if let Some(agreed) = &step.agreed {
        let not = if agreed.post_quantum { "" } else { "not " };
        return format!("{} ({not}post-quantum), {}", agreed.kex, agreed.cipher);
    }
    match (&step.peer, &step.host_key) {
        (Some(peer), _) => peer.clone(),
        (_, Some(host_key)) => format!("{}  {}", host_key.key, host_key.by),
        (None, None) => String::new(),
    }
}

/// A method that was not enough.
fn tried(t: &Tried) -> String {
    let detail = t.detail.as_deref().unwrap_or_default();
    let came = match t.answer {
        Answer::Accepted => "accepted".to_owned(),
        Answer::Partial => format!("accepted; the server wants more: {detail}"),
        Answer::Rejected if detail.is_empty() => "rejected".to_owned(),
        Answer::Rejected => format!("rejected; the server accepts {detail}"),
        Answer::Skipped => format!("not tried: {detail}"),
    };
    format!("{} {}: {came}", t.method, t.with)
}

/// What came of trying something of a forward.
fn checked(check: &Check) -> String {
    match (&check.failure, check.check, check.port) {
        (Some(failure), ..) => failure.cause.clone(),
        (None, What::Listen, Some(port)) => format!("the server listens on port {port}"),
        (None, What::Listen, None) => "the server listens".to_owned(),
        (None, What::Target, _) => "target reached".to_owned(),
        (None, What::Probe, _) => "probe answered".to_owned(),
    }
}

fn fix(failure: Option<&Failure>) -> String {
    match failure.and_then(|failure| failure.hint.as_ref()) {
        Some(hint) => format!("        fix: {hint}\n"),
        None => String::new(),
    }
}

fn took(ms: u64) -> String {
    match ms {
        0 => "<1 ms".to_owned(),
        1..10_000 => format!("{ms} ms"),
        _ => format!("{:.1} s", ms as f64 / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::test::report::Resolved;

    const PLAIN: Pen = Pen {
        colour: false,
        utf8: true,
    };

    fn host() -> Host {
        Host {
            host: "[2001:db8::1]:22".to_owned(),
            user: "u".to_owned(),
            steps: Vec::new(),
        }
    }

    fn resolved(name: &str, last: u8) -> Step {
        let address = |n: u8| [192, 0, 2, n].into();
        Step {
            resolved: Some(Resolved {
                name: name.to_owned(),
                addresses: (1..=last).map(address).collect(),
            }),
            ..Step::done(Stage::Resolve, 3)
        }
    }

    #[test]
    fn a_step_is_one_line_whose_time_is_below_the_one_before() {
        let shown = PLAIN.step(&resolved("2001:db8::1", 1), &host());
        assert_eq!(shown, "    ✓ resolve         3 ms  192.0.2.1\n");
        let shown = PLAIN.step(&resolved("proxy", 5), &host());
        let all = "proxy: 192.0.2.1, 192.0.2.2, 192.0.2.3, 2 more";
        assert_eq!(shown, format!("    ✓ resolve         3 ms  {all}\n"));
        let failure = Failure::transient(Stage::KeyExchange, "nobody speaks").with_hint("wait");
        let step = Step::failed(failure, 12_340);
        let lines = "    ✗ key exchange  12.3 s  nobody speaks\n        fix: wait\n";
        assert_eq!(PLAIN.step(&step, &host()), lines);
    }

    #[test]
    fn colour_is_for_the_mark_alone_and_ascii_has_words_for_it() {
        let coloured = Pen {
            colour: true,
            utf8: false,
        };
        let shown = coloured.step(&Step::done(Stage::Connect, 0), &host());
        assert_eq!(shown, "    \x1b[32mok  \x1b[0m connect        <1 ms\n");
    }

    #[test]
    fn factors_that_were_right_are_one_line_and_what_was_not_is_a_line_each() {
        let tried = |method, answer, detail: Option<&str>| Tried {
            method,
            with: "x".to_owned(),
            answer,
            detail: detail.map(str::to_owned),
            ms: 1,
        };
        let step = Step {
            tried: vec![
                tried("publickey", Answer::Rejected, Some("publickey")),
                tried("publickey", Answer::Partial, Some("password")),
                tried("password", Answer::Accepted, None),
            ],
            ..Step::done(Stage::Authenticate, 4)
        };
        assert_eq!(
            PLAIN.step(&step, &host()),
            "    · authenticate    1 ms  publickey x: rejected; the server accepts publickey\n    \
             ✓ authenticate    4 ms  publickey x, then password x\n"
        );
    }
}
