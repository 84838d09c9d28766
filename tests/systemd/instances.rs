//! `tunneld@.service`, one file an instance, and the units of examples/systemd.

use tunneld_lab::process::{poll, printed};

use crate::lab::{LISTEN, LONG, Lab, db};

const UNIT: &str = include_str!("../../systemd/tunneld.service");
const TEMPLATE: &str = include_str!("../../systemd/tunneld@.service");

/// What each instance listens on.
const OFFICE: u16 = 5601;
const PLANT: u16 = 5602;

#[test]
fn the_template_is_the_unit_with_places_of_its_own() {
    // Line by line, but for the head of the file and what says which instance it is.
    let (_, body) = TEMPLATE.split_once("[Unit]\n").unwrap();
    let (mut extra, mut lines) = (Vec::new(), Vec::new());
    for line in body.lines() {
        match line.starts_with("Environment=") {
            true => extra.push(line),
            false => lines.push(line.replace("tunneld-%i", "tunneld")),
        }
    }
    assert_eq!(extra, ["Environment=TUNNELD_CONFIG=/etc/tunneld/%i.toml"]);
    let of_instance = "SSH tunnels of /etc/tunneld/%i.toml (tunneld)";
    lines[0] = lines[0].replace(of_instance, "SSH tunnels (tunneld)");
    let (_, body) = UNIT.split_once("[Unit]\n").unwrap();
    assert_eq!(lines, body.lines().collect::<Vec<_>>());
}

#[test]
fn instances_live_side_by_side_and_the_examples_work() {
    // One boot, with more units as it goes on.
    let lab = Lab::boot();
    two_instances_carry_bytes(&lab);
    commands_find_the_instance_by_its_file(&lab);
    a_reload_is_of_one_instance(&lab);
    a_stop_is_of_one_instance(&lab);
    the_examples_are_right(&lab);
    a_dependent_service_finds_its_tunnel(&lab);
    a_written_file_is_applied(&lab);
    a_client_of_the_socket_starts_the_service(&lab);
    a_low_port_can_be_had(&lab);
    a_key_at_home_can_be_read(&lab);
    a_socket_can_be_given_away(&lab);
    a_socket_that_was_given_away_is_no_obstacle(&lab);
    networks_can_be_kept_out(&lab);
}

/// The file of an instance: the tunnel of its own name.
fn write(lab: &Lab, instance: &str, ports: &[u16]) {
    lab.file(ports);
    lab.run(&format!(
        "cd /etc/tunneld && sed 's/^.tunnels.db.$/[tunnels.{instance}]/' tunneld.toml >{instance}.toml"
    ));
}

fn two_instances_carry_bytes(lab: &Lab) {
    write(lab, "office", &[OFFICE]);
    write(lab, "plant", &[PLANT]);
    lab.run("systemctl start tunneld@office tunneld@plant");
    for (instance, port) in [("office", OFFICE), ("plant", PLANT)] {
        assert!(lab.echoes(port), "{}", lab.state());
        let show = format!("systemctl show tunneld@{instance} -P StatusText");
        assert_eq!(lab.run(&show), "1 of 1 up");
        let places =
            format!("stat -c '%A %U' /run/tunneld-{instance} /var/lib/tunneld-{instance}/history");
        assert_eq!(lab.run(&places), "drwxr-x--- tunneld\ndrwx------ tunneld");
    }
    lab.run("test ! -e /run/tunneld");
}

/// `--config` is enough, also for members of the group; it never asks another daemon.
fn commands_find_the_instance_by_its_file(lab: &Lab) {
    for (command, said) in [
        ("tunneld --config /etc/tunneld/office.toml status", "office"),
        (
            "cd /etc/tunneld; tunneld --config plant.toml status",
            "plant",
        ),
        (
            "TUNNELD_CONFIG=/etc/tunneld/plant.toml tunneld test plant",
            "plant",
        ),
    ] {
        let said_it = lab.run(command);
        assert!(said_it.contains(said), "{command}\n{said_it}");
    }
    lab.run("runuser -u lab-member -- tunneld --config /etc/tunneld/office.toml restart office");
    let away = lab.sh("tunneld status");
    assert_eq!(away.status.code(), Some(4), "{}", printed(&away));
    let logs = "tunneld --config /etc/tunneld/office.toml logs -- -q -o json | grep -o 'tunneld@[a-z]*.service' | sort -u";
    assert_eq!(lab.run(logs), "tunneld@office.service");
}

fn a_reload_is_of_one_instance(lab: &Lab) {
    let pids = "systemctl show tunneld@office tunneld@plant -P MainPID";
    let before = lab.run(pids);
    write(lab, "office", &[OFFICE, OFFICE + 10]);
    write(lab, "plant", &[PLANT, PLANT + 10]);
    lab.run("systemctl reload tunneld@office");
    let there = poll(LONG, || lab.echoes(OFFICE + 10).then_some(()));
    assert!(there.is_some(), "{}", lab.state());
    assert!(!lab.echoes(PLANT + 10));
    lab.run("echo nonsense >/etc/tunneld/office.toml");
    assert!(!lab.sh("systemctl reload tunneld@office").status.success());
    assert!(lab.echoes(OFFICE) && lab.echoes(PLANT), "{}", lab.state());
    assert_eq!(lab.run(pids), before);
}

