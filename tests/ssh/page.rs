//! The status page, in a real browser: what it shows is what is, without a reload.

use std::net::SocketAddr;
use std::process::Command;

use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::browser::Browser;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{poll, run};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, free_addr};

use crate::support::{LONG, Table, carried, daemon, exchange, fails, up};

/// A daemon with one tunnel `t` whose status is to be read at `at`, and a browser that shows it.
struct Desk {
    daemon: Daemon,
    browser: Browser,
    at: SocketAddr,
    listen: SocketAddr,
    _echo: EchoServer,
}

impl Desk {
    fn new(sshd: &Sshd) -> Self {
        let (echo, listen, at) = (EchoServer::start(), free_addr(), free_addr());
        let table = Table::to(sshd).forward(listen, echo.addr());
        let config = format!(
            "[daemon]\ncontrol_socket = \"{{socket}}\"\nmetrics_listen = \"{at}\"\n{}",
            table.toml()
        );
        let daemon = daemon().config(&config).start();
        up(&daemon, "t");
        let desk = Desk {
            daemon,
            browser: Browser::start(),
            at,
            listen,
            _echo: echo,
        };
        desk.browser.open(&desk.url());
        desk.browser.run("window.never = 'reloaded'");
        desk.browser.wait_for_text(".tunnel", "up", LONG);
        desk
    }

    fn url(&self) -> String {
        format!("http://{}/", self.at)
    }

    /// The page is still the one that was opened.
    fn never_reloaded(&self) {
        assert_eq!(self.browser.run("return window.never"), "reloaded");
    }
}

#[test]
fn a_tunnel_that_goes_down_and_comes_back_does_so_on_the_page() {
    // State, cause, countdown, title and timeline follow; nobody reloads anything.
    let mut sshd = Sshd::start();
    let desk = Desk::new(&sshd);
    let browser = &desk.browser;
    browser.wait_for("return document.title === '1 of 1 up – tunneld'", LONG);
    browser.wait_for_text(".session", "OpenSSH_", LONG);
    let calm = browser.run("return document.getElementById('favicon').href");
    sshd.kill9();
    browser.wait_for_text("#down .trouble", "connection refused", LONG);
    browser.wait_for_text("#down .next", "next try", LONG);
    browser.wait_for("return document.title.startsWith('1 ')", LONG);
    browser.wait_for("return document.querySelector('.strip .p-waiting')", LONG);
    let alarmed = browser.run("return document.getElementById('favicon').href");
    assert_ne!(calm, alarmed);
    sshd.restart();
    browser.wait_for_text("#up .tunnel .state", "up", LONG);
    browser.wait_for("return document.title === '1 of 1 up – tunneld'", LONG);
    browser.wait_for_text("#say", "t: up", LONG);
    browser.wait_for_text(".when button", "1 outage", LONG);
    let outage = "return document.querySelector('.strip .p-waiting title').textContent";
    let outage = browser.run(outage).to_string();
    assert!(outage.contains("waiting from"), "{outage}");
    let down = "return document.getElementById('down').checkVisibility()";
    assert_eq!(browser.run(down), false);
    desk.never_reloaded();
    assert_eq!(desk.browser.console(), Vec::<String>::new());
}

#[test]
fn the_timeline_knows_of_outages_from_before_the_page_was_opened() {
    // It is the daemon that remembers; each change can be read in words, too.
    let mut sshd = Sshd::start();
    let desk = Desk::new(&sshd);
    sshd.kill9();
    fails(&desk.daemon, "t", "connection refused");
    sshd.restart();
    up(&desk.daemon, "t");
    let browser = Browser::start();
    browser.open(&desk.url());
    browser.wait_for_text(".when button", "1 outage", LONG);
    browser.wait_for(
        "return document.querySelector('.strip .p-waiting title')",
        LONG,
    );
    browser.run("document.querySelector('.when button').click()");
    browser.wait_for_text(".past", "waiting for ", LONG);
    browser.wait_for_text(".past", "connection refused", LONG);
}

#[test]
fn bytes_and_connections_that_move_do_so_on_the_page() {
    // What a client sends and gets is counted, with its rate, and its connection while it is there.
    let sshd = Sshd::start();
    let desk = Desk::new(&sshd);
    let browser = &desk.browser;
    let mut client = carried(desk.listen);
    browser.wait_for_text(".open", "1 open", LONG);
    exchange(&mut client, &[b'x'; 300 << 10]);
    browser.wait_for_text(".sent", "300.0 KiB", LONG);
    browser.wait_for_text(".received", "300.0 KiB", LONG);
    browser.wait_for_text(".rate.down", "/s", LONG);
    // Once nothing comes any more there is no rate, in its row and of all together.
    browser.wait_for(
        "return ['.rate.down', '#load'].every((at) => !document.querySelector(at).innerText.includes('/s'))",
        LONG,
    );
    drop(client);
    browser.wait_for_text(".open", "0 open", LONG);
    browser.wait_for(
        "return !document.querySelector('.rate.down').innerText",
        LONG,
    );
    desk.never_reloaded();
}

