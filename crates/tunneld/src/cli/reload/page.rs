//! The plan of a reload, as a person reads it: what comes, goes and changes, and whom it touches.

use std::fmt::Write;
use std::time::Duration;

use tunneld_core::plan::{
    Change, Drains, ForwardAction, ForwardChange, ForwardView, KeyChange, PlanAction, Why,
};
use tunneld_ssh::calling;

use crate::control::Reloaded;
use crate::terminal::painted;

/// Longer names and keys than this do not widen their column.
const WIDEST: usize = 24;
/// The narrowest column of keys: as wide as `local_forward`.
const KEYS: usize = 13;

/// What stands before a line, and its colour.
#[derive(Clone, Copy)]
enum Mark {
    Comes,
    Goes,
    Changes,
    Same,
    Note,
}

impl Mark {
    fn of(action: PlanAction) -> Self {
        match action {
            PlanAction::Stop => Mark::Goes,
            PlanAction::Replace | PlanAction::Adjust => Mark::Changes,
            PlanAction::Start => Mark::Comes,
            PlanAction::Keep => Mark::Same,
        }
    }

    fn shown(self) -> (char, Option<&'static str>) {
        match self {
            Mark::Comes => ('+', Some("32")),
            Mark::Goes => ('-', Some("31")),
            Mark::Changes => ('~', Some("33")),
            Mark::Same => ('=', None),
            Mark::Note => ('!', Some("33")),
        }
    }
}

/// The whole plan: each tunnel that there is something to say about, and how many there are else.
pub(super) fn render(reloaded: &Reloaded, colour: bool) -> String {
    let plan = &reloaded.plan;
    let is_told = |c: &&Change| c.why != Why::Unchanged || c.tries_now;
    let (told, same): (Vec<&Change>, Vec<&Change>) = plan.tunnels.iter().partition(is_told);
    let mut page = Page {
        out: String::new(),
        colour,
    };
    if reloaded.dry_run {
        page.out
            .push_str("nothing is changed; a reload does this:\n");
    }
    let names = told.iter().map(|c| c.tunnel.as_str().chars().count());
    let width = names.max().unwrap_or(0).min(WIDEST);
    for change in told {
        page.tunnel(change, width);
    }
    if !plan.daemon.is_empty() {
        page.line(Mark::Changes, 0, "[daemon]", "");
        page.keys(6, &plan.daemon);
    }
    if !plan.needs_restart.is_empty() {
        let when = format!("  after a restart only: {}", calling::ours().restart());
        page.line(Mark::Note, 0, "[daemon]", &when);
        page.keys(6, &plan.needs_restart);
        let socket = plan.needs_restart.iter().any(|k| k.key == "control_socket");
        if socket {
            let until = "until then the commands find the daemon with --socket at the old place";
            let _ = writeln!(page.out, "      {until}");
        }
    }
    for warning in &reloaded.warnings {
        page.line(Mark::Note, 0, "warning", &format!("  {warning}"));
    }
    page.line(Mark::Same, 0, &format!("{} unchanged", same.len()), "");
    page.out
}

struct Page {
    out: String,
    colour: bool,
}

impl Page {
    /// A line that begins with a mark; the mark and the head are in its colour.
    fn line(&mut self, mark: Mark, indent: usize, head: &str, rest: &str) {
        let (sign, colour) = mark.shown();
        let mut marked = format!("{sign} {head}");
        if let Some(colour) = colour {
            marked = painted(self.colour, &marked, colour);
        }
        let line = format!("{:indent$}{marked}{rest}", "");
        self.out.push_str(line.trim_end());
        self.out.push('\n');
    }

    fn tunnel(&mut self, change: &Change, width: usize) {
        let name = format!("{:width$}", change.tunnel.as_str());
        let words = format!("  {}", words(change));
        self.line(Mark::of(change.action), 0, &name, &words);
        let forwards = change.forwards.iter().map(|f| key_of(f).chars().count());
        let keys = column(&change.keys).max(forwards.max().unwrap_or(0));
        self.keys_in(6, &change.keys, keys);
        for forward in &change.forwards {
            self.forward(forward, keys);
        }
    }

