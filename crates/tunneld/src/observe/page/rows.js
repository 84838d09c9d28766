// A tunnel's row and its forwards' rows. Only what has changed is touched.

const GROUP = { up: "up", stopped: "off" };
// How urgent it is. What tries to come back keeps its place while it does.
const URGENCY = { blocked: 0, waiting: 1, connecting: 1, idle: 1, degraded: 2 };
// A daemon that says nothing new for so long has carried nothing.
const QUIET = 5000;

/** How many bytes a second go each way. */
class Meter {
  sample = null;
  rates = [0, 0];

  /** Takes how many there were; whether the rates are measured anew. */
  take(sent, received) {
    const at = performance.now();
    const was = this.sample;
    if (was && at - was.at < 900) return false;
    if (was) {
      const seconds = (at - was.at) / 1000;
      // A tunnel that is taken away takes its bytes with it.
      this.rates = [sent - was.sent, received - was.received].map((bytes) => Math.max(0, bytes / seconds));
    }
    this.sample = { at, sent, received };
    return true;
  }

  /** Whether nothing has come for so long that they are zero now. */
  isQuiet() {
    if (!this.sample || performance.now() - this.sample.at < QUIET) return false;
    this.sample.at = performance.now();
    this.rates = [0, 0];
    return true;
  }
}

class Forward {
  meter = new Meter();

  constructor() {
    this.element = document.getElementById("forward").content.firstElementChild.cloneNode(true);
    const at = (name) => this.element.querySelector(name);
    this.at = {
      kind: at(".kind"), path: at(".path"), bad: at(".bad"), refused: at(".refused"),
      open: at(".open"), total: at(".total"), sent: at(".sent"), received: at(".received"),
      up: at(".rate.up"), down: at(".rate.down"),
    };
  }

  update(forward, host) {
    const { connections: n, failure } = forward;
    put(this.at.kind, forward.kind);
    if (!this.at.path.firstChild) this.at.path.append(...path(forward, host));
    prose(this.at.bad, failure?.hint ?? "", failure ? `${failure.cause}${failure.hint ? "; " : ""}` : "");
    show(this.at.bad, !!failure);
    const last = forward.last_refusal ? `; last: ${forward.last_refusal}` : "";
    put(this.at.refused, n.refused ? `${n.refused} refused${last}` : "");
    show(this.at.refused, n.refused > 0);
    put(this.at.open, `${n.open} open`);
    put(this.at.total, `of ${n.total}`);
    put(this.at.sent, size(forward.bytes_sent));
    put(this.at.received, size(forward.bytes_received));
    if (this.meter.take(forward.bytes_sent, forward.bytes_received)) this.showRates();
  }

  tick() {
    if (this.meter.isQuiet()) this.showRates();
  }

  showRates() {
    put(this.at.up, rate(this.meter.rates[0]));
    put(this.at.down, rate(this.meter.rates[1]));
  }
}

/** Where it listens, over which server, to what. */
function path(forward, host) {
  const port = forward.allocated_port ? ` (port ${forward.allocated_port})` : "";
  const remote = forward.kind === "remote";
  const listen = forward.listen + port;
  const steps = remote ? [listen, `at ${host}`, "here", forward.connect] : [listen, host, forward.connect];
  return steps.flatMap((step, i) => {
    const part = document.createElement("span");
    const end = i === 0 || i === steps.length - 1;
    part.className = end ? "end" : "via";
    part.append(step);
    const arrow = remote && i === 1 ? " " : " → ";
    return i ? [arrow, part] : [part];
  });
}

class Row {
  visible = false;
  last = "";

  constructor(name) {
    this.name = name;
    this.timeline = new Timeline(name);
    this.element = document.getElementById("tunnel").content.firstElementChild.cloneNode(true);
    const at = (selector) => this.element.querySelector(selector);
    this.at = {
      icon: at("use"), word: at(".word"), since: at(".since"), name: at("h3"), dest: at(".dest"),
      strip: at(".strip"), share: at(".share"), trouble: at(".trouble"), cause: at(".cause"),
      next: at(".next"), hint: at(".hint"), warnings: at(".warnings"), table: at("table"),
      body: at("tbody"), session: at(".session"), button: at("button"), past: at(".past"),
    };
    put(this.at.name, name);
    put(at("caption"), `Forwards of ${name}`);
    put(at("button .vh"), `History of ${name}: `);
    this.at.button.addEventListener("click", () => {
      show(this.at.past, this.at.past.hidden);
      this.at.button.setAttribute("aria-expanded", String(!this.at.past.hidden));
      this.showPast();
    });
    this.forwards = new Map();
  }

