//! `--platform` against what Go can build for and what the base has.

use crate::error::{Error, Kind, Result};
use crate::oci::Platform;

/// GOOS/GOARCH pairs of Go's ports that an image can be made of (internal/platform, zosarch.go).
const PORTS: &[(&str, &[&str])] = &[
    (
        "linux",
        &[
            "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
            "ppc64le", "riscv64", "s390x",
        ],
    ),
    ("windows", &["386", "amd64", "arm64"]),
    ("darwin", &["amd64", "arm64"]),
    ("freebsd", &["386", "amd64", "arm", "arm64", "riscv64"]),
    ("netbsd", &["386", "amd64", "arm", "arm64"]),
    ("openbsd", &["386", "amd64", "arm", "arm64", "ppc64", "riscv64"]),
    ("dragonfly", &["amd64"]),
    ("solaris", &["amd64"]),
    ("illumos", &["amd64"]),
    ("aix", &["ppc64"]),
    ("wasip1", &["wasm"]),
];

/// What `all` means with the built-in base.
const STATIC_ALL: &[&str] =
    &["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/ppc64le", "linux/riscv64", "linux/s390x"];

/// Which platforms the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requested {
    /// Nothing was said: what the engines run that images are loaded into, else linux/amd64 as in ko.
    Default,
    /// `all`.
    All,
    /// These, in order. One without architecture means all of its system that the base has.
    List(Vec<Platform>),
}

impl Requested {
    /// Reads the values of `--platform`: comma lists, repeats, `all`. Returns also those named twice.
    ///
    /// # Errors
    /// An empty list, `all` beside others, or a platform that Go has no port for.
    pub fn parse(values: &[String]) -> Result<(Self, Vec<Platform>)> {
        let words: Vec<&str> = values.iter().flat_map(|v| v.split(',')).map(str::trim).collect();
        if words.is_empty() {
            return Ok((Requested::Default, Vec::new()));
        }
        if words.iter().all(|w| w.is_empty()) {
            return Err(Error::new(Kind::Usage, "read --platform", "the list of platforms is empty"));
        }
        if words.contains(&"all") {
            if words.len() > 1 {
                return Err(Error::new(
                    Kind::Usage,
                    "read --platform",
                    "it takes all, or platforms, not both",
                ));
            }
            return Ok((Requested::All, Vec::new()));
        }
        let (mut list, mut twice) = (Vec::new(), Vec::new());
        for word in words {
            let platform: Platform = match PORTS.iter().any(|(os, _)| *os == word) {
                true => Platform::new(word, ""),
                false => word.parse()?,
            };
            check_port(&platform)?;
            if list.contains(&platform) {
                twice.push(platform);
            } else {
                list.push(platform);
            }
        }
        Ok((Requested::List(list), twice))
    }

    /// A platform that packages can be listed for: the first, or what stands for it.
    #[must_use]
    pub fn first(&self) -> Platform {
        match self.named().and_then(|list| list.into_iter().next()) {
            Some(system) if names_system(&system) => Platform::new(&system.os, "amd64"),
            Some(first) => first,
            None => Platform::new("linux", "amd64"),
        }
    }

    /// The platforms by name; none for `all`.
    #[must_use]
    pub fn named(&self) -> Option<Vec<Platform>> {
        match self {
            Requested::Default => Some(vec![Platform::new("linux", "amd64")]),
            Requested::All => None,
            Requested::List(list) => Some(list.clone()),
        }
    }

    /// Whether there may be more than one platform.
    #[must_use]
    pub fn several(&self) -> bool {
        self.named().is_none_or(|list| list.len() > 1 || list.iter().any(names_system))
    }
}

/// Whether it is an operating system alone.
fn names_system(platform: &Platform) -> bool {
    platform.architecture.is_empty()
}