fn a_stop_is_of_one_instance(lab: &Lab) {
    lab.run("systemctl stop tunneld@office");
    lab.run("test ! -e /run/tunneld-office && test -d /var/lib/tunneld-office");
    assert!(!lab.echoes(OFFICE));
    assert!(lab.echoes(PLANT), "{}", lab.state());
    lab.run("systemctl stop tunneld@plant && rm /etc/tunneld/office.toml /etc/tunneld/plant.toml");
}

/// All but the drop-ins, which are looked at where they are used.
fn the_examples_are_right(lab: &Lab) {
    lab.run(
        "cp /opt/examples/*.socket /opt/examples/*.path /opt/examples/*.service /etc/systemd/system
         cat >/usr/local/bin/report <<'END'
#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/5432 && echo how many >&3 && read -t 20 -r line <&3 && echo \"$line\"
END
         chmod 755 /usr/local/bin/report
         systemctl daemon-reload",
    );
    for unit in lab
        .run("cd /opt/examples && ls *.socket *.path *.service")
        .lines()
    {
        lab.verified(unit);
    }
    lab.verified("tunneld@office.service");
}

/// Nothing but the order and the wait: tunneld is started for it.
fn a_dependent_service_finds_its_tunnel(lab: &Lab) {
    lab.file(&[LISTEN]);
    assert_eq!(lab.property("ActiveState"), "inactive");
    lab.run("systemctl start report");
    assert_eq!(lab.property("StatusText"), "1 of 1 up");
    let said = lab.said("report", "");
    assert!(said.contains("how many"), "{said}");
}

/// The file, one that takes its place, one that it includes, and each of many that follow; a tunneld that
/// does not run stays so.
fn a_written_file_is_applied(lab: &Lab) {
    lab.run("systemctl start tunneld-reload.path");
    let there = |port| {
        let there = poll(LONG, || lab.echoes(port).then_some(()));
        assert!(there.is_some(), "{port}\n{}", lab.state());
        // What is written before it is over is not seen.
        let over = "test $(systemctl show tunneld-reload -P ActiveState) = inactive";
        let over = poll(LONG, || lab.sh(over).status.success().then_some(()));
        assert!(over.is_some(), "{}", lab.state());
    };
    lab.write(&format!(
        "include = [\"tunneld.d/*.toml\"]\n{}",
        db("127.0.0.1", &[LISTEN, LISTEN + 1])
    ));
    there(LISTEN + 1);
    lab.run(&format!(
        "sed -i s/:{}:/:{}:/ /etc/tunneld/tunneld.toml",
        LISTEN + 1,
        LISTEN + 2
    ));
    there(LISTEN + 2);
    for port in LISTEN + 3..LISTEN + 9 {
        let further = db("127.0.0.1", &[port]).replace("tunnels.db", "tunnels.further");
        lab.run(&format!(
            "cat >/etc/tunneld/tunneld.d/further.toml <<'END'\n{further}END"
        ));
        there(port);
    }
    let ran = "systemctl show tunneld-reload -P InactiveEnterTimestampMonotonic";
    let before = lab.run(ran);
    lab.run("systemctl stop tunneld && rm /etc/tunneld/tunneld.d/further.toml");
    let again = poll(LONG, || (lab.run(ran) != before).then_some(()));
    assert!(again.is_some(), "{}", lab.state());
    let result = lab.run("systemctl show tunneld-reload -P Result");
    let state = lab.property("ActiveState");
    assert_eq!((result.as_str(), state.as_str()), ("success", "inactive"));
    lab.run("systemctl stop tunneld-reload.path && systemctl start tunneld");
}

fn a_client_of_the_socket_starts_the_service(lab: &Lab) {
    lab.file(&[]);
    lab.run(
        "sed -i 's|^local_forward = .*|local_forward = { listen = \"fd:web\", connect = \"127.0.0.1:9000\" }|' /etc/tunneld/tunneld.toml
         systemctl stop tunneld
         systemctl enable --now tunneld-web.socket 2>&1",
    );
    assert_eq!(lab.property("ActiveState"), "inactive");
    assert!(lab.echoes(8080), "{}", lab.state());
    lab.run("systemctl restart tunneld");
    assert!(lab.echoes(8080), "{}", lab.state());
    lab.run("systemctl stop tunneld-web.socket tunneld");
}

fn with_drop_in(lab: &Lab, name: &str) {
    lab.run(&format!(
        "rm -rf /etc/systemd/system/tunneld.service.d
         install -D -m 644 -t /etc/systemd/system/tunneld.service.d /opt/examples/{name}
         systemctl daemon-reload && systemctl restart tunneld"
    ));
    lab.verified("tunneld.service");
}

