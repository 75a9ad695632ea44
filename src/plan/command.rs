//! The exact flags and environment of one `go build`.

use crate::error::{Error, Kind, Result};
use crate::oci::Platform;
use crate::plan::facts::Toolchain;
use crate::settings::Settings;
use crate::settings::program::Program;

/// Variables that name the target: taken away from every child, then set for the platform alone.
pub const TARGET_VARIABLES: &[&str] = &["GOOS", "GOARCH"];

/// A platform and the variables that make Go build for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The platform.
    pub platform: Platform,
    /// GOOS, GOARCH, the CPU's variant and CGO_ENABLED.
    pub environment: Vec<(String, String)>,
}

/// The target of `platform` under the user's Go settings and a program's own `env`: CGO_ENABLED is 0 unless they say
/// otherwise; the variant in the platform wins over theirs, theirs over Go's documented default, which is always
/// spelled out because a toolchain can be built with another.
///
/// # Errors
/// A variant that the architecture doesn't have; an `env` that names another target than the platform.
pub fn target(platform: &Platform, toolchain: &Toolchain, env: &[(String, String)]) -> Result<Target> {
    let mut environment =
        vec![("GOOS".to_owned(), platform.os.clone()), ("GOARCH".to_owned(), platform.architecture.clone())];
    for (key, value) in env {
        if let Some((_, own)) = environment[..2].iter().find(|(k, _)| k == key) {
            if own != value {
                let why = format!("{key}={value} in env names another target than the platform {platform}");
                return Err(Error::new(Kind::Input, "plan the compile", why)
                    .hint("leave it out: the platforms decide"));
            }
            continue;
        }
        environment.push((key.clone(), value.clone()));
    }
    let is_set = |key: &str| toolchain.settings.contains_key(key) || env.iter().any(|(k, _)| k == key);
    if !is_set("CGO_ENABLED") {
        environment.push(("CGO_ENABLED".to_owned(), "0".to_owned()));
    }
    if let Some((variable, value)) = variant_setting(platform)? {
        let users = is_set(variable) && platform.variant.is_none();
        if !users {
            environment.retain(|(k, _)| k != variable);
            environment.push((variable.to_owned(), value));
        }
    }
    Ok(Target { platform: platform.clone(), environment })
}

/// The variable that carries the CPU's variant, and its value (go help environment).
///
/// # Errors
/// A variant that the architecture doesn't have.
pub fn variant_setting(platform: &Platform) -> Result<Option<(&'static str, String)>> {
    let variant = platform.variant.as_deref();
    let (variable, known): (_, &[(&str, &str)]) = match platform.architecture.as_str() {
        // The first value is what no variant means.
        "amd64" => ("GOAMD64", &[("v1", "v1"), ("v2", "v2"), ("v3", "v3"), ("v4", "v4")]),
        "arm" => ("GOARM", &[("v7", "7"), ("v6", "6"), ("v5", "5"), ("v8", "7")]),
        "arm64" => return arm64(platform),
        "386" => ("GO386", &[("sse2", "sse2"), ("softfloat", "softfloat")]),
        "mips" | "mipsle" => ("GOMIPS", &[("hardfloat", "hardfloat"), ("softfloat", "softfloat")]),
        "mips64" | "mips64le" => ("GOMIPS64", &[("hardfloat", "hardfloat"), ("softfloat", "softfloat")]),
        "ppc64" | "ppc64le" => {
            ("GOPPC64", &[("power8", "power8"), ("power9", "power9"), ("power10", "power10")])
        }
        "riscv64" => {
            ("GORISCV64", &[("rva20u64", "rva20u64"), ("rva22u64", "rva22u64"), ("rva23u64", "rva23u64")])
        }
        _ if variant.is_none() => return Ok(None),
        _ => return Err(unknown_variant(platform, &[])),
    };
    let names = || known.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let found = match variant {
        None => known.first(),
        Some(variant) => known.iter().find(|(name, _)| *name == variant),
    };
    let (_, value) = found.ok_or_else(|| unknown_variant(platform, &names()))?;
    Ok(Some((variable, (*value).to_owned())))
}

/// GOARM64 takes v8.0 to v8.9 and v9.0 to v9.5; images say v8 and v9 for the first of each.
fn arm64(platform: &Platform) -> Result<Option<(&'static str, String)>> {
    let value = match platform.variant.as_deref() {
        None | Some("v8") => "v8.0",
        Some("v9") => "v9.0",
        Some(v) => match v.split_once('.') {
            Some(("v8", minor)) if minor.len() == 1 && ("0"..="9").contains(&minor) => v,
            Some(("v9", minor)) if minor.len() == 1 && ("0"..="5").contains(&minor) => v,
            _ => return Err(unknown_variant(platform, &["v8", "v9", "v8.0 to v8.9", "v9.0 to v9.5"])),
        },
    };
    Ok(Some(("GOARM64", value.to_owned())))
}

fn unknown_variant(platform: &Platform, known: &[&str]) -> Error {
    let variant = platform.variant.as_deref().unwrap_or_default();
    let why = format!("unknown variant \"{variant}\" of {}", platform.architecture);
    let error = Error::new(Kind::Usage, format!("invalid platform \"{platform}\""), why);
    if known.is_empty() {
        error.hint("it has none")
    } else {
        error.hint(format!("it has {}", known.join(", ")))
    }
}

/// Flags that would take the build out of gimg's hands, or run other programs.
const REFUSED: &[&str] = &["-toolexec", "-o", "-C", "-exec", "-n"];