  /** Takes what a status says; whether its place in the list may be another now. */
  update(tunnel) {
    const text = JSON.stringify(tunnel);
    if (text === this.last) return false;
    const [was, broken] = [this.tunnel?.phase, this.timeline.see(tunnel)];
    this.last = text;
    this.tunnel = tunnel;
    const moved = was !== tunnel.phase;
    if (moved) {
      this.element.className = `tunnel p-${tunnel.phase}`;
      this.at.icon.setAttribute("href", `#i-${tunnel.phase}`);
      put(this.at.word, tunnel.phase);
    }
    put(this.at.dest, tunnel.destination);
    this.showTrouble();
    this.showWarnings();
    this.showForwards();
    this.showSession();
    if (broken || moved) this.showTimeline();
    this.tick();
    return moved;
  }

  get group() {
    return GROUP[this.tunnel.phase] ?? "down";
  }

  get urgency() {
    return URGENCY[this.tunnel.phase] ?? 1;
  }

  /** Whether it has what is looked for in its names and addresses. */
  has(words) {
    const { tunnel } = this;
    const places = tunnel.forwards.flatMap((f) => [f.name, f.listen, f.connect]);
    return [this.name, tunnel.destination, tunnel.phase, ...places].join(" ").toLowerCase().includes(words);
  }

  showTrouble() {
    const { failure, phase } = this.tunnel;
    const what = phase === "up" ? "the old session serves on; a new one cannot be made: " : "";
    put(this.at.cause, failure ? what + failure.cause : "");
    prose(this.at.hint, failure?.hint ?? "");
    show(this.at.hint, !!failure?.hint);
    show(this.at.trouble, !!failure);
  }

  showWarnings() {
    const { warnings } = this.tunnel;
    show(this.at.warnings, warnings.length > 0);
    const items = warnings.map((warning) => {
      const item = document.createElement("li");
      prose(item, warning);
      return item;
    });
    this.at.warnings.replaceChildren(...items);
  }

  showForwards() {
    const { forwards, destination } = this.tunnel;
    const host = hostOf(destination);
    const shown = forwards.map((f) => [f.name, f.kind, f.listen, f.allocated_port, f.connect]);
    const key = JSON.stringify([host, shown]);
    if (key !== this.key) {
      this.key = key;
      this.forwards = new Map(forwards.map((f) => [f.name, new Forward()]));
      this.at.body.replaceChildren(...[...this.forwards.values()].map((f) => f.element));
      show(this.at.table, forwards.length > 0);
    }
    for (const forward of forwards) this.forwards.get(forward.name).update(forward, host);
  }

  showSession() {
    const { session, sessions_open: open } = this.tunnel;
    show(this.at.session, !!session);
    if (!session) return;
    const trip = session.round_trip_us;
    const parts = [
      trip === undefined ? "" : `${(trip / 1000).toFixed(trip < 10000 ? 1 : 0)} ms round trip`,
      session.cipher,
      session.mac === "implicit" ? "" : session.mac,
      session.kex,
      session.server.replace(/^SSH-2\.0-/, ""),
      `at ${session.peer}`,
      open > 1 ? `${open} sessions` : "",
    ];
    put(this.at.session, parts.filter(Boolean).join(" · "));
  }

  showTimeline() {
    if (!this.visible) return;
    put(this.at.share, draw(this.at.strip, this.timeline, range()) || "History");
    this.showPast();
  }

  /** The changes one by one, the newest first. */
  showPast() {
    if (this.at.past.hidden) return;
    const { entries } = this.timeline;
    const items = entries.map((entry, i) => {
      const item = document.createElement("li");
      const phase = document.createElement("b");
      phase.append(entry.phase === "idle" ? "not watched" : entry.phase);
      phase.className = `p-${entry.phase}`;
      const times = entry.times > 1 && DOWN.includes(entry.phase) ? ` (×${entry.times})` : "";
      const end = entries[i + 1]?.at;
      const long = end ? ` for ${lasting(end - entry.at)}` : "";
      item.append(`${moment(entry.at)} `, phase, `${long}${entry.why ? ` — ${entry.why}` : ""}${times}`);
      return item;
    });
    this.at.past.replaceChildren(...items.reverse());
  }

  /** What only the clock changes. */
  tick() {
    const { tunnel } = this;
    if (!this.visible || !tunnel) return;
    const time = now();
    put(this.at.since, `for ${lasting(time - (tunnel.down_since_unix_ms ?? tunnel.since_unix_ms))}`);
    const next = tunnel.retry_at_unix_ms;
    const attempt = tunnel.attempts > 1 ? `, after ${tunnel.attempts} attempts` : "";
    const left = next > time ? `in ${lasting(next - time + 999)}` : "now";
    put(this.at.next, next === undefined ? "" : `next try ${left}${attempt}`);
    for (const forward of this.forwards.values()) forward.tick();
  }

  async see() {
    this.visible = true;
    this.tick();
    this.showTimeline();
    if (await this.timeline.ask()) this.showTimeline();
  }
}
