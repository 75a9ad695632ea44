//! Edge: what a run did, for people who look at it later: a trace to open in a browser, metrics for Prometheus, spans for
//! OpenTelemetry. All of it comes from events; nothing else in gimg knows that it is watched.

pub mod chrome;
pub mod metrics;
pub mod otlp;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::event::{Event, Observer, Put, Step};

/// More spans than these are only counted: whoever runs for days doesn't fill the memory.
const MAX_SPANS: usize = 100_000;

/// A step that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Which.
    pub step: Step,
    /// When it began, since the run did.
    pub start: Duration,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether it did what it was to do.
    pub done: bool,
}

/// What is known of a run.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// Its steps, in the order of their ends.
    pub spans: Vec<Span>,
    /// How many more there were.
    pub more: u64,
    /// Programs that were made before, by platform.
    pub recalled: BTreeMap<String, u64>,
    /// Blobs at destinations by how they got there: how many, and their bytes.
    pub blobs: BTreeMap<&'static str, (u64, u64)>,
    /// Requests that were made again.
    pub retries: u64,
    /// Warnings.
    pub warnings: u64,
}

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Run {
    /// The command, such as `build`.
    pub command: String,
    /// When it began, since 1970.
    pub begun: Duration,
    /// How long it took.
    pub elapsed: Duration,
    /// Its exit code.
    pub exit_code: u8,
    /// What happened in it.
    pub records: Records,
}

/// Writes down what it hears.
#[derive(Debug)]
pub struct Recorder {
    start: Instant,
    records: Mutex<Records>,
}

impl Recorder {
    /// Begins now.
    #[must_use]
    pub fn begin() -> Arc<Self> {
        Arc::new(Recorder { start: Instant::now(), records: Mutex::default() })
    }

    /// How long it has listened, and what it heard.
    #[must_use]
    pub fn end(&self) -> (Duration, Records) {
        let records = std::mem::take(&mut *self.records.lock().unwrap_or_else(PoisonError::into_inner));
        (self.start.elapsed(), records)
    }
}

impl Observer for Recorder {
    fn on(&self, event: Event) {
        let now = self.start.elapsed();
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Took { step, elapsed, done } if records.spans.len() < MAX_SPANS => {
                // What began before the recorder did is cut off.
                let elapsed = elapsed.min(now);
                records.spans.push(Span { step, start: now - elapsed, elapsed, done });
            }
            Event::Took { .. } => records.more += 1,
            Event::Recalled { platform, .. } => {
                *records.recalled.entry(platform.to_string()).or_default() += 1;
            }
            Event::Put { descriptor, how, .. } => {
                let how = match how {
                    Put::Sent => "sent",
                    Put::Mounted => "mounted",
                    Put::Present => "present",
                    Put::Later => "later",
                };
                let (blobs, bytes) = records.blobs.entry(how).or_default();
                *blobs += 1;
                *bytes += descriptor.size;
            }
            Event::Retry { .. } => records.retries += 1,
            Event::Warning(_) => records.warnings += 1,
            _ => {}
        }
    }
}

/// What a step is called: the same word everywhere.
fn name(step: &Step) -> &'static str {
    match step {
        Step::List => "go list",
        Step::Compile { .. } => "compile",
        Step::Fetch { .. } => "fetch",
        Step::Pack { .. } => "pack",
        Step::Publish => "publish",
        Step::Request { .. } => "request",
    }
}

/// For what platform a step is, if it is for one.
fn platform(step: &Step) -> Option<String> {
    match step {
        Step::Compile { platform, .. } | Step::Pack { platform, .. } => Some(platform.to_string()),
        Step::Fetch { platform, .. } => Some(platform.clone()),
        Step::List | Step::Publish | Step::Request { .. } => None,
    }
}

/// What else is known of a step: names and values.
fn details(step: &Step) -> Vec<(&'static str, String)> {
    match step {
        Step::List | Step::Publish => Vec::new(),
        Step::Compile { packages, .. } => vec![("packages", packages.join(" "))],
        Step::Fetch { objects, bytes, .. } => {
            vec![("objects", objects.to_string()), ("bytes", bytes.to_string())]
        }
        Step::Pack { program, .. } => vec![("program", program.clone())],
        Step::Request { method, url, status } => {
            let status = status.map(|status| ("status", status.to_string()));
            let known = [("method", method.clone()), ("url", url.clone())];
            known.into_iter().chain(status).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of 100 ms with these spans: step, start and length in milliseconds.
    pub(super) fn run(spans: &[(Step, u64, u64, bool)]) -> Run {
        let spans = spans.iter().map(|(step, start, elapsed, done)| Span {
            step: step.clone(),
            start: Duration::from_millis(*start),
            elapsed: Duration::from_millis(*elapsed),
            done: *done,
        });
        Run {
            command: "build".to_owned(),
            begun: Duration::from_secs(1_700_000_000),
            elapsed: Duration::from_millis(100),
            exit_code: 0,
            records: Records { spans: spans.collect(), ..Records::default() },
        }
    }

    pub(super) fn request(path: &str, status: Option<u16>) -> Step {
        let (method, url) = ("GET".to_owned(), format!("https://r.example/v2/{path}"));
        Step::Request { method, url, status }
    }

    #[test]
    fn what_happened_is_counted() {
        let recorder = Recorder::begin();
        let step = Step::List;
        recorder.on(Event::Took { step, elapsed: Duration::from_secs(1000), done: true });
        for _ in 0..2 {
            recorder.on(Event::Retry { what: String::new(), why: String::new(), delay: Duration::ZERO });
        }
        recorder.on(Event::Warning("w".to_owned()));
        let (elapsed, records) = recorder.end();
        assert_eq!((records.retries, records.warnings, records.spans.len()), (2, 1, 1));
        let span = &records.spans[0];
        assert_eq!(span.start, Duration::ZERO);
        assert!(span.elapsed <= elapsed);
    }
}
