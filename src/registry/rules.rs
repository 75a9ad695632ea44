//! `registries.conf`, version 2 (containers-registries.conf(5)): mirrors, other places, and which registries are
//! insecure or blocked.
#![expect(clippy::disallowed_methods, reason = "edge: registries.conf")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::oci::{Reference, Repository};

/// No such file is larger.
const MAX_FILE: u64 = 1024 * 1024;

/// The rules of a `registries.conf`; none by default.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    path: PathBuf,
    /// What a user should know of the file.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug)]
struct Rule {
    prefix: Prefix,
    /// What replaces the prefix when something is pulled.
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
}

/// What a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Prefix {
    /// `r.io/team`: it, and what is below.
    Path(String),
    /// `*.r.io`: every host below.
    Hosts(String),
}

#[derive(Clone, Debug)]
struct Mirror {
    location: String,
    insecure: bool,
    by: By,
}

/// What a mirror is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    All,
    Digest,
    Tag,
}

/// A place to pull from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The repository under the place's own name, which is also that of its credentials.
    pub(super) repository: Repository,
    /// The mirror's location; none for the last place, the repository itself.
    pub(super) mirror: Option<String>,
}

/// The file. Other keys are for other programs.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    registry: Vec<Entry>,
    /// Version 1.
    registries: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorEntry {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<String>,
}

impl Rules {
    /// The first that exists of `$CONTAINERS_REGISTRIES_CONF`, `containers/registries.conf` in the user's
    /// configuration directory, and `/etc/containers/registries.conf`.
    ///
    /// # Errors
    /// A file that can't be read or understood; the named one if it doesn't exist.
    pub fn load(env: &BTreeMap<String, String>) -> Result<Self> {
        let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
        if let Some(path) = set("CONTAINERS_REGISTRIES_CONF") {
            let path = PathBuf::from(path);
            let text = read(&path).map_err(|e| Error::io("read CONTAINERS_REGISTRIES_CONF", &path, &e))?;
            return Rules::parse(&text, &path);
        }
        let own = user_config(env).map(|dir| dir.join("containers/registries.conf"));
        for path in own.into_iter().chain([PathBuf::from("/etc/containers/registries.conf")]) {
            match read(&path) {
                Ok(text) => return Rules::parse(&text, &path),
                Err(e)
                    if matches!(
                        e.kind(),
                        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                    ) => {}
                Err(e) => return Err(Error::io("read registries.conf", &path, &e)),
            }
        }
        Ok(Rules::default())
    }

    /// The rules of a file's text; `path` is for messages.
    ///
    /// # Errors
    /// [`Kind::Input`], with line and column if it isn't TOML of the right form.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let bad = |why: String| Error::new(Kind::Input, "read registries.conf", why).at(path.display());
        let file: File = toml::from_str(text).map_err(|e| {
            let before = &text[..e.span().map_or(0, |span| span.start).min(text.len())];
            let (line, last) =
                (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap_or_default());
            let place = format!("{}:{line}:{}", path.display(), last.chars().count() + 1);
            bad(e.message().replace('\n', ", ")).at(place)
        })?;
        let mut warnings = Vec::new();
        if file.registries.is_some() {
            let text = "its table [registries] is of version 1 and not read; gimg reads [[registry]]";
            warnings.push(format!("{}: {text}", path.display()));
        }
        let rules = file.registry.into_iter().map(Rule::read).collect::<Result<Vec<_>, _>>().map_err(bad)?;
        Ok(Rules { rules, path: path.to_owned(), warnings })
    }

    /// The rule for `name` (`host/path`, or a host alone): that with the longest prefix.
    fn find(&self, name: &str) -> Option<(&Rule, usize)> {
        let found = self.rules.iter().filter_map(|rule| Some((rule, rule.prefix.covers(name)?)));
        // The first of equals.
        found.min_by_key(|(rule, _)| std::cmp::Reverse(rule.prefix.len()))
    }

    /// Where the file is, if it blocks `name`.
    pub(super) fn blocked(&self, name: &str) -> Option<&Path> {
        self.find(name).filter(|(rule, _)| rule.blocked).map(|_| self.path.as_path())
    }

    /// Whether `name` may be reached without a checked certificate or by http: its rule says so, or it is on
    /// the host of a mirror whose entry does.
    pub(super) fn insecure(&self, name: &str) -> bool {
        let host = name.split('/').next().unwrap_or(name);
        let of_host = |m: &&Mirror| m.insecure && m.location.split('/').next() == Some(host);
        self.find(name).is_some_and(|(rule, _)| rule.insecure)
            || self.rules.iter().flat_map(|rule| &rule.mirrors).any(|m| of_host(&m))
    }

    /// Where to pull from, in this order: the mirrors, then the repository, which may be elsewhere than it is
    /// called.
    ///
    /// # Errors
    /// A place that isn't a repository.
    pub(super) fn places(&self, reference: &Reference) -> Result<Vec<Place>> {
        let name = reference.repository.to_string();
        let Some((rule, length)) = self.find(&name) else {
            return Ok(vec![Place { repository: reference.repository.clone(), mirror: None }]);
        };
        let moved = |location: &str| -> Result<Repository> {
            let moved = format!("{location}{}", &name[length..]);
            moved.parse().map_err(|e: Error| e.at(self.path.display()))
        };
        let by = if reference.digest.is_some() { By::Digest } else { By::Tag };
        let mut places = Vec::new();
        for mirror in rule.mirrors.iter().filter(|m| m.by == By::All || m.by == by) {
            places
                .push(Place { repository: moved(&mirror.location)?, mirror: Some(mirror.location.clone()) });
        }
        let repository = rule.location.as_deref().map_or_else(|| Ok(reference.repository.clone()), moved)?;
        places.push(Place { repository, mirror: None });
        Ok(places)
    }
}

