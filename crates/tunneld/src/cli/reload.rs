//! `tunneld reload [--dry-run]`

use hyper::Method;
use tunneld_core::plan::{Change, PlanAction};

use super::{Places, client_failed};
use crate::config_file::{self, LoadError};
use crate::control::Reloaded;
use crate::control::client::{ClientError, call};
use crate::exit::Exit;

pub(super) fn run(places: &Places, dry_run: bool) -> Exit {
    let path = match dry_run {
        true => "/v1/reload?dry_run=true",
        false => "/v1/reload",
    };
    match call::<Reloaded>(&places.socket(), Method::POST, path) {
        Ok(reloaded) => super::print(&render(&reloaded)),
        Err(e @ ClientError::Unreachable { .. }) => unreachable(places, &e),
        Err(e) => client_failed(&e),
    }
}

/// A file that is wrong may be why the daemon is not found: what is wrong with it comes first.
fn unreachable(places: &Places, e: &ClientError) -> Exit {
    match config_file::load(&places.config) {
        Ok(_) | Err(LoadError::Unreadable { .. }) => client_failed(e),
        Err(bad @ LoadError::Bad(_)) => {
            eprintln!("{}\n", bad.render(false).trim_end());
            client_failed(e);
            Exit::BadConfig
        }
    }
}

/// One line a tunnel that there is something to say about, its reasons under it, and the count of
/// all.
fn render(reloaded: &Reloaded) -> String {
    let plan = &reloaded.plan;
    let mut out = String::new();
    let is_told = |c: &&Change| c.action != PlanAction::Keep || !c.reasons.is_empty();
    for change in plan.tunnels.iter().filter(is_told) {
        out.push_str(&format!("{:8} {}\n", change.action, change.tunnel));
        for reason in &change.reasons {
            out.push_str(&format!("           {reason}\n"));
        }
    }
    for key in &plan.needs_restart {
        out.push_str(&format!("note     {key} in [daemon] needs a restart\n"));
    }
    for warning in &reloaded.warnings {
        out.push_str(&format!("warning  {warning}\n"));
    }
    let count = |action| plan.count(action);
    out.push_str(&format!(
        "{}{} started, {} replaced, {} adjusted, {} stopped, {} unchanged\n",
        if reloaded.dry_run { "would be: " } else { "" },
        count(PlanAction::Start),
        count(PlanAction::Replace),
        count(PlanAction::Adjust),
        count(PlanAction::Stop),
        count(PlanAction::Keep),
    ));
    out
}

#[cfg(test)]
mod tests {
    use tunneld_core::plan::Plan;

    use super::*;

    #[test]
    fn the_plan_is_one_line_a_change_with_its_reasons() {
        let change = |name: &str, action, reasons: &[&str]| Change {
            tunnel: name.parse().unwrap(),
            action,
            reasons: reasons.iter().map(ToString::to_string).collect(),
        };
        let plan = Plan {
            tunnels: vec![
                change("db", PlanAction::Replace, &["host a → b"]),
                change(
                    "later",
                    PlanAction::Keep,
                    &["new in the file, enabled = false"],
                ),
                change("web", PlanAction::Keep, &[]),
            ],
            needs_restart: vec!["ready_when".to_owned()],
        };
        let reloaded = Reloaded {
            dry_run: true,
            plan,
            warnings: vec!["certificate c expired on D".to_owned()],
        };
        assert_eq!(
            render(&reloaded),
            "replace  db\n           host a → b\n\
             keep     later\n           new in the file, enabled = false\n\
             note     ready_when in [daemon] needs a restart\n\
             warning  certificate c expired on D\n\
             would be: 0 started, 1 replaced, 0 adjusted, 0 stopped, 2 unchanged\n"
        );
    }
}
