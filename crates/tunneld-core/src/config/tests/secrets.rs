//! A secret that somebody has written into the file is shown by no problem of the file.

use super::*;
use crate::config::load_bytes;

const SECRET: &str = "hunter2/of Db";

/// The problems of a text, which has the secret: with their places, their excerpts and as data.
#[track_caller]
fn told(text: &str) -> String {
    let problems = load(text).expect_err(text);
    let data = serde_json::to_string(&problems.to_json_items()).unwrap();
    let all = format!("{problems}{}{problems:?}{data}", problems.render(true));
    for part in ["hunter2", "of Db"] {
        assert!(!all.contains(part), "{text}\n{all}");
    }
    problems.to_string()
}

#[test]
fn a_secret_is_never_in_the_file_and_never_shown() {
    let text = format!(
        "[tunnels.db]\nhost = \"db\"\nlocal_forward = \"5432:db:5432\"\npassword = \"{SECRET}\"\n"
    );
    assert_eq!(
        told(&text),
        r#"error: unknown key `password`
 --> /etc/tunneld/tunneld.toml:4:1
  |
4 | password = …
  | ^^^^^^^^
  |
  = help: secrets are never in this file: `password_credential` and `passphrase_credential` name a credential of systemd or a file that has them
"#
    );
}

#[test]
fn the_line_of_a_secret_is_shown_without_it_for_every_other_problem_too() {
    // Before it, behind it and around it, and what is only related.
    let text = format!(
        "[tunnels.db]\nhost = 'db'\nlocal_forward = '1:a:1'\n\
         proxy_jump = {{ host = 'b', port = 0, password = '{SECRET}', user = 7 }}\n"
    );
    assert_eq!(
        told(&text),
        r#"error: `port` wants a number from 1 to 65535, not `0`
 --> /etc/tunneld/tunneld.toml:4:35
  |
4 | proxy_jump = { host = 'b', port = 0, password = …
  |                                   ^

error: unknown key `password`
 --> /etc/tunneld/tunneld.toml:4:38
  |
4 | proxy_jump = { host = 'b', port = 0, password = …
  |                                      ^^^^^^^^
  |
  = help: secrets are never in this file: `password_credential` and `passphrase_credential` name a credential of systemd or a file that has them

error: `user` wants a login name, not a number
 --> /etc/tunneld/tunneld.toml:4:73
  |
4 | proxy_jump = { host = 'b', port = 0, password = …
  |                                                 ^
"#
    );
}

#[test]
fn a_secret_in_a_file_that_is_not_toml_is_not_shown() {
    // Without quotes, without the last one, twice, and over several lines.
    for line in [
        format!("password = {SECRET}"),
        format!("password = \"{SECRET}"),
        format!("password = \"{SECRET}\" \"{SECRET}\""),
        format!("password = \"{SECRET}\"\npassword = '{SECRET}'"),
        format!("password = \"\"\"\n{SECRET}\\q\n{SECRET}"),
        format!("password = [\n'{SECRET}',\n{SECRET}\n]"),
        format!("\"password\" = {SECRET}\nhost = "),
        format!("proxy = http://u:{SECRET}@p:80"),
        format!("proxy_jump = [\n'b',\n'u:{SECRET}@c'\n'd']"),
    ] {
        told(&format!("[tunnels.db]\n{line}\n"));
    }
    let bytes = b"[tunnels.db]\npassword = \"\xe9hunter2\"\n";
    let problems = load_bytes(bytes, &origin(), &surroundings()).unwrap_err();
    assert!(!problems.to_string().contains("hunter2"), "{problems}");
}

#[test]
fn what_is_more_likely_a_secret_than_its_place_is_not_shown() {
    let text = "[tunnels.db]\nhost = \"db\"\nlocal_forward = \"5432:db:5432\"\n\
                password_credential = \"hunter2!\"\n";
    assert_eq!(
        told(text),
        r#"error: `password_credential` is no name of a credential: letters, digits, `.`, `_` and `-`
 --> /etc/tunneld/tunneld.toml:4:23
  |
4 | password_credential = …
  |                       ^
  |
  = help: write the name that LoadCredential= has in the unit, or a path with a `/`; secrets are never in this file
"#
    );
    let long = "hunter2".repeat(40);
    for value in [
        "'hunter2 of Db'",
        "['hunter2']",
        "{ value = 'hunter2' }",
        "'hunter2@x'",
        "'~hunter2/x'",
        "'''\nhunter2 '''",
        &format!("'{long}'"),
    ] {
        told(&format!(
            "[defaults]\npassphrase_credential = {value}\n[tunnels]\n"
        ));
    }
}

#[test]
fn a_password_beside_a_login_name_is_not_shown() {
    for line in [
        "proxy = 'http://u:hunter2@p:80'",
        "proxy = 'u:hunter2@p:80'",
        "proxy = 'https://u:hunter2@p'",
        "proxy = ['http://u:hunter2@p:80']",
        "proxy_jump = 'u:hunter2@b'",
        "proxy_jump = 'u:hunter2,x@b'",
        "proxy_jump = 'a,ssh://u:hunter2@b:22'",
        "proxy_jump = 'http://u:hunter2@b:22'",
        "proxy_jump = ['a:22', 'u:hunter2@b']",
        "proxy_jump = { host = 'u:hunter2@b' }",
        "http_proxy = 'http://u:hunter2@p:80'",
    ] {
        told(&format!(
            "[tunnels.db]\nhost = 'db'\nlocal_forward = '1:a:1'\n{line}\n"
        ));
    }
    let said = told("[tunnels.db]\nhost = 'u:hunter2@db'\nlocal_forward = '1:a:1'\n");
    assert!(said.contains("write host = \"db\"; secrets are never in this file"));
}
