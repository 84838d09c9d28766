//! The status as people read it: one line a tunnel, its forwards under it, and what is wrong.

use std::io;
use std::time::{Duration, SystemTime};

use tunneld_core::status::{DaemonStatus, ForwardStatus, Phase, SessionStatus, TunnelStatus};
use tunneld_core::text::shell_word;

use super::layout::{columns, line, plain};
use super::words::{brief, bytes, cause, colour_of, short, trip};
use crate::cli::DEFAULT_CONFIG;
use crate::cli::times::Wall;
use crate::clock::unix_ms;
use crate::terminal::{colour, columns_of, painted, utf8};

/// Names longer than this do not move the column behind them for all.
const WIDEST_NAME: usize = 24;
/// A terminal that is narrower than this has no columns.
const COLUMNED: usize = 60;

/// What there is to write with.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Pen {
    pub(in crate::cli) colour: bool,
    pub(in crate::cli) utf8: bool,
    /// `None`: as wide as it gets.
    pub(in crate::cli) width: Option<usize>,
}

impl Pen {
    /// Of a terminal, what it can show; everybody else gets the same on every machine.
    pub(in crate::cli) fn of_stdout() -> Self {
        let stdout = io::stdout();
        let width = columns_of(&stdout);
        Pen {
            colour: colour(&stdout),
            utf8: width.is_none() || utf8(),
            width,
        }
    }

    fn arrow(self) -> &'static str {
        match self.utf8 {
            true => " ─▶ ",
            false => " -> ",
        }
    }

    fn cross(self) -> String {
        match self.utf8 {
            true => self.paint("✗", "31"),
            false => self.paint("x", "31"),
        }
    }

    /// The text in a colour.
    pub(super) fn paint(self, text: &str, colour: &str) -> String {
        painted(self.colour, text, colour)
    }

    /// The word for a phase, in its colour.
    pub(in crate::cli) fn phase(self, phase: Phase) -> String {
        self.paint(phase.as_str(), colour_of(phase))
    }

    /// The same with what fills the column of the phases.
    pub(in crate::cli) fn phase_column(self, phase: Phase) -> String {
        let pad = 10usize.saturating_sub(phase.as_str().len());
        format!("{}{:pad$}", self.phase(phase), "")
    }

    fn has_columns(self) -> bool {
        self.width.is_none_or(|width| width >= COLUMNED)
    }

    /// Whether a text fits into a line.
    fn fits(self, indent: usize, text: &str) -> bool {
        self.width
            .is_none_or(|width| indent + columns(text) <= width)
    }
}

/// A status, and the moment that its times are told from.
pub(super) struct Page<'a> {
    pub(super) status: &'a DaemonStatus,
    pub(super) now: u64,
    pub(super) pen: Pen,
    pub(super) wall: Wall,
}

impl<'a> Page<'a> {
    /// A status as it is at this moment.
    pub(super) fn now(status: &'a DaemonStatus, pen: Pen) -> Self {
        Page {
            status,
            now: unix_ms(SystemTime::now()),
            pen,
            wall: Wall::here(),
        }
    }

    /// Every tunnel, and what is to be said of all of them.
    pub(super) fn all(&self) -> String {
        let mut out = self.stopping();
        out += &self.list(&self.status.tunnels.iter().collect::<Vec<_>>(), |_| false);
        let ending = self.summary();
        if !ending.is_empty() {
            out.push('\n');
            out.push_str(&ending);
        }
        out
    }

    /// The same for a screen with so many rows, where what comes last may have no room: what is to be
    /// said of all of them, those that are not up, and the others, without their forwards if need be.
    pub(super) fn screen(&self, rows: usize) -> String {
        let mut tunnels: Vec<_> = self.status.tunnels.iter().collect();
        tunnels.sort_by_key(|t| urgency(t.phase));
        let summary = self.stopping() + &self.summary();
        let gap = match summary.is_empty() {
            true => "",
            false => "\n",
        };
        let whole = format!("{summary}{gap}{}", self.list(&tunnels, |_| false));
        if whole.lines().count() <= rows {
            return whole;
        }
        summary + &self.list(&tunnels, |t| is_well(t.phase))
    }

