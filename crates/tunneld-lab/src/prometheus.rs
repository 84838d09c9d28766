//! A real Prometheus that scrapes one place.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{escaped, over_tcp};
use crate::process::require;
use crate::service::Service;
use crate::target::free_addr;

/// A running Prometheus with a scrape job `tunneld`. Dropped, it is gone.
pub struct Prometheus {
    addr: SocketAddr,
    _service: Service,
    _dir: TempDir,
}

impl Prometheus {
    /// Scrapes this place four times a second, and evaluates these rules.
    ///
    /// # Panics
    /// Without prometheus, or when it does not come up.
    pub fn start(scraped: SocketAddr, rules: &Path) -> Self {
        require("prometheus", "prometheus");
        let dir = tempfile::Builder::new().prefix("tl-").tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let config = format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\n\
             rule_files: [{rules:?}]\n\
             scrape_configs:\n\
             - job_name: tunneld\n  static_configs: [{{targets: [\"{scraped}\"]}}]\n"
        );
        fs::write(at("prometheus.yml"), config).unwrap();
        let addr = free_addr();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", at("prometheus.yml")))
            .arg(format!("--storage.tsdb.path={}", at("data")))
            .arg(format!("--web.listen-address={addr}"));
        Prometheus {
            addr,
            _service: Service::start(&mut command, "Server is ready to receive web requests"),
            _dir: dir,
        }
    }

    /// Asks its API: `query?query=up`.
    fn ask(&self, path: &str) -> Value {
        over_tcp(self.addr, &format!("GET /api/v1/{path}"), &[]).json()
    }

    /// What an expression is now, series by series; an error is what Prometheus says about it.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let answer = self.ask(&format!("query?query={}", escaped(expression)));
        match answer["data"]["result"].as_array() {
            Some(series) => Ok(series.clone()),
            None => Err(answer["error"].to_string()),
        }
    }

    /// The names of the metrics that it has seen.
    pub fn names(&self) -> Vec<String> {
        let answer = self.ask("label/__name__/values");
        let names = answer["data"].as_array().unwrap().iter();
        names.map(|n| n.as_str().unwrap().to_owned()).collect()
    }

    /// The expressions of its rules.
    pub fn rules(&self) -> Vec<String> {
        let answer = self.ask("rules");
        let groups = answer["data"]["groups"].as_array().unwrap();
        let rules = groups.iter().flat_map(|g| g["rules"].as_array().unwrap());
        rules
            .map(|rule| rule["query"].as_str().unwrap().to_owned())
            .collect()
    }

    /// How the last scrape went: `up`, and what was wrong.
    pub fn scrape(&self) -> (String, String) {
        let answer = self.ask("targets");
        let target = &answer["data"]["activeTargets"][0];
        let text = |key: &str| target[key].as_str().unwrap_or_default().to_owned();
        (text("health"), text("lastError"))
    }
}