#[test]
fn the_page_asks_nobody_else_and_lets_nothing_else_run() {
    // Every request goes to the daemon; what was put into the page from outside would not run.
    let sshd = Sshd::start();
    let desk = Desk::new(&sshd);
    let browser = &desk.browser;
    browser.wait_for("return document.querySelector('.strip rect')", LONG);
    let (url, requests) = (desk.url(), browser.requests());
    let elsewhere = |asked: &&String| !asked.starts_with(&url) && !asked.starts_with("data:");
    assert!(requests.len() > 1, "{requests:?}");
    assert_eq!(requests.iter().find(elsewhere), None);
    assert_eq!(desk.browser.console(), Vec::<String>::new());
    let attack = "const script = document.createElement('script');
        script.textContent = 'window.hit = true';
        const picture = document.createElement('img');
        picture.src = 'http://127.0.0.1:9/picture';
        picture.setAttribute('onerror', 'window.hit = true');
        document.body.append(script, picture);";
    browser.run(attack);
    let mut told = Vec::new();
    for policy in ["script-src", "img-src"] {
        let found = poll(LONG, || {
            told.extend(browser.console());
            let mut lines = told.iter();
            lines
                .any(|line: &String| line.contains(policy))
                .then_some(())
        });
        assert!(found.is_some(), "{policy}: {told:?}");
    }
    assert_eq!(
        browser.run("return window.hit ?? null"),
        serde_json::Value::Null
    );
}

#[test]
fn what_a_server_calls_itself_stays_text() {
    // A server may say anything before it has proven who it is.
    let name = "<img/src=x/onerror=document.title='hit'>";
    let sshd = Sshd::builder()
        .config(&format!("VersionAddendum {name}"))
        .start();
    let desk = Desk::new(&sshd);
    desk.browser.wait_for_text(".session", name, LONG);
    assert_eq!(desk.browser.run("return document.images.length"), 0);
    assert_eq!(desk.browser.text("title"), "1 of 1 up – tunneld");
    assert_eq!(desk.browser.console(), Vec::<String>::new());
}

#[test]
fn the_page_outlives_the_daemon_and_follows_the_next_one() {
    // While nobody answers it says so, and keeps what it knew in grey; then it goes on by itself.
    let sshd = Sshd::start();
    let mut desk = Desk::new(&sshd);
    desk.daemon.terminate(LONG);
    let browser = &desk.browser;
    browser.wait_for_text("#gone", "No daemon; reconnecting", LONG);
    assert_eq!(browser.text("title"), "no daemon – tunneld");
    assert_eq!(browser.text("h3"), "t");
    let grey = "return getComputedStyle(document.querySelector('main')).filter";
    assert_eq!(browser.run(grey), "grayscale(1)");
    desk.daemon.start_again();
    let again = |t: &TunnelStatus| t.phase == Phase::Up;
    desk.daemon.wait_for("t", LONG, again);
    browser.wait_for("return document.title === '1 of 1 up – tunneld'", LONG);
    browser.wait_for("return !document.getElementById('gone').innerText", LONG);
    desk.never_reloaded();
}

#[test]
fn the_page_is_served_with_what_keeps_a_browser_from_harm() {
    // Over TCP and on the socket, to GET and to HEAD; there is nothing to be posted.
    let sshd = Sshd::start();
    let (listen, at) = (free_addr(), free_addr());
    let table = Table::to(&sshd).forward(listen, listen);
    let config = format!(
        "[daemon]\ncontrol_socket = \"{{socket}}\"\nmetrics_listen = \"{at}\"\n{}",
        table.toml()
    );
    let daemon = daemon().config(&config).start();
    let curl = |more: &[&str]| {
        let mut curl = Command::new("curl");
        run(curl
            .args(["--silent", "--include", "--noproxy", "*"])
            .args(more))
    };
    let url = format!("http://{at}/");
    let socket = daemon.socket().display().to_string();
    let ways: [&[&str]; 2] = [&[&url], &["--head", &url]];
    for way in ways {
        let answer = curl(way);
        for header in [
            "HTTP/1.1 200 OK",
            "content-type: text/html; charset=utf-8",
            "content-security-policy: default-src 'none'; script-src 'sha256-",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ] {
            assert!(
                answer.contains(header),
                "{way:?}: no {header:?} in {answer}"
            );
        }
        assert_eq!(answer.contains("<h1>"), way != ["--head", &url]);
        assert!(answer.contains("<noscript>") || way == ["--head", &url]);
    }
    let posted = curl(&["--data", "x", &url]);
    assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");
    // The control socket has none: somebody may have forwarded it to where a browser is.
    let there = curl(&["--unix-socket", &socket, "http://localhost/"]);
    assert!(there.starts_with("HTTP/1.1 404 "), "{there}");
}
