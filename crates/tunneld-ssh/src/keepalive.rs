//! ServerAliveInterval and ServerAliveCountMax, as ssh counts them.
//!
//! After `interval` without a byte from the server a `keepalive@openssh.com` request is sent that
//! wants a reply; any byte from the server starts the count over; when `count_max` requests in a
//! row had an interval each and none was answered, the session is dead. A server that falls silent
//! is found after `interval × (count_max + 1)`.
//!
//! russh's own timer stands still while its session waits for a slow socket or a slow consumer,
//! so this one runs beside the session and judges by what the socket's wrapper saw.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tunneld_core::config::Keepalive;
use tunneld_core::failure::{Failure, Stage};
use tunneld_core::metrics::Histogram;

use crate::link::Link;

/// Sends one keepalive request and returns when its reply is there.
pub(crate) trait Ping: Clone + Send + 'static {
    /// Whether a reply came; `false` when the session ended first.
    fn ping(&self) -> impl Future<Output = bool> + Send;
}

/// The round trip of the last answered request.
#[derive(Debug, Default)]
pub(crate) struct RoundTrip {
    micros: AtomicU64,
    /// Where all of them are counted: it outlives the session.
    counted: OnceLock<Arc<Histogram>>,
}

impl RoundTrip {
    /// `None` before the first answer.
    pub(crate) fn get(&self) -> Option<Duration> {
        match self.micros.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    fn set(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        self.micros.store(micros, Ordering::Relaxed);
        if let Some(histogram) = self.counted.get() {
            histogram.note(took);
        }
    }

    /// Has them counted there from now on, unless they are counted already.
    pub(crate) fn count_in(&self, histogram: &Arc<Histogram>) {
        self.counted.get_or_init(|| Arc::clone(histogram));
    }
}

/// Watches a session until it is dead, and returns why. Never returns while the server answers.
pub(crate) async fn watch(
    link: Arc<Link>,
    ping: impl Ping,
    settings: Keepalive,
    round_trip: Arc<RoundTrip>,
    probe_now: Arc<Notify>,
) -> Failure {
    let mut ear = Ear::new(&link);
    // Requests that wait for their reply: at most `count_max + 1`, for then the session is dead.
    let mut pings = JoinSet::new();
    let mut unanswered = 0;
    // From now, not from the last byte: the settings may have been others until now.
    let mut deadline = next_deadline(&settings, Instant::now());
    loop {
        let send = tokio::select! {
            () = tokio::time::sleep_until(deadline) => {
                // Whoever was frozen has heard nothing, and that says nothing about the server.
                let overslept = deadline.elapsed() > settings.interval / 2;
                match ear.listen(&link) {
                    _ if overslept => {
                        deadline = next_deadline(&settings, Instant::now());
                        true
                    }
                    Sign::Heard => {
                        unanswered = 0;
                        deadline = next_deadline(&settings, ear.heard);
                        false
                    }
                    Sign::CannotTell => {
                        deadline = next_deadline(&settings, Instant::now());
                        pings.is_empty()
                    }
                    Sign::Silence if unanswered >= settings.count_max => {
                        return no_reply(&settings);
                    }
                    Sign::Silence => {
                        unanswered += 1;
                        deadline = next_deadline(&settings, deadline);
                        true
                    }
                }
            }
            () = probe_now.notified() => pings.is_empty(),
            Some(_) = pings.join_next(), if !pings.is_empty() => false,
        };
        if send {
            let (ping, round_trip) = (ping.clone(), Arc::clone(&round_trip));
            let asked = link.asks();
            pings.spawn(async move {
                let _asked = asked;
                let sent = Instant::now();
                if ping.ping().await {
                    round_trip.set(sent.elapsed());
                }
            });
        }
    }
}

/// A keepalive that is off never comes due by itself, and can still be asked for.
fn next_deadline(settings: &Keepalive, from: Instant) -> Instant {
    const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
    match settings.interval {
        Duration::ZERO => Instant::now() + FAR,
        interval => from + interval,
    }
}

fn no_reply(settings: &Keepalive) -> Failure {
    let seconds = settings.detection().unwrap_or_default().as_secs_f64();
    let cause = match settings.count_max {
        0 => format!("nothing from the server in {seconds}s"),
        1 => format!("no reply to 1 keepalive in {seconds}s"),
        n => format!("no reply to {n} keepalives in {seconds}s"),
    };
    Failure::transient(Stage::Session, cause)
}

enum Sign {
    /// The server sent something.
    Heard,
    /// We do not read, and the kernel may be full: silence would mean nothing.
    CannotTell,
    /// It sent nothing.
    Silence,
}

/// What was heard so far.
struct Ear {
    heard: Instant,
    unread: u64,
    sent: u64,
}

impl Ear {
    fn new(link: &Link) -> Self {
        Ear {
            heard: link.last_heard(),
            unread: 0,
            sent: 0,
        }
    }

