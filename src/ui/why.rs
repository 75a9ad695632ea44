//! What `gimg why` says.

use crate::error::{Result, printable};
use crate::explain::{Cause, Explanation, Sort};
use crate::ui::{Format, Voice, json, print};

/// How many files are named.
const MAX_FILES: usize = 20;

impl Voice {
    /// Prints why two things differ: a line for each cause, and below it what differs because of that.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn explained(&self, explanation: &Explanation) -> Result<()> {
        match self.format {
            Format::Json => json(explanation),
            Format::Text if explanation.same => print("same digest\n"),
            Format::Text => print(text(&explanation.causes)),
        }
    }
}

/// A line for each cause, and below it what differs because of that.
pub(super) fn text(causes: &[Cause]) -> String {
    let mut text = String::new();
    let mut files = 0;
    for cause in causes {
        files += usize::from(cause.sort == Sort::File);
        if cause.sort == Sort::File && files > MAX_FILES {
            continue;
        }
        text.push_str(&format!("{cause}\n"));
        text.extend(cause.changes.iter().map(|change| format!("  {}\n", printable(change.clone()))));
    }
    if files > MAX_FILES {
        text.push_str(&format!("… and {} more files (all with --format json)\n", files - MAX_FILES));
    }
    text
}
