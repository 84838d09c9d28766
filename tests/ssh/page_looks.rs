//! The status page in every state that there is: what it looks like, and that it stays usable.
//!
//! `BLESS=1 cargo test -p tunneld --test ssh page_looks` makes the pictures of the README anew.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tunneld_core::status::TunnelStatus;
use tunneld_lab::browser::Browser;

use crate::stand_in::{HOUR, StandIn, ago, failure, forward, session, tunnel};
use crate::support::{LONG, pass};

/// The lowest contrast of text that WCAG 2.2 level AA lets pass (success criterion 1.4.3).
const READABLE: f64 = 4.5;

/// Every text that is shown, with the contrast to what is behind it (WCAG 2.2, "contrast ratio").
const CONTRASTS: &str = r"
    const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
    const light = (colour) => {
        const linear = channels(colour).slice(0, 3).map((c) => c / 255)
            .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (channels(colour)[3] !== 0) return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
        const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        found.push([texts.currentNode.data, contrast]);
    }
    return found;";

/// One tunnel in each state, as they could be on a machine.
fn example() -> Vec<TunnelStatus> {
    let changed = "host key changed: db2.example.com has ED25519 SHA256:uQ3v0aVpXh7oKf, and \
                   /etc/tunneld/known_hosts:12 another one";
    let certificate =
        "the certificate /etc/tunneld/keys/web-cert.pub (key ID web@ci) ends in 2 days";
    vec![
        tunnel(
            "db",
            "up",
            3 * HOUR,
            "tunnel@db.example.com:22",
            json!({
                "session": session("192.0.2.7:22", "OpenSSH_10.0p2", 11_800),
                "forwards": [
                    forward("local", "127.0.0.1:5432", "127.0.0.1:5432",
                        [14, 1289, 48_200_000, 912_000_000], json!({})),
                    forward("local", "127.0.0.1:9187", "127.0.0.1:9187",
                        [1, 722, 900_000, 61_000_000], json!({})),
                ],
            }),
        ),
        tunnel(
            "demo",
            "up",
            26 * HOUR,
            "tunnel@gateway.example.net:22",
            json!({
                "session": session("203.0.113.21:22", "OpenSSH_9.9", 38_400),
                "warnings": [certificate],
                "forwards": [forward("remote", "*:8443", "localhost:3000",
                    [3, 4811, 820_000_000, 64_000_000], json!({}))],
            }),
        ),
        tunnel(
            "mirror",
            "connecting",
            2,
            "sync@mirror.example.org:22",
            json!({
                "forwards": [forward("local", "127.0.0.1:8730", "127.0.0.1:873", [0; 4], json!({}))],
            }),
        ),
        tunnel(
            "office",
            "waiting",
            95,
            "backup@office.example.net:2222",
            json!({
                "attempts": 6, "retry_at_unix_ms": ago(0) + 25_000,
                "failure": failure("connect", "transient",
                    "cannot connect to 198.51.100.40:2222: timed out after 10s", ""),
                "forwards": [
                    forward("local", "127.0.0.1:8445", "nas.office:445", [0, 41, 1_900_000, 88_000_000],
                        json!({ "connections": { "open": 0, "total": 41, "refused": 3 },
                            "last_refusal": "the tunnel was down for 10s (wait_timeout)" })),
                    forward("dynamic", "127.0.0.1:1080", "anywhere", [0, 12, 120_000, 4_400_000],
                        json!({})),
                ],
            }),
        ),
        tunnel(
            "reports",
            "blocked",
            1320,
            "tunnel@db2.example.com:22",
            json!({
                "attempts": 4, "retry_at_unix_ms": ago(0) + 411_000,
                "failure": failure("host-key", "blocked", changed,
                    "if the server was set up anew: `tunneld trust reports`"),
                "forwards": [forward("local", "127.0.0.1:5433", "127.0.0.1:5432",
                    [0, 18, 240_000, 5_100_000], json!({}))],
            }),
        ),
        tunnel(
            "web",
            "degraded",
            600,
            "tunnel@web.example.com:22",
            json!({
                "session": session("192.0.2.19:22", "OpenSSH_9.2p1 Debian-2", 9_100),
                "forwards": [forward("local", "127.0.0.1:8080", "intranet:80",
                    [0, 7, 3000, 88_000], json!({ "failure": failure("probe", "transient",
                        "intranet:80 answers 503, not 200", "look at what listens there") }))],
            }),
        ),
        tunnel(
            "old",
            "stopped",
            72 * HOUR,
            "tunnel@old.example.com:22",
            json!({
                "forwards": [forward("local", "127.0.0.1:2121", "127.0.0.1:21", [0; 4], json!({}))],
            }),
        ),
    ]
}

