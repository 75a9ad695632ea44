//! Verbs: one file each, the story told in calls of the stages. The only place where stages meet.

mod base;
mod base_engine;
pub mod build;
mod engines;
mod lookup;
pub mod push;
mod targets;

use std::sync::Arc;

use crate::content::Source;
use crate::event::Observer;
use crate::registry::Registry;
use crate::settings::env::Env;
use crate::store::Scratch;

/// What every verb is given: built once, passed down, never kept.
pub struct Context {
    /// The environment.
    pub env: Env,
    /// The registry client, which is also the source of what is in registries.
    pub registry: Registry,
    /// The run's private directory.
    pub scratch: Arc<Scratch>,
    /// Who hears about progress.
    pub observer: Arc<dyn Observer>,
}

impl Context {
    fn origin(&self) -> Arc<dyn Source> {
        Arc::new(self.registry.clone())
    }
}
