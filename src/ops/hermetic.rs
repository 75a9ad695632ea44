//! Hermetic compiles: what must be true before one begins, and the modules that it needs.

use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::go::{self, Go, Sandbox};
use crate::ops::Context;
use crate::plan::Plan;
use crate::settings::Settings;

/// Where the compiles of a hermetic run are done; none if it isn't one. All modules are there afterwards.
///
/// # Errors
/// As [`Sandbox::new`]; no lock file; modules that can't be had.
pub(super) async fn sandbox(
    cx: &Context,
    settings: &Settings,
    go: &Go,
    plan: &Plan,
) -> Result<Option<Sandbox>> {
    if !settings.hermetic {
        return Ok(None);
    }
    let Some(lock) = &settings.lock else {
        let why = "there is no gimg.lock, which says what the toolchain is";
        return Err(Error::new(Kind::Input, "compile hermetically", why).hint("run: gimg lock --go"));
    };
    let path = cx.env.first(&["PATH"]).unwrap_or_default();
    let sandbox = Sandbox::new(go, &lock.toolchains, &cx.scratch.directory()?, path).await?;
    for group in &plan.groups {
        go::fetch_modules(go, group).await?;
    }
    let (name, network) = (&sandbox.toolchain.name, sandbox.network());
    cx.observer.on(Event::Detail(format!("hermetic: {name}, network kept away by {network}")));
    if network != "namespace" {
        cx.observer.on(Event::Warning(
            "this system makes no network namespace: only GOPROXY=off keeps the compile from the network, and the \
             provenance says so"
                .to_owned(),
        ));
    }
    Ok(Some(sandbox))
}
