//! Runs rows: contenders in turn, in another order each round, with what has to happen before each.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Result;
use crate::checkout::Checkout;
use crate::contenders::Build;
use crate::jobs::{Destination, Job, Keeper, Row};
use crate::measure;
use crate::report::raw::{self, Numbers, Sample};
use crate::servers::Servers;
use crate::settings::Settings;
use crate::trees::Tree;

/// Files that changed a shorter while ago are not remembered by gimg, as they aren't by git.
const SETTLED: Duration = Duration::from_millis(2100);

/// A run in progress.
pub(crate) struct Rounds<'a> {
    settings: &'a Settings,
    servers: Servers,
    out: std::fs::File,
    trees: BTreeMap<&'static str, Tree>,
    /// What was built in a warm row, by whom and to where.
    warm: BTreeSet<String>,
    /// Of which subjects the remote cache has everything.
    filled: BTreeSet<(&'static str, Keeper)>,
    /// Counts changes: none is made twice, nor in another run.
    changes: u64,
    nonce: u128,
    changed: Instant,
    /// The samples so far.
    pub(crate) samples: Vec<Sample>,
}

impl<'a> Rounds<'a> {
    /// Nothing measured yet; samples go to `out` as they come.
    pub(crate) fn new(settings: &'a Settings, servers: Servers, out: std::fs::File) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let nonce = now.map_or(0, |since| since.as_millis());
        let (trees, warm, filled, samples) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new(), Vec::new());
        let changed = Instant::now();
        Rounds { settings, servers, out, trees, warm, filled, changes: 0, nonce, changed, samples }
    }

    /// All rounds of one row. A contender that fails is written down as such and takes no further part.
    pub(crate) fn run(&mut self, row: &Row, rounds: usize) -> Result<()> {
        let tree = self.tree(row)?;
        let mut contenders: Vec<&str> = row
            .contenders
            .iter()
            .copied()
            .filter(|c| self.settings.contenders.iter().any(|own| own == c))
            .collect();
        if row.job.warms_always() {
            // The code doesn't change in these rows, so it can be remembered from round 0 on.
            std::thread::sleep(SETTLED.saturating_sub(self.changed.elapsed()));
        }
        // Round 0 is not written down: caches learn what they may know, unless a row before has taught them.
        for round in usize::from(!self.needs_warming(row, &contenders))..=rounds {
            let count = contenders.len();
            for n in 0..count {
                let contender = contenders[(round + n) % count];
                let load = measure::load();
                let ran = self.once(row, &tree, contender, round);
                let failure = ran.as_ref().err().cloned();
                let shown = ran.as_ref().map_or_else(|_| "failed".to_owned(), |n| format!("{:.2} s", n.wall));
                println!("  {} round {round} {contender}: {shown}", row.key());
                if round > 0 || failure.is_some() {
                    self.keep(row, contender, round, ran.ok(), load)?;
                }
                if let Some(failure) = failure {
                    eprintln!("bench: {}: {contender}: {failure}", row.key());
                }
            }
            contenders.retain(|c| {
                !self.samples.iter().any(|s| s.numbers.is_none() && is_of(s, row) && s.contender == *c)
            });
        }
        if row.job == Job::KodataChanged {
            tree.forget_kodata()?;
            self.changed = Instant::now();
        }
        if row.job.is_warm() {
            self.warm.extend(contenders.iter().map(|contender| warmth(row, contender)));
        }
        Ok(())
    }

    /// Writes down that nobody did a row, which couldn't even begin.
    pub(crate) fn give_up(&mut self, row: &Row) -> Result<()> {
        row.contenders.iter().try_for_each(|contender| self.keep(row, contender, 0, None, None))
    }

    /// Whether a round comes before those that count.
    fn needs_warming(&self, row: &Row, contenders: &[&str]) -> bool {
        row.job.warms_always()
            || row.job.is_warm()
                && contenders.iter().any(|contender| !self.warm.contains(&warmth(row, contender)))
    }

    /// One contender's round.
    fn once(&mut self, row: &Row, tree: &Tree, contender: &str, round: usize) -> Result<Numbers> {
        let mut fresh = None;
        let mut tree = tree.clone();
        match row.job {
            Job::NoOp => {}
            Job::MainChanged => tree.change_main(&self.change(row, contender, round))?,
            Job::DeepChanged => tree.change_deep(&self.change(row, contender, round))?,
            Job::KodataChanged => tree.change_kodata(&self.change(row, contender, round))?,
            Job::Cold => fresh = Some(self.empty()?),
            Job::Remote { keeper, .. } => {
                if contender == "gimg" && self.filled.insert((row.subject.name, keeper)) {
                    // Another machine, whose compiler's cache is warm or becomes so.
                    let url = self.servers.build_cache(keeper, 0)?;
                    let build = Build { remote: Some((url, true)), ..self.build(row, &tree, 0, None) };
                    measure::run(build.commands(contender), &self.log(row, contender, "filled"))?;
                }
                fresh = Some(self.empty()?);
            }
            Job::Fresh { commit, .. } => {
                let checkout = Checkout::of(&self.settings.work, row.job.name(), &tree)?;
                if contender != "go" {
                    // The registry has what the commit before was built into: this one, if there is no new one.
                    let published = self.build(row, &checkout.origin, round, None).commands(contender);
                    measure::run(published, &self.log(row, contender, "published"))?;
                }
                if commit {
                    checkout.commit(&self.change(row, contender, round))?;
                }
                tree = checkout.fresh()?;
                fresh = Some(self.empty()?);
            }
        }
        let commands = self.build(row, &tree, round, fresh).commands(contender);
        let before = self.servers.counter.read();
        let numbers = measure::run(commands, &self.log(row, contender, &round.to_string()))?;
        let after = self.servers.counter.read();
        Ok(Numbers { requests: Some(after.0 - before.0), sent: Some(after.1 - before.1), ..numbers })
    }

    fn build<'b>(&'b self, row: &Row, tree: &'b Tree, round: usize, fresh: Option<PathBuf>) -> Build<'b> {
        let registry = match row.destination {
            Destination::Slow => &self.servers.slow,
            _ => &self.servers.counter.host,
        };
        let Row { platforms, destination, job, .. } = *row;
        let remote = match job {
            Job::Remote { keeper, latency } => {
                self.servers.build_cache(keeper, latency).ok().map(|url| (url, false))
            }
            _ => None,
        };
        Build { settings: self.settings, tree, platforms, destination, job, round, registry, fresh, remote }
    }

    /// The row's tree, made when it is first asked for.
    fn tree(&mut self, row: &Row) -> Result<Tree> {
        let name = row.subject.name;
        if !self.trees.contains_key(name) {
            println!("  making {name}");
            let tree = Tree::make(row.subject, &self.settings.work.join("trees").join(name))?;
            self.changed = Instant::now();
            self.trees.insert(name, tree);
        }
        self.trees.get(name).cloned().ok_or_else(|| format!("no tree of {name}"))
    }

    /// A text that no change had yet.
    fn change(&mut self, row: &Row, contender: &str, round: usize) -> String {
        self.changes += 1;
        self.changed = Instant::now();
        format!("{} {contender} {round}: change {} of run {}", row.key(), self.changes, self.nonce)
    }

    /// The folder of the caches of who begins with none.
    fn empty(&self) -> Result<PathBuf> {
        let dir = self.settings.work.join("fresh");
        crate::remove(&dir)?;
        Ok(dir)
    }

    fn log(&self, row: &Row, contender: &str, what: &str) -> PathBuf {
        self.settings.work.join("logs").join(format!("{}-{contender}-{what}", row.key().replace('/', "-")))
    }

    fn keep(
        &mut self,
        row: &Row,
        contender: &str,
        round: usize,
        numbers: Option<Numbers>,
        load: Option<f64>,
    ) -> Result<()> {
        let sample = Sample {
            subject: row.subject.name.to_owned(),
            job: row.job.name().to_owned(),
            platforms: row.platforms.to_owned(),
            destination: row.destination.name().to_owned(),
            round,
            contender: contender.to_owned(),
            numbers,
            load,
        };
        self.out.write_all(raw::line(&sample).as_bytes()).map_err(|e| format!("raw.tsv: {e}"))?;
        self.samples.push(sample);
        Ok(())
    }
}

fn warmth(row: &Row, contender: &str) -> String {
    format!("{} {} {} {contender}", row.subject.name, row.platforms, row.destination.name())
}

fn is_of(sample: &Sample, row: &Row) -> bool {
    sample.subject == row.subject.name
        && sample.job == row.job.name()
        && sample.platforms == row.platforms
        && sample.destination == row.destination.name()
}
