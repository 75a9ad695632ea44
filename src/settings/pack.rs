//! What the user decided about `gimg pack`: the settings of a build without its compiles, and the programs. Pure.

use std::path::PathBuf;

use crate::error::{Error, Kind, Result};
use crate::oci::Platform;
use crate::settings::config::Config;
use crate::settings::env::Env;
use crate::settings::program::{Program, place};
use crate::settings::{self, Settings, Words};

/// Everything the user decided about an image of programs that something else compiled.
#[derive(Clone, Debug)]
pub struct Pack {
    /// What a build has; its platforms are those of the programs, in their order, and it says nothing about compiling.
    pub settings: Settings,
    /// The programs, each platform once.
    pub programs: Vec<Prebuilt>,
    /// The import path, if not what the programs say.
    pub import_path: Option<String>,
    /// The directory that becomes kodata; absolute.
    pub kodata: Option<PathBuf>,
}

/// A program that something else compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prebuilt {
    /// What it is compiled for.
    pub platform: Platform,
    /// Where it is; absolute.
    pub path: PathBuf,
}

/// What the command line said that only `pack` takes.
#[derive(Clone, Debug, Default)]
pub struct PackWords {
    /// `--binary`.
    pub binaries: Vec<String>,
    /// `--import-path`.
    pub import_path: Option<String>,
    /// `--kodata`.
    pub kodata: Option<PathBuf>,
}

/// As [`settings::resolve`], for `gimg pack`.
///
/// # Errors
/// As there; a `--binary` that can't be read, or two of one platform; an import path that is none.
pub fn resolve(
    words: Words,
    own: PackWords,
    env: &Env,
    file: Config,
    cwd: PathBuf,
    cores: usize,
) -> Result<Pack> {
    let mut programs: Vec<Prebuilt> = Vec::new();
    for word in &own.binaries {
        let (platform, path) = binary(word)?;
        if programs.iter().any(|p| p.platform == platform) {
            let why = format!("two binaries are for {platform}");
            return Err(Error::new(Kind::Input, "read --binary", why));
        }
        programs.push(Prebuilt { platform, path: cwd.join(path) });
    }
    let import_path = match &own.import_path {
        Some(text) => {
            let path = text.strip_prefix("ko://").unwrap_or(text);
            check_import_path(path).map_err(|why| Error::new(Kind::Usage, "read --import-path", why))?;
            Some(path.to_owned())
        }
        None => None,
    };
    if let Some(text) = &words.binary {
        place(text, "--program").map_err(|e| e.as_kind(Kind::Usage))?;
    }
    let kodata = own.kodata.map(|dir| cwd.join(dir));
    let platforms = programs.iter().map(|p| p.platform.to_string()).collect();
    let mut settings = settings::resolve(Words { platforms, ..words }, env, file, cwd, cores)?;
    let without_compile = |program: &mut Program| {
        program.flags.clear();
        program.ldflags = None;
        program.own.env.clear();
    };
    without_compile(&mut settings.program);
    settings.rules.iter_mut().for_each(|rule| without_compile(&mut rule.program));
    Ok(Pack { settings, programs, import_path, kodata })
}

/// `os/arch[/variant]=FILE`. A file's name may have a `=` in it, a platform can't.
pub(super) fn binary(word: &str) -> Result<(Platform, &str)> {
    let bad = |why: String| {
        Error::new(Kind::Usage, "read --binary", why)
            .hint("it takes a platform and a file: linux/amd64=dist/app")
    };
    match word.split_once('=') {
        None => Err(bad(format!("\"{word}\" isn't PLATFORM=FILE"))),
        Some((_, "")) => Err(bad(format!("\"{word}\" names no file"))),
        Some((platform, path)) => {
            let platform = platform.parse().map_err(|e: Error| e.within("read --binary"))?;
            Ok((platform, path))
        }
    }
}

/// Whether names can be made of an import path: parts between slashes of the characters that Go allows
/// (golang.org/x/mod/module, `CheckImportPath`), none of which leads to another directory.
///
/// # Errors
/// It isn't so; why.
pub fn check_import_path(path: &str) -> Result<(), String> {
    let is_word = |c: char| c.is_alphanumeric() || "-._~+".contains(c);
    let part =
        |p: &str| !p.is_empty() && !p.starts_with('-') && !matches!(p, "." | "..") && p.chars().all(is_word);
    if path.split('/').all(part) { Ok(()) } else { Err(format!("\"{path}\" isn't an import path")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(binaries: &[&str], import_path: Option<&str>) -> Result<Pack> {
        let own = PackWords {
            binaries: binaries.iter().map(|b| (*b).to_owned()).collect(),
            import_path: import_path.map(str::to_owned),
            kodata: Some("data".into()),
        };
        let file =
            Config { default_platforms: settings::config::Words(vec!["all".into()]), ..Config::default() };
        resolve(Words { push: true, ..Words::default() }, own, &Env::default(), file, "/w".into(), 2)
    }

    #[test]
    fn programs_have_platforms_in_order_and_paths_from_here() {
        let pack =
            settle(&["linux/arm64/v8=a=b", "linux/amd64=/abs/c"], Some("ko://example.com/x/v2")).unwrap();
        let found: Vec<_> = pack.programs.iter().map(|p| (p.platform.to_string(), p.path.to_str())).collect();
        assert_eq!(found, [("linux/arm64".into(), Some("/w/a=b")), ("linux/amd64".into(), Some("/abs/c"))]);
        let list = pack.programs.iter().map(|p| p.platform.clone()).collect();
        assert_eq!(pack.settings.platforms, crate::plan::platforms::Requested::List(list));
        assert_eq!(pack.import_path.as_deref(), Some("example.com/x/v2"));
        assert_eq!(pack.kodata, Some("/w/data".into()));
    }

    #[test]
    fn bad_words_say_what_is_bad() {
        for (binaries, import_path, kind, words) in [
            (&["app"][..], None, Kind::Usage, "\"app\" isn't PLATFORM=FILE"),
            (&["linux/amd64="], None, Kind::Usage, "names no file"),
            (&["all=app"], None, Kind::Usage, "invalid platform \"all\""),
            (&["linux/amd64,linux/arm64=app"], None, Kind::Usage, "invalid platform"),
            (&["linux/amd65=app"], None, Kind::Usage, "unknown architecture"),
            (&["linux/arm64=a", "linux/arm64/v8=b"], None, Kind::Input, "two binaries are for linux/arm64"),
            (&["linux/amd64=a"], Some(""), Kind::Usage, "isn't an import path"),
            (&["linux/amd64=a"], Some("a/../b"), Kind::Usage, "isn't an import path"),
            (&["linux/amd64=a"], Some("/a"), Kind::Usage, "isn't an import path"),
            (&["linux/amd64=a"], Some("a b"), Kind::Usage, "isn't an import path"),
        ] {
            let error = settle(binaries, import_path).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
