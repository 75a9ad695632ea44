//! `--platform` against what the engines run that images are loaded into. Pure.

use crate::error::{Error, Kind, Result};
use crate::oci::Platform;
use crate::plan::platforms::Requested;

/// An engine as the plan knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFact {
    /// In words, such as `docker`.
    pub name: String,
    /// What it runs.
    pub platform: Platform,
}

/// The platforms to build for when images are loaded into `engines`: theirs if none is named. `alone` says that
/// images go nowhere else; then only what an engine takes is built.
#[must_use]
pub fn requested(requested: &Requested, engines: &[EngineFact], alone: bool) -> Requested {
    let theirs = || {
        let mut list: Vec<Platform> = Vec::new();
        for engine in engines {
            if !list.contains(&engine.platform) {
                list.push(engine.platform.clone());
            }
        }
        Requested::List(list)
    };
    match requested {
        _ if engines.is_empty() => requested.clone(),
        Requested::Default => theirs(),
        Requested::All if alone => theirs(),
        Requested::List(list) if alone => {
            let picks: Option<Vec<usize>> = engines.iter().map(|e| e.platform.best_of(list)).collect();
            match picks {
                Some(picks) => {
                    let taken = list.iter().enumerate().filter(|(index, _)| picks.contains(index));
                    Requested::List(taken.map(|(_, p)| p.clone()).collect())
                }
                // Said by `check`, which knows what is built.
                None => requested.clone(),
            }
        }
        Requested::All | Requested::List(_) => requested.clone(),
    }
}

/// Checks that each engine gets something it runs. A single platform that an engine doesn't run is loaded all the
/// same, as in ko, since engines can emulate; the warnings say so.
///
/// # Errors
/// Several platforms of which none is the engine's.
pub fn check(platforms: &[Platform], engines: &[EngineFact]) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for EngineFact { name, platform } in engines {
        if platform.best_of(platforms).is_some() {
            continue;
        }
        let [one] = platforms else {
            let list: Vec<String> = platforms.iter().map(ToString::to_string).collect();
            let why = format!("it runs {platform}, the image has {}", list.join(", "));
            return Err(Error::new(Kind::Usage, format!("load into {name}"), why)
                .hint(format!("add {platform} to --platform, or name one platform for it to emulate")));
        };
        warnings.push(format!("{name} runs {platform}, it can run this image of {one} only by emulation"));
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engines(platforms: &[&str]) -> Vec<EngineFact> {
        let engine = |p: &&str| EngineFact { name: "docker".into(), platform: p.parse().unwrap() };
        platforms.iter().map(engine).collect()
    }

    fn list(text: &str) -> Requested {
        Requested::parse(&[text.to_owned()]).unwrap().0
    }

    #[test]
    fn engines_decide_what_nobody_said_and_take_their_part_of_what_was_said() {
        let (amd, arm) = (&["linux/amd64"][..], &["linux/arm64"][..]);
        for (asked, theirs, alone, built) in [
            (Requested::Default, arm, true, list("linux/arm64")),
            (Requested::Default, arm, false, list("linux/arm64")),
            (Requested::Default, &["linux/arm64", "linux/amd64"], true, list("linux/arm64,linux/amd64")),
            (Requested::Default, &[], false, Requested::Default),
            (Requested::All, arm, true, list("linux/arm64")),
            (Requested::All, arm, false, Requested::All),
            (list("linux/amd64,linux/arm64"), arm, true, list("linux/arm64")),
            (list("linux/amd64,linux/arm64"), arm, false, list("linux/amd64,linux/arm64")),
            (list("linux/arm64"), amd, true, list("linux/arm64")),
            (list("linux/arm64,linux/s390x"), amd, true, list("linux/arm64,linux/s390x")),
        ] {
            assert_eq!(requested(&asked, &engines(theirs), alone), built, "{asked:?} for {theirs:?}");
        }
    }

    #[test]
    fn an_engine_that_gets_nothing_it_runs_is_an_error_or_a_warning() {
        let platforms = |text: &str| list(text).named().unwrap();
        let amd = engines(&["linux/amd64"]);
        assert!(check(&platforms("linux/amd64/v3,linux/arm64"), &amd).unwrap().is_empty());
        assert_eq!(check(&platforms("linux/arm64"), &amd).unwrap().len(), 1);
        let error = check(&platforms("linux/arm64,linux/s390x"), &amd).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains("docker: it runs linux/amd64"), "{error}");
    }
}
