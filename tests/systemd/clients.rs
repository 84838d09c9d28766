//! Clients that come all the time, while something happens to the service.

use serde_json::Value;
use tunneld_lab::process::printed;

use crate::lab::Lab;

/// A target for many short connections, at 127.0.0.1:9001; the one of the lab starts a service for each.
const TARGET: &str = r#"
set -e
cat >/srv/echo.py <<'END'
import asyncio
async def echo(reader, writer):
    while data := await reader.read(4096):
        writer.write(data)
    writer.close()
async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 9001, backlog=1024)
    open("/run/lab-echo-ready", "w")
    await server.serve_forever()
asyncio.run(main())
END
systemd-run --quiet --unit=lab-echo-many python3 /srv/echo.py
for _ in $(seq 600); do test ! -e /run/lab-echo-ready || break; sleep 0.1; done
test -e /run/lab-echo-ready
"#;

/// Puts them in place, and what they talk to.
pub(crate) fn prepare(lab: &Lab) {
    lab.run(TARGET);
    let clients = include_str!("clients.py");
    lab.run(&format!("cat >/srv/clients.py <<'END'\n{clients}END"));
}

/// What became of those that came to these kinds of places while a command ran, and until another one
/// succeeds.
pub(crate) fn during(lab: &Lab, kinds: &str, command: &str, until: &str) -> Value {
    let output = lab.sh(&format!(
        "python3 /srv/clients.py '{command}' '{until}' {kinds} 2>&1"
    ));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{command}\n{}\n{}",
        printed(&output),
        lab.state()
    );
    println!("clients during `{command}`: {said}");
    serde_json::from_str(said.lines().last().unwrap()).unwrap()
}

/// None of them was refused or cut, and each got its echo.
#[track_caller]
pub(crate) fn all_were_served(lab: &Lab, clients: &Value) {
    for what in ["refused", "late", "cut"] {
        let none = clients[what].as_array().is_some_and(Vec::is_empty);
        assert!(none, "{what}: {clients:#}\n{}", lab.state());
    }
    assert_eq!(clients["begun"], clients["echoed"]);
}
