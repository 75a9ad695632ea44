//! How much larger or smaller programs are than those of another image. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::report::{Growth, GrowthOf, Inspected, InspectedProgram, SectionKind};

/// The programs of `now` beside those of `was` that they stand in the place of, where anything of their sizes differs:
/// on the same platform, of the same path, else of the same main package. Two files are compared whatever they are called.
pub(super) fn growth(was: &Inspected, now: &Inspected) -> Vec<Growth> {
    let old: Vec<(Option<&str>, &InspectedProgram)> = was.programs().collect();
    let mut found = Vec::new();
    for (platform, program) in now.programs() {
        let there = || old.iter().filter(|(other, _)| *other == platform).map(|(_, program)| *program);
        let same_package = |other: &&InspectedProgram| {
            platform.is_none() || !program.package.is_empty() && other.package == program.package
        };
        let twin = there().find(|other| other.path == program.path).or_else(|| there().find(same_package));
        let Some(twin) = twin.filter(|twin| twin.digest != program.digest) else { continue };
        let packages = differences(&packages(twin), &packages(program));
        let parts = differences(&parts(twin), &parts(program));
        if !packages.is_empty() || !parts.is_empty() {
            let (path, platform) = (program.path.clone(), platform.map(str::to_owned));
            found.push(Growth { platform, path, was: twin.size, now: program.size, packages, parts });
        }
    }
    found
}

type Sizes<'a> = BTreeMap<&'a str, u64>;

/// By package; code of none isn't told apart from other code.
fn packages(program: &InspectedProgram) -> Sizes<'_> {
    let named = program.packages.iter().filter(|package| !package.package.is_empty());
    named.map(|package| (package.package.as_str(), package.size)).collect()
}

/// Everything else, by what it is for.
fn parts(program: &InspectedProgram) -> Sizes<'_> {
    let mut kinds = program.kinds();
    for package in program.packages.iter().filter(|package| package.package.is_empty()) {
        *kinds.entry(SectionKind::Code).or_default() += package.size;
    }
    kinds.into_iter().map(|(kind, size)| (kind.label(), size)).collect()
}

/// What isn't of one size, the largest difference first.
fn differences(was: &Sizes<'_>, now: &Sizes<'_>) -> Vec<GrowthOf> {
    let names: std::collections::BTreeSet<&str> = was.keys().chain(now.keys()).copied().collect();
    let of = |name: &str| {
        let size = |sizes: &Sizes<'_>| sizes.get(name).copied().unwrap_or_default();
        GrowthOf { name: name.to_owned(), was: size(was), now: size(now) }
    };
    let mut found: Vec<GrowthOf> = names.into_iter().map(of).filter(|of| of.was != of.now).collect();
    found.sort_by_key(|of| Reverse(of.was.abs_diff(of.now)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_the_largest_first() {
        let was = Sizes::from([("a", 10), ("b", 5), ("gone", 3)]);
        let now = Sizes::from([("a", 10), ("b", 9), ("new", 7)]);
        let told: Vec<(String, u64, u64)> =
            differences(&was, &now).into_iter().map(|of| (of.name, of.was, of.now)).collect();
        assert_eq!(told, [("new".to_owned(), 0, 7), ("b".to_owned(), 5, 9), ("gone".to_owned(), 3, 0)]);
    }
}
