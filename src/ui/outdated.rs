//! What `gimg outdated` says: of each image that has something old what that is.

use crate::error::{Result, printable};
use crate::report::{BaseState, Outdated, OutdatedBase, OutdatedGo, OutdatedImage, Vulnerability};
use crate::ui::{Format, Voice, json, print};

impl Voice {
    /// Prints which images are old.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn outdated(&self, outdated: &Outdated) -> Result<()> {
        match self.format {
            Format::Json => json(outdated),
            Format::Text => {
                let told = outdated.images.iter().filter(|image| is_told(image));
                print(told.map(image).collect::<String>())
            }
        }
    }
}

/// Whether there is something to say: also that nothing is known.
fn is_told(image: &OutdatedImage) -> bool {
    image.outdated || image.bases.is_empty() || image.go.is_none()
}

fn image(image: &OutdatedImage) -> String {
    let mut lines = vec![image.image.clone()];
    lines.extend(image.bases.iter().filter_map(base));
    if image.bases.is_empty() {
        lines.push("  base  nothing says what it stands on".to_owned());
    }
    match &image.go {
        Some(toolchain) => lines.extend(go(toolchain)),
        None => lines.push("  go    it holds no Go program".to_owned()),
    }
    lines.extend(image.vulnerabilities.iter().flatten().map(vulnerability));
    lines.into_iter().map(|line| format!("{}\n", printable(line))).collect()
}

fn base(base: &OutdatedBase) -> Option<String> {
    let name = &base.name;
    match (base.state, &base.now, &base.digest) {
        (BaseState::Old, Some(now), Some(digest)) => Some(format!("  base  {name}: {digest} -> {now}")),
        (BaseState::Old, Some(now), None) => Some(format!("  base  {name} -> {now}")),
        (BaseState::Gone, _, _) => Some(format!("  base  {name} is no longer there")),
        _ => None,
    }
}

fn go(go: &OutdatedGo) -> Option<String> {
    let newer = go.newer.as_ref()?;
    let why = if go.supported == Some(false) { ", its line gets no fixes any more" } else { "" };
    Some(format!("  go    {} -> {newer}{why}", go.version))
}

fn vulnerability(found: &Vulnerability) -> String {
    let fixed = found.fixed.as_ref().map_or_else(|| "not fixed".to_owned(), |v| format!("fixed in {v}"));
    format!("  {}  {} {}, {fixed}: {}", found.id, found.module, found.version, found.summary)
}