impl Prefix {
    /// How many bytes of `name` the prefix stands for.
    fn covers(&self, name: &str) -> Option<usize> {
        match self {
            Prefix::Path(path) => {
                let rest = name.strip_prefix(path.as_str())?;
                (rest.is_empty() || rest.starts_with('/')).then_some(path.len())
            }
            Prefix::Hosts(domain) => {
                let host = name.split('/').next().unwrap_or(name);
                host.strip_suffix(domain.as_str())?.strip_suffix('.').filter(|sub| !sub.is_empty())?;
                Some(host.len())
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Prefix::Path(path) => path.len(),
            Prefix::Hosts(domain) => domain.len() + 2,
        }
    }
}

impl Rule {
    fn read(entry: Entry) -> Result<Self, String> {
        let place = |text: &str| -> Result<String, String> {
            let text = text.trim_end_matches('/');
            if text.contains("://") {
                return Err(format!("\"{text}\": a location has no scheme"));
            }
            let probe = format!("{text}/x").parse::<Repository>();
            let host = text.split('/').next().unwrap_or(text);
            if probe.is_err() || !host.contains(['.', ':']) && host != "localhost" {
                return Err(format!("\"{text}\" isn't a registry with a path or without"));
            }
            Ok(text.to_owned())
        };
        let location = if entry.location.is_empty() { None } else { Some(place(&entry.location)?) };
        let prefix = if let Some(domain) = entry.prefix.strip_prefix("*.") {
            if domain.is_empty() || domain.contains('/') {
                return Err(format!("\"{}\": a prefix with * is a host", entry.prefix));
            }
            Prefix::Hosts(domain.to_owned())
        } else if entry.prefix.is_empty() {
            Prefix::Path(location.clone().ok_or("a [[registry]] has neither prefix nor location")?)
        } else {
            Prefix::Path(place(&entry.prefix)?)
        };
        let mut mirrors = Vec::new();
        for mirror in entry.mirror {
            let by = match mirror.pull_from_mirror.as_deref() {
                None | Some("") if entry.mirror_by_digest_only => By::Digest,
                None | Some("" | "all") => By::All,
                Some("digest-only") => By::Digest,
                Some("tag-only") => By::Tag,
                Some(other) => {
                    return Err(format!("pull-from-mirror is all, digest-only or tag-only, not \"{other}\""));
                }
            };
            mirrors.push(Mirror { location: place(&mirror.location)?, insecure: mirror.insecure, by });
        }
        Ok(Rule { prefix, location, insecure: entry.insecure, blocked: entry.blocked, mirrors })
    }
}

/// `$XDG_CONFIG_HOME`, else `~/.config`.
pub(super) fn user_config(env: &BTreeMap<String, String>) -> Option<PathBuf> {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))
}

