//! `tunneld explain`: what is printed where, and what is refused. The pages are in tunneld-core, and
//! the commands are run in tests/ssh.

use crate::support::{
    Folder, LONG, assert_exit, assert_has, binary, command, stderr, stdout, tunneld, within,
};

const FILE: &str = "[defaults]\nuser = \"u\"\n\
                    [tunnels.db]\nhost = \"db\"\nlocal_forward = \"5432:localhost:5432\"\n\
                    [tunnels.web]\nhost = \"web\"\nremote_forward = \"8080:localhost:80\"\n";

#[test]
fn all_tunnels_are_explained_or_the_one_that_is_named() {
    // No server is asked, and no daemon.
    let folder = Folder::new();
    let file = folder.write("t.toml", FILE);
    let all = tunneld(&["explain", "--config", &file]);
    assert_exit(&all, 0);
    assert_has(
        &stdout(&all),
        &["db: a session to u@db:22", "web: a session to u@web:22"],
    );
    let one = tunneld(&["explain", "web", "--config", &file]);
    assert_exit(&one, 0);
    assert!(!stdout(&one).contains("db: "), "{}", stdout(&one));
    assert_eq!(stderr(&one), "");
}

#[test]
fn the_drawing_has_the_characters_that_the_locale_has() {
    let folder = Folder::new();
    let file = folder.write("t.toml", FILE);
    for (locale, arrow) in [("C", "==> db"), ("C.UTF-8", "═▶ db")] {
        let mut command = command(binary());
        command
            .env("LC_ALL", locale)
            .args(["explain", "db", "--config", &file]);
        let shown = stdout(&within(&mut command, LONG));
        assert_has(&shown, &[arrow]);
        assert_eq!(shown.is_ascii(), locale == "C", "{shown}");
    }
}

#[test]
fn a_tunnel_that_is_not_there_and_a_bad_file_are_told() {
    let folder = Folder::new();
    let file = folder.write("t.toml", FILE);
    let output = tunneld(&["explain", "wbe", "--config", &file]);
    assert_exit(&output, 1);
    assert_eq!(stdout(&output), "");
    assert_has(
        &stderr(&output),
        &["no tunnel `wbe`; there are: db, web; did you mean `web`?"],
    );
    let bad = folder.write("bad.toml", "[tunnels.db]\n");
    assert_exit(&tunneld(&["explain", "--config", &bad]), 78);
}