fn check_port(platform: &Platform) -> Result<()> {
    let what = format!("invalid platform \"{platform}\"");
    let Some((_, architectures)) = PORTS.iter().find(|(os, _)| *os == platform.os) else {
        let known: Vec<&str> = PORTS.iter().map(|(os, _)| *os).collect();
        return Err(Error::new(Kind::Usage, what, format!("unknown operating system \"{}\"", platform.os))
            .hint(format!("Go builds for {}", known.join(", "))));
    };
    if names_system(platform) {
        return Ok(());
    }
    if !architectures.contains(&platform.architecture.as_str()) {
        let why = format!("unknown architecture \"{}\" for {}", platform.architecture, platform.os);
        return Err(Error::new(Kind::Usage, what, why).hint(format!("Go has {}", architectures.join(", "))));
    }
    super::command::variant_setting(platform)?;
    Ok(())
}

/// The platforms to build with the built-in base.
///
/// # Errors
/// A platform that isn't linux.
pub fn for_static(requested: &Requested) -> Result<Vec<Platform>> {
    match requested.named() {
        None => STATIC_ALL.iter().map(|p| p.parse()).collect(),
        Some(list) => match list.iter().find(|p| p.os != "linux") {
            Some(other) => {
                let why = format!("it has linux only, not {other}");
                let kind = if other.os == "windows" { "Windows base" } else { "base that has it" };
                Err(Error::new(Kind::Usage, "use the base static", why)
                    .hint(format!("name a {kind} with --base, or use --base scratch")))
            }
            None => {
                let mut platforms = Vec::new();
                for wanted in &list {
                    let these = if names_system(wanted) {
                        STATIC_ALL.iter().map(|p| p.parse()).collect::<Result<_>>()?
                    } else {
                        vec![wanted.clone()]
                    };
                    add_new(&mut platforms, these);
                }
                Ok(platforms)
            }
        },
    }
}

/// Adds what isn't there.
fn add_new<T: PartialEq>(list: &mut Vec<T>, more: Vec<T>) {
    for one in more {
        if !list.contains(&one) {
            list.push(one);
        }
    }
}

/// The platforms to build with no base.
///
/// # Errors
/// `all`, which says nothing here.
pub fn for_scratch(requested: &Requested) -> Result<Vec<Platform>> {
    match requested.named() {
        None => Err(Error::new(Kind::Usage, "read --platform", "all means nothing with --base scratch")
            .hint("name the platforms, such as linux/amd64,linux/arm64")),
        Some(list) => {
            if let Some(system) = list.iter().find(|p| names_system(p)) {
                let why = format!("{} alone means nothing with --base scratch", system.os);
                return Err(Error::new(Kind::Usage, "read --platform", why)
                    .hint("name the platforms, such as linux/amd64,linux/arm64"));
            }
            Ok(list)
        }
    }
}

/// The requested platforms with their places in `available`, which is what a base has. A Windows platform without
/// version, or without its last part, stands for every version that the base has: Windows runs only images of its own.
///
/// # Errors
/// A platform that the base lacks; the error lists what it has.
pub fn for_base(requested: &Requested, available: &[Platform], base: &str) -> Result<Vec<(Platform, usize)>> {
    let normal: Vec<Platform> = available.iter().cloned().map(Platform::normalised).collect();
    let Some(list) = requested.named() else {
        let all = normal.into_iter().enumerate().filter(|(_, p)| buildable(p)).map(|(i, p)| (p, i));
        return Ok(all.collect());
    };
    let mut chosen = Vec::new();
    // What an entry says of its system is kept: whoever runs the image chooses by it.
    let entry = |wanted: &Platform, index: usize| {
        let Platform { os_version, os_features, .. } = normal[index].clone();
        (Platform { os_version, os_features, ..wanted.clone() }, index)
    };
    for wanted in &list {
        let these: Vec<(Platform, usize)> = if names_system(wanted) {
            let all = normal.iter().cloned().enumerate().filter(|(_, p)| p.os == wanted.os && buildable(p));
            all.map(|(i, p)| (p, i)).collect()
        } else if wanted.os == "windows" {
            let fits = |i: &usize| best(wanted, &normal[*i..=*i]).is_some();
            (0..normal.len()).filter(fits).map(|i| entry(wanted, i)).collect()
        } else {
            best(wanted, &normal).map(|index| entry(wanted, index)).into_iter().collect()
        };
        if these.is_empty() {
            let has: Vec<String> = normal.iter().map(ToString::to_string).collect();
            return Err(Error::new(
                Kind::Base,
                format!("use the base {base}"),
                format!("it has no {wanted}"),
            )
            .hint(format!("it has {}", has.join(", "))));
        }
        add_new(&mut chosen, these);
    }
    Ok(chosen)
}

