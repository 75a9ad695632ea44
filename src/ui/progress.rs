//! Events as lines: live ones on a terminal, plain ones elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::error::printable;
use crate::event::{Event, Observer, Put};
use crate::oci::Digest;
use crate::ui::Volume;
use crate::ui::table::size;

/// Listens and shows.
pub(super) struct Progress {
    volume: Volume,
    coloured: bool,
    live: Option<MultiProgress>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bars: BTreeMap<String, ProgressBar>,
    sending: BTreeMap<Digest, ProgressBar>,
    warned: BTreeSet<String>,
}

impl Progress {
    pub(super) fn new(volume: Volume, live: bool, coloured: bool) -> Self {
        let live = live.then(MultiProgress::new);
        Progress { volume, coloured, live, state: Mutex::default() }
    }

    /// A line for good; live lines move below it.
    fn line(&self, least: Volume, text: &str) {
        if self.volume < least {
            return;
        }
        match &self.live {
            Some(live) => {
                // A terminal that can't be written is no reason to stop building.
                let _ = live.println(text);
            }
            None => super::say(text),
        }
    }

    /// Starts a live line called `key`.
    fn start(&self, state: &mut State, key: String, text: &str) {
        let Some(live) = &self.live else { return };
        let bar = live.add(ProgressBar::new_spinner());
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        if let Some(old) = state.bars.insert(key, bar) {
            old.finish_and_clear();
        }
    }

    fn stop(state: &mut State, key: &str) {
        if let Some(bar) = state.bars.remove(key) {
            bar.finish_and_clear();
        }
    }

    fn sent(&self, state: &mut State, digest: Digest, bytes: u64, total: u64) {
        let Some(live) = &self.live else { return };
        let bar = state.sending.entry(digest).or_insert_with(|| {
            let bar = live.add(ProgressBar::new(total));
            // The template is a constant that indicatif accepts; its default would do otherwise.
            if let Ok(style) = ProgressStyle::with_template("  {bar:24} {bytes}/{total_bytes} {msg}") {
                bar.set_style(style);
            }
            bar.set_message(format!("pushing {}", short(digest)));
            bar
        });
        bar.inc(bytes);
    }
}

/// Import paths for people: named if they are few.
fn programs(packages: &[String]) -> String {
    match packages {
        [one] => one.clone(),
        many => format!("{} programs", many.len()),
    }
}

/// The start of a digest, for people.
fn short(digest: Digest) -> String {
    digest.hex()[..12].to_owned()
}

impl Observer for Progress {
    fn on(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Base { reference } => self.line(Volume::Normal, &format!("base {reference}")),
            Event::CompileStarted { platform, packages } => {
                let text = format!("compiling {} for {platform}", programs(&packages));
                if self.live.is_none() {
                    self.line(Volume::Normal, &text);
                }
                self.start(&mut state, format!("compile {platform} {}", packages.join(" ")), &text);
            }
            Event::Recalled { platform, program } => {
                self.line(Volume::Normal, &format!("unchanged {program} for {platform}"));
            }
            Event::Compiled { platform, packages, elapsed } => {
                Self::stop(&mut state, &format!("compile {platform} {}", packages.join(" ")));
                let seconds = elapsed.as_secs_f64();
                self.line(
                    Volume::Normal,
                    &format!("compiled {} for {platform} in {seconds:.1} s", programs(&packages)),
                );
            }
            Event::Packing { program, platform } => {
                self.start(
                    &mut state,
                    format!("pack {program} {platform}"),
                    &format!("packing {program} for {platform}"),
                );
            }
            Event::LayerReady { program, platform, descriptor } => {
                Self::stop(&mut state, &format!("pack {program} {platform}"));
                let bytes = size(descriptor.size);
                self.line(Volume::Normal, &format!("packed {program} for {platform}: {bytes}"));
            }
            Event::Sent { digest, bytes, total } => self.sent(&mut state, digest, bytes, total),
            Event::Put { descriptor, how, destination } => {
                if let Some(bar) = state.sending.remove(&descriptor.digest) {
                    bar.finish_and_clear();
                }
                let (verb, least) = match how {
                    Put::Sent => ("put", Volume::Verbose),
                    Put::Mounted => ("mounted", Volume::Verbose),
                    Put::Present => ("has", Volume::Verbose),
                    Put::Later => ("waits with", Volume::Verbose),
                };
                let bytes = size(descriptor.size);
                self.line(least, &format!("{destination}: {verb} {} ({bytes})", descriptor.digest));
            }
            // Only what stops a run wants to know, and only who looks at it later.
            Event::Publishing { .. } | Event::Published { .. } | Event::Took { .. } => {}
            Event::Tagged { name } => self.line(Volume::Normal, &format!("tagged {name}")),
            Event::Retry { what, why, delay } => {
                // Most errors begin with what was tried.
                let why = why.strip_prefix(&format!("{what}: ")).unwrap_or(&why);
                self.line(Volume::Normal, &format!("retry: {what}: {why} (in {:.1} s)", delay.as_secs_f64()));
            }
            Event::Warning(text) => {
                let text = printable(text);
                if state.warned.insert(text.clone()) {
                    let (on, off) = if self.coloured { ("\x1b[33m", "\x1b[0m") } else { ("", "") };
                    self.line(Volume::Quiet, &format!("{on}warning:{off} {text}"));
                }
            }
            Event::Detail(text) => self.line(Volume::Verbose, &printable(text)),
            Event::Note(text) => self.line(Volume::Normal, &text),
        }
    }
}