/// The flags of `go build`: the user's, then `-trimpath`, then those with a setting of their own. gimg adds no
/// linker flag: a second `-ldflags` would silently drop the one in GOFLAGS. `render` evaluates a template.
///
/// # Errors
/// A flag that gimg owns or that runs another program, in the flags or in GOFLAGS; a template that can't be evaluated.
pub fn build_flags(
    program: &Program,
    settings: &Settings,
    toolchain: &Toolchain,
    render: &dyn Fn(&str, &str) -> Result<String>,
) -> Result<Vec<String>> {
    let mut flags = Vec::new();
    // GoReleaser leaves out what becomes empty.
    let drops = |flag: &str| settings.release.is_some() && ["", "-asmflags=", "-gcflags="].contains(&flag);
    for text in &program.flags {
        flags.push(render("flags", text)?);
    }
    flags.retain(|flag| !drops(flag));
    let own = program.env.iter().rev().find(|(k, _)| k == "GOFLAGS").map(|(_, v)| v.as_str());
    let goflags = own.or_else(|| toolchain.settings.get("GOFLAGS").map(String::as_str)).unwrap_or_default();
    for (number, flag) in flags.iter().enumerate() {
        let before = number.checked_sub(1).and_then(|n| flags.get(n));
        // `-tags` and `netgo` may be two words.
        let is_value = before.is_some_and(|b| b.starts_with('-') && !b.contains('='));
        if !flag.starts_with('-') && !is_value {
            let why = format!("\"{flag}\" is not a flag");
            return Err(Error::new(Kind::Input, "read Go's flags", why)
                .hint("flags begin with -, such as -tags=netgo"));
        }
    }
    for (place, flag) in flags
        .iter()
        .map(|f| ("flags", f.as_str()))
        .chain(goflags.split_whitespace().map(|f| ("GOFLAGS", f.trim_matches(['"', '\'']))))
    {
        check_allowed(flag, place)?;
    }
    flags.push("-trimpath".to_owned());
    if settings.disable_optimizations {
        flags.push("-gcflags=all=-N -l".to_owned());
    }
    if let Some(on) = settings.buildvcs {
        flags.push(format!("-buildvcs={on}"));
    }
    if let Some(texts) = &program.ldflags {
        let texts: Result<Vec<String>> = texts.iter().map(|t| render("ldflags", t)).collect();
        let mut texts = texts?;
        texts.retain(|text| !drops(text));
        let ldflags = texts.join(" ");
        flags.push(format!("-ldflags={ldflags}"));
    }
    Ok(flags)
}

fn check_allowed(flag: &str, place: &str) -> Result<()> {
    let name = flag.split('=').next().unwrap_or(flag);
    let name = name.strip_prefix('-').filter(|n| n.starts_with('-')).unwrap_or(name);
    if REFUSED.contains(&name) {
        let why = format!("flag {name} is not allowed");
        return Err(Error::new(Kind::Input, "read Go's flags", why).at(place));
    }
    Ok(())
}

/// Those build flags that change which packages there are, each with its value, which may be a word of its own.
#[must_use]
pub fn list_flags(flags: &[String]) -> Vec<String> {
    let mut chosen = Vec::new();
    let mut rest = flags.iter();
    while let Some(flag) = rest.next() {
        let name = flag.trim_start_matches('-').split('=').next().unwrap_or_default();
        if matches!(name, "tags" | "mod" | "modfile" | "overlay") {
            chosen.push(flag.clone());
            if !flag.contains('=') {
                chosen.extend(rest.next().cloned());
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_reach_go() {
        for (platform, setting) in [
            ("linux/amd64", Some(("GOAMD64", "v1"))),
            ("linux/amd64/v3", Some(("GOAMD64", "v3"))),
            ("linux/arm", Some(("GOARM", "7"))),
            ("linux/arm/v6", Some(("GOARM", "6"))),
            ("linux/arm/v8", Some(("GOARM", "7"))),
            ("linux/arm64", Some(("GOARM64", "v8.0"))),
            ("linux/arm64/v9.2", Some(("GOARM64", "v9.2"))),
            ("linux/386/softfloat", Some(("GO386", "softfloat"))),
            ("linux/mipsle", Some(("GOMIPS", "hardfloat"))),
            ("linux/ppc64le/power9", Some(("GOPPC64", "power9"))),
            ("linux/riscv64", Some(("GORISCV64", "rva20u64"))),
            ("linux/s390x", None),
        ] {
            let found = variant_setting(&platform.parse().unwrap()).unwrap();
            assert_eq!(found.as_ref().map(|(k, v)| (*k, v.as_str())), setting, "{platform}");
        }
        for bad in ["linux/amd64/v9", "linux/arm64/v7", "linux/arm64/v8.10", "linux/s390x/z13", "linux/arm/7"]
        {
            assert!(variant_setting(&bad.parse().unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_flag_s_value_goes_with_it() {
        let flags = ["-v", "-tags", "a,b", "--mod=mod", "-race"].map(str::to_owned);
        assert_eq!(list_flags(&flags), ["-tags", "a,b", "--mod=mod"]);
        assert!(list_flags(&[]).is_empty());
    }

    #[test]
    fn the_callers_variant_counts_only_where_the_platform_has_none() {
        let mut toolchain = Toolchain::default();
        toolchain.settings.insert("GOAMD64".to_owned(), "v2".to_owned());
        let keys = |platform: &str| -> Vec<String> {
            let target = target(&platform.parse().unwrap(), &toolchain, &[]).unwrap();
            target.environment.into_iter().map(|(k, v)| format!("{k}={v}")).collect()
        };
        assert_eq!(keys("linux/amd64"), ["GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0"]);
        assert_eq!(keys("linux/amd64/v3").last().unwrap(), "GOAMD64=v3");
    }
}
