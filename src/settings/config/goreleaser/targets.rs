//! The targets of a build in GoReleaser's file as platforms (goreleaser, internal/builders/golang/targets.go). Images are
//! made of those for Linux.

use super::{Section, Text};
use crate::settings::config::node::Wrong;

/// The lists of a build, or its targets by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Matrix {
    goos: Vec<Text>,
    goarch: Vec<Text>,
    /// The variants of each architecture, in the order of `VARIANTS`.
    variants: Vec<Vec<Text>>,
    targets: Vec<Text>,
    ignore: Vec<Ignored>,
}

/// A rule that leaves targets out: what isn't said fits everything.
#[derive(Clone, Debug, Default)]
struct Ignored {
    goos: Option<String>,
    goarch: Option<String>,
    variants: Vec<Option<String>>,
}

/// The keys for variants, the architectures that have them, and what no word means.
const VARIANTS: &[(&str, &[&str], &str)] = &[
    ("goamd64", &["amd64"], "v1"),
    ("go386", &["386"], "sse2"),
    ("goarm", &["arm"], "6"),
    ("goarm64", &["arm64"], "v8.0"),
    ("gomips", &["mips", "mipsle", "mips64", "mips64le"], "hardfloat"),
    ("goppc64", &["ppc64", "ppc64le"], "power8"),
    ("goriscv64", &["riscv64"], "rva20u64"),
];

/// What Go has for Linux.
const LINUX: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x",
];

/// Names for all that Go supports best; what of it is for Linux.
const FIRST_CLASS: &[&str] = &["go_first_class", "go_118_first_class"];
const FIRST_CLASS_LINUX: &[&str] = &["386", "amd64", "arm", "arm64"];

/// Which of `VARIANTS` an architecture has.
fn variant_of(architecture: &str) -> Option<usize> {
    VARIANTS.iter().position(|(_, of, _)| of.contains(&architecture))
}

impl Matrix {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, Wrong> {
        let variants = VARIANTS.iter().map(|(key, ..)| section.list(key));
        let mut ignore = Vec::new();
        for rule in section.sections("ignore")? {
            let word = |key| Ok::<_, Wrong>(rule.text(key)?.map(|t| t.text));
            ignore.push(Ignored {
                goos: word("goos")?,
                goarch: word("goarch")?,
                variants: VARIANTS.iter().map(|(key, ..)| word(key)).collect::<Result<_, _>>()?,
            });
        }
        Ok(Matrix {
            goos: section.list("goos")?,
            goarch: section.list("goarch")?,
            variants: variants.collect::<Result<_, _>>()?,
            targets: section.list("targets")?,
            ignore,
        })
    }

    /// The platforms for Linux, in the file's order, each once.
    ///
    /// # Errors
    /// A variant that no image can say.
    pub(super) fn linux(&self) -> Result<Vec<String>, Wrong> {
        let mut found: Vec<String> = Vec::new();
        for (architecture, variant, text) in self.pairs() {
            let platform = platform(&architecture, &variant).ok_or_else(|| Wrong {
                at: text.map_or_else(Default::default, |t| t.at),
                why: format!("an image has no word for {variant} of {architecture}"),
            })?;
            if !found.contains(&platform) {
                found.push(platform);
            }
        }
        Ok(found)
    }

    /// Architecture and variant of each target for Linux, with the text that says it.
    fn pairs(&self) -> Vec<(String, String, Option<&Text>)> {
        let mut found = Vec::new();
        let usual = |architecture: &str| variant_of(architecture).map_or("", |of| VARIANTS[of].2).to_owned();
        for target in &self.targets {
            if FIRST_CLASS.contains(&target.text.as_str()) {
                let all = FIRST_CLASS_LINUX.iter().map(|a| ((*a).to_owned(), usual(a), Some(target)));
                found.extend(all);
                continue;
            }
            let mut parts = target.text.splitn(3, '_');
            if let (Some("linux"), Some(architecture)) = (parts.next(), parts.next()) {
                let variant = parts.next().map_or_else(|| usual(architecture), str::to_owned);
                found.push((architecture.to_owned(), variant, Some(target)));
            }
        }
        let names_linux = self.goos.is_empty() || self.goos.iter().any(|os| os.text == "linux");
        if !self.targets.is_empty() || !names_linux {
            return found;
        }
        let named: Vec<(&str, Option<&Text>)> = match self.goarch.is_empty() {
            true => ["amd64", "arm64", "386"].map(|a| (a, None)).into(),
            false => self.goarch.iter().map(|a| (a.text.as_str(), Some(a))).collect(),
        };
        for (architecture, text) in named.into_iter().filter(|(a, _)| LINUX.contains(a)) {
            let own = variant_of(architecture).and_then(|of| self.variants.get(of));
            let variants: Vec<(String, Option<&Text>)> = match own {
                Some(list) if !list.is_empty() => list.iter().map(|v| (v.text.clone(), Some(v))).collect(),
                _ => vec![(usual(architecture), text)],
            };
            for (variant, text) in variants {
                if !self.ignore.iter().any(|rule| rule.fits(architecture, &variant)) {
                    found.push((architecture.to_owned(), variant, text));
                }
            }
        }
        found
    }
}

impl Ignored {
    fn fits(&self, architecture: &str, variant: &str) -> bool {
        let says = |own: &Option<String>, is: &str| own.as_ref().is_none_or(|own| own == is);
        let of = variant_of(architecture);
        let variants = self.variants.iter().enumerate();
        let mut fits = variants.map(|(n, own)| says(own, if of == Some(n) { variant } else { "" }));
        says(&self.goos, "linux") && says(&self.goarch, architecture) && fits.all(|fit| fit)
    }
}

/// The platform of an architecture and a variant as Go spells it; none if an image can't say it.
fn platform(architecture: &str, variant: &str) -> Option<String> {
    let plain = format!("linux/{architecture}");
    match variant {
        _ if variant_of(architecture).is_some_and(|of| VARIANTS[of].2 == variant)
            && architecture != "arm" =>
        {
            Some(plain)
        }
        "" => Some(plain),
        "5" | "6" | "7" if architecture == "arm" => Some(format!("{plain}/v{variant}")),
        // The first of a generation has the generation's name.
        "v9.0" => Some(format!("{plain}/v9")),
        _ if variant.contains(',') => None,
        _ => Some(format!("{plain}/{variant}")),
    }
}

/// What the target of an override is called; none if it isn't for Linux.
pub(super) fn of_override(section: &Section<'_>) -> Result<Option<String>, Wrong> {
    let (goos, goarch) = (section.text("goos")?, section.text("goarch")?);
    let mut texts: Vec<Text> = goos.iter().chain(&goarch).cloned().collect();
    let mut own = String::new();
    for (key, ..) in VARIANTS {
        if let Some(text) = section.text(key)? {
            own.push_str(&text.text);
            texts.push(text);
        }
    }
    if let Some(text) = texts.iter().find(|t| t.text.contains("{{")) {
        let why = format!("{}: gimg takes no template for the target", section.path);
        return Err(Wrong { at: text.at, why });
    }
    let (Some(goos), Some(goarch)) = (goos, goarch) else { return Ok(None) };
    if goos.text != "linux" {
        return Ok(None);
    }
    let usual = || variant_of(&goarch.text).map_or("", |of| VARIANTS[of].2);
    let variant = if own.is_empty() { usual() } else { own.as_str() };
    let parts = ["linux", &goarch.text, variant].into_iter().filter(|p| !p.is_empty());
    Ok(Some(parts.collect::<Vec<_>>().join("_")))
}
