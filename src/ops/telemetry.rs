//! What a run did, told to whoever wants to know.

use reqwest::Url;

use crate::error::{Error, Kind, Result};
use crate::registry::Registry;
use crate::settings::telemetry::{Collector, Telemetry};
use crate::telemetry::{Run, chrome, metrics, otlp};

/// Checks, before anything is done, that the files can be written.
///
/// # Errors
/// A directory or a device in their place.
pub fn check(wish: &Telemetry) -> Result<()> {
    wish.trace.iter().chain(&wish.metrics).try_for_each(|path| crate::fs::replaceable(path))
}

/// Writes the files, each whole or not at all.
///
/// # Errors
/// Whatever the system says.
pub fn write(wish: &Telemetry, run: &Run) -> Result<()> {
    if let Some(path) = &wish.trace {
        crate::fs::write_atomically(path, chrome::trace(run).as_bytes())?;
    }
    match &wish.metrics {
        Some(path) => crate::fs::write_atomically(path, metrics::page(run)?.as_bytes()),
        None => Ok(()),
    }
}

/// Sends the run to a collector, with certificates and proxies as for `registry`.
///
/// # Errors
/// A URL that is none; a collector that can't be reached or doesn't take it.
pub async fn send(collector: &Collector, registry: &Registry, run: &Run) -> Result<()> {
    // Not the URL itself: it could hold a password.
    let url = Url::parse(&collector.url).map_err(|e| {
        Error::new(Kind::Usage, "send the trace", format!("the collector's URL is none: {e}"))
    })?;
    otlp::send(collector, registry.client_for(&url)?, run).await
}
