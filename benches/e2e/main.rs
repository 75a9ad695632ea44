//! From source to an image in a registry or a layout: gimg, ko with and without KOCACHE, and as the floor plain `go build`,
//! on the same trees in the same run. `make bench` runs it for a machine that has built before, `make bench-empty` for one that
//! has nothing; `benches/README.md` gets a table and a plot of each.
//!
//! Settings, in the environment:
//! - `ONLY=pattern`: rows whose `subject/job/destination/platforms` matches (`.`, `*`, `^`, `$`, `|`); `make bench-list` shows all
//! - `RUNS=n`: timed rounds of every row, instead of each row's own number
//! - `CONTENDERS="gimg ko ko-kocache go"`, `GIMG=program`, `KO=program`, `NAME=date-machine`
//!
//! A run with any of the first three is not a whole one: its results go below `target/bench-runs`, and not into
//! `benches/README.md`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a harness: it runs programs, writes files, and talks to who started it"
)]

mod checkout;
mod choose;
mod contenders;
mod counter;
mod facts;
mod jobs;
mod measure;
mod report;
mod requests;
mod rounds;
mod servers;
mod settings;
mod trees;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use crate::jobs::{Job, Part, Row};
use crate::report::{page, plot, raw, rows};
use crate::rounds::Rounds;
use crate::servers::Servers;
use crate::settings::{Settings, command, folder, root};
use crate::trees::{output, write};

/// An error is what to say of it.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` adds this; `cargo test --all-targets` runs benches too, and means something else.
    if !args.iter().any(|arg| arg == "--bench") {
        println!("measures nothing: make bench");
        return ExitCode::SUCCESS;
    }
    let words: Vec<&str> = args.iter().map(String::as_str).filter(|arg| *arg != "--bench").collect();
    let done = match words[..] {
        [] => bench(Part::Again),
        ["empty"] => bench(Part::Empty),
        ["list"] => Part::ALL.into_iter().try_for_each(list),
        ["report"] => Part::ALL.into_iter().try_for_each(|part| report(part, &newest(part)?, true)),
        _ => Err(format!("unknown: {}", words.join(" "))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The rows that are wanted, each with its number of rounds.
fn wanted(part: Part, settings: &Settings) -> Result<Vec<(Row, usize)>> {
    let help = output(command(&settings.gimg).args(["build", "--help"]))?;
    let rows = part.rows().into_iter().filter(|row| choose::matches(&settings.only, &row.key()));
    let (rows, skipped): (Vec<Row>, Vec<Row>) = rows.partition(|row| match row.job {
        Job::Fresh { .. } => help.contains("--cache-from"),
        Job::Remote { .. } => help.contains("--remote-cache"),
        _ => true,
    });
    for row in skipped {
        println!("skipped, this gimg can't do it: {}", row.key());
    }
    Ok(rows.into_iter().map(|row| (row, settings.runs.unwrap_or(row.rounds))).collect())
}

fn seconds(rows: &[(Row, usize)]) -> f64 {
    rows.iter().map(|(row, rounds)| row.seconds(*rounds)).sum()
}

fn list(part: Part) -> Result<()> {
    let rows = wanted(part, &Settings::read(part)?)?;
    for (row, rounds) in &rows {
        println!("{:<52} {rounds} rounds, about {:.0} s", row.key(), row.seconds(*rounds));
    }
    println!(
        "{}: {} rows, about {:.0} minutes on two cores with a warm compiler's cache",
        part.name(),
        rows.len(),
        seconds(&rows) / 60.0
    );
    Ok(())
}

/// Measures, and writes the results.
fn bench(part: Part) -> Result<()> {
    let settings = Settings::read(part)?;
    let rows = wanted(part, &settings)?;
    if rows.is_empty() {
        return Err(format!("no row matches ONLY={}: make bench-list", settings.only));
    }
    remove(&settings.work)?;
    for dir in ["logs", "trees"].map(|name| settings.work.join(name)) {
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    // It goes to the results when it is whole.
    let path = settings.work.join("raw.tsv");
    let facts = facts::facts(&settings);
    write(&path, &raw::head(&facts))?;
    let out =
        std::fs::File::options().append(true).open(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let servers = Servers::start(&settings.work)?;
    let mut rounds = Rounds::new(&settings, servers, out);

    let (start, all) = (Instant::now(), seconds(&rows));
    let mut guessed = 0.0;
    let mut broken = Vec::new();
    for (n, (row, count)) in rows.iter().enumerate() {
        let gone = start.elapsed().as_secs_f64();
        // The guesses are for some machine; what is done says how this one is.
        let left = (all - guessed) * if guessed > 0.0 { gone / guessed } else { 1.0 };
        println!(
            "row {} of {}, {:.0} min gone, about {:.0} to go: {}",
            n + 1,
            rows.len(),
            gone / 60.0,
            left / 60.0,
            row.key()
        );
        if let Err(error) = rounds.run(row, *count) {
            eprintln!("bench: {}: {error}", row.key());
            rounds.give_up(row)?;
            broken.push(row.key());
        }
        guessed += row.seconds(*count);
    }
    let samples = std::mem::take(&mut rounds.samples);
    drop(rounds);
    println!("{:.0} minutes in all", start.elapsed().as_secs_f64() / 60.0);
    // The logs stay.
    for dir in ["registry", "trees", "git", "gimg-cache", "kocache", "layouts", "bin", "fresh", "nginx"] {
        remove(&settings.work.join(dir))?;
    }

    let numbers = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    write(&settings.results.join("raw.tsv"), &numbers)?;
    pages(&settings.results, &settings.name)?;
    println!("written: {}", settings.results.display());
    if settings.is_whole() {
        report(part, &settings.name, false)?;
    }
    if !broken.is_empty() {
        return Err(format!("not measured: {}", broken.join(", ")));
    }
    if samples.iter().any(|s| s.contender == "gimg" && s.numbers.is_none()) {
        return Err("gimg failed, see above".to_owned());
    }
    Ok(())
}

/// A run's page and plot, from its raw numbers.
fn pages(results: &Path, name: &str) -> Result<raw::Raw> {
    let path = results.join("raw.tsv");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let raw = raw::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    write(&results.join("README.md"), &page::run_page(name, &raw))?;
    write(&results.join("plot.svg"), &plot::svg(name, &rows::rows(&raw.samples)))?;
    Ok(raw)
}

/// The pages of a committed run, and its summary in `benches/README.md`.
fn report(part: Part, name: &str, say: bool) -> Result<()> {
    let raw = pages(&folder(part).join(name), name)?;
    let readme = root().join("benches/README.md");
    let text = std::fs::read_to_string(&readme).map_err(|e| format!("{}: {e}", readme.display()))?;
    write(&readme, &page::splice(part.name(), &text, &page::summary(part.folder(), name, &raw))?)?;
    if say {
        println!("written: {} and the pages of {name}", readme.display());
    }
    Ok(())
}

/// The newest run whose raw numbers have today's columns.
fn newest(part: Part) -> Result<String> {
    let runs = folder(part);
    let found = std::fs::read_dir(&runs).map_err(|e| format!("{}: {e}", runs.display()))?;
    let names = found.flatten().filter(|entry| {
        let text = std::fs::read_to_string(entry.path().join("raw.tsv")).unwrap_or_default();
        raw::is_current(&text)
    });
    let newest = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).max();
    newest.ok_or_else(|| "there is no run: make bench".to_owned())
}

/// Removes a folder with all that is in it, if it is there.
fn remove(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {e}", dir.display())),
        _ => Ok(()),
    }
}
