//! Who is told what a run did, beside the user: of every command.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::cli::network;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer};
use crate::ops;
use crate::registry::{Insecure, Keychain, Registry};
use crate::settings::env::Env;
use crate::settings::telemetry::Telemetry;
use crate::telemetry::{Recorder, Run};
use crate::ui::Voice;

/// Which files. Not in `--help`, which has no room: docs/telemetry.md.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct TelemetryArgs {
    /// Write what took how long to a file, for Perfetto or chrome://tracing
    #[arg(long, value_name = "FILE", hide = true)]
    trace: Option<PathBuf>,
    /// Write metrics of the run to a file, for Prometheus
    #[arg(long, value_name = "FILE", hide = true)]
    metrics_file: Option<PathBuf>,
}

/// A run that is watched.
pub(super) struct Watched {
    wish: Telemetry,
    recorder: Arc<Recorder>,
    command: String,
    /// Since 1970.
    begun: Duration,
    env: Env,
}

impl Watched {
    /// Begins to watch a command that began at `begun`, if anybody is to be told; `env` says of a collector.
    ///
    /// # Errors
    /// A file that can't be written.
    pub(super) fn begin(
        args: TelemetryArgs,
        command: &str,
        env: &Env,
        begun: Duration,
    ) -> Result<Option<Self>> {
        let Some(wish) = Telemetry::resolve(args.trace, args.metrics_file, env) else { return Ok(None) };
        ops::telemetry::check(&wish)?;
        let recorder = Recorder::begin();
        Ok(Some(Watched { wish, recorder, command: command.to_owned(), begun, env: env.clone() }))
    }

    /// Who writes down what happens.
    pub(super) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.recorder) as Arc<dyn Observer>
    }

    /// Tells of the run that gave `result`. What can't be sent is a warning.
    ///
    /// # Errors
    /// That of the run; if it has none, a file that can't be written.
    pub(super) fn end(self, result: Result<()>, voice: &Voice) -> Result<()> {
        let (elapsed, records) = self.recorder.end();
        let exit_code = result.as_ref().map_or_else(|error| error.kind().exit_code(), |()| 0);
        let run = Run { command: self.command, begun: self.begun, elapsed, exit_code, records };
        let observer = voice.observer();
        let warn = |text: String| observer.on(Event::Warning(text));
        self.wish.warnings.iter().cloned().for_each(warn);
        let written = ops::telemetry::write(&self.wish, &run);
        let sent = match &self.wish.collector {
            Some(collector) => {
                network::options(&self.env, &observer, Insecure::Loopback, true, Keychain::empty())
                    .map(Registry::new)
                    .and_then(|registry| alone(ops::telemetry::send(collector, &registry, &run)))
            }
            None => Ok(()),
        };
        if let Err(error) = sent {
            warn(error.to_string());
        }
        match (result, written) {
            (Ok(()), Err(error)) => Err(error.hint("the run itself is complete")),
            (Err(error), Err(unwritten)) => {
                warn(unwritten.to_string());
                Err(error)
            }
            (result, Ok(())) => result,
        }
    }
}

/// Runs what needs no more than this thread.
fn alone<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| Error::new(Kind::Internal, "start", e))?.block_on(work)
}
