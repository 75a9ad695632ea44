//! Verbs: one file each, the story told in calls of the stages. The only place where stages meet.

mod attached;
mod base;
mod base_engine;
mod bills;
pub mod build;
mod built_in;
pub mod cache;
pub mod cacheprog;
mod checkout;
mod claimed;
mod compared;
mod compile;
mod contained;
mod data;
mod debug;
mod difference;
pub mod dry_run;
mod engines;
mod fetched;
mod growth;
mod hashes;
mod hermetic;
pub mod history;
mod home;
mod image_refs;
pub mod in_place;
pub mod init;
mod inputs;
pub mod inspect;
mod kept;
pub mod key;
pub mod kubectl;
pub mod layer;
pub mod lock;
pub mod login;
mod lookup;
pub mod man;
mod manifests;
mod measured;
mod memo;
mod modules;
mod names;
mod opened;
pub mod outdated;
pub mod pack;
mod programs;
mod proofs;
mod provenance;
mod publish;
mod published;
pub mod push;
pub mod rebase;
mod rebuild;
mod recorded;
mod releases;
mod remember;
mod remote;
pub mod resolve;
pub mod rollback;
pub mod sbom;
mod shared;
pub mod signatures;
mod signer;
mod sources;
pub mod summary;
mod targets;
pub mod telemetry;
mod trust;
pub mod verify;
pub mod why;

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

pub use crate::go::module_around;
pub use names::Names;

use crate::content::{Source, Stop};
use crate::error::{Error, Kind, Result};
use crate::event::Observer;
use crate::process::Guardian;
use crate::registry::Registry;
use crate::settings::env::Env;
use crate::store::{Scratch, Store};

/// What every verb is given: built once, passed down, never kept.
pub struct Context {
    /// The environment.
    pub env: Env,
    /// The registry client, which is also the source of what is in registries.
    pub registry: Registry,
    /// The run's private directory.
    pub scratch: Arc<Scratch>,
    /// Who ends long-running children when gimg is killed.
    pub guardian: Option<Guardian>,
    /// The user's cache.
    pub store: Store,
    /// Seconds since 1970 when the run began; only what asks for the time gets it.
    pub now: u64,
    /// Who hears about progress.
    pub observer: Arc<dyn Observer>,
    /// The names that moved, as `observer` heard.
    pub names: Arc<Names>,
    /// The wish that nothing more is begun.
    pub stop: Stop,
}

impl Context {
    /// What is in registries, taken from the cache where its digest is known.
    fn origin(&self) -> Arc<dyn Source> {
        self.store.before(Arc::new(self.registry.clone()))
    }
}

/// Runs work that blocks on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::new(Kind::Internal, "run a task", e))?
}

/// How many requests of a verb that only looks are under way at a time.
const AT_ONCE: usize = 8;

/// Does `work`, some of it at a time, and gives what came of it in the same order.
async fn each<T>(work: impl Iterator<Item = impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
    let work: Vec<_> = work.collect();
    stream::iter(work).buffered(AT_ONCE).try_collect().await
}
