//! Which names a run has moved: what can truly be said when it is stopped.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::{Event, Observer};

/// The names that a run moves: tags in registries, layouts and archives as a whole. Hears of them as an observer that
/// passes everything on.
pub struct Names {
    next: Arc<dyn Observer>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Those that may have moved or not.
    moving: BTreeSet<String>,
    /// Those that have, in order.
    moved: Vec<String>,
}

impl Names {
    /// Hears before `next`, which hears everything too.
    #[must_use]
    pub fn before(next: Arc<dyn Observer>) -> Self {
        Names { next, seen: Mutex::default() }
    }

    /// Whether one has begun to move, so that stopping wants care.
    #[must_use]
    pub fn any(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        !seen.moving.is_empty() || !seen.moved.is_empty()
    }

    /// What happened to them, for the message of a run that was stopped.
    #[must_use]
    pub fn summary(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let moving: Vec<&str> = seen.moving.iter().map(String::as_str).collect();
        match (seen.moved.join(", "), moving.join(", ")) {
            (moved, moving) if moved.is_empty() && moving.is_empty() => {
                "interrupted, nothing was tagged".to_owned()
            }
            (moved, moving) if moving.is_empty() => format!("interrupted, but {moved} is published"),
            (moved, moving) if moved.is_empty() => format!("interrupted, perhaps {moving} is published"),
            (moved, moving) => format!("interrupted, but {moved} is published, perhaps also {moving}"),
        }
    }
}

impl Observer for Names {
    fn on(&self, event: Event) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &event {
            Event::Publishing { name } => {
                seen.moving.insert(name.clone());
            }
            Event::Published { name } => {
                seen.moving.remove(name);
                seen.moved.push(name.clone());
            }
            _ => {}
        }
        drop(seen);
        self.next.on(event);
    }
}