    fn forward(&mut self, forward: &ForwardChange, width: usize) {
        let mark = match forward.action {
            ForwardAction::Added => Mark::Comes,
            ForwardAction::Removed => Mark::Goes,
            ForwardAction::Changed => Mark::Changes,
        };
        let view = forward.before.as_ref().or(forward.after.as_ref());
        let way = view.map_or(String::new(), |v| format!("{} → {}", v.listen, v.connect));
        let touched = touched(forward.drains.as_ref());
        let gap = if touched.is_empty() { "" } else { "   " };
        self.line(
            mark,
            4,
            &format!("{:width$}", key_of(forward)),
            &format!("  {way}{gap}{touched}"),
        );
        self.keys(10, &forward.keys);
    }

    fn keys(&mut self, indent: usize, keys: &[KeyChange]) {
        self.keys_in(indent, keys, column(keys));
    }

    fn keys_in(&mut self, indent: usize, keys: &[KeyChange], width: usize) {
        for KeyChange { key, before, after } in keys {
            let values = match (before, after) {
                (Some(before), Some(after)) => format!("{before} → {after}"),
                _ => "changed".to_owned(),
            };
            let _ = writeln!(self.out, "{:indent$}{key:width$}  {values}", "");
        }
    }
}

/// How wide the column of these keys is.
fn column(keys: &[KeyChange]) -> usize {
    let widths = keys.iter().map(|k| k.key.chars().count().min(WIDEST));
    widths.max().unwrap_or(0).max(KEYS)
}

/// The key that a forward is written with.
fn key_of(forward: &ForwardChange) -> String {
    let view = forward.before.as_ref().or(forward.after.as_ref());
    let kind = view.map_or("local", |ForwardView { kind, .. }| kind.as_str());
    format!("{kind}_forward")
}

/// What happens to a tunnel.
fn words(change: &Change) -> String {
    let why = change.why.as_str();
    let touched = touched(change.drains.as_ref());
    let gap = if touched.is_empty() { "" } else { " " };
    match change.action {
        PlanAction::Start => format!("start: {why}"),
        PlanAction::Stop => format!("stop: {why}{gap}{touched}"),
        PlanAction::Replace => {
            let end = match &change.drains {
                Some(drains) if drains.connections > 0 && drains.within_ms > 0 => {
                    format!("drains ({}, {})", count(drains), patience(drains))
                }
                _ => format!("ends{gap}{touched}"),
            };
            format!("replace: a new session is made, then the old one {end}")
        }
        PlanAction::Adjust if change.tries_now => "adjust: it tries again now".to_owned(),
        PlanAction::Adjust => "adjust: the session stays".to_owned(),
        PlanAction::Keep if change.tries_now => "unchanged, and tries again now".to_owned(),
        PlanAction::Keep => why.to_owned(),
    }
}

/// Which connections have to end, and how long they have; empty where there are none.
fn touched(drains: Option<&Drains>) -> String {
    let Some(drains) = drains.filter(|drains| drains.connections > 0) else {
        return String::new();
    };
    let one = drains.connections == 1;
    let count = count(drains);
    match drains.within_ms {
        0 if one => format!("({count} is cut)"),
        0 => format!("({count} are cut)"),
        _ if one => format!("({count} drains, {})", patience(drains)),
        _ => format!("({count} drain, {})", patience(drains)),
    }
}

fn count(drains: &Drains) -> String {
    match drains.connections {
        1 => "1 connection".to_owned(),
        n => format!("{n} connections"),
    }
}

fn patience(drains: &Drains) -> String {
    let within = Duration::from_millis(drains.within_ms);
    format!("up to {}", humantime::format_duration(within))
}

#[cfg(test)]
mod tests;
