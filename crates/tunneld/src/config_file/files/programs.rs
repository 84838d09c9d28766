//! The programs of `on_up` and `on_down`: are they there, and may they be started?

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use tunneld_core::config::{Diagnostic, TunnelSpec};
use tunneld_ssh::error::os_reason;

/// Adds what is wrong with the programs of a tunnel, and that it does not pass by itself.
pub(super) fn check(spec: &TunnelSpec, items: &mut Vec<(Diagnostic, bool)>) {
    for (key, hook) in [("on_up", &spec.on_up), ("on_down", &spec.on_down)] {
        let Some(hook) = hook else {
            continue;
        };
        let program = hook.value.command.first().map_or("", String::as_str);
        let Err(why) = runnable(program) else {
            continue;
        };
        let help = match program.contains('/') {
            true => format!("install it, make it executable, or correct `{key}`"),
            false => format!("write its whole path in `{key}`"),
        };
        let item = Diagnostic {
            span: hook.span.clone(),
            help: Some(help),
            ..Diagnostic::new(format!("cannot run {program}: {why}"))
        };
        items.push((item.with_tunnel(spec.name.clone()), false));
    }
}

/// As execvp(3) looks for it, or why it would not find it.
fn runnable(program: &str) -> Result<(), String> {
    if program.contains('/') {
        return executable(Path::new(program)).map_err(|e| os_reason(&e));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut places = std::env::split_paths(&path).map(|folder: PathBuf| folder.join(program));
    match places.any(|place| executable(&place).is_ok()) {
        true => Ok(()),
        false => Err("not found in PATH".to_owned()),
    }
}

fn executable(path: &Path) -> io::Result<()> {
    if path.metadata()?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    Ok(access(path, Access::EXEC_OK)?)
}
