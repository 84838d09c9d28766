//! Networks that are not there, or not all the time.

use std::time::{Duration, Instant};

use tunneld_core::events;

use crate::lab::{LISTEN, LONG, Lab, db};
use crate::survives::QUICK;
use tunneld_lab::process::poll;

/// Another machine, with a server and a target, and no cable yet.
const FAR: &str = r"
set -e
ip netns add far
ip -n far link set lo up
sed 's/^ListenAddress .*/ListenAddress 0.0.0.0/' /srv/sshd_config >/srv/far_config
cat >/run/systemd/system/far-sshd.service <<END
[Service]
Type=notify
NetworkNamespacePath=/run/netns/far
ExecStart=/usr/sbin/sshd -D -e -f /srv/far_config
END
cat >/run/systemd/system/far-echo.socket <<END
[Socket]
NetworkNamespacePath=/run/netns/far
ListenStream=127.0.0.1:9000
Accept=yes
END
cp /etc/systemd/system/lab-echo@.service /run/systemd/system/far-echo@.service
systemctl daemon-reload
systemctl start far-sshd.service far-echo.socket
echo [10.99.0.2]:2222 $(cut -d ' ' -f 1,2 /srv/host_key.pub) >>/etc/tunneld/known_hosts
";

/// The cable.
const CABLE: &str = r"
set -e
ip link add near type veth peer name far netns far
ip addr add 10.99.0.1/24 dev near
ip link set near up
ip -n far addr add 10.99.0.2/24 dev far
ip -n far link set far up
";

/// Not even a loopback: the start is over when that is known, and says so. With the network the
/// tunnel comes, and its port.
pub(crate) fn a_start_without_a_network_waits_for_it(lab: &Lab) {
    lab.run("systemctl stop tunneld");
    lab.run(FAR);
    lab.write(&(db("10.99.0.2", &[LISTEN]) + QUICK));
    lab.run("ip link set lo down && systemctl start tunneld");
    assert_eq!(lab.property("ActiveState"), "active");
    let text = lab.property("StatusText");
    assert!(
        text.starts_with("0 of 1 up; db: ") && text.contains("network is unreachable"),
        "{text}"
    );
    lab.run("ip link set lo up");
    lab.run(CABLE);
    lab.wait_for("StatusText", |text| text == "1 of 1 up");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
    assert_eq!(lab.property("NRestarts"), "0");
}

/// Packets vanish and nobody says so; then the cable is out. The status line and the journal tell of
/// both, and it comes back by itself.
pub(crate) fn a_network_that_is_cut_is_noticed_and_comes_back(lab: &Lab) {
    for (cut, heal, cause) in [
        (
            // What comes back from there is lost.
            "ip -n far route add blackhole 10.99.0.1/32",
            "ip -n far route del blackhole 10.99.0.1/32",
            "no reply",
        ),
        (
            "ip link set near down",
            "ip link set near up",
            "unreachable",
        ),
    ] {
        let began = lab.run("date +%s.%N");
        lab.run(cut);
        lab.wait_for("StatusText", |text| {
            text.starts_with("0 of 1 up; db: ") && text.contains(cause)
        });
        let since = |event| lab.entries(&format!("--since=@{began} TUNNEL=db MESSAGE_ID={event}"));
        assert!(!since(events::TUNNEL_DOWN).is_empty(), "{}", lab.state());
        lab.run(heal);
        lab.wait_for("StatusText", |text| text == "1 of 1 up");
        assert!(lab.echoes(LISTEN), "{}", lab.state());
        assert_eq!(since(events::TUNNEL_UP).len(), 1, "{}", lab.state());
    }
    lab.run(
        "systemctl stop far-sshd.service far-echo.socket
         rm /run/systemd/system/far-*
         ip link del near && ip netns del far && systemctl daemon-reload",
    );
}

/// No resolver, and one that never answers: the start is over when that is known, and a tunnel that
/// needs no name is up. With an answer the other one comes.
pub(crate) fn a_resolver_that_is_away_keeps_the_others_from_nothing(lab: &Lab) {
    let named = db("far.lab.example", &[LISTEN + 1]).replace("tunnels.db", "tunnels.named");
    lab.write(&format!(
        "{}{QUICK}{named}{QUICK}",
        db("127.0.0.1", &[LISTEN])
    ));
    lab.run("cp /etc/hosts /srv/hosts");
    for resolver in [
        "rm -f /etc/resolv.conf",
        // Takes questions, and is silent.
        "set -e
         ip link add quiet type veth peer name quieter
         ip link set quiet up && ip link set quieter up
         ip addr add 10.98.0.1/24 dev quiet
         ip neigh add 10.98.0.2 lladdr 02:00:00:00:00:02 dev quiet
         echo nameserver 10.98.0.2 >/etc/resolv.conf",
    ] {
        lab.run(resolver);
        let began = Instant::now();
        lab.run("systemctl restart tunneld");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(15), "{took:?}");
        let text = lab.property("StatusText");
        assert!(text.starts_with("1 of 2 up; named: "), "{text}");
        assert!(lab.echoes(LISTEN), "{}", lab.state());
    }
    lab.run(
        "echo 127.0.0.1 far.lab.example >>/etc/hosts
         echo [far.lab.example]:2222 $(cut -d ' ' -f 1,2 /srv/host_key.pub) >>/etc/tunneld/known_hosts",
    );
    lab.wait_for("StatusText", |text| text == "2 of 2 up");
    let there = poll(LONG, || lab.echoes(LISTEN + 1).then_some(()));
    assert!(there.is_some(), "{}", lab.state());
    lab.run("cp /srv/hosts /etc/hosts && ip link del quiet");
}
