//! Samples gathered into rows: one job on one subject, with every contender's summary.

use super::raw::{Numbers, Sample};
use super::stats::{Spread, spread};

/// What one contender did in a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cell {
    /// Rounds that ended well, and that failed.
    pub(crate) runs: usize,
    pub(crate) failures: usize,
    pub(crate) wall: Option<Spread>,
    pub(crate) cpu: Option<Spread>,
    /// In KiB.
    pub(crate) memory: Option<Spread>,
    pub(crate) requests: Option<Spread>,
    /// In bytes.
    pub(crate) sent: Option<Spread>,
}

/// One job on one subject.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) subject: String,
    pub(crate) job: String,
    pub(crate) platforms: String,
    pub(crate) destination: String,
    /// Contenders that took part, in the order of their first line.
    pub(crate) cells: Vec<(String, Cell)>,
}

impl Row {
    /// What a contender did, if it took part.
    pub(crate) fn cell(&self, contender: &str) -> Option<&Cell> {
        self.cells.iter().find(|(name, _)| name == contender).map(|(_, cell)| cell)
    }

    /// A contender's median time, unless any of its rounds failed.
    pub(crate) fn median(&self, contender: &str) -> Option<f64> {
        let cell = self.cell(contender)?;
        if cell.failures > 0 { None } else { cell.wall.map(|wall| wall.median) }
    }

    /// How many platforms.
    pub(crate) fn count(&self) -> usize {
        self.platforms.split(',').count()
    }

    /// Job, platforms if several, and destination, in words.
    pub(crate) fn words(&self) -> String {
        let platforms = match self.count() {
            1 => String::new(),
            n => format!(", {n} platforms"),
        };
        format!("{}{platforms} → {}", self.job, self.destination)
    }
}

/// The rows, in the order of their first samples.
pub(crate) fn rows(samples: &[Sample]) -> Vec<Row> {
    let mut rows: Vec<(Row, Vec<&Sample>)> = Vec::new();
    for sample in samples {
        let key = |s: &Row| {
            s.subject == sample.subject
                && s.job == sample.job
                && s.platforms == sample.platforms
                && s.destination == sample.destination
        };
        if let Some((_, of)) = rows.iter_mut().find(|(row, _)| key(row)) {
            of.push(sample);
            continue;
        }
        let row = Row {
            subject: sample.subject.clone(),
            job: sample.job.clone(),
            platforms: sample.platforms.clone(),
            destination: sample.destination.clone(),
            cells: Vec::new(),
        };
        rows.push((row, vec![sample]));
    }
    rows.into_iter().map(|(row, of)| Row { cells: cells(&of), ..row }).collect()
}

fn cells(samples: &[&Sample]) -> Vec<(String, Cell)> {
    let mut names: Vec<&str> = Vec::new();
    for sample in samples {
        if !names.contains(&sample.contender.as_str()) {
            names.push(&sample.contender);
        }
    }
    // The tables' order, and who is not known at the end.
    names.sort_by_key(|name| super::CONTENDERS.iter().position(|c| c == name).unwrap_or(usize::MAX));
    let of = |name: &str| {
        let mine: Vec<&&Sample> = samples.iter().filter(|s| s.contender == name).collect();
        let done: Vec<&Numbers> = mine.iter().filter_map(|s| s.numbers.as_ref()).collect();
        let all = |value: fn(&Numbers) -> Option<f64>| spread(done.iter().filter_map(|n| value(n)));
        Cell {
            runs: done.len(),
            failures: mine.len() - done.len(),
            wall: all(|n| Some(n.wall)),
            cpu: all(|n| n.cpu.map(|(user, sys)| user + sys)),
            memory: all(|n| n.memory.map(|v| v as f64)),
            requests: all(|n| n.requests.map(|v| v as f64)),
            sent: all(|n| n.sent.map(|v| v as f64)),
        }
    };
    names.into_iter().map(|name| (name.to_owned(), of(name))).collect()
}