/// What was asked for, apart: what is left for the base of all, if anything is, and those of `own`, the bases of single
/// platforms, that are asked for.
#[must_use]
pub fn apart<'b, T>(
    requested: &Requested,
    own: &'b [(Platform, T)],
) -> (Option<Requested>, Vec<(Platform, &'b T)>) {
    let Some(list) = requested.named() else {
        return (Some(Requested::All), own.iter().map(|(p, base)| (p.clone(), base)).collect());
    };
    let (mut rest, mut chosen) = (Vec::new(), Vec::<(Platform, &T)>::new());
    for wanted in list {
        let these: Vec<(Platform, &T)> = if names_system(&wanted) {
            own.iter().filter(|(p, _)| p.os == wanted.os).map(|(p, base)| (p.clone(), base)).collect()
        } else {
            let one = own.iter().find(|(p, _)| stands_for(p, &wanted));
            one.map(|(_, base)| (wanted.clone(), base)).into_iter().collect()
        };
        if these.is_empty() || names_system(&wanted) {
            rest.push(wanted);
        }
        for one in these {
            if !chosen.iter().any(|(p, _)| *p == one.0) {
                chosen.push(one);
            }
        }
    }
    ((!rest.is_empty()).then_some(Requested::List(rest)), chosen)
}

/// Whether `wanted` means `platform`: the same, but for a version that it doesn't say.
#[must_use]
pub fn stands_for(wanted: &Platform, platform: &Platform) -> bool {
    same_cpu(wanted, platform) && same_version(wanted, platform)
}

/// Where a platform comes when several bases have been asked: as asked for; where that says nothing (`all`, a system)
/// as the base of all has them, and after these.
#[must_use]
pub fn position(requested: &Requested, of_all: &[Platform], platform: &Platform) -> (usize, usize) {
    let means = |w: &Platform| if names_system(w) { w.os == platform.os } else { stands_for(w, platform) };
    let asked = requested.named().and_then(|list| list.iter().position(means));
    (asked.unwrap_or(0), of_all.iter().position(|p| same_cpu(p, platform)).unwrap_or(usize::MAX))
}

fn same_cpu(a: &Platform, b: &Platform) -> bool {
    (&a.os, &a.architecture, &a.variant) == (&b.os, &b.architecture, &b.variant)
}

/// Whether gimg makes images of this platform.
fn buildable(platform: &Platform) -> bool {
    matches!(platform.os.as_str(), "linux" | "windows") && check_port(platform).is_ok()
}

/// Whether an entry's version of the system is the wanted one: the same, or of Windows the wanted X.Y.Z with any
/// build number, as in ko.
fn same_version(wanted: &Platform, entry: &Platform) -> bool {
    let (Some(want), have) = (&wanted.os_version, entry.os_version.as_deref().unwrap_or_default()) else {
        return true;
    };
    let parts = |v: &str| v.split('.').count();
    let build = |h: &str| h.rsplit_once('.').is_some_and(|(start, _)| start == want);
    have == want || wanted.os == "windows" && parts(want) == 3 && parts(have) == 4 && build(have)
}

/// The entry for `wanted`: the same variant, else the best one that `wanted` can run.
fn best(wanted: &Platform, available: &[Platform]) -> Option<usize> {
    let same =
        |p: &Platform| p.os == wanted.os && p.architecture == wanted.architecture && same_version(wanted, p);
    let exact = available.iter().position(|p| same(p) && p.variant == wanted.variant);
    exact.or_else(|| {
        // A CPU runs code for the lower variants: arm/v7 takes arm/v6, amd64/v3 takes plain amd64.
        let lower = available.iter().enumerate().filter(|(_, p)| same(p) && p.variant < wanted.variant);
        lower.max_by_key(|(_, p)| &p.variant).map(|(index, _)| index)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(Requested, Vec<Platform>)> {
        Requested::parse(&[text.to_owned()])
    }

    #[test]
    fn lists_are_read_and_refused() {
        let (requested, twice) = parse("linux/arm64,linux/amd64,linux/arm64/v8").unwrap();
        let Requested::List(list) = requested else { panic!("a list") };
        assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["linux/arm64", "linux/amd64"]);
        assert_eq!(twice.len(), 1);
        for (text, why) in [
            ("", "empty"),
            ("all,linux/amd64", "not both"),
            ("linux/amd65", "unknown architecture \"amd65\""),
            ("lynux/amd64", "unknown operating system"),
            ("linux/arm/v9", "variant"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
            assert_eq!(error.kind(), Kind::Usage);
        }
    }

    #[test]
    fn windows_versions_match_as_in_ko() {
        let base = ["linux/amd64", "windows/amd64:10.0.17763.1234", "windows/amd64:10.0.20348.2113"];
        let base: Vec<Platform> = base.iter().map(|p| p.parse().unwrap()).collect();
        let found = |text: &str| {
            let (requested, _) = parse(text).unwrap();
            for_base(&requested, &base, "b")
                .map(|list| list.into_iter().map(|(p, i)| format!("{i} {p}")).collect())
        };
        let (old, new) = ("1 windows/amd64:10.0.17763.1234", "2 windows/amd64:10.0.20348.2113");
        for (text, expected) in [
            ("windows/amd64", &[old, new][..]),
            ("windows/amd64:10.0.20348", &[new]),
            ("windows/amd64:10.0.17763.1234", &[old]),
            ("windows/amd64:10.0.20348,windows/amd64", &[new, old]),
            ("all", &["0 linux/amd64", old, new]),
        ] {
            let list: Vec<String> = found(text).unwrap();
            assert_eq!(list, expected, "{text}");
        }
        // Any other part of a version is none, and an unsaid one never matches what is said.
        for none in ["10.0", "10", "10.0.1776", "10.0.17763.12", "10.0.17763.1234.1", "10.0.99999"] {
            let error = found(&format!("windows/amd64:{none}")).map(|l: Vec<String>| l).unwrap_err();
            assert_eq!(error.kind(), Kind::Base, "{none}");
            assert!(error.hint_text().unwrap().contains("windows/amd64:10.0.17763.1234"));
        }
        assert!(found("windows/arm64").map(|l: Vec<String>| l).is_err());
        assert!(found("linux/amd64:10.0.1").map(|l: Vec<String>| l).is_err());
        let unsaid = ["windows/amd64".parse().unwrap()];
        let (requested, _) = parse("windows/amd64:10.0.20348").unwrap();
        assert!(for_base(&requested, &unsaid, "b").is_err());
    }

    #[test]
    fn a_system_alone_means_all_that_the_base_has_of_it() {
        let available: Vec<Platform> =
            ["linux/arm64", "linux/amd64", "freebsd/amd64"].iter().map(|p| p.parse().unwrap()).collect();
        let names = |text: &str| -> Result<Vec<String>> {
            let list = for_base(&parse(text)?.0, &available, "b")?;
            Ok(list.iter().map(|(p, _)| p.to_string()).collect())
        };
        assert_eq!(names("linux").unwrap(), ["linux/arm64", "linux/amd64"]);
        assert_eq!(names("linux/amd64,linux").unwrap(), ["linux/amd64", "linux/arm64"]);
        let error = names("windows").unwrap_err();
        assert!(error.to_string().contains("it has no windows"), "{error}");
        assert_eq!(parse("freebsd").unwrap().0.first().to_string(), "freebsd/amd64");
        assert_eq!(for_static(&parse("linux").unwrap().0).unwrap().len(), STATIC_ALL.len());
        assert_eq!(for_scratch(&parse("linux").unwrap().0).unwrap_err().kind(), Kind::Usage);
        let several = ["linux", "linux/amd64", "linux/amd64,linux/arm64", "all"];
        assert_eq!(several.map(|t| parse(t).unwrap().0.several()), [true, false, true, true]);
    }

    #[test]
    fn platforms_with_a_base_of_their_own_are_set_apart() {
        let own: Vec<(Platform, u8)> = [("linux/arm64", 1), ("windows/amd64", 2), ("linux/s390x", 3)]
            .map(|(p, n)| (p.parse().unwrap(), n))
            .into();
        let split = |text: &str| {
            let (rest, chosen) = apart(&parse(text).unwrap().0, &own);
            let rest = rest.map(|r| r.named().map(|l| l.iter().map(ToString::to_string).collect::<Vec<_>>()));
            (rest, chosen.into_iter().map(|(p, n)| format!("{p} {n}")).collect::<Vec<_>>())
        };
        let some = |list: &[&str]| Some(Some(list.iter().map(|p| (*p).to_owned()).collect()));
        let owned = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        assert_eq!(split("linux/amd64,linux/arm64/v8"), (some(&["linux/amd64"]), owned(&["linux/arm64 1"])));
        assert_eq!(split("linux/arm64"), (None, owned(&["linux/arm64 1"])));
        assert_eq!(split("linux/arm"), (some(&["linux/arm/v7"]), Vec::new()));
        assert_eq!(split("windows/amd64:10.0.1"), (None, owned(&["windows/amd64:10.0.1 2"])));
        assert_eq!(
            split("linux,linux/arm64"),
            (some(&["linux"]), owned(&["linux/arm64 1", "linux/s390x 3"]))
        );
        let all = owned(&["linux/arm64 1", "windows/amd64 2", "linux/s390x 3"]);
        assert_eq!(split("all"), (Some(None), all));

        let of_all: Vec<Platform> = ["linux/arm64", "linux/amd64"].map(|p| p.parse().unwrap()).into();
        let sorted = |text: &str, mut list: Vec<&'static str>| {
            let requested = parse(text).unwrap().0;
            list.sort_by_key(|p| position(&requested, &of_all, &p.parse().unwrap()));
            list
        };
        assert_eq!(
            sorted("all", vec!["linux/amd64", "linux/s390x", "linux/arm64"]),
            ["linux/arm64", "linux/amd64", "linux/s390x"]
        );
        assert_eq!(
            sorted("linux/s390x,linux", vec!["linux/amd64", "linux/arm64", "linux/s390x"]),
            ["linux/s390x", "linux/arm64", "linux/amd64"]
        );
    }

    #[test]
    fn versions_match_as_in_ko() {
        for (wanted, entry, same) in [
            ("windows/amd64", "windows/amd64:10.0.17763.1234", true),
            ("windows/amd64:10.0.17763.1234", "windows/amd64:10.0.17763.1234", true),
            ("windows/amd64:10.0.17763", "windows/amd64:10.0.17763.1234", true),
            ("windows/amd64:10.0.1776", "windows/amd64:10.0.17763.1234", false),
            ("windows/amd64:10", "windows/amd64:10.0.17763.1234", false),
            ("windows/amd64:10.0.17763.1234", "windows/amd64:10.0.17763", false),
            ("windows/amd64:10.0.17763.1234", "windows/amd64:10.0.17763.1234.5678", false),
            ("windows/amd64:10.0.17763", "windows/amd64", false),
            ("linux/amd64:10.0.17763", "linux/amd64:10.0.17763.1234", false),
            ("linux/amd64:1.2", "linux/amd64:1.2", true),
        ] {
            let (wanted, entry): (Platform, Platform) = (wanted.parse().unwrap(), entry.parse().unwrap());
            assert_eq!(same_version(&wanted, &entry), same, "{wanted} of {entry}");
        }
    }

    #[test]
    fn bases_match_by_variant_or_the_best_lower_one() {
        let available: Vec<Platform> = ["linux/amd64", "linux/arm/v6", "linux/arm64/v8", "linux/arm/v5"]
            .iter()
            .map(|p| p.parse().unwrap())
            .collect();
        let index = |text: &str| {
            let (requested, _) = parse(text).unwrap();
            for_base(&requested, &available, "b").map(|list| list[0].1)
        };
        assert_eq!(index("linux/amd64").unwrap(), 0);
        assert_eq!(index("linux/amd64/v3").unwrap(), 0);
        assert_eq!(index("linux/arm").unwrap(), 1);
        assert_eq!(index("linux/arm/v5").unwrap(), 3);
        assert_eq!(index("linux/arm64").unwrap(), 2);
        let error = index("linux/s390x").unwrap_err();
        assert_eq!(error.hint_text(), Some("it has linux/amd64, linux/arm/v6, linux/arm64, linux/arm/v5"));
    }
}
