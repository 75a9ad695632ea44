//! Platforms: operating system, architecture, variant (OCI image-spec, image-index.md).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};

/// What an image runs on. `os` and `architecture` are Go's words (GOOS, GOARCH).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// GOARCH.
    #[serde(default)]
    pub architecture: String,
    /// GOOS.
    #[serde(default)]
    pub os: String,
    /// Windows' version.
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Windows' features.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The variant of the CPU, such as `v7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// A platform without variant.
    #[must_use]
    pub fn new(os: &str, architecture: &str) -> Self {
        Platform {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            os_version: None,
            os_features: Vec::new(),
            variant: None,
        }
    }

    /// The same platform with the variant `v`.
    #[must_use]
    pub fn with_variant(mut self, v: &str) -> Self {
        self.variant = Some(v.to_owned());
        self
    }

    /// One spelling for one thing, as containerd has it: `arm` alone means `arm/v7`, `arm64/v8` means `arm64`,
    /// `amd64/v1` means `amd64`.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm", None) => self.variant = Some("v7".to_owned()),
            ("arm64", Some("v8")) | ("amd64", Some("v1")) => self.variant = None,
            _ => {}
        }
        self
    }

    /// The platform of a machine by the kernel's word for its architecture (`uname -m`, Docker's `/info`) or Go's.
    #[must_use]
    pub fn of_machine(os: &str, machine: &str) -> Self {
        let (architecture, variant) = match machine {
            "x86_64" => ("amd64", None),
            "aarch64" | "aarch64_be" => ("arm64", None),
            "i386" | "i486" | "i586" | "i686" => ("386", None),
            "armv5l" | "armv5tel" | "armv5tejl" => ("arm", Some("v5")),
            "armv6l" => ("arm", Some("v6")),
            "armv7l" | "armv8l" => ("arm", Some("v7")),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        let platform = Platform::new(os, architecture);
        match variant {
            Some(variant) => platform.with_variant(variant),
            None => platform,
        }
        .normalised()
    }

    /// Which of `available` runs best on this platform: the same variant, else the best lower one, else the lowest
    /// higher one (a machine's own variant is often not known). None if no system and architecture are the same.
    pub fn best_of<'a>(&self, available: impl IntoIterator<Item = &'a Platform>) -> Option<usize> {
        let rank = |p: &Platform| match p.variant.cmp(&self.variant) {
            std::cmp::Ordering::Equal => 2,
            std::cmp::Ordering::Less => 1,
            std::cmp::Ordering::Greater => 0,
        };
        let mut best: Option<(usize, &Platform)> = None;
        for (index, platform) in available.into_iter().enumerate() {
            if platform.os != self.os || platform.architecture != self.architecture {
                continue;
            }
            let better = best.is_none_or(|(_, old)| match rank(platform).cmp(&rank(old)) {
                std::cmp::Ordering::Equal if rank(old) == 0 => platform.variant < old.variant,
                std::cmp::Ordering::Equal => platform.variant > old.variant,
                order => order.is_gt(),
            });
            if better {
                best = Some((index, platform));
            }
        }
        best.map(|(index, _)| index)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        // A system alone, which only `--platform` can be, has none.
        if !self.architecture.is_empty() {
            write!(f, "/{}", self.architecture)?;
        }
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        if let Some(version) = &self.os_version {
            write!(f, ":{version}")?;
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// Reads `os/arch[/variant][:osversion]`, normalised.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::new(Kind::Usage, format!("invalid platform \"{text}\""), why.to_owned());
        let (name, version) = match text.split_once(':') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let mut parts = name.split('/');
        let (os, arch, variant) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        let Some(arch) = arch else { return Err(bad("it takes os/arch or os/arch/variant")) };
        if parts.next().is_some() {
            return Err(bad("too many parts, it takes os/arch or os/arch/variant"));
        }
        let word = |w: &str| {
            !w.is_empty()
                && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        };
        if !word(os) || !word(arch) || !variant.is_none_or(word) || !version.is_none_or(word) {
            return Err(bad("parts are lower-case words such as linux/arm/v7"));
        }
        let mut platform = Platform::new(os, arch);
        platform.variant = variant.map(str::to_owned);
        platform.os_version = version.map(str::to_owned);
        Ok(platform.normalised())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_prints_and_normalises() {
        for (text, printed) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/arm64/v8", "linux/arm64"),
            ("windows/amd64:10.0.20348", "windows/amd64:10.0.20348"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), printed);
        }
        for bad in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "Linux/amd64", "linux/amd64 "] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn machines_have_gos_words() {
        for (machine, platform) in [
            ("x86_64", "linux/amd64"),
            ("amd64", "linux/amd64"),
            ("aarch64", "linux/arm64"),
            ("armv6l", "linux/arm/v6"),
            ("arm", "linux/arm/v7"),
            ("s390x", "linux/s390x"),
            ("riscv64", "linux/riscv64"),
        ] {
            assert_eq!(Platform::of_machine("linux", machine).to_string(), platform);
        }
    }

    #[test]
    fn the_best_platform_for_a_machine_is_found() {
        let best = |machine: &str, available: &[&str]| {
            let parse = |text: &&str| text.parse::<Platform>().unwrap();
            parse(&machine).best_of(&available.iter().map(parse).collect::<Vec<_>>())
        };
        for (machine, available, index) in [
            ("linux/amd64", &["linux/arm64", "linux/amd64"][..], Some(1)),
            ("linux/amd64", &["linux/amd64/v4", "linux/amd64/v3", "linux/amd64"], Some(2)),
            ("linux/amd64", &["linux/amd64/v4", "linux/amd64/v3"], Some(1)),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6", "linux/arm64"], Some(1)),
            ("linux/arm/v6", &["linux/arm/v7", "linux/arm/v5"], Some(1)),
            ("linux/amd64", &["linux/arm64", "windows/amd64"], None),
        ] {
            assert_eq!(best(machine, available), index, "{machine} {available:?}");
        }
    }
}
