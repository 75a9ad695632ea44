//! What work reports while it runs: one way, to whoever listens. Only `ui` turns events into words.

use crate::oci::{Descriptor, Platform};

/// One step of progress.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A base image was resolved to a digest.
    Base {
        /// The reference as asked for, with its digest.
        reference: String,
    },
    /// A `go build` run starts.
    CompileStarted {
        /// The target.
        platform: Platform,
        /// The import paths compiled in this run.
        packages: Vec<String>,
    },
    /// A `go build` run ended well.
    Compiled {
        /// The target.
        platform: Platform,
        /// The import paths compiled in this run.
        packages: Vec<String>,
        /// Wall time.
        elapsed: std::time::Duration,
    },
    /// What was made before from the same inputs is used again: nothing is compiled.
    Recalled {
        /// The target.
        platform: Platform,
        /// The program.
        program: String,
    },
    /// A layer is being written.
    Packing {
        /// The program.
        program: String,
        /// The target.
        platform: Platform,
    },
    /// A layer is complete.
    LayerReady {
        /// The program.
        program: String,
        /// The target.
        platform: Platform,
        /// The layer's descriptor.
        descriptor: Descriptor,
    },
    /// Bytes of a blob went to a destination.
    Sent {
        /// Which blob.
        digest: crate::oci::Digest,
        /// How many bytes since the last such event of this blob.
        bytes: u64,
        /// The blob's whole size.
        total: u64,
    },
    /// A blob is at its destination.
    Put {
        /// Which blob.
        descriptor: Descriptor,
        /// How it got there.
        how: Put,
        /// The destination, for people.
        destination: String,
    },
    /// From now on until [`Event::Published`] a name may or may not mean this run's image.
    Publishing {
        /// A tag (`repository:tag`), or a layout or archive as a whole.
        name: String,
    },
    /// A name means this run's image.
    Published {
        /// As in [`Event::Publishing`].
        name: String,
    },
    /// A tag now names an image.
    Tagged {
        /// `repository:tag` or a layout's name.
        name: String,
    },
    /// A request will be tried again.
    Retry {
        /// What failed, without query or secret.
        what: String,
        /// Why.
        why: String,
        /// How long until the next try.
        delay: std::time::Duration,
    },
    /// Something the user should know that doesn't stop the build.
    Warning(String),
    /// Something only a curious user wants (`--verbose`).
    Detail(String),
    /// Something everyone wants once, at the end of a run.
    Note(String),
}

/// How a blob got to its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was sent.
    Sent,
    /// The registry took it from another of its repositories.
    Mounted,
    /// It was there already.
    Present,
    /// It isn't there yet: the destination takes images whole, once they are complete.
    Later,
}

/// Listens to events. Implementations must be quick and must not fail.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn on(&self, event: Event);
}

/// An observer that hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn on(&self, _event: Event) {}
}
