//! What the numbers depend on: the machine and the versions.

use crate::settings::{Settings, command, root, tool};
use crate::trees::output;

/// Names and values, for the head of raw.tsv.
pub(crate) fn facts(settings: &Settings) -> Vec<(String, String)> {
    let say = |program: &str, args: &[&str]| {
        output(command(program).args(args).current_dir(root()))
            .map_or_else(|_| "?".to_owned(), |s| s.trim().to_owned())
    };
    let gimg = output(command(&settings.gimg).arg("--version")).unwrap_or_default();
    let commit = say("git", &["rev-parse", "--short", "HEAD"]);
    let dirty = if say("git", &["status", "--porcelain"]).is_empty() { "" } else { ", with changes" };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let system = say("uname", &["-srm"]);
    let rounds = settings.runs.map_or_else(|| "of each row's own number".to_owned(), |runs| runs.to_string());
    [
        ("machine", format!("{system}, {cores} cores, {}, {}", processor(), memory())),
        ("go", say("go", &["version"])),
        ("gimg", format!("{}, commit {commit}{dirty}", gimg.trim())),
        ("ko", version(&settings.ko.display().to_string(), "github.com/google/ko")),
        ("crane", version(&tool("crane").display().to_string(), "github.com/google/go-containerregistry")),
        ("olareg", version(&tool("olareg").display().to_string(), "github.com/olareg/olareg")),
        ("rounds", rounds),
        ("rows", if settings.only.is_empty() { "all".to_owned() } else { settings.only.clone() }),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// What a Go program says of the version of a module in it.
fn version(program: &str, module: &str) -> String {
    let text = output(command("go").args(["version", "-m", program])).unwrap_or_default();
    let found = text.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word != module);
        words.next().and(words.next()).map(str::to_owned)
    });
    found.unwrap_or_else(|| "?".to_owned())
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": ")).map_or("unknown CPU", |(_, name)| name).to_owned()
}

fn memory() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    kilobytes.map_or_else(|| "unknown memory".to_owned(), |kb: f64| format!("{:.0} GB", kb * 1.024 / 1e6))
}
