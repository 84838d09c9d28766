//! `tunneld completions`: bash, zsh and fish complete commands, options and the names of tunnels.

use std::fmt::Debug;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{Signal, poll, printed};
use tunneld_lab::terminal::Terminal;

use crate::support::{LONG, assert_exit, binary, builder, command, stdout, within};

/// Tunnels of these names that are not started.
fn config(names: &[&str]) -> String {
    let tunnel = |name: &&str| {
        format!(
            "[tunnels.{name}]\nenabled = false\nhost = \"h\"\nuser = \"u\"\n\
             local_forward = \"127.0.0.1:1:localhost:1\"\n"
        )
    };
    names.iter().map(tunnel).collect()
}

/// A daemon with `alpha`, `beta` and `beta-2`, whose file has been changed since.
fn daemon() -> Daemon {
    let daemon = builder()
        .config(&config(&["alpha", "beta", "beta-2"]))
        .start();
    daemon.write_config(&config(&["alpha", "gamma"]));
    daemon
}

#[test]
fn the_scripts_in_the_packages_are_those_of_the_program() {
    // packaging/completions/ has what `tunneld completions SHELL` prints: where they differ, it is to be
    // written there anew.
    for (shell, name) in [
        ("bash", "tunneld.bash"),
        ("zsh", "_tunneld"),
        ("fish", "tunneld.fish"),
    ] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/completions");
        let packed = std::fs::read_to_string(Path::new(folder).join(name)).unwrap();
        let output = command(binary())
            .args(["completions", shell])
            .output()
            .unwrap();
        assert_eq!(packed, stdout(&output), "packaging/completions/{name}");
    }
}

/// A shell that finds the program and asks this daemon.
fn shell(daemon: &Daemon, program: &str) -> Command {
    let mut shell = command(program);
    in_front(&mut shell);
    shell
        .env("TUNNELD_CONFIG", daemon.config_path())
        .env("HOME", daemon.dir())
        .env("TERM", "dumb");
    shell
}

fn in_front(command: &mut Command) {
    let ours = binary().parent().unwrap().display().to_string();
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{ours}:{path}"));
}

/// What bash offers for the last of these words.
fn in_bash(daemon: &Daemon, words: &[&str]) -> Vec<String> {
    let script = "source <(tunneld completions bash)
        COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
        _clap_complete_tunneld tunneld \"${!#}\" \"\"
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = shell(daemon, "bash");
    let output = within(
        bash.args(["--norc", "-c", script, "bash"]).args(words),
        LONG,
    );
    assert_exit(&output, 0);
    assert!(output.stderr.is_empty(), "{}", printed(&output));
    stdout(&output).lines().map(str::to_owned).collect()
}

/// Types into an interactive shell the beginning of a line and the tab key; returns the line that has
/// become of it.
fn typed(shell: Command, setup: &str, line: &str) -> String {
    let program = shell.get_program().to_owned();
    let args: Vec<_> = shell.get_args().map(ToOwned::to_owned).collect();
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(program).args(args);
    for (name, value) in shell.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut terminal = Terminal::run(command);
    terminal.type_line(setup);
    terminal.type_line("echo re\"\"ady");
    terminal.wait_for("ready", LONG);
    // Tab; then, at the beginning of the line, what shows the line instead of running it.
    terminal.type_line(&format!("{line}\t\u{1}echo g\"\"ot: "));
    terminal.wait_for("got: ", LONG);
    terminal.type_line("exit");
    let (_, screen) = terminal.wait_exit(LONG);
    let at = screen.find("got: ").unwrap();
    let line = screen[at..].lines().next().unwrap_or_default();
    line.trim_start_matches("got: ").trim().to_owned()
}

/// Names have a fifth of a second to come, which a busy machine may not keep.
#[track_caller]
fn offers<T: PartialEq<U> + Debug, U: Debug>(expected: &U, look: impl Fn() -> T) {
    let found = poll(LONG, || (look() == *expected).then_some(()));
    assert!(found.is_some(), "{:?}, not {expected:?}", look());
}

#[test]
fn bash_completes_names_of_the_running_daemon() {
    // Of the daemon, and not of the file as it is now.
    let daemon = daemon();
    for words in [
        &["tunneld", "status", ""][..],
        &["tunneld", "stop", "alpha", ""],
        &["tunneld", "start", ""],
        &["tunneld", "restart", ""],
        &["tunneld", "test", ""],
        &["tunneld", "trust", ""],
        &["tunneld", "authorize", ""],
        &["tunneld", "explain", ""],
    ] {
        offers(&["alpha", "beta", "beta-2"], || in_bash(&daemon, words));
    }
    offers(&["beta", "beta-2"], || {
        in_bash(&daemon, &["tunneld", "status", "b"])
    });
    assert_eq!(in_bash(&daemon, &["tunneld", "stat"]), ["status"]);
    let options = in_bash(&daemon, &["tunneld", "reload", "--"]);
    assert!(options.contains(&"--dry-run".to_owned()), "{options:?}");
    let levels = in_bash(&daemon, &["tunneld", "run", "--log-level", ""]);
    assert_eq!(levels, ["error", "warn", "info", "debug"]);
}

#[test]
fn bash_completes_at_the_keyboard() {
    let daemon = daemon();
    offers(&"tunneld status alpha", || {
        let mut bash = shell(&daemon, "bash");
        bash.args(["--norc", "--noprofile", "-i"]);
        let setup = "source <(tunneld completions bash)";
        typed(bash, setup, "tunneld status al")
    });
}

