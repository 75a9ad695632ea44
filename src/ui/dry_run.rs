//! A dry run for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::report::{DryRun, LayerKind, PlannedCompile, PlannedImage};

/// The plan as text: a paragraph for each image and each compile.
pub(super) fn text(plan: &DryRun) -> String {
    let paragraphs = plan.images.iter().map(image).chain(plan.compiles.iter().map(compile));
    paragraphs.collect::<Vec<_>>().join("\n")
}

/// Lines of a word and what it says.
struct Lines(String);

impl Lines {
    fn titled(title: &str) -> Self {
        Lines(format!("{title}\n"))
    }

    fn add(&mut self, word: &str, text: &str) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "  {word:<10} {text}");
    }

    fn pairs(&mut self, word: &str, map: &BTreeMap<String, String>) {
        for (key, value) in map {
            self.add(word, &pair(key, value));
        }
    }
}

fn image(image: &PlannedImage) -> String {
    let mut lines = Lines::titled(&format!("image of {}", image.import_path));
    lines.add("name", &image.name);
    lines.add("tags", &image.tags.join(", "));
    match image.destinations.as_slice() {
        [] => lines.add("to", "nowhere (--push=false)"),
        list => list.iter().for_each(|d| lines.add("to", d)),
    }
    let digest = image.base.digest.map(|d| format!(" ({d})")).unwrap_or_default();
    if image.platforms.iter().all(|p| p.base.is_none()) {
        lines.add("base", &format!("{}{digest}", image.base.name));
    }
    for platform in &image.platforms {
        let digest = platform.base_digest.map(|d| d.to_string());
        let base: Vec<&str> = platform.base.iter().chain(&digest).map(String::as_str).collect();
        let on = if base.is_empty() { String::new() } else { format!(" on {}", base.join(" at ")) };
        lines.add("platform", &format!("{}: {}{on}", platform.platform, platform.programs.join(", ")));
    }
    for layer in &image.layers {
        let kind = match layer.kind {
            LayerKind::Kodata => "kodata",
            LayerKind::Files => "files",
            LayerKind::Certificates => "certificates",
            LayerKind::Programs => "programs",
            LayerKind::Debugger => "debugger",
        };
        lines.add("layer", &format!("{kind}: {} -> {}", layer.from.join(", "), layer.to));
    }
    let config = &image.config;
    for (word, value) in [("user", &config.user), ("directory", &config.working_dir)] {
        if let Some(value) = value {
            lines.add(word, value);
        }
    }
    if !config.entrypoint.is_empty() {
        lines.add("entrypoint", &command(&config.entrypoint));
    }
    if let Some(cmd) = &config.cmd {
        lines.add("cmd", &command(cmd));
    }
    lines.pairs("env", &config.env);
    lines.pairs("label", &config.labels);
    for (key, value) in &config.fields {
        lines.add("config", &format!("{key} {value}"));
    }
    lines.pairs("annotation", &image.annotations);
    lines.0
}

fn compile(compile: &PlannedCompile) -> String {
    let mut lines = Lines::titled(&format!("go build for {}", compile.platform));
    lines.add("directory", &compile.dir);
    lines.pairs("env", &compile.env);
    lines.add("run", &command(&compile.argv));
    lines.0
}

/// A command as a shell takes it.
fn command(argv: &[String]) -> String {
    argv.iter().map(|a| quoted(a)).collect::<Vec<_>>().join(" ")
}

fn pair(key: &str, value: &str) -> String {
    format!("{key}={}", if value.is_empty() { String::new() } else { quoted(value) })
}

/// A word as a shell takes it: in single quotes if it needs them.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_=/.,:@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_as_a_shell_takes_them() {
        let words = ["go", "-ldflags=-s -w", "", "it's", "a/b@v1"].map(str::to_owned);
        assert_eq!(command(&words), r"go '-ldflags=-s -w' '' 'it'\''s' a/b@v1");
        assert_eq!(pair("A", ""), "A=");
    }
}
