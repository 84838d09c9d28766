//! `tunneld import`: units by their names, and as `systemctl cat` prints them.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use crate::import::{command, taken, unit};
use crate::support::{Folder, LONG, assert_exit, assert_has, stderr, stdout, within};

/// Runs `tunneld import` with this printed into it.
fn piped(folder: &Folder, args: &[&str], text: &str) -> Output {
    let mut command = command(folder, &[&["import"], args].concat());
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may have had enough before the end.
    let _ = stdin.write_all(
        text.replace("{dir}", &folder.at("").display().to_string())
            .as_bytes(),
    );
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// Runs `tunneld import` where systemd has its units in these folders.
fn searched(folder: &Folder, folders: &[&str], args: &[&str]) -> Output {
    let mut command = command(folder, &[&["import"], args].concat());
    let path = folders.iter().map(|name| match *name {
        "" => String::new(),
        name => folder.at(name).display().to_string(),
    });
    let path: Vec<_> = path.collect();
    command.env("SYSTEMD_UNIT_PATH", path.join(":"));
    within(&mut command, LONG)
}

/// Empty folders.
fn folders(folder: &Folder, names: &[&str]) {
    for name in names {
        fs::create_dir_all(folder.at(name)).unwrap();
    }
}

const START: &str = "ExecStart=ssh -i {dir}/id -N -L 1001:a:1";

#[test]
fn what_systemctl_cat_prints_is_a_unit_with_what_adds_to_it() {
    // In the order in which it is printed: the last setting counts, and an empty one takes back.
    let folder = Folder::new();
    let text = format!(
        "# /etc/systemd/system/autossh-db.service\n[Service]\nUser=old\n{START} old\nRestartSec=7\n\n\
         # /etc/systemd/system/autossh-db.service.d/10-where.conf\n[Service]\nUser=root\nExecStart=\n\
         {START} middle\n\n\
         # /run/systemd/system/autossh-db.service.d/20-where.conf\n[Service]\nExecStart=\n{START} new\n"
    );
    let text = taken(&folder, &piped(&folder, &["-"], &text));
    assert_eq!(text.matches("[tunnels.").count(), 1, "{text}");
    assert_has(
        &text,
        &[
            "# from /run/systemd/system/autossh-db.service.d/20-where.conf:3\n",
            "[tunnels.db]\nhost = \"new\"\nuser = \"root\"\n",
            "reconnect = { initial = \"7s\" }\n",
        ],
    );
}

#[test]
fn systemctl_cat_may_print_several_units_and_templates() {
    // As for `systemctl cat 'autossh-*'`; it does not print which instance was meant.
    let folder = Folder::new();
    let text = format!(
        "# /etc/systemd/system/autossh-a.service\n[Service]\n{START} a\n\n\
         # /etc/systemd/system/autossh@.service\n[Service]\nExecStart=ssh -i {{dir}}/id -N -L 1002:a:1 %i\n"
    );
    let both = taken(&folder, &piped(&folder, &["--instance", "b", "-"], &text));
    assert_has(&both, &["[tunnels.a]\n", "[tunnels.b]\nhost = \"b\"\n"]);
    let output = piped(&folder, &["-"], &text);
    assert_exit(&output, 1);
    assert_has(&stdout(&output), &["[tunnels.a]\n"]);
    assert_has(
        &stderr(&output),
        &[
            "error: /etc/systemd/system/autossh@.service:2: ",
            "--instance NAME",
        ],
    );
}

#[test]
fn a_unit_that_does_not_say_what_it_is_called_is_called_after_the_host() {
    // `cat FILE`, perhaps on another machine; what depends on the name of the unit is not guessed.
    let folder = Folder::new();
    let output = piped(
        &folder,
        &["-"],
        &format!("[Service]\n{START} db.example.com\n"),
    );
    let text = taken(&folder, &output);
    assert_has(&text, &["# from standard input:2\n[tunnels.db]\n"]);
    let output = piped(
        &folder,
        &["-"],
        &format!("[Service]\n{START} %p.example.com\n"),
    );
    assert_exit(&output, 1);
    let said = "error: standard input:2: ExecStart= has `%p`, and it is not known";
    assert_has(&stderr(&output), &[said]);
}

#[test]
fn standard_input_that_is_empty_or_has_no_end_is_refused() {
    let folder = Folder::new();
    let output = piped(&folder, &["-"], "");
    assert_exit(&output, 1);
    assert_has(
        &stderr(&output),
        &["error: standard input: is empty", "systemctl cat UNIT"],
    );
    let unit = |n: usize| format!("# /{n}.service\n[Service]\n");
    for (text, said) in [
        ("#\n".repeat(1 << 20), "has more than 1048576 bytes"),
        ((0..=1_000).map(unit).collect(), "has more than 1000 units"),
    ] {
        let output = piped(&folder, &["-"], &text);
        assert_exit(&output, 1);
        assert_eq!(stdout(&output), "");
        assert_has(
            &stderr(&output),
            &[&format!("error: standard input: {said}")],
        );
    }
}

#[test]
fn a_name_is_looked_up_where_systemd_has_its_units() {
    // The first folder that has it counts; what adds to it may be in any of them.
    let folder = Folder::new();
    folders(&folder, &["etc", "lib/autossh-db.service.d", "lib"]);
    unit(&folder, "lib/autossh-db.service", &format!("{START} lib"));
    let search = |args: &[&str]| taken(&folder, &searched(&folder, &["etc", "lib"], args));
    let text = search(&["autossh-db.service"]);
    assert_has(
        &text,
        &["lib/autossh-db.service:4\n[tunnels.db]\nhost = \"lib\"\n"],
    );
    unit(&folder, "etc/autossh-db.service", &format!("{START} etc"));
    assert_has(&search(&["autossh-db.service"]), &["host = \"etc\"\n"]);
    // As for systemctl, it may be without its type.
    assert_has(&search(&["autossh-db"]), &["host = \"etc\"\n"]);
    let more = "[Service]\nRestartSec=7\n";
    folder.write("lib/autossh-db.service.d/x.conf", more);
    let text = search(&["autossh-db.service"]);
    assert_has(
        &text,
        &["host = \"etc\"\n", "reconnect = { initial = \"7s\" }\n"],
    );
}

#[test]
fn an_instance_is_a_unit_of_its_own_or_that_of_its_template() {
    let folder = Folder::new();
    folders(&folder, &["lib/autossh@db.service.d", "etc"]);
    unit(&folder, "lib/autossh@.service", &format!("{START} %i"));
    let search = |args: &[&str]| taken(&folder, &searched(&folder, &["etc", "lib"], args));
    for args in [
        &["autossh@db.service"][..],
        &["--instance", "db", "autossh@.service"],
    ] {
        assert_has(&search(args), &["[tunnels.db]\nhost = \"db\"\n"]);
    }
    folder.write(
        "lib/autossh@db.service.d/x.conf",
        "[Service]\nRestartSec=7\n",
    );
    assert_has(
        &search(&["autossh@db"]),
        &["reconnect = { initial = \"7s\" }\n"],
    );
    assert!(!search(&["autossh@wiki"]).contains("reconnect"));
    unit(&folder, "lib/autossh@db.service", &format!("{START} own"));
    unit(
        &folder,
        "etc/autossh@.service",
        &format!("{START} template"),
    );
    assert_has(&search(&["autossh@db.service"]), &["host = \"own\"\n"]);
    assert_has(
        &search(&["autossh@wiki.service"]),
        &["host = \"template\"\n"],
    );
}

#[test]
fn a_file_here_and_a_path_are_files() {
    // As before there were names: only what is no file here is looked up.
    let folder = Folder::new();
    folders(&folder, &["etc"]);
    unit(&folder, "etc/autossh-db.service", &format!("{START} etc"));
    let output = searched(&folder, &["etc"], &["./autossh-db.service"]);
    assert_exit(&output, 1);
    assert_eq!(
        stderr(&output),
        "error: ./autossh-db.service: no such file or directory\n"
    );
    unit(&folder, "autossh-db.service", &format!("{START} here"));
    let output = searched(&folder, &["etc"], &["autossh-db.service"]);
    assert_has(&taken(&folder, &output), &["host = \"here\"\n"]);
}

#[test]
fn a_unit_that_is_not_there_or_masked_is_told_with_what_was_looked_for_and_where() {
    let folder = Folder::new();
    folders(&folder, &["etc", "lib"]);
    let output = searched(&folder, &["etc", "lib"], &["autossh@db"]);
    assert_exit(&output, 1);
    assert_eq!(
        stderr(&output),
        format!(
            "error: autossh@db: no such file here, and no unit `autossh@db.service` or \
             `autossh@.service` in {}, {}; a unit of a user's own is given by its path\n",
            folder.at("etc").display(),
            folder.at("lib").display()
        )
    );
    // A path that ends with nothing goes on with the usual one.
    let output = searched(&folder, &["etc", ""], &["no-such-tunnel.service"]);
    assert_has(
        &stderr(&output),
        &["/etc, /etc/systemd/system, /run/systemd/system, /usr/local/lib/systemd/system, "],
    );
    unit(&folder, "lib/autossh-db.service", &format!("{START} db"));
    let link = folder.at("etc/autossh-db.service");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let output = searched(&folder, &["etc", "lib"], &["autossh-db.service"]);
    assert_exit(&output, 1);
    let said = format!("is masked: {} is a link to /dev/null", link.display());
    assert_has(&stderr(&output), &[&said]);
}

#[test]
fn of_what_was_printed_perhaps_elsewhere_only_its_files_are_looked_for_here() {
    // `%H` has another value on another machine; a file of variables is said to be this machine's.
    let folder = Folder::new();
    let printed = |line: &str| {
        let unit = "# /etc/systemd/system/autossh-db.service";
        format!("{unit}\n[Service]\nEnvironmentFile={{dir}}/env\n{START} {line}\n")
    };
    folder.write("env", "PLACE=there\n");
    let output = piped(&folder, &["-"], &printed("$PLACE"));
    assert_has(&taken(&folder, &output), &["host = \"there\"\n"]);
    assert_has(&stderr(&output), &["/env: was read on this machine\n"]);
    let output = piped(&folder, &["-"], &printed("%H"));
    assert_exit(&output, 1);
    assert_has(
        &stderr(&output),
        &["`%H`, a specifier whose value is not known here"],
    );
}

#[test]
fn what_is_wrong_with_a_command_is_told_once_with_its_place() {
    // A specifier that the template alone does not say, and variables that are set nowhere.
    let folder = Folder::new();
    let said = |name: &str, service: &str| {
        let output = crate::import::tunneld(&folder, &["import", &unit(&folder, name, service)]);
        assert_exit(&output, 1);
        stderr(&output)
    };
    let template = said("autossh@.service", "ExecStart=ssh -N -L 1001:a:1 %i");
    assert_eq!(
        template.matches("autossh@.service").count(),
        1,
        "{template}"
    );
    assert_has(&template, &["autossh@.service:4: ExecStart= has `%i`, "]);
    let host = said("host.service", "ExecStart=ssh -N -L 1001:a:1 $HOST");
    let wanted = "host.service:4: names no host; HOST is set nowhere in the unit\n";
    assert_has(&host, &[wanted]);
    // Where it is no error, it may yet be another tunnel.
    let service = "Environment=B=db\nExecStart=ssh -i {dir}/id -N -L 1001:a:1 $A ${B}${C}";
    let output = crate::import::tunneld(&folder, &["import", &unit(&folder, "o.service", service)]);
    taken(&folder, &output);
    assert_has(
        &stderr(&output),
        &["o.service:5: A and C are set nowhere in the unit\n"],
    );
}

#[test]
fn a_run_makes_a_thousand_tunnels_and_no_more() {
    // Whatever is in the text: those that were made are printed.
    let folder = Folder::new();
    let command = START.replace("ExecStart=", "");
    let commands = vec![format!("{command} a"); 2_000].join(" ; ");
    let text = format!("[Service]\nExecStart={commands}\n");
    let output = piped(&folder, &["-"], &text);
    assert_exit(&output, 1);
    assert_eq!(stdout(&output).matches("[tunnels.").count(), 1_000);
    assert_has(
        &stderr(&output),
        &["error: at most 1000 tunnels are made in one run\n"],
    );
}
