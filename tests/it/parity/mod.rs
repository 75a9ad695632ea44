//! The differential test: ko v0.19.1 and gimg on the same inputs. Every difference in what they say and make is in
//! the table `ON_PURPOSE`, and there is a row of the README for each. `GIMG_CASE=words` runs only the cases whose
//! names have these words.

mod cases;
mod configured;
mod on_purpose;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::facts::{Facts, Key};
use crate::support::root;
use crate::support::twins::{Case, Lab, Outcome};

use on_purpose::{ELSEWHERE, ON_PURPOSE};

/// One fact that the two tools don't share.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) key: Key,
    pub(crate) ko: Option<String>,
    pub(crate) gimg: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |s: &Option<String>| s.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "{}: ko {}, gimg {}", self.key, side(&self.ko), side(&self.gimg))
    }
}

impl Difference {
    /// Whether ko has this thing, and gimg hasn't.
    fn only_ko(&self, item: &str) -> bool {
        self.key.item == item && self.key.part.is_empty() && self.gimg.is_none()
    }

    /// Whether gimg has this thing, and ko hasn't.
    fn only_gimg(&self, item: &str) -> bool {
        self.key.item == item && self.key.part.is_empty() && self.ko.is_none()
    }

    /// Whether it is about this property of this thing.
    fn about(&self, item: &str, part: &str) -> bool {
        self.key.item == item && self.key.part == part
    }

    /// Whether ko has the first and gimg the second; an empty text is nothing.
    fn is_pair(&self, ko: &str, gimg: &str) -> bool {
        self.ko.as_deref().unwrap_or_default() == ko && self.gimg.as_deref().unwrap_or_default() == gimg
    }
}

/// What differs. When a tool failed, that is all that counts.
fn differences(ko: &Outcome, gimg: &Outcome) -> Vec<Difference> {
    if ko.success != gimg.success {
        let word = |o: &Outcome| Some(if o.success { "success" } else { "failure" }.to_owned());
        let key =
            Key { image: String::new(), platform: String::new(), item: "exit".into(), part: String::new() };
        return vec![Difference { key, ko: word(ko), gimg: word(gimg) }];
    }
    let (ko, gimg) = (&ko.facts, &gimg.facts);
    // Of a thing that one of them lacks, its properties say nothing more.
    let things = |facts: &Facts| -> BTreeSet<Key> { facts.keys().map(thing).collect() };
    let (ko_has, gimg_has) = (things(ko), things(gimg));
    let there = |has: &BTreeSet<Key>, key: &Key| has.contains(key).then(|| "it".to_owned());
    let lacking = ko_has.symmetric_difference(&gimg_has).map(|key| Difference {
        key: key.clone(),
        ko: there(&ko_has, key),
        gimg: there(&gimg_has, key),
    });
    let keys: BTreeSet<&Key> = ko.keys().chain(gimg.keys()).collect();
    let shared = keys.into_iter().filter(|k| ko_has.contains(&thing(k)) && gimg_has.contains(&thing(k)));
    let of =
        |key: &Key| Difference { key: key.clone(), ko: ko.get(key).cloned(), gimg: gimg.get(key).cloned() };
    lacking.chain(shared.map(of).filter(|d| d.ko != d.gimg)).collect()
}

/// The key without the property.
fn thing(key: &Key) -> Key {
    Key { part: String::new(), ..key.clone() }
}

/// What is wrong with a case; the differences on purpose that it showed go to `used`.
fn judge(case: &Case, ko: &Outcome, gimg: &Outcome, used: &mut BTreeSet<&'static str>) -> Vec<String> {
    let mut wrong = Vec::new();
    if (!ko.success && !gimg.success) != case.fails {
        wrong.push(if case.fails { "both must fail" } else { "both fail" }.to_owned());
    }
    let mut seen = BTreeSet::new();
    for difference in differences(ko, gimg) {
        let fits =
            ON_PURPOSE.iter().find(|p| (p.everywhere || case.differs.contains(&p.id)) && (p.is)(&difference));
        match fits {
            Some(purpose) => drop(seen.insert(purpose.id)),
            None => wrong.push(difference.to_string()),
        }
    }
    for id in &case.differs {
        if !seen.contains(id) {
            wrong.push(format!("the difference {id} was not seen"));
        }
    }
    used.extend(seen);
    if !wrong.is_empty() {
        wrong.extend([ko.said.clone(), gimg.said.clone()]);
    }
    wrong
}

#[test]
fn every_difference_from_ko_is_on_purpose() {
    let wanted = std::env::var("GIMG_CASE").unwrap_or_default();
    let cases: Vec<Case> = cases::all().into_iter().filter(|c| c.name.contains(&wanted)).collect();
    let names: BTreeSet<&str> = cases.iter().map(|c| c.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    let lab = Lab::new();
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut wrong, mut used) = (BTreeMap::new(), BTreeSet::new());
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (ko, gimg) = lab.run(case);
            wrong.insert(case.name, judge(case, &ko, &gimg, &mut used));
        }
        (wrong, used)
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from) + 1;
    let (mut wrong, mut used) = (BTreeMap::new(), BTreeSet::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let (some, ids) = worker.join().unwrap();
            wrong.extend(some);
            used.extend(ids);
        }
    });
    let report: String = wrong
        .iter()
        .filter(|(_, lines)| !lines.is_empty())
        .map(|(name, lines)| format!("\n{name}:\n  {}", lines.join("\n  ")))
        .collect();
    assert!(report.is_empty(), "{report}");
    println!("{} cases", cases.len());
    if wanted.is_empty() {
        assert!(cases.len() >= 60, "{} cases", cases.len());
        let unused: Vec<&str> = ON_PURPOSE.iter().map(|p| p.id).filter(|id| !used.contains(id)).collect();
        assert!(unused.is_empty(), "differences that no case shows: {unused:?}");
    }
}

#[test]
fn the_readme_has_a_row_for_every_difference_from_ko() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let table = readme.split("| | ko | gimg |\n|---|---|---|\n").nth(1).unwrap();
    let rows = table.lines().take_while(|l| l.starts_with('|')).map(|l| l.split(" | ").next().unwrap());
    let rows: BTreeSet<&str> = rows.map(|r| r.trim_start_matches("| ")).collect();
    let purposes = ON_PURPOSE.iter().map(|p| p.row).chain(ELSEWHERE.iter().map(|(row, _)| *row));
    assert_eq!(rows, purposes.collect());
    let mut ids = BTreeSet::new();
    assert!(ON_PURPOSE.iter().all(|p| ids.insert(p.id)), "two differences have one name");
    let tests = std::fs::read_dir(root().join("tests/it")).unwrap().map(|e| e.unwrap().path());
    let tests: String = tests.filter_map(|p| std::fs::read_to_string(p).ok()).collect();
    for (row, test) in ELSEWHERE {
        assert!(tests.contains(&format!("fn {test}(")), "{row}: no test {test}");
    }
}
