//! Words out: the only module that writes to standard output or standard error.

mod cache;
mod diff;
mod dry_run;
mod history;
pub mod html;
mod inspect;
mod outdated;
mod progress;
pub mod summary;
mod table;
mod why;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::event::{Both, Observer};
use crate::report::{DryRun, Edited, Locked, Rebased, Report, RolledBack, Verified, WrittenLayer};

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volume {
    /// Warnings and errors only.
    Quiet,
    /// What is done.
    #[default]
    Normal,
    /// Also details.
    Verbose,
}

/// What standard output carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One reference a line.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// Whether to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// On a terminal, unless NO_COLOR says otherwise.
    #[default]
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

/// How to speak to the user.
#[derive(Clone, Default)]
pub struct Voice {
    /// How much.
    pub volume: Volume,
    /// In which form.
    pub format: Format,
    /// In colour?
    pub color: Color,
    /// Whether a CI system or NO_COLOR is around: (CI, NO_COLOR).
    pub surroundings: (bool, bool),
    /// Who else hears of progress.
    pub also: Option<Arc<dyn Observer>>,
}

impl Voice {
    /// Whether messages are coloured.
    #[must_use]
    pub fn coloured(&self) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !self.surroundings.1 && std::io::stderr().is_terminal(),
        }
    }

    /// A listener that shows progress: live lines on a terminal, plain lines elsewhere.
    #[must_use]
    pub fn observer(&self) -> Arc<dyn Observer> {
        let live = std::io::stderr().is_terminal() && !self.surroundings.0 && self.volume == Volume::Normal;
        let shown: Arc<dyn Observer> = Arc::new(progress::Progress::new(self.volume, live, self.coloured()));
        match &self.also {
            Some(also) => Arc::new(Both(Arc::clone(also), shown)),
            None => shown,
        }
    }

    /// Prints the results of a run.
    ///
    /// # Errors
    /// A standard output that can't be written, also because its reader went away: whoever asked for the references
    /// doesn't have them all. The images are published all the same, and the error says so.
    pub fn report(&self, report: &Report) -> Result<()> {
        let text = match self.format {
            Format::Text => report.images.iter().map(|i| format!("{}\n", i.reference)).collect::<String>(),
            Format::Json => pretty(report)?,
        };
        write(text).map_err(|e| {
            let references: Vec<&str> = report.images.iter().map(|i| i.reference.as_str()).collect();
            let done = format!("{e}, but the run is complete: {}", references.join(" "));
            Error::new(Kind::LocalIo, "write to standard output", done)
        })
    }

    /// Prints files whose references were replaced.
    ///
    /// # Errors
    /// As [`Voice::report`].
    pub fn resolved(&self, yaml: &[u8]) -> Result<()> {
        write(yaml).map_err(|e| {
            let done = format!("{e}, but the images are published");
            Error::new(Kind::LocalIo, "write to standard output", done)
        })
    }

    /// Prints the images that files name now, and on standard error what changed in them.
    ///
    /// # Errors
    /// As [`Voice::report`].
    pub fn edited(&self, edited: &Edited) -> Result<()> {
        if self.volume > Volume::Quiet {
            let diffs: String = edited.files.iter().map(diff::unified).collect();
            let diffs = if std::io::stderr().is_terminal() { diff::for_terminal(&diffs) } else { diffs };
            let diffs = if self.coloured() { diff::coloured(&diffs) } else { diffs };
            // As with all words: a reader that went away is no reason to fail.
            let _ = std::io::stderr().lock().write_all(diffs.as_bytes());
        }
        let text = match self.format {
            Format::Text => edited.images.iter().map(|i| format!("{}\n", i.reference)).collect::<String>(),
            Format::Json => pretty(edited)?,
        };
        write(text).map_err(|e| {
            let done = if edited.written { "but the files are written" } else { "no file is written" };
            Error::new(Kind::LocalIo, "write to standard output", format!("{e}, {done}"))
        })
    }

    /// Prints one line of result.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn line(&self, text: &str) -> Result<()> {
        print(format!("{text}\n"))
    }

    /// Prints a JSON document.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn document(&self, document: &serde_json::Value) -> Result<()> {
        json(document)
    }

    /// Prints what a run would do.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn dry_run(&self, plan: &DryRun) -> Result<()> {
        match self.format {
            Format::Text => print(dry_run::text(plan)),
            Format::Json => json(plan),
        }
    }

    /// Prints what changed in the lock file, as JSON also what stayed.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn locked(&self, locked: &Locked) -> Result<()> {
        let was = |text: &Option<String>| text.as_ref().map(|w| format!(" (was {w})")).unwrap_or_default();
        match self.format {
            Format::Text => print(
                locked
                    .changed
                    .iter()
                    .map(|c| format!("{} {}{}\n", c.base, c.pin, was(&c.was)))
                    .collect::<String>(),
            ),
            Format::Json => json(locked),
        }
    }

    /// Prints the digest of a layer that was written, or all about it.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn layer(&self, layer: &WrittenLayer) -> Result<()> {
        match self.format {
            Format::Text => print(format!("{}\n", layer.digest)),
            Format::Json => json(layer),
        }
    }

    /// Prints the image that is what its sources give.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn verified(&self, verified: &Verified) -> Result<()> {
        match self.format {
            Format::Text => self.line(&verified.reference),
            Format::Json => json(verified),
        }
    }

    /// Prints what a tag stands for after it was rolled back.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn rolled_back(&self, back: &RolledBack) -> Result<()> {
        match self.format {
            Format::Text => print(format!("{}\n", back.reference)),
            Format::Json => json(back),
        }
    }

    /// Prints what an image is on its new base.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn rebased(&self, rebased: &Rebased) -> Result<()> {
        match self.format {
            Format::Text => print(format!("{}\n", rebased.reference)),
            Format::Json => json(rebased),
        }
    }

    /// Prints the program's version, and with `-v` or as JSON also those of its built-in data.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn version(&self, version: &str, data: &[(&str, &str)]) -> Result<()> {
        match self.format {
            Format::Json => {
                let data: BTreeMap<&str, &str> = data.iter().copied().collect();
                json(&serde_json::json!({ "version": version, "data": data }))
            }
            Format::Text => {
                let mut text = format!("gimg {version}\n");
                if self.volume == Volume::Verbose {
                    text.extend(data.iter().map(|(name, version)| format!("{name} {version}\n")));
                }
                print(text)
            }
        }
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn bytes(&self, bytes: &[u8]) -> Result<()> {
        print(bytes)
    }

    /// Prints an error: what a child wrote, the message, the hint.
    pub fn failure(&self, error: &Error) {
        if let Some(output) = error.output_text().filter(|o| !o.is_empty()) {
            say(output.trim_end_matches('\n'));
        }
        let (on, off) = if self.coloured() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        say(&format!("{on}gimg:{off} {error}"));
        match (error.hint_text(), error.kind()) {
            (Some(hint), _) => say(&format!("hint: {hint}")),
            (None, Kind::Internal) => {
                say("hint: this is a fault in gimg; please report it with the command that you ran");
            }
            (None, _) => {}
        }
    }
}

/// A line on standard error. A reader that went away is no reason to stop: the image matters, not the words.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn json(value: &impl serde::Serialize) -> Result<()> {
    print(pretty(value)?)
}

/// A report as the document of `--format json`.
///
/// # Errors
/// A fault of gimg's.
pub fn document(report: &Report) -> Result<String> {
    pretty(report)
}

fn pretty(value: &impl serde::Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value);
    Ok(text.map_err(|e| Error::new(Kind::Internal, "write JSON", e))? + "\n")
}

/// Prints to standard output as it is; a reader that went away is not an error.
fn print(bytes: impl AsRef<[u8]>) -> Result<()> {
    match write(bytes) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::LocalIo, "write to standard output", e))
        }
        _ => Ok(()),
    }
}

fn write(bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes.as_ref()).and_then(|()| out.flush())
}

/// Prints what clap has to say: help to standard output, usage errors to standard error.
pub fn clap(error: &clap::Error) {
    // Nothing can be done about a terminal that can't be written.
    let _ = error.print();
}
