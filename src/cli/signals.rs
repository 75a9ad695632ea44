//! Signals: what stops a run, and how.
//!
//! The first signal stops a run: what has begun to move a name may end that within a moment, nothing else is begun,
//! children are ended, and registries are told of what is given up. The second ends the process at once.
#![expect(clippy::disallowed_methods, reason = "edge: signals")]

#[cfg(unix)]
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;

use crate::error::{Error, Kind, Result};
use crate::ops::Context;

/// How long a name that is being moved may take when the run is to stop.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Runs `work` to its end, or until a signal. Stopped work is dropped, which stops its children.
///
/// # Errors
/// Those of `work`; after a signal one that says what is true of the names, even if `work` came to its end: whatever
/// was to follow isn't wanted any more.
pub(super) fn interruptible<T>(cx: &Context, work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Error::new(Kind::Internal, "start", e))?;
    let mut first = listen()?;
    let result = runtime.block_on(async {
        let mut work = Box::pin(work);
        let kind = tokio::select! {
            biased;
            kind = arrived(&mut first) => kind,
            result = &mut work => {
                // The work is done, well or not: a signal can only end the waiting for the cache.
                tokio::select! {
                    biased;
                    _ = arrived(&mut first) => {}
                    () = async { tokio::join!(cx.registry.clean_up(), cx.store.finish()); } => {}
                }
                return result;
            }
        };
        cx.stop.stop();
        if cx.names.any() {
            let _ = tokio::time::timeout(PATIENCE, &mut work).await;
        }
        drop(work);
        cx.registry.clean_up().await;
        Err(Error::new(kind, "stopped", cx.names.summary()))
    });
    // Writers on blocking threads end by themselves; nobody waits for what nobody wants any more.
    runtime.shutdown_background();
    result
}

/// The first signal; never comes back without one.
async fn arrived(first: &mut watch::Receiver<Option<Kind>>) -> Kind {
    match first.wait_for(Option::is_some).await.map(|kind| *kind) {
        Ok(Some(kind)) => kind,
        _ => std::future::pending().await,
    }
}

/// Hears signals on a thread of its own until the process ends: also while work is being dropped, or results are printed
/// to somebody who doesn't read them. The second one ends the process.
fn listen() -> Result<watch::Receiver<Option<Kind>>> {
    let failed = |e: std::io::Error| Error::new(Kind::Internal, "listen to signals", e);
    let (sender, receiver) = watch::channel(None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::new().map_err(failed)?
    };
    let hear = move || {
        runtime.block_on(async {
            let kind = signals.next().await;
            // Nobody works any more: there is nothing to stop kindly.
            if sender.send(Some(kind)).is_err() {
                std::process::exit(i32::from(kind.exit_code()));
            }
            let kind = signals.next().await;
            std::process::exit(i32::from(kind.exit_code()));
        });
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(hear).map_err(failed)?;
    Ok(receiver)
}

#[cfg(unix)]
struct Signals {
    each: Vec<(tokio::signal::unix::Signal, Kind)>,
}

#[cfg(unix)]
impl Signals {
    /// Starts to hear those that stop a run; not those that whoever started us wants to be ignored, as nohup does.
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [
            (SignalKind::hangup(), Kind::HungUp),
            (SignalKind::interrupt(), Kind::Interrupted),
            (SignalKind::terminate(), Kind::Terminated),
        ];
        let ignored = ignored();
        let heard = kinds.into_iter().filter(|(kind, _)| ignored >> (kind.as_raw_value() - 1) & 1 == 0);
        let each = heard.map(|(kind, what)| Ok((signal(kind)?, what))).collect::<std::io::Result<_>>()?;
        Ok(Signals { each })
    }

    async fn next(&mut self) -> Kind {
        std::future::poll_fn(|cx| {
            for (signal, kind) in &mut self.each {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready(*kind);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The signals that are ignored, a bit for each, the lowest for 1 (proc(5), `SigIgn`).
#[cfg(target_os = "linux")]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Nothing tells. SIGHUP is left alone: that of a closed terminal ends the process, and one that is ignored stays so.
#[cfg(all(unix, not(target_os = "linux")))]
fn ignored() -> u64 {
    1
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "as elsewhere")]
    fn new() -> std::io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) -> Kind {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Kind::Interrupted,
            Err(_) => std::future::pending().await,
        }
    }
}
