// The page: follows the daemon, and keeps what is shown in step.

const $ = (id) => document.getElementById(id);
const rows = new Map();
const byName = new Intl.Collator("en", { numeric: true });
const WORST = ["blocked", "waiting", "degraded", "connecting", "idle", "up", "stopped"];
const COLOURS = {
  blocked: "#c4202b", waiting: "#b8500a", degraded: "#8f6200", connecting: "#1f6feb",
  idle: "#1f6feb", up: "#1a7f37", stopped: "#6b7682", gone: "#6b7682",
};
// Nothing is heard for so long from a daemon that has nothing new to say: it is asked again.
const SILENCE = 40000;
// How long a daemon that was asked has to answer.
const PATIENCE = 10000;
const RETRY = 3000;

let source = null;
let opened = 0;
let heard = 0;
let latest = null;
let status = null;
let due = 0;
let cost = 0;
let drawnAt = -1e9;
const load = new Meter();

const range = () => Number($("tools").elements.range.value || 3600);

// What is seen is kept in step with the clock; the rest is when it is scrolled to.
const seen = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    if (isIntersecting) target.row.see();
    else target.row.visible = false;
  }
}, { rootMargin: "200px" });

function follow() {
  source?.close();
  opened = performance.now();
  heard = 0;
  source = new EventSource("v1/events?every=2");
  source.addEventListener("status", (event) => {
    const first = heard === 0;
    heard = performance.now();
    latest = event.data;
    if (first) begin();
    // As often as this machine can show it, and no more.
    const wait = drawnAt + Math.max(200, 4 * cost) - performance.now();
    if (wait <= 0) refresh();
    else due ||= setTimeout(refresh, wait);
  });
  source.addEventListener("error", () => {
    // The browser tries again by itself, except after an answer that it did not like.
    const refused = source.readyState === EventSource.CLOSED;
    if (refused) setTimeout(follow, RETRY);
    lose(refused ? "The daemon cannot be followed now; trying again." : "No daemon; reconnecting.");
  });
}

/** A stream has begun: the daemon may be another one, and its history is longer. */
function begin() {
  setClock();
  for (const row of rows.values()) {
    row.timeline.asked = false;
    if (row.visible) row.see();
  }
}

function lose(why) {
  heard = 0;
  if (document.body.classList.contains("gone")) return;
  document.body.classList.add("gone");
  const was = status ? ` What is shown is how it was at ${moment(now())}.` : "";
  put($("gone"), why + was);
  tell("gone", "no daemon");
}

function refresh() {
  clearTimeout(due);
  due = 0;
  if (!latest) return;
  const began = performance.now();
  const next = JSON.parse(latest);
  latest = null;
  if (document.body.classList.contains("gone")) {
    document.body.classList.remove("gone");
    put($("gone"), "");
  }
  render(next);
  drawnAt = performance.now();
  cost = drawnAt - began;
}

function render(next) {
  const first = status === null;
  status = next;
  if (first) chooseRange();
  let moved = false;
  const said = [];
  const names = new Set();
  for (const tunnel of status.tunnels) {
    names.add(tunnel.name);
    let row = rows.get(tunnel.name);
    const fresh = !row;
    if (fresh) rows.set(tunnel.name, (row = new Row(tunnel.name)));
    if (row.update(tunnel)) {
      moved = true;
      if (!first) said.push(`${tunnel.name}: ${tunnel.phase}`);
    }
    if (fresh) {
      row.element.row = row;
      seen.observe(row.element);
    }
  }
  for (const [name, row] of rows) {
    if (names.has(name)) continue;
    rows.delete(name);
    seen.unobserve(row.element);
    row.element.remove();
    moved = true;
  }
  if (moved || first) arrange();
  head();
  about();
  if (said.length) put($("say"), said.length > 3 ? `${said.length} tunnels have changed` : said.join(", "));
}

/** Puts every row into its group, the most urgent first, and moves no more than it has to. */
function arrange() {
  const focused = document.activeElement;
  const sorted = [...rows.values()].sort((a, b) => a.urgency - b.urgency || byName.compare(a.name, b.name));
  for (const id of ["down", "up", "off"]) {
    const list = $(id).querySelector("ul");
    const wanted = sorted.filter((row) => row.group === id);
    const staying = new Set(wanted.map((row) => row.element));
    for (const element of [...list.children]) if (!staying.has(element)) element.remove();
    let at = list.firstElementChild;
    for (const { element } of wanted) {
      if (at && at !== element && at.nextElementSibling === element) {
        const late = at;
        at = element;
        late.remove();
      }
      if (at === element) at = at.nextElementSibling;
      else list.insertBefore(element, at);
    }
  }
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
  filter();
}

