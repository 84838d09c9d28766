//! The way to the server, as far as it was gone: the steps of an attempt, host by host.

use std::net::SocketAddr;

use tokio::time::Instant;
use tunneld_core::config::{Target, Via, host_port};
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::status::millis;
use tunneld_ssh::trace::{self, Entry};

use super::report::{Agreed, Answer, Host, HostKey, Resolved, Step, Tried};

/// The way to a server.
pub(super) struct Way {
    /// All hosts on the way, those that nothing was heard of yet without steps, each with the name
    /// that is looked up for it.
    all: Vec<(Host, String)>,
    /// Which of them is being dealt with.
    at: usize,
    /// When the step or the try before was done.
    last: Instant,
    /// What was tried of the authentication that goes on.
    tried: Vec<Tried>,
    /// The connection over a program that was started: it counts once more has come of it.
    started: Option<Step>,
}

impl Way {
    /// The way to a target, none of which was gone yet.
    pub(super) fn new(target: &Target, started: Instant) -> Self {
        let all = target.hops().into_iter().chain([target]);
        Way {
            all: all.map(|t| (host(t), looked_up(t))).collect(),
            at: 0,
            last: started,
            tried: Vec::new(),
            started: None,
        }
    }

    /// A step was done.
    pub(super) fn take(&mut self, entry: Entry) {
        let ms = self.lap(entry.at);
        let done = |stage| Step::done(stage, ms);
        if let Some(started) = self.started.take() {
            self.push(started);
        }
        let step = match entry.step {
            trace::Step::Resolved { addresses } => Step {
                resolved: Some(self.resolved(&addresses)),
                ..done(Stage::Resolve)
            },
            trace::Step::Started { peer } => {
                self.started = Some(Step {
                    peer: Some(peer),
                    ..done(Stage::Connect)
                });
                return;
            }
            trace::Step::Connected { peer } => Step {
                peer: Some(peer),
                ..done(Stage::Connect)
            },
            trace::Step::HostKey { key, by } => Step {
                host_key: Some(HostKey { key, by }),
                ..done(Stage::HostKey)
            },
            trace::Step::KeyExchanged(facts) => Step {
                agreed: Some(Agreed {
                    post_quantum: facts.is_post_quantum(),
                    kex: facts.kex,
                    cipher: facts.cipher,
                    host_key: facts.host_key,
                    server: facts.server,
                }),
                ..done(Stage::KeyExchange)
            },
            trace::Step::Tried {
                method,
                with,
                answer,
            } => return self.tried.push(tried(method, with, answer, ms)),
            trace::Step::Authenticated => self.with_tries(done(Stage::Authenticate)),
        };
        self.push(step);
    }

    /// The attempt has failed.
    pub(super) fn fail(&mut self, failure: Failure, at: Instant) {
        let started = self.started.take().map_or(0, |started| started.ms);
        let ms = started + self.lap(at);
        self.at = self.whose(&failure);
        let step = self.with_tries(Step::failed(failure, ms));
        self.push(step);
    }

    /// The place on the way of the host that a failure is of. That may be one behind the host that is
    /// being dealt with: what is known of a host is read before the way to it is gone.
    pub(super) fn whose(&self, failure: &Failure) -> usize {
        let last = self.all.len().saturating_sub(1);
        let named = match failure.hop() {
            Some(name) => self.all.iter().position(|(host, _)| host.host == name),
            None => Some(last),
        };
        named.unwrap_or(0).max(self.at).min(last)
    }

    /// The hosts that were come to.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Host> {
        let hosts = self.all.iter().map(|(host, _)| host);
        hosts.filter(|host| !host.steps.is_empty())
    }

    /// The next host is dealt with once the one before has let us in.
    fn push(&mut self, step: Step) {
        let passed = step.ok && step.step == Stage::Authenticate;
        if let Some((host, _)) = self.all.get_mut(self.at) {
            host.steps.push(step);
        }
        self.at += usize::from(passed);
    }

    fn resolved(&self, addresses: &[SocketAddr]) -> Resolved {
        let name = self.all.get(self.at).map(|(_, name)| name.clone());
        Resolved {
            name: name.unwrap_or_default(),
            addresses: addresses.iter().map(SocketAddr::ip).collect(),
        }
    }

    /// How long it was since the step or the try before.
    fn lap(&mut self, at: Instant) -> u64 {
        let lap = at.saturating_duration_since(self.last);
        self.last = at;
        millis(lap)
    }

    fn with_tries(&mut self, step: Step) -> Step {
        let tried = std::mem::take(&mut self.tried);
        Step {
            ms: step.ms + tried.iter().map(|t| t.ms).sum::<u64>(),
            tried,
            ..step
        }
    }
}

fn host(target: &Target) -> Host {
    Host {
        host: host_port(&target.host, target.port),
        user: target.user.clone(),
        steps: Vec::new(),
    }
}

/// A proxy looks up the host itself.
fn looked_up(target: &Target) -> String {
    match &target.via {
        Via::Proxy(proxy) => proxy.host.clone(),
        Via::Direct | Via::Jump(_) | Via::Command(_) => target.host.clone(),
    }
}

