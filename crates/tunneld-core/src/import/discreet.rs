//! What is shown of a command and of variables: not what may be a secret.

use super::command::assignment;

/// The program of a command line, without its arguments: a password may be among them.
pub(super) fn program(line: &str) -> String {
    let line = line.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
    let (first, rest) = line.split_at(line.find(char::is_whitespace).unwrap_or(line.len()));
    let first = match assignment(first) {
        Some((name, _)) => format!("{name}=…"),
        None => first.trim_end_matches(['"', '\'']).to_owned(),
    };
    match rest.trim().is_empty() {
        true => first,
        false => format!("{first} …"),
    }
}

/// A line of ssh_config(5) as it is written, without the values of variables and the arguments of
/// commands.
pub(super) fn line(text: &str) -> String {
    const COMMANDS: [&str; 4] = [
        "RemoteCommand",
        "LocalCommand",
        "KnownHostsCommand",
        "ProxyCommand",
    ];
    let (keyword, value) = keyword(text);
    let before = &text[..text.len() - value.len()];
    let is = |wanted: &str| keyword.eq_ignore_ascii_case(wanted);
    if is("SetEnv") {
        let value = value.trim_start_matches('"');
        let (name, _) = value.split_once('=').unwrap_or_default();
        return match assignment(&format!("{name}=")) {
            Some(_) => format!("{before}{name}=…"),
            None => format!("{before}…"),
        };
    }
    match COMMANDS.into_iter().any(is) {
        true => format!("{before}{}", program(value)),
        false => text.to_owned(),
    }
}

/// The keyword of a line of ssh_config(5), and what is behind it.
pub(super) fn keyword(text: &str) -> (&str, &str) {
    let ends = |c: char| c.is_whitespace() || c == '=' || c == '"';
    let text = text.trim_start_matches(ends);
    let (keyword, rest) = text.split_at(text.find(ends).unwrap_or(text.len()));
    (
        keyword,
        rest.trim_start_matches(|c: char| c.is_whitespace() || c == '='),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_command_only_the_program_is_shown() {
        for (text, shown) in [
            ("mysqldump -psesame db", "mysqldump …"),
            ("'mysqldump' -psesame", "mysqldump …"),
            ("PW=sesame mysqldump", "PW=… …"),
            ("tmux", "tmux"),
            ("", ""),
        ] {
            assert_eq!(program(text), shown);
        }
    }

    #[test]
    fn of_a_line_neither_values_of_variables_nor_arguments_are_shown() {
        for (text, shown) in [
            ("SetEnv PW=sesame A=b", "SetEnv PW=…"),
            ("setenv=\"PW=se same\"", "setenv=PW=…"),
            ("SetEnv \"two words=x\"", "SetEnv …"),
            (
                "RemoteCommand mysqldump -psesame",
                "RemoteCommand mysqldump …",
            ),
            ("LocalCommand=\"curl -u a:b\"", "LocalCommand=curl …"),
            ("User me", "User me"),
        ] {
            assert_eq!(line(text), shown);
        }
    }
}