function filter() {
  const words = $("find").value.trim().toLowerCase();
  const group = $("tools").elements.show.value;
  const counts = { all: 0, down: 0, up: 0, off: 0 };
  const shown = { down: 0, up: 0, off: 0 };
  for (const row of rows.values()) {
    counts.all += 1;
    counts[row.group] += 1;
    const fits = (group === "all" || group === row.group) && (!words || row.has(words));
    show(row.element, fits);
    if (fits) shown[row.group] += 1;
  }
  for (const input of $("tools").elements.show) {
    put(input.nextElementSibling.querySelector("i"), String(counts[input.value]));
  }
  for (const id of ["down", "up", "off"]) {
    put($(id).querySelector("h2 i"), String(shown[id]));
    show($(id), shown[id] > 0);
  }
  const none = rows.size === 0 ? "The configuration has no tunnels." : "No tunnel is like that.";
  put($("none"), none);
  show($("none"), shown.down + shown.up + shown.off === 0);
}

/** How it stands, in the words of the title too. */
function head() {
  const count = (phase) => status.tunnels.filter((t) => t.phase === phase).length;
  const wanted = status.tunnels.length - count("stopped");
  const bad = WORST.slice(0, 5).filter(count).map((phase) => `${count(phase)} ${phase}`);
  const worst = WORST.find(count) ?? "stopped";
  const up = wanted ? `${count("up")} of ${wanted} up` : rows.size ? "all stopped" : "no tunnels";
  $("sum").className = `p-${worst}`;
  $("sum").querySelector("use").setAttribute("href", `#i-${worst}`);
  put($("sum").querySelector("b"), up);
  put($("sum").querySelector("span"), bad.join(", "));
  tell(worst, bad.length ? bad.join(", ") : up);
  load.take(sum((f) => f.bytes_sent), sum((f) => f.bytes_received));
  showLoad();
}

/** Of all forwards together. */
function sum(of) {
  return status.tunnels.flatMap((t) => t.forwards).reduce((total, forward) => total + of(forward), 0);
}

function showLoad() {
  const [up, down] = load.rates;
  const rates = [up >= 1 ? `↑ ${rate(up)}` : "", down >= 1 ? `↓ ${rate(down)}` : ""];
  const open = sum((f) => f.connections.open);
  put($("load"), [plural(open, "connection"), ...rates].filter(Boolean).join("   "));
}

/** The tab: a title, and a picture. */
function tell(state, title) {
  document.title = `${title} – tunneld`;
  const picture = $(`i-${state === "gone" ? "idle" : state}`).innerHTML;
  const painted = picture.replaceAll("currentColor", COLOURS[state]).replaceAll("var(--on)", "#fff");
  const svg = `<svg xmlns="${SVG}" viewBox="0 0 16 16">${painted}</svg>`;
  const href = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  if ($("favicon").href !== href) $("favicon").href = href;
}

function about() {
  const reload = status.last_reload;
  const parts = [
    `version ${status.version}`,
    `running for ${lasting(now() - status.started_unix_ms)}`,
    status.config,
    reload && `${reload.ok ? "reloaded" : "reload failed"} at ${moment(reload.at_unix_ms)}`,
    reload?.error,
  ];
  $("about").classList.toggle("bad", reload?.ok === false);
  put($("about"), parts.filter(Boolean).join(" · "));
}

/** A timeline that is not mostly empty, until somebody chooses. */
function chooseRange() {
  const age = now() - status.started_unix_ms;
  const inputs = [...$("tools").elements.range];
  inputs[age < 2 * 3600 * 1000 ? 0 : 1].checked = true;
  $("tools").hidden = false;
}

let ticks = 0;
setInterval(() => {
  const at = performance.now();
  if (heard ? at - heard > SILENCE : source.readyState === EventSource.OPEN && at - opened > PATIENCE) {
    follow();
  }
  if (!heard || document.hidden || !status) return;
  ticks += 1;
  about();
  if (load.isQuiet()) showLoad();
  for (const row of rows.values()) {
    if (!row.visible) continue;
    row.tick();
    if (ticks % 10 === 0) row.showTimeline();
  }
}, 1000);

$("tools").addEventListener("submit", (event) => event.preventDefault());
$("find").addEventListener("input", filter);
$("which").addEventListener("change", filter);
$("span").addEventListener("change", () => {
  for (const row of rows.values()) row.showTimeline();
});
follow();