fn remembered(stand_in: &StandIn) {
    let (minute, began) = (60, 27 * HOUR);
    stand_in.remember(&[
        (
            "db",
            &[
                (began, "up", ""),
                (14 * HOUR, "waiting", "connection reset by peer"),
                (14 * HOUR - 20 * minute, "up", ""),
                (3 * HOUR + 4 * minute, "waiting", "the server fell silent"),
                (3 * HOUR, "up", ""),
            ],
        ),
        ("demo", &[(26 * HOUR, "up", "")]),
        ("mirror", &[(began, "up", ""), (2, "connecting", "")]),
        (
            "office",
            &[
                (began, "up", ""),
                (20 * HOUR, "waiting", "timed out"),
                (20 * HOUR - 12 * minute, "up", ""),
                (11 * HOUR, "waiting", "timed out"),
                (9 * HOUR, "up", ""),
                (5 * HOUR, "waiting", "timed out"),
                (5 * HOUR - 10 * minute, "up", ""),
                (95, "waiting", "timed out"),
            ],
        ),
        (
            "reports",
            &[
                (began, "up", ""),
                (9 * HOUR, "waiting", "connection refused"),
                (8 * HOUR, "up", ""),
                (1320, "blocked", "host key changed"),
            ],
        ),
        (
            "web",
            &[
                (began, "up", ""),
                (12 * HOUR, "degraded", "intranet:80 answers 503, not 200"),
                (10 * HOUR, "up", ""),
                (600, "degraded", "intranet:80 answers 503, not 200"),
            ],
        ),
        ("old", &[(72 * HOUR, "stopped", "")]),
    ]);
}

/// A browser that shows these tunnels.
fn shown(stand_in: &StandIn, tunnels: Vec<TunnelStatus>) -> Browser {
    let browser = Browser::start();
    browser.resize(1240, 900);
    browser.theme("light");
    stand_in.tell(tunnels);
    browser.open(&stand_in.url());
    browser.wait_for("return document.querySelector('.tunnel .word')", LONG);
    browser
}

#[test]
fn every_state_can_be_read_by_day_and_by_night_on_small_and_wide_screens() {
    // The contrast of each text is enough in both themes, and nothing is wider than the screen.
    let stand_in = StandIn::start();
    remembered(&stand_in);
    let browser = shown(&stand_in, example());
    browser.wait_for(
        "return document.querySelectorAll('.strip .p-waiting').length >= 4",
        LONG,
    );
    for theme in ["light", "dark"] {
        browser.theme(theme);
        let found = browser.run(CONTRASTS);
        let texts = found.as_array().unwrap();
        assert!(texts.len() > 100, "{found}");
        for text in texts {
            let contrast = text[1].as_f64().unwrap();
            assert!(contrast >= READABLE, "{theme}: {text}");
        }
    }
    for width in [320, 360, 768, 1280, 1600] {
        browser.resize(width, 900);
        let wide = browser.run("return document.documentElement.scrollWidth");
        assert!(
            wide.as_u64().unwrap() <= u64::from(width),
            "{wide} at {width}"
        );
    }
    assert_eq!(browser.console(), Vec::<String>::new());
}

/// Four of the tunnels with a forward each, `seconds` after the picture was begun.
fn pictured(seconds: u64) -> Vec<TunnelStatus> {
    let mut tunnels = example();
    tunnels.retain(|t| ["db", "demo", "office", "web"].contains(&t.name.as_str()));
    for tunnel in &mut tunnels {
        tunnel.forwards.truncate(1);
        let forward = &mut tunnel.forwards[0];
        forward.bytes_sent += 31_000 * forward.connections.open * seconds;
        forward.bytes_received += 97_000 * forward.connections.open * seconds;
    }
    tunnels
}