    /// Tunnels, and the forwards of those that are not `folded`.
    fn list(&self, tunnels: &[&TunnelStatus], folded: impl Fn(&TunnelStatus) -> bool) -> String {
        if tunnels.is_empty() {
            return "no tunnels\n".to_owned();
        }
        let lengths = tunnels.iter().map(|t| t.name.as_str().len());
        let name = lengths.max().unwrap_or(0).min(WIDEST_NAME);
        let mut out = String::new();
        for tunnel in tunnels {
            self.head(&mut out, tunnel, name);
            self.trouble(&mut out, tunnel, self.indent(name));
            if !folded(tunnel) {
                self.forwards(&mut out, tunnel, self.indent(name));
            }
        }
        out
    }

    /// That the daemon stops, in the first line: its tunnels are stopped by then, and nobody did that to
    /// them.
    pub(super) fn stopping(&self) -> String {
        let mut out = String::new();
        if self.status.stopping {
            let word = self.pen.paint("stopping:", "33");
            let text = format!(
                "{word} the daemon ends when its connections have, or drain_timeout is over"
            );
            line(&mut out, 0, &text, self.pen.width);
        }
        out
    }

    /// How many are up, and what of the file is not in force.
    fn summary(&self) -> String {
        let tunnels = &self.status.tunnels;
        let mut out = String::new();
        if tunnels.len() > 1 {
            line(&mut out, 0, &counts(tunnels), self.pen.width);
        }
        if let Some(refused) = self.refused_reload().filter(|_| !tunnels.is_empty()) {
            line(&mut out, 0, &refused, self.pen.width);
        }
        if !self.status.needs_restart.is_empty() {
            let warning = self.pen.paint("warning:", "33");
            let keys = plain(&self.status.needs_restart.join(", "));
            let when = "changed in [daemon] and in force only after a restart";
            line(
                &mut out,
                0,
                &format!("{warning} {when}: {keys}"),
                self.pen.width,
            );
        }
        out
    }

    /// Where the lines under a tunnel begin.
    pub(super) fn indent(&self, name: usize) -> usize {
        match self.pen.has_columns() {
            true => name + 2,
            false => 2,
        }
    }

    /// The line of a tunnel: its state, since when, and the cause where it fits.
    pub(super) fn head(&self, out: &mut String, t: &TunnelStatus, name: usize) {
        let pen = self.pen;
        let since = self.ago(t.stands_since_unix_ms());
        let destination = plain(&t.destination);
        let mut head = match pen.has_columns() {
            true => {
                let phase = pen.phase_column(t.phase);
                format!("{:name$}  {phase}  {since:>6}  {destination}", t.name)
            }
            false => format!("{} {} {since} {destination}", t.name, pen.phase(t.phase)),
        };
        if let Some(session) = &t.session {
            for more in extras(session) {
                let longer = format!("{head}  {more}");
                if !pen.fits(0, &longer) {
                    break;
                }
                head = longer;
            }
        }
        let Some(cause) = cause(t, self.now) else {
            return line(out, 0, &head, pen.width);
        };
        let longer = format!("{head}  {cause}");
        if pen.fits(0, &longer) {
            return line(out, 0, &longer, pen.width);
        }
        line(out, 0, &head, pen.width);
        line(out, self.indent(name), &cause, pen.width);
    }

    /// What to do about it, and what is worth knowing although it works.
    pub(super) fn trouble(&self, out: &mut String, t: &TunnelStatus, indent: usize) {
        if let Some(hint) = t.failure.as_ref().and_then(|f| f.hint.as_ref()) {
            line(
                out,
                indent,
                &format!("hint: {}", plain(hint)),
                self.pen.width,
            );
        }
        let warning = self.pen.paint("warning:", "33");
        for text in &t.warnings {
            line(
                out,
                indent,
                &format!("{warning} {}", plain(text)),
                self.pen.width,
            );
        }
    }

    /// The forwards of a tunnel.
    pub(super) fn forwards(&self, out: &mut String, t: &TunnelStatus, indent: usize) {
        let roads: Vec<String> = t.forwards.iter().map(|f| self.road(t, f)).collect();
        let widest = roads.iter().map(|road| columns(road)).max().unwrap_or(0);
        for (forward, road) in t.forwards.iter().zip(roads) {
            let numbers = numbers(forward);
            let pad = widest - columns(&road);
            let aligned = format!("{road}{:pad$}  {numbers}", "");
            match self.pen.fits(indent, &aligned) {
                true => line(out, indent, &aligned, self.pen.width),
                false => {
                    line(out, indent, &road, self.pen.width);
                    line(out, indent + 2, &numbers, self.pen.width);
                }
            }
            self.forward_trouble(out, forward, indent);
        }
    }

