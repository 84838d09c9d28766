//! A real browser without a window: Chromium, driven as WebDriver (W3C) says, and by its own
//! DevTools where that says nothing.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{poll, require, run};
use crate::service::Service;

/// What keeps it from asking anybody for anything by itself, and lets it run as root.
const QUIET: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    // Grey edges: the pictures that are kept are half the size.
    "--disable-lcd-text",
];

const STARTED: &str = "ChromeDriver was started successfully on port ";

/// A running browser with one page and nothing remembered. Dropped, it is gone.
pub struct Browser {
    session: String,
    _driver: Service,
    _profile: TempDir,
}

impl Browser {
    /// Starts it.
    ///
    /// # Panics
    /// Without Chromium, its driver or curl, or when it does not come up.
    pub fn start() -> Self {
        require("chromium", "chromium");
        require("chromedriver", "chromium-driver");
        require("curl", "curl");
        let profile = tempfile::Builder::new().prefix("tl-").tempdir().unwrap();
        let mut driver = Command::new("chromedriver");
        // What Chromium leaves behind goes with the profile.
        driver.arg("--port=0").env("TMPDIR", profile.path());
        let driver = Service::start(&mut driver, STARTED);
        let text = driver.log().text();
        let (_, port) = text.split_once(STARTED).unwrap();
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        let url = format!("http://{}:{port}/session", Ipv4Addr::LOCALHOST);
        let mut arguments = QUIET.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": wanted } });
        let made = call(&url, &wanted);
        let browser = Browser {
            session: format!("{url}/{}", made["sessionId"].as_str().unwrap()),
            _driver: driver,
            _profile: profile,
        };
        // Its own first page asks for things, too.
        browser.open("about:blank");
        browser.requests();
        browser
    }

    fn ask(&self, what: &str, body: &Value) -> Value {
        call(&format!("{}/{what}", self.session), body)
    }

    /// Goes to an address, and returns once what is there is loaded.
    pub fn open(&self, url: &str) {
        self.ask("url", &json!({ "url": url }));
    }

    /// Runs a script in the page: `return document.title`.
    ///
    /// # Panics
    /// When the script throws; the message has what.
    pub fn run(&self, script: &str) -> Value {
        self.ask("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What the first element that a CSS selector finds shows as text; empty without one.
    pub fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({selector:?})?.innerText ?? ''");
        self.run(&script).as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script again and again until it returns something that is true.
    ///
    /// # Panics
    /// When that does not happen in time; the message has what the page shows then.
    pub fn wait_for(&self, script: &str, timeout: Duration) -> Value {
        let found = poll(timeout, || {
            let value = self.run(script);
            let empty = [json!(null), json!(false), json!(0), json!("")].contains(&value);
            (!empty).then_some(value)
        });
        found.unwrap_or_else(|| panic!("never true: {script}\n{}", self.text("body")))
    }

    /// Waits until an element shows a text.
    ///
    /// # Panics
    /// As [`Browser::wait_for`].
    pub fn wait_for_text(&self, selector: &str, part: &str, timeout: Duration) {
        let script =
            format!("return document.querySelector({selector:?})?.innerText.includes({part:?})");
        self.wait_for(&script, timeout);
    }

    /// A command of the Chrome DevTools Protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.ask(
            "goog/cdp/execute",
            &json!({ "cmd": command, "params": parameters }),
        )
    }

    /// Pretends to be in a room that is `light` or `dark`.
    pub fn theme(&self, theme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": theme });
        let parameters = json!({ "features": [feature] });
        self.devtools("Emulation.setEmulatedMedia", &parameters);
    }

    /// The size of the page, in CSS pixels.
    pub fn resize(&self, width: u32, height: u32) {
        let parameters = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &parameters);
    }

    /// Presses a key and lets it go: `Tab`, `Enter`.
    pub fn press(&self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            _ => panic!("no such key: {key}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let parameters = json!({
                "type": kind, "key": key, "code": key, "text": text, "windowsVirtualKeyCode": code,
            });
            self.devtools("Input.dispatchKeyEvent", &parameters);
        }
    }

    /// What was written to the console, errors and violations of a policy among it, since this was
    /// asked last.
    pub fn console(&self) -> Vec<String> {
        let entries = self.ask("se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().cloned().unwrap_or_default();
        let message = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        entries.iter().map(message).collect()
    }

    /// The addresses that it has asked for since this was asked last.
    pub fn requests(&self) -> Vec<String> {
        let entries = self.ask("se/log", &json!({ "type": "performance" }));
        let entries = entries.as_array().cloned().unwrap_or_default();
        let request = |entry: &Value| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let message = &message["message"];
            let sent = message["method"] == "Network.requestWillBeSent";
            let url = message["params"]["request"]["url"].as_str()?.to_owned();
            sent.then_some(url)
        };
        entries.iter().filter_map(request).collect()
    }

    /// A picture of what is shown: PNG, as base64.
    pub fn picture(&self) -> String {
        let parameters = json!({ "format": "png" });
        let picture = self.devtools("Page.captureScreenshot", &parameters);
        picture["data"].as_str().unwrap_or_default().to_owned()
    }
}

fn call(url: &str, body: &Value) -> Value {
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--fail-with-body",
        "--noproxy",
        "*",
    ])
    .args(["--max-time", "60", "--request", "POST"])
    .args(["--header", "Content-Type: application/json"])
    .args(["--data", &body.to_string(), url]);
    let mut answer: Value = serde_json::from_str(&run(&mut curl)).expect("not JSON");
    answer["value"].take()
}