    fn listen(&mut self, link: &Link) -> Sign {
        let last = link.last_heard();
        let unread = link.unread();
        let before = std::mem::replace(&mut self.unread, unread);
        let sent = link.sent();
        let sends = std::mem::replace(&mut self.sent, sent) != sent;
        if last > self.heard {
            self.heard = last;
            return Sign::Heard;
        }
        // Bytes that wait while we are the ones who do not read are a sign of life too, as long
        // as they become more.
        if unread > before {
            self.heard = Instant::now();
            return Sign::Heard;
        }
        // A session that is busy sending to a slow server does not read either.
        if unread > 0 && (link.is_paused() || sends) {
            return Sign::CannotTell;
        }
        Sign::Silence
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::tests::pair;
    use std::sync::atomic::AtomicU32;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A server that never answers; counts what it was asked.
    #[derive(Clone, Default)]
    struct Silent(Arc<AtomicU32>);

    impl Ping for Silent {
        async fn ping(&self) -> bool {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }
    }

    fn settings(millis: u64, count_max: u32) -> Keepalive {
        Keepalive {
            interval: Duration::from_millis(millis),
            count_max,
        }
    }

    #[tokio::test]
    async fn a_silent_server_is_dead_after_interval_times_count_max_plus_one() {
        for (count_max, asked, words) in [
            (0, 0, "nothing from the server in 0.05s"),
            (1, 1, "no reply to 1 keepalive in 0.1s"),
            (3, 3, "no reply to 3 keepalives in 0.2s"),
        ] {
            let (_stream, link, _far) = pair().await;
            let ping = Silent::default();
            let settings = settings(50, count_max);
            let start = link.last_heard();
            let failure = watch(link, ping.clone(), settings, Arc::default(), Arc::default()).await;
            let took = start.elapsed();
            assert_eq!(failure.cause, words);
            assert_eq!(ping.0.load(Ordering::Relaxed), asked);
            assert!(took >= settings.detection().unwrap(), "{took:?}");
        }
    }

    #[tokio::test]
    async fn any_byte_from_the_server_starts_the_count_over() {
        let (mut stream, link, mut far) = pair().await;
        let talk = tokio::spawn(async move {
            let mut byte = [0];
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(30)).await;
                far.write_all(b"x").await.unwrap();
                stream.read_exact(&mut byte).await.unwrap();
            }
            (stream, far, Instant::now())
        });
        let failure = watch(
            link,
            Silent::default(),
            settings(50, 1),
            Arc::default(),
            Arc::default(),
        )
        .await;
        let (_, _, last_byte) = talk.await.unwrap();
        assert!(last_byte.elapsed() >= Duration::from_millis(90));
        assert_eq!(failure.cause, "no reply to 1 keepalive in 0.1s");
    }

    #[tokio::test]
    async fn shorter_settings_do_not_count_the_silence_before_them() {
        let (_stream, link, _far) = pair().await;
        let quiet_for = Duration::from_millis(300);
        tokio::time::sleep(quiet_for).await;
        let changed = Instant::now();
        let settings = settings(20, 2);
        watch(
            link,
            Silent::default(),
            settings,
            Arc::default(),
            Arc::default(),
        )
        .await;
        assert!(changed.elapsed() >= settings.detection().unwrap());
    }

    #[tokio::test]
    async fn a_process_that_was_frozen_gives_the_server_its_time_again() {
        let (_stream, link, _far) = pair().await;
        let ping = Silent::default();
        let settings = settings(50, 1);
        let watched = tokio::spawn(watch(
            link,
            ping.clone(),
            settings,
            Arc::default(),
            Arc::default(),
        ));
        tokio::task::yield_now().await;
        // The only thread stands still, as after SIGSTOP.
        std::thread::sleep(Duration::from_millis(500));
        let thawed = Instant::now();
        watched.await.unwrap();
        assert!(thawed.elapsed() >= settings.detection().unwrap());
        assert!(ping.0.load(Ordering::Relaxed) >= 1);
    }

    #[tokio::test]
    async fn bytes_that_we_do_not_read_while_paused_are_not_silence() {
        let (_stream, link, mut far) = pair().await;
        let _pause = link.pause();
        far.write_all(b"waiting").await.unwrap();
        let watched = watch(
            link,
            Silent::default(),
            settings(20, 1),
            Arc::default(),
            Arc::default(),
        );
        let dead = tokio::time::timeout(Duration::from_millis(300), watched).await;
        assert!(dead.is_err());
    }

    #[tokio::test]
    async fn with_keepalive_off_a_probe_can_still_be_asked_for() {
        #[derive(Clone)]
        struct Prompt;
        impl Ping for Prompt {
            async fn ping(&self) -> bool {
                tokio::time::sleep(Duration::from_millis(5)).await;
                true
            }
        }
        let (_stream, link, _far) = pair().await;
        let (round_trip, probe) = (Arc::new(RoundTrip::default()), Arc::new(Notify::new()));
        probe.notify_one();
        let watched = watch(link, Prompt, settings(0, 3), Arc::clone(&round_trip), probe);
        let dead = tokio::time::timeout(Duration::from_millis(200), watched).await;
        assert!(dead.is_err());
        assert!(round_trip.get().unwrap() >= Duration::from_millis(5));
    }
}
