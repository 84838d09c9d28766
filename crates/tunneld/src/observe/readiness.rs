//! Whether the daemon counts as started.

use tunneld_core::config::ReadyWhen;
use tunneld_core::status::{Phase, TunnelStatus};

/// Whether `ready_when` holds. Tunnels that are not wanted do not count.
pub(crate) fn holds(ready_when: ReadyWhen, tunnels: &[TunnelStatus]) -> bool {
    let mut wanted = tunnels
        .iter()
        .filter(|t| t.phase != Phase::Stopped)
        .peekable();
    if wanted.peek().is_none() {
        return true;
    }
    match ready_when {
        ReadyWhen::Settled => wanted.all(settled),
        ReadyWhen::All => wanted.all(|t| t.phase == Phase::Up),
        ReadyWhen::Any => wanted.any(|t| t.phase == Phase::Up),
    }
}

/// Whether the daemon is ready now; `started`: `ready_when` has held once. With "settled" nothing more is
/// asked.
pub(super) fn is_ready(ready_when: ReadyWhen, started: bool, tunnels: &[TunnelStatus]) -> bool {
    started && (ready_when == ReadyWhen::Settled || holds(ready_when, tunnels))
}

/// The tunnels that keep `ready_when` from holding.
pub(crate) fn in_the_way(
    ready_when: ReadyWhen,
    tunnels: &[TunnelStatus],
) -> impl Iterator<Item = &TunnelStatus> {
    tunnels.iter().filter(move |tunnel| match ready_when {
        ReadyWhen::Settled => !settled(tunnel),
        ReadyWhen::All | ReadyWhen::Any => !matches!(tunnel.phase, Phase::Up | Phase::Stopped),
    })
}

/// Up, or failed once: it is known how it is.
fn settled(tunnel: &TunnelStatus) -> bool {
    match tunnel.phase {
        Phase::Up | Phase::Degraded | Phase::Waiting | Phase::Blocked | Phase::Stopped => true,
        Phase::Connecting => tunnel.failure.is_some(),
        Phase::Idle => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use tunneld_core::failure::{Failure, Stage};

    pub(crate) fn tunnel(phase: Phase, failures: u32) -> TunnelStatus {
        let failure = (failures > 0).then(|| Failure::transient(Stage::Connect, "refused"));
        TunnelStatus {
            failure,
            ..TunnelStatus::new("t".parse().unwrap(), phase, 0, String::new())
        }
    }

    #[test]
    fn each_setting_means_what_it_says() {
        use Phase::*;
        use ReadyWhen::*;
        let cases = [
            (vec![(Connecting, 0)], [false, false, false]),
            (vec![(Connecting, 1)], [true, false, false]),
            (vec![(Up, 0), (Waiting, 1)], [true, false, true]),
            (vec![(Up, 0), (Connecting, 0)], [false, false, true]),
            (vec![(Up, 0), (Stopped, 0)], [true, true, true]),
            (vec![(Blocked, 1), (Degraded, 0)], [true, false, false]),
            (vec![(Idle, 0)], [false, false, false]),
            (vec![], [true, true, true]),
        ];
        for (tunnels, expected) in cases {
            let status: Vec<_> = tunnels.iter().map(|(p, n)| tunnel(*p, *n)).collect();
            let got = [Settled, All, Any].map(|when| holds(when, &status));
            assert_eq!(got, expected, "{tunnels:?}");
        }
    }
}