fn tried(method: &'static str, with: String, answer: trace::Answer, ms: u64) -> Tried {
    let (answer, detail) = match answer {
        trace::Answer::Accepted => (Answer::Accepted, None),
        trace::Answer::Partial { wanted } => (Answer::Partial, Some(wanted)),
        trace::Answer::Rejected { accepts } => (Answer::Rejected, Some(accepts)),
        trace::Answer::Skipped { reason } => (Answer::Skipped, Some(reason)),
    };
    Tried {
        method,
        with,
        answer,
        detail,
        ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    fn entry(at: Instant, step: trace::Step) -> Entry {
        let host = "".into();
        Entry { at, host, step }
    }

    fn publickey(answer: trace::Answer) -> trace::Step {
        trace::Step::Tried {
            method: "publickey",
            with: "a key".to_owned(),
            answer,
        }
    }

    /// A server behind a jump host that is behind a proxy.
    fn behind() -> Target {
        let mut hop = Target::new("bastion", 2222, "ops");
        hop.via = Via::Proxy(tunneld_core::config::Proxy {
            kind: tunneld_core::config::ProxyKind::Socks5,
            host: "proxy".to_owned(),
            port: 1080,
        });
        let mut target = Target::new("web", 22, "u");
        target.via = Via::Jump(Arc::new(hop));
        target
    }

    #[test]
    fn each_step_belongs_to_the_host_that_has_not_let_us_in_yet() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut way = Way::new(&behind(), start);
        assert_eq!(way.hosts().count(), 0);
        let addresses = vec!["192.0.2.1:1080".parse().unwrap()];
        way.take(entry(after(3), trace::Step::Resolved { addresses }));
        let rejected = trace::Answer::Rejected {
            accepts: "publickey".to_owned(),
        };
        way.take(entry(after(10), publickey(rejected)));
        way.take(entry(after(15), publickey(trace::Answer::Accepted)));
        way.take(entry(after(16), trace::Step::Authenticated));
        let failure = Failure::transient(Stage::Connect, "connection refused");
        way.fail(failure.clone(), after(20));

        let hosts: Vec<_> = way.hosts().collect();
        let [bastion, web] = hosts.as_slice() else {
            panic!("{hosts:?}");
        };
        assert_eq!(
            (bastion.host.as_str(), web.host.as_str()),
            ("bastion:2222", "web:22")
        );
        let [resolve, authenticate] = bastion.steps.as_slice() else {
            panic!("{bastion:?}");
        };
        let resolved = resolve.resolved.clone().unwrap();
        assert_eq!(resolved.name, "proxy");
        assert_eq!(
            resolved.addresses,
            ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]
        );
        // The tries are part of it.
        assert_eq!((resolve.ms, authenticate.ms), (3, 13));
        let laps: Vec<_> = authenticate.tried.iter().map(|t| t.ms).collect();
        assert_eq!(laps, [7, 5]);
        assert_eq!(web.steps.len(), 1);
        assert_eq!((web.steps[0].step, web.steps[0].ms), (Stage::Connect, 4));
        assert_eq!(web.steps[0].failure.as_ref(), Some(&failure));
    }

    #[test]
    fn a_program_that_was_started_is_a_connection_once_the_server_has_spoken() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let target = Target::new("web", 22, "u");
        let started = || trace::Step::Started {
            peer: "web:22 over a proxy command".to_owned(),
        };
        let key = trace::Step::HostKey {
            key: "k".to_owned(),
            by: "f:1".to_owned(),
        };
        let mut way = Way::new(&target, start);
        way.take(entry(after(2), started()));
        assert_eq!(way.hosts().count(), 0);
        way.take(entry(after(9), key));
        let steps: Vec<_> = way.hosts().next().unwrap().steps.iter().collect();
        let steps: Vec<_> = steps.iter().map(|step| (step.step, step.ms)).collect();
        assert_eq!(steps, [(Stage::Connect, 2), (Stage::HostKey, 7)]);

        let mut way = Way::new(&target, start);
        way.take(entry(after(2), started()));
        let exited = "proxy command exited with status 1";
        way.fail(Failure::transient(Stage::Connect, exited), after(9));
        let [step] = way.hosts().next().unwrap().steps.as_slice() else {
            panic!("not one step");
        };
        assert_eq!((step.ok, step.ms), (false, 9));
    }

    #[test]
    fn a_failure_is_that_of_the_host_that_it_names_and_never_of_one_that_has_let_us_in() {
        let start = Instant::now();
        let failure = |cause: &str| Failure::transient(Stage::Connect, cause);
        let mut way = Way::new(&behind(), start);
        assert_eq!(way.whose(&failure("known_hosts:3: broken")), 1);
        assert_eq!(way.whose(&failure("jump host bastion:2222: refused")), 0);
        way.take(entry(start, trace::Step::Authenticated));
        let beyond = "jump host bastion:2222: cannot reach web:22: refused";
        assert_eq!(way.whose(&failure(beyond)), 1);
    }
}