fn read(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > MAX_FILE {
        return Err(std::io::Error::other("too large for a registries.conf"));
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        unqualified-search-registries = ["docker.io"]
        short-name-mode = "enforcing"
        [aliases]
        "alpine" = "docker.io/library/alpine"
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "mirror.test:5000/hub/"
        insecure = true
        [[registry.mirror]]
        location = "cache.test"
        pull-from-mirror = "digest-only"
        [[registry]]
        prefix = "docker.io/library/evil"
        blocked = true
        [[registry]]
        prefix = "r.io/team"
        location = "other.io/x/y"
        insecure = true
        [[registry]]
        prefix = "*.corp.test"
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "near.test/corp"
    "#;

    fn rules(text: &str) -> Result<Rules> {
        Rules::parse(text, Path::new("/c/registries.conf"))
    }

    fn places(reference: &str) -> Vec<String> {
        let places = rules(FILE).unwrap().places(&reference.parse().unwrap()).unwrap();
        places.into_iter().map(|p| p.repository.to_string()).collect()
    }

    #[test]
    fn mirrors_come_before_the_registry() {
        let digest = format!("@sha256:{}", "a".repeat(64));
        let hub = ["mirror.test:5000/hub/library/alpine", "docker.io/library/alpine"];
        assert_eq!(places("alpine:3"), hub);
        let by_digest =
            ["mirror.test:5000/hub/library/alpine", "cache.test/library/alpine", "docker.io/library/alpine"];
        assert_eq!(places(&format!("alpine{digest}")), by_digest);
        assert_eq!(places("r.io/team/app"), ["other.io/x/y/app"]);
        assert_eq!(places("r.io/teams/app"), ["r.io/teams/app"]);
        assert_eq!(places("a.corp.test/x"), ["a.corp.test/x"]);
        assert_eq!(places(&format!("a.corp.test/x{digest}")), ["near.test/corp/x", "a.corp.test/x"]);
        assert_eq!(places("corp.test/x"), ["corp.test/x"]);
    }

    #[test]
    fn rules_are_for_what_they_name() {
        let rules = rules(FILE).unwrap();
        for (name, insecure, blocked) in [
            ("docker.io/library/evil", false, true),
            ("docker.io/library/evil/x", false, true),
            ("docker.io/library/evils", false, false),
            ("r.io/team/app", true, false),
            ("r.io/other", false, false),
            ("r.io", false, false),
            ("mirror.test:5000/hub/x", true, false),
            ("mirror.test:5001", false, false),
        ] {
            assert_eq!(rules.insecure(name), insecure, "{name}");
            assert_eq!(rules.blocked(name).is_some(), blocked, "{name}");
        }
        assert!(rules.warnings.is_empty());
    }

    #[test]
    fn a_bad_file_is_refused_with_its_place() {
        for (text, words) in [
            ("[[registry]]\nlocation = ", "/c/registries.conf:2:"),
            ("\n\n[[registry]]\ninsecure = 3\nlocation = \"a.io\"", "/c/registries.conf:4:12"),
            ("[[registry]]\ninsecure = true", "neither prefix nor location"),
            ("[[registry]]\nlocation = \"https://a.io\"", "no scheme"),
            ("[[registry]]\nlocation = \"a b\"", "isn't a registry"),
            ("[[registry]]\nprefix = \"*.\"", "a prefix with * is a host"),
            (
                "[[registry]]\nlocation = \"a.io\"\n[[registry.mirror]]\nlocation = \"b.io\"\npull-from-mirror = \"never\"",
                "not \"never\"",
            ),
        ] {
            let error = rules(text).unwrap_err();
            assert_eq!(error.kind(), Kind::Input);
            assert!(error.to_string().contains(words), "{error}");
        }
        let old = rules("[registries.block]\nregistries = [\"a.io\"]").unwrap();
        assert!(old.warnings[0].contains("version 1"), "{:?}", old.warnings);
    }

    proptest::proptest! {
        #[test]
        fn fuzz_files_are_read_or_refused(text in ".*", location in "[a-z.:/*]{0,12}", prefix in "[a-z.:/*]{0,12}") {
            let _ = rules(&text);
            let file = format!("[[registry]]\nprefix = \"{prefix}\"\nlocation = \"{location}\"");
            if let Ok(rules) = rules(&file) {
                let _ = rules.places(&"a.io/b/c:d".parse().unwrap());
                let _ = rules.insecure("a.io/b/c");
            }
        }
    }
}
