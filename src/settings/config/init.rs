//! The file that `gimg init` proposes, from what is there already. Pure.

use serde_json::json;

use super::goreleaser::propose::{self as goreleaser, Goreleaser};
use super::{Source, read};
use crate::error::{Error, Kind, Result};

/// What was found in a directory.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// ko's file.
    pub ko: Option<Source>,
    /// GoReleaser's file.
    pub goreleaser: Option<Source>,
    /// Directories with a main package, such as `./cmd/app`, sorted.
    pub mains: Vec<String>,
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub text: String,
    /// What to tell about it: what was left out, and why.
    pub notes: Vec<String>,
}

const HEAD: &str = "# gimg's settings. All keys: docs/config.md of gimg, or gimg schema.\n";

const ADVICE: &str = "\
# No symbol table, no debugger's data: about half the layer. With -compressdwarf=false instead, linking is faster and\n\
# the layer small too, but the program on disk is a third larger.\n\
defaultLdflags: [\"-s\", \"-w\"]\n\
# Go stamps git's state into programs, so that the digest differs between clean and dirty trees and between clones.\n\
# With this it depends on the source alone:\n\
# buildvcs: false\n";

/// Proposes a file.
///
/// # Errors
/// A file that can't be read.
pub fn propose(found: &Found) -> Result<Proposal> {
    if let Some(ko) = &found.ko {
        return from_ko(ko);
    }
    let (release, notes) = match &found.goreleaser {
        Some(source) => {
            let mut release = goreleaser::read(&source.text).map_err(|wrong| {
                let at = format!("{}:{}:{}", source.name, wrong.at.line, wrong.at.column);
                Error::new(Kind::Input, "read GoReleaser's file", wrong.why).at(at)
            })?;
            let notes = std::mem::take(&mut release.notes);
            (release, notes)
        }
        None => (from_mains(&found.mains), Vec::new()),
    };
    Ok(Proposal { name: ".gimg.yaml".to_owned(), text: text(&release), notes })
}

/// ko's file means the same to gimg: it is taken as it is.
fn from_ko(ko: &Source) -> Result<Proposal> {
    read(ko, false)?;
    let extension = ko.name.rsplit('.').next().unwrap_or("yaml");
    let name = format!(".gimg.{extension}");
    // JSON has no comments.
    let head = if extension == "json" { "" } else { HEAD };
    Ok(Proposal { name, text: format!("{head}{}", ko.text), notes: Vec::new() })
}

fn from_mains(mains: &[String]) -> Goreleaser {
    let builds =
        mains.iter().map(|main| goreleaser::Build { main: Some(main.clone()), ..Default::default() });
    Goreleaser {
        builds: builds.collect(),
        platforms: vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()],
        ..Goreleaser::default()
    }
}

/// The file in YAML. Every text is in quotes, as JSON writes it, which YAML reads.
fn text(release: &Goreleaser) -> String {
    let list = |words: &[String]| {
        format!("[{}]", words.iter().map(|w| json!(w).to_string()).collect::<Vec<_>>().join(", "))
    };
    let mut out = String::from(HEAD);
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    if let Some(base) = &release.base {
        line(format!("defaultBaseImage: {}", json!(base)));
    }
    if !release.platforms.is_empty() {
        line(format!("defaultPlatforms: {}", list(&release.platforms)));
    }
    if let Some(repo) = &release.repo {
        line(format!("repo: {}", json!(repo)));
    }
    if let Some(naming) = release.naming {
        line(format!("naming: {}", json!(naming)));
    }
    if !release.labels.is_empty() {
        line("image:".to_owned());
        line(format!("  labels: {}", json!(release.labels)));
    }
    if release.builds.iter().all(|b| b.ldflags.is_empty()) {
        line(ADVICE.trim_end().to_owned());
    }
    if !release.builds.is_empty() {
        line("builds:".to_owned());
    }
    for build in &release.builds {
        let mut keys = Vec::new();
        for (key, value) in
            [("id", &build.id), ("dir", &build.dir), ("main", &build.main), ("binary", &build.binary)]
        {
            keys.extend(value.as_ref().map(|v| format!("{key}: {}", json!(v))));
        }
        for (key, words) in [("env", &build.env), ("flags", &build.flags), ("ldflags", &build.ldflags)] {
            if !words.is_empty() {
                keys.push(format!("{key}: {}", list(words)));
            }
        }
        if keys.is_empty() {
            keys.push("main: \".\"".to_owned());
        }
        line(format!("- {}", keys.join("\n  ")));
    }
    out
}