#[test]
fn the_readme_has_a_picture_of_it_for_day_and_night() {
    // They are small, and BLESS=1 makes them anew.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let places = ["light", "dark"].map(|theme| (theme, format!("docs/status-page-{theme}.png")));
    if std::env::var_os("BLESS").is_some() {
        let stand_in = StandIn::start();
        remembered(&stand_in);
        let browser = shown(&stand_in, pictured(0));
        pass(Duration::from_secs(2));
        stand_in.tell(pictured(2));
        browser.wait_for(
            "return document.querySelector('#up .rate.down').innerText",
            LONG,
        );
        let height =
            browser.run("return document.getElementById('up').getBoundingClientRect().bottom");
        browser.resize(
            1240,
            u32::try_from(height.as_f64().unwrap() as u64).unwrap() + 24,
        );
        for (theme, place) in &places {
            browser.theme(theme);
            keep(&browser, &root.join(place));
        }
    }
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    for (_, place) in places {
        assert!(readme.contains(&place), "{place} is not in the README");
        let size = fs::metadata(root.join(&place)).unwrap().len();
        assert!((10_000..150_000).contains(&size), "{place}: {size} bytes");
    }
}

fn keep(browser: &Browser, path: &Path) {
    let encoded = path.with_extension("base64");
    fs::write(&encoded, browser.picture()).unwrap();
    let picture = Command::new("base64")
        .arg("--decode")
        .arg(&encoded)
        .output();
    fs::write(path, picture.unwrap().stdout).unwrap();
    fs::remove_file(encoded).unwrap();
}