    fn forward_trouble(&self, out: &mut String, f: &ForwardStatus, indent: usize) {
        let width = self.pen.width;
        if let Some(failure) = &f.failure {
            let cause = format!("{} {}", self.pen.cross(), plain(&failure.cause));
            line(out, indent, &cause, width);
            if let Some(hint) = &failure.hint {
                line(out, indent + 2, &format!("hint: {}", plain(hint)), width);
            }
        }
        if f.connections.refused > 0 {
            let mut refused = format!("{} refused", f.connections.refused);
            if let Some(last) = &f.last_refusal {
                refused.push_str(&format!("; last: {}", plain(last)));
            }
            line(out, indent + 2, &refused, width);
        }
    }

    /// Who listens, over which host, and where it ends.
    fn road(&self, t: &TunnelStatus, f: &ForwardStatus) -> String {
        let server = host(&t.destination);
        let port = f.allocated_port.map(|port| format!(" (port {port})"));
        let listen = format!("{}{}", f.listen, port.unwrap_or_default());
        let road = match f.kind.as_str() {
            "remote" => [
                format!("{listen} at {server}"),
                "here".to_owned(),
                f.connect.clone(),
            ],
            _ => [listen, server.to_owned(), f.connect.clone()],
        };
        plain(&road.join(self.pen.arrow()))
    }

    /// A file that was refused is not what runs.
    fn refused_reload(&self) -> Option<String> {
        let reload = self.status.last_reload.as_ref().filter(|r| !r.ok)?;
        let why = reload.error.as_deref().unwrap_or("no reason");
        let warning = self.pen.paint("warning:", "33");
        let ago = self.ago(reload.at_unix_ms);
        let check = match self.status.config.as_str() {
            DEFAULT_CONFIG => "tunneld check".to_owned(),
            file => format!("tunneld check {}", plain(&shell_word(file))),
        };
        Some(format!(
            "{warning} the last reload was refused {ago} ago: {}; `{check}` shows all of it",
            plain(why)
        ))
    }

    pub(super) fn ago(&self, at: u64) -> String {
        short(Duration::from_millis(self.now.saturating_sub(at)))
    }
}

/// Where a tunnel stands on a screen: whom a person has to help comes first.
fn urgency(phase: Phase) -> u8 {
    match phase {
        Phase::Blocked => 0,
        Phase::Waiting => 1,
        Phase::Degraded => 2,
        Phase::Connecting => 3,
        Phase::Idle => 4,
        Phase::Up => 5,
        Phase::Stopped => 6,
    }
}

/// Whether it is as somebody wants it.
fn is_well(phase: Phase) -> bool {
    matches!(phase, Phase::Up | Phase::Stopped)
}

/// What the line of a tunnel has room for on a wide terminal, the most useful first.
fn extras(s: &SessionStatus) -> impl Iterator<Item = String> {
    let trip = s.round_trip_us.map(trip);
    let names = [&s.cipher, &s.kex]
        .into_iter()
        .filter(|name| !name.is_empty());
    let names = names.map(|name| brief(&plain(name)).to_owned());
    trip.into_iter().chain(names)
}

/// The connections of a forward, and what they have moved.
fn numbers(f: &ForwardStatus) -> String {
    let n = &f.connections;
    if n.total == 0 {
        return "no connections yet".to_owned();
    }
    format!(
        "{} open, {} in all, {} sent, {} received",
        n.open,
        n.total,
        bytes(f.bytes_sent),
        bytes(f.bytes_received),
    )
}

/// The host of `user@host:port`.
fn host(destination: &str) -> &str {
    let place = destination
        .rsplit_once('@')
        .map_or(destination, |(_, place)| place);
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// `3 of 4 up, 1 waiting`: those that are stopped are counted apart.
fn counts(tunnels: &[TunnelStatus]) -> String {
    let count = |phase| tunnels.iter().filter(|t| t.phase == phase).count();
    let wanted = tunnels.len() - count(Phase::Stopped);
    let mut out = format!("{} of {wanted} up", count(Phase::Up));
    for phase in Phase::ALL.into_iter().filter(|phase| *phase != Phase::Up) {
        match count(phase) {
            0 => {}
            n => out.push_str(&format!(", {n} {phase}")),
        }
    }
    out
}