fn a_low_port_can_be_had(lab: &Lab) {
    lab.file(&[443]);
    lab.run("systemctl start tunneld");
    let text = lab.property("StatusText");
    assert!(text.contains("permission denied"), "{text}");
    with_drop_in(lab, "low-port.conf");
    assert!(lab.echoes(443), "{}", lab.state());
    let has = "grep ^Cap /proc/$(systemctl show tunneld -P MainPID)/status | cut -f 2 | sort -u";
    // CAP_NET_BIND_SERVICE, and no other.
    assert_eq!(lab.run(has), "0000000000000400");
}

fn a_key_at_home_can_be_read(lab: &Lab) {
    lab.file(&[LISTEN]);
    lab.run(
        "install -d -m 755 /home/lab-keys
         install -m 600 -o tunneld /etc/tunneld/keys/id_ed25519 /home/lab-keys/id_ed25519
         sed -i s:/etc/tunneld/keys:/home/lab-keys: /etc/tunneld/tunneld.toml
         rm -r /etc/systemd/system/tunneld.service.d && systemctl daemon-reload
         systemctl restart tunneld",
    );
    let text = lab.property("StatusText");
    assert!(text.starts_with("0 of 1 up"), "{text}");
    with_drop_in(lab, "home-keys.conf");
    assert!(lab.echoes(LISTEN), "{}", lab.state());
}

fn a_socket_can_be_given_away(lab: &Lab) {
    lab.file(&[]);
    lab.run(
        "sed -i 's|^local_forward = .*|local_forward = { listen = \"/run/tunneld/given\", connect = \"127.0.0.1:9000\", socket_owner = \"lab-member\" }|' /etc/tunneld/tunneld.toml
         rm -r /etc/systemd/system/tunneld.service.d && systemctl daemon-reload
         systemctl restart tunneld",
    );
    let text = lab.property("StatusText");
    assert!(text.contains("cannot give it to lab-member"), "{text}");
    with_drop_in(lab, "socket-owner.conf");
    assert_eq!(lab.property("StatusText"), "1 of 1 up");
    assert_eq!(lab.run("stat -c %U /run/tunneld/given"), "lab-member");
    // To one who is not let into /run/tunneld: in a folder that is there, as the example says.
    lab.run(
        "echo 'd /run/app 0755 tunneld tunneld' >/etc/tmpfiles.d/app.conf
         systemd-tmpfiles --create app.conf
         sed -i 's/^#ReadWritePaths/ReadWritePaths/' /etc/systemd/system/tunneld.service.d/socket-owner.conf
         sed -i 's:/run/tunneld/given:/run/app/given:; s:lab-member:lab-stranger:' /etc/tunneld/tunneld.toml
         systemctl daemon-reload && systemctl restart tunneld",
    );
    let connect = "import socket; socket.socket(socket.AF_UNIX).connect(\"/run/app/given\")";
    lab.run(&format!(
        "runuser -u lab-stranger -- python3 -c '{connect}'"
    ));
}

/// Its file stays when the service stops, and tunneld may not be its client: it takes its place all the
/// same, and also when it is to be another one's.
fn a_socket_that_was_given_away_is_no_obstacle(lab: &Lab) {
    lab.drop_in("given", "ReadWritePaths=/srv/given");
    lab.run("install -d -o tunneld -g tunneld /srv/given");
    let file = "/etc/tunneld/tunneld.toml";
    lab.run(&format!(
        "sed -i 's|/run/app/given|/srv/given/x|; s|lab-stranger|lab-member:lab-member|' {file}
         systemctl restart tunneld"
    ));
    let owner = "stat -c %U:%G /srv/given/x";
    assert_eq!(lab.property("StatusText"), "1 of 1 up");
    lab.run("systemctl stop tunneld");
    assert_eq!(lab.run(owner), "lab-member:lab-member");
    lab.run("systemctl start tunneld");
    assert_eq!(lab.property("StatusText"), "1 of 1 up");
    lab.run(&format!(
        "sed -i 's|lab-member:lab-member|nobody:daemon|' {file}; systemctl restart tunneld"
    ));
    assert_eq!(lab.property("StatusText"), "1 of 1 up");
    assert_eq!(lab.run(owner), "nobody:daemon");
    lab.no_drop_in("given");
}

/// As the guide has it: the unit does not know where tunnels go, and whoever does can say so.
fn networks_can_be_kept_out(lab: &Lab) {
    lab.file(&[LISTEN]);
    let with = |allowed: &str| {
        lab.drop_in(
            "networks",
            &format!("IPAddressDeny=any\nIPAddressAllow={allowed}"),
        );
        lab.run("systemctl restart tunneld");
        lab.property("StatusText")
    };
    assert!(with("10.0.0.0/8").starts_with("0 of 1 up"));
    assert_eq!(with("localhost"), "1 of 1 up");
}
