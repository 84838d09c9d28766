// What a tunnel has been through: from its history, and from what is seen while the page is open.

const DOWN = ["waiting", "blocked"];
// `idle` in a history is time in which the daemon did not run: nobody knows how it was then.
const KNOWN = ["up", "degraded", "connecting", "waiting", "blocked", "stopped"];
const KEPT = 100;
const SVG = "http://www.w3.org/2000/svg";

class Timeline {
  /** The oldest first: since when, where it has stood, and why. */
  entries = [];
  asked = false;

  constructor(name) {
    this.name = name;
  }

  /** Takes what the daemon remembers. A daemon that does not answer leaves what was seen. */
  async ask() {
    if (this.asked) return false;
    this.asked = true;
    try {
      const path = `v1/tunnels/${encodeURIComponent(this.name)}/history`;
      const answer = await fetch(path, { cache: "no-store" });
      if (!answer.ok) return false;
      const { entries } = await answer.json();
      const last = entries.at(-1)?.at_unix_ms ?? 0;
      const seen = this.entries.filter((e) => e.at > last && !this.continues(entries.at(-1), e));
      const told = (e) => ({ at: e.at_unix_ms, phase: e.phase, why: e.failure?.cause, times: e.times });
      this.entries = [...entries.map(told), ...seen];
      return true;
    } catch {
      return false;
    }
  }

  /** Whether `next` is no more than one more attempt of the outage that `last` began. */
  continues(last, next) {
    const down = last && DOWN.includes(last.phase);
    return down && (next.phase === "connecting" || next.phase === last.phase);
  }

  /** Takes what a status says. */
  see(tunnel) {
    const last = this.entries.at(-1);
    const next = { at: tunnel.since_unix_ms, phase: tunnel.phase, why: tunnel.failure?.cause };
    if (next.phase === "up") delete next.why;
    if (last && (last.at >= next.at || last.phase === next.phase)) {
      if (last.phase === next.phase) last.why = next.why ?? last.why;
      return false;
    }
    if (this.continues(last, next)) return false;
    this.entries.push(next);
    if (this.entries.length > KEPT) this.entries.shift();
    return true;
  }

  /** The pieces of the time from `from` to `to`; what nobody watched is in none of them. */
  pieces(from, to) {
    const pieces = this.entries.map((e, i) => {
      const end = this.entries[i + 1]?.at ?? to;
      return { ...e, from: Math.max(e.at, from), to: Math.min(end, to) };
    });
    return pieces.filter((p) => p.to > p.from && KNOWN.includes(p.phase));
  }
}

/** Draws the last `seconds` into an svg element, and returns what a line says about them. */
function draw(strip, timeline, seconds) {
  const to = now();
  const from = to - seconds * 1000;
  const pieces = timeline.pieces(from, to);
  const scale = 1000 / (to - from);
  // A short outage has to be seen, so what is worse is drawn wider, and over the rest.
  const order = (p) => (p.phase === "up" ? 0 : DOWN.includes(p.phase) ? 2 : 1);
  const drawn = pieces.toSorted((a, b) => order(a) - order(b)).map((p) => {
    const rect = document.createElementNS(SVG, "rect");
    const width = Math.max((p.to - p.from) * scale, order(p) ? 5 : 1);
    const x = Math.min((p.from - from) * scale, 1000 - width);
    const title = document.createElementNS(SVG, "title");
    const why = p.why ? `: ${p.why}` : "";
    title.append(`${p.phase} from ${moment(p.at)}, ${lasting(p.to - p.at)}${why}`);
    rect.setAttribute("class", `p-${p.phase}`);
    rect.setAttribute("x", x.toFixed(2));
    rect.setAttribute("width", width.toFixed(2));
    rect.setAttribute("height", "10");
    rect.append(title);
    return rect;
  });
  strip.replaceChildren(...drawn);
  return summary(pieces, seconds);
}

function summary(pieces, seconds) {
  const spent = (wanted) => pieces.filter(wanted).reduce((sum, p) => sum + p.to - p.from, 0);
  // A tunnel that is stopped is meant to be down.
  const watched = spent((p) => p.phase !== "stopped");
  if (watched <= 0) return "";
  const outages = pieces.filter((p, i) => DOWN.includes(p.phase) && !DOWN.includes(pieces[i - 1]?.phase));
  const parts = [`${percent(spent((p) => p.phase === "up"), watched)} up`];
  if (watched < seconds * 990) parts.push(`of ${lasting(watched)}`);
  if (outages.length) parts.push(`· ${plural(outages.length, "outage")}`);
  return parts.join(" ");
}