#[test]
fn bash_knows_an_option_and_its_value_that_are_written_with_a_sign() {
    // It takes them for three words, and replaces the last one only.
    let daemon = daemon();
    let elsewhere = daemon.dir().join("elsewhere.toml");
    std::fs::write(&elsewhere, config(&["delta"])).unwrap();
    let file = elsewhere.to_str().unwrap();
    offers(&["delta"], || {
        let words = ["tunneld", "--config", "=", file, "stop", ""];
        in_bash(&daemon, &words)
    });
    let after = ["tunneld", "stop", "--config", "=", file, ""];
    offers(&["delta"], || in_bash(&daemon, &after));
    let formats = |word| in_bash(&daemon, &["tunneld", "run", "--log-format", "=", word]);
    assert_eq!(formats("j"), ["journal", "json"]);
    let mut bash = shell(&daemon, "bash");
    bash.args(["--norc", "--noprofile", "-i"]);
    let setup = "source <(tunneld completions bash)";
    let line = typed(bash, setup, "tunneld run --log-format=js");
    assert_eq!(line, "tunneld run --log-format=json");
}

#[test]
fn zsh_completes_at_the_keyboard() {
    // From a line of .zshrc, and from a file of $fpath at its first use.
    let daemon = daemon();
    let zsh = || {
        let mut zsh = shell(&daemon, "zsh");
        zsh.args(["-f", "-i"]);
        zsh
    };
    let sourced = "autoload -Uz compinit; compinit -u -D; source <(tunneld completions zsh)";
    offers(&"tunneld stop alpha", || {
        typed(zsh(), sourced, "tunneld stop al")
    });
    let folder = daemon.dir().join("functions");
    std::fs::create_dir(&folder).unwrap();
    let written = format!(
        "tunneld completions zsh >{0}/_tunneld; fpath+={0}; autoload -Uz compinit; compinit -u -D",
        folder.display()
    );
    offers(&"tunneld restart alpha", || {
        typed(zsh(), &written, "tunneld restart al")
    });
}

#[test]
fn fish_completes_names_with_how_the_tunnels_are() {
    let daemon = daemon();
    let script = "tunneld completions fish | source; complete -C 'tunneld status b'";
    offers(&"beta\tstopped\nbeta-2\tstopped\n", || {
        let mut fish = shell(&daemon, "fish");
        stdout(&within(fish.args(["--no-config", "-c", script]), LONG))
    });
}

/// The names that are offered with these options in front, and how long that took. Nothing is said.
fn offered(dir: &Path, options: &[&str]) -> (Vec<String>, Duration) {
    let mut tunneld = command(binary());
    tunneld.env("_TUNNELD_COMPLETE", "fish").env("HOME", dir);
    tunneld
        .args(["--", "tunneld"])
        .args(options)
        .args(["stop", ""]);
    let began = Instant::now();
    let output = within(&mut tunneld, LONG);
    let took = began.elapsed();
    assert_exit(&output, 0);
    assert!(output.stderr.is_empty(), "{}", printed(&output));
    let stdout = stdout(&output);
    let names = stdout
        .lines()
        .map(|line| line.split('\t').next().unwrap_or_default());
    let names = names.filter(|name| !name.starts_with('-'));
    (names.map(str::to_owned).collect(), took)
}

#[test]
fn without_a_daemon_that_answers_names_are_those_of_the_file() {
    // At once also when the daemon hangs; and nothing at all where there is no file.
    let mut daemon = daemon();
    let (dir, config) = (daemon.dir().to_owned(), daemon.config_path().to_owned());
    let option = format!("--config={}", config.display());
    offers(&["alpha", "beta", "beta-2"], || offered(&dir, &[&option]).0);
    daemon.signal(Signal::STOP);
    let at = config.to_str().unwrap();
    offers(&["alpha", "gamma"], || {
        let (names, took) = offered(&dir, &["--config", at]);
        assert!(took < Duration::from_secs(2), "{took:?}");
        names
    });
    daemon.kill9();
    offers(&["alpha", "gamma"], || offered(&dir, &[&option]).0);
    assert!(offered(&dir, &["--config", "/nonexistent"]).0.is_empty());
    daemon.write_config("[tunnels");
    assert!(offered(&dir, &[&option]).0.is_empty());
}

#[test]
fn the_names_of_another_daemon_are_not_offered() {
    // This one listens where the daemon of a machine does. A file that is named and cannot be read
    // says nothing, nor does a socket that is named and that nobody listens on.
    let daemon = daemon();
    let (socket, nobody) = (daemon.socket().display(), daemon.dir().join("nobody"));
    let run = format!(
        "mount -t tmpfs none /run && mkdir /run/tunneld &&
         ln -s {socket} /run/tunneld/control.sock && exec \"$0\" \"$@\""
    );
    let offered = |option: &str| {
        let mut tunneld = command("unshare");
        tunneld.env("_TUNNELD_COMPLETE", "fish");
        tunneld.args(["--mount", "sh", "-c", &run]).arg(binary());
        tunneld.args(["--", "tunneld"]);
        if !option.is_empty() {
            tunneld.arg(format!("{option}={}", nobody.display()));
        }
        stdout(&within(tunneld.args(["stop", ""]), LONG))
    };
    offers(&true, || offered("").contains("alpha"));
    for option in ["--config", "--socket"] {
        let offered = offered(option);
        assert!(!offered.contains("alpha"), "{option}: {offered}");
    }
}

#[test]
fn a_file_below_the_home_directory_is_found() {
    // The shell leaves `~/` to the program while somebody types.
    let daemon = daemon();
    let dir = daemon.dir().to_owned();
    std::fs::write(dir.join("mine.toml"), config(&["mine"])).unwrap();
    offers(&["mine"], || offered(&dir, &["--config", "~/mine.toml"]).0);
    offers(&["mine"], || offered(&dir, &["--config=~/mine.toml"]).0);
}