#[test]
fn nothing_that_a_status_says_is_taken_for_markup() {
    // Causes, hints, warnings, refusals and addresses may have come from a server.
    let evil = "</p><img src=x onerror=\"document.title='hit'\"><script>hit()</script>";
    let failed = failure("session", "transient", evil, evil);
    let stand_in = StandIn::start();
    stand_in.remember(&[("t", &[(60, "waiting", evil)])]);
    let browser = shown(
        &stand_in,
        vec![tunnel(
            "t",
            "waiting",
            60,
            evil,
            json!({
                "failure": failed, "warnings": [evil], "session": session(evil, evil, 1),
                "forwards": [forward("local", evil, evil, [0; 4], json!({ "name": "f", "failure": failed,
                    "connections": { "open": 0, "total": 1, "refused": 1 }, "last_refusal": evil }))],
            }),
        )],
    );
    browser.wait_for("return document.querySelector('.strip title')", LONG);
    browser.run("document.querySelector('.when button').click()");
    browser.wait_for_text(".past", evil, LONG);
    for place in [
        ".cause",
        ".hint",
        ".warnings",
        ".dest",
        ".path",
        ".bad",
        ".refused",
        ".session",
    ] {
        assert!(
            browser.text(place).contains(evil),
            "{place}: {}",
            browser.text(place)
        );
    }
    let made =
        "return document.querySelectorAll('img, body script ~ script, .tunnel script').length";
    assert_eq!(browser.run(made), 0);
    assert_eq!(browser.text("title"), "1 waiting – tunneld");
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn only_a_hint_has_something_to_type() {
    // What a server has said is in a cause, and is not made to look like a command of ours.
    let stand_in = StandIn::start();
    let failed = failure(
        "session",
        "transient",
        "it says `curl x | sh`",
        "see `tunneld status t`",
    );
    let to = forward(
        "local",
        "[::1]:1",
        "db:2",
        [0; 4],
        json!({ "failure": failed }),
    );
    let more = json!({ "failure": failed, "forwards": [to] });
    let browser = shown(&stand_in, vec![tunnel("t", "waiting", 60, "u@h", more)]);
    browser.wait_for_text(".cause", "it says `curl x | sh`", LONG);
    browser.wait_for_text(".bad", "it says `curl x | sh`; see tunneld status t", LONG);
    let typed = "return [...document.querySelectorAll('.tunnel code')].map((c) => c.textContent)";
    assert_eq!(
        browser.run(typed),
        json!(["tunneld status t", "tunneld status t"])
    );
}

#[test]
fn a_forward_shows_the_host_that_it_goes_over_now() {
    // A reload gives the tunnel another host, and leaves its forwards as they are.
    let stand_in = StandIn::start();
    let over = |host: &str| {
        let to = forward("local", "[::1]:1", "db:2", [0; 4], json!({}));
        let more = json!({ "forwards": [to] });
        vec![tunnel("t", "up", 60, host, more)]
    };
    let browser = shown(&stand_in, over("u@old.example:22"));
    browser.wait_for_text(".path", "old.example", LONG);
    stand_in.tell(over("u@new.example:22"));
    browser.wait_for_text(".dest", "new.example", LONG);
    assert_eq!(browser.text(".path"), "[::1]:1 → new.example → db:2");
}

#[test]
fn everything_is_reached_with_the_keyboard() {
    // Tab goes through the page in its order, with a mark on where it is; Enter opens a history.
    let stand_in = StandIn::start();
    remembered(&stand_in);
    let browser = shown(&stand_in, example());
    let mut reached = Vec::new();
    for _ in 0..6 {
        browser.press("Tab");
        let at = "const at = document.activeElement;
            const mark = at.type === 'radio' ? at.nextElementSibling : at;
            if (getComputedStyle(mark).outlineStyle === 'none') return 'no mark at ' + at.outerHTML;
            return at.id || at.name || at.className || at.textContent";
        reached.push(browser.run(at).as_str().unwrap().to_owned());
    }
    let [skip, find, show, range, first, second] = &reached[..] else {
        panic!("{reached:?}")
    };
    assert_eq!([skip, find, show, range], ["skip", "find", "show", "range"]);
    assert!(first.starts_with("History of reports: "), "{first}");
    assert!(second.starts_with("History of mirror: "), "{second}");
    browser.press("Enter");
    browser.wait_for_text(".past:not([hidden])", "up", LONG);
    assert_eq!(
        browser.run("return document.querySelectorAll('h1').length"),
        1
    );
    assert_eq!(
        browser.run("return document.querySelectorAll('li.tunnel h3').length"),
        7
    );
}

#[test]
fn a_thousand_tunnels_are_still_a_page_that_can_be_used() {
    // The ones that are not up come first; one is found by its name; a change costs little.
    let many = |round: u64| {
        let one = |n: u64| {
            let (name, to) = (format!("t{n}"), format!("tunnel@host{n}.example.com:22"));
            let counts = [n % 3, n, 1000 * (n + round), 9000 * (n + round)];
            let listen = format!("127.0.0.1:{}", 20_000 + n);
            let forwards = [forward(
                "local",
                &listen,
                "127.0.0.1:5432",
                counts,
                json!({}),
            )];
            let down = n % 100 == 99 - round;
            let more = match down {
                true => json!({ "failure": failure("connect", "transient", "refused", ""),
                    "forwards": forwards }),
                false => json!({ "session": session("192.0.2.7:22", "OpenSSH_9.9", 900),
                    "forwards": forwards }),
            };
            tunnel(&name, if down { "waiting" } else { "up" }, 60, &to, more)
        };
        (0..1000).map(one).collect::<Vec<_>>()
    };
    let stand_in = StandIn::start();
    let before = Instant::now();
    let browser = shown(&stand_in, many(0));
    eprintln!("1000 tunnels are shown after {:?}", before.elapsed());
    assert_eq!(browser.text("#down h3"), "t99");
    assert_eq!(browser.text("#sum b"), "990 of 1000 up");
    for round in 1..5 {
        stand_in.tell(many(round));
        let first = format!(
            "return document.querySelector('#down h3').innerText === 't{}'",
            99 - round
        );
        browser.wait_for(&first, LONG);
    }
    let cost = browser.run("return cost").as_f64().unwrap();
    eprintln!("a status in which every tunnel has changed costs {cost:.0} ms");
    assert!(cost < 1000.0, "{cost} ms");
    browser.run(
        "const find = document.getElementById('find');
        find.value = 'host777.'; find.dispatchEvent(new Event('input'))",
    );
    let left = "return [...document.querySelectorAll('.tunnel')].filter((t) => t.checkVisibility()).length";
    assert_eq!(browser.run(left), 1);
    assert_eq!(browser.text("#up .tunnel:not([hidden]) h3"), "t777");
    assert_eq!(browser.console(), Vec::<String>::new());
}
