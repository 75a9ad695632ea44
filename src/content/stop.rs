//! The wish to stop: whoever is about to begin something asks for it first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the run is to stop. Clones are the same wish; it can't be taken back.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Nothing more is to be begun.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether nothing more is to be begun.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
