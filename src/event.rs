//! What work reports while it runs: one way, to whoever listens. Only `ui` turns events into words.

use std::sync::Arc;
use std::time::{Duration, Instant};

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
        elapsed: Duration,
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
        delay: Duration,
    },
    /// A part of the work is over, well or not: see [`Timing`].
    Took {
        /// Which.
        step: Step,
        /// Wall time; it ends with the event.
        elapsed: Duration,
        /// Whether it did what it was to do. Not, if it failed, or nobody wanted it any more.
        done: bool,
    },
    /// Something the user should know that doesn't stop the build.
    Warning(String),
    /// Something only a curious user wants (`--verbose`).
    Detail(String),
    /// Something everyone wants once, at the end of a run.
    Note(String),
}

/// A part of the work that takes time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// `go list`.
    List,
    /// One `go build`, with the wait for what is fetched ahead.
    Compile {
        /// The target.
        platform: Platform,
        /// The import paths that it compiles.
        packages: Vec<String>,
    },
    /// What another machine compiled is fetched.
    Fetch {
        /// The target.
        platform: String,
        /// How many objects came.
        objects: u64,
        /// Their size in bytes, compressed.
        bytes: u64,
    },
    /// A layer is made of programs.
    Pack {
        /// The program.
        program: String,
        /// The target.
        platform: Platform,
    },
    /// Images are put, and named.
    Publish,
    /// A request to a server, up to the head of its answer.
    Request {
        /// The method of HTTP, or what stands for it.
        method: String,
        /// The URL, without user, password and query.
        url: String,
        /// The answer, if there was one.
        status: Option<u16>,
    },
}

/// Measures a step, and tells of it when it is dropped.
pub struct Timing {
    observer: Arc<dyn Observer>,
    /// Some until it is told.
    step: Option<Step>,
    start: Instant,
    done: bool,
}

impl Timing {
    /// Begins now.
    #[must_use]
    pub fn of(observer: &Arc<dyn Observer>, step: Step) -> Self {
        Timing { observer: Arc::clone(observer), step: Some(step), start: Instant::now(), done: false }
    }

    /// Ends it, well if `result` is.
    ///
    /// # Errors
    /// That of `result`.
    pub fn end<T, E>(mut self, result: Result<T, E>) -> Result<T, E> {
        self.done = result.is_ok();
        result
    }

    /// Ends it well, as `step`, which says what is known of it by now.
    pub fn end_as(mut self, step: Step) {
        self.step = Some(step);
        self.done = true;
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        if let Some(step) = self.step.take() {
            let (elapsed, done) = (self.start.elapsed(), self.done);
            self.observer.on(Event::Took { step, elapsed, done });
        }
    }
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

/// Two that hear the same.
pub struct Both(pub Arc<dyn Observer>, pub Arc<dyn Observer>);

impl Observer for Both {
    fn on(&self, event: Event) {
        self.0.on(event.clone());
        self.1.on(event);
    }
}

/// An observer that hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn on(&self, _event: Event) {}
}
