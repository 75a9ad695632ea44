//! Which configuration file and which lock file there are, and what is in them.
#![expect(clippy::disallowed_methods, reason = "edge: the configuration file, the lock file")]

use std::path::{Path, PathBuf};

use crate::cli::args::ConfigArgs;
use crate::error::{Error, Kind, Result};
use crate::ops;
use crate::settings::config::{self, Around, Config, Source};
use crate::settings::env::{self, Env};
use crate::settings::lock::{self, Lock};

/// The names of configuration files, gimg's first. Of each the first that is there counts, as in ko.
const OWN: &[&str] = &[".gimg.yaml", ".gimg.yml", ".gimg.json", ".gimg.toml"];
const KOS: &[&str] = &[".ko.json", ".ko.toml", ".ko.yaml", ".ko.yml"];

/// Reads the file that counts for a user in `cwd`: `--config`, else KO_CONFIG_PATH, else gimg's, else ko's, else none.
/// Gives what to warn about too.
///
/// # Errors
/// A file that was named and isn't there, or can't be read.
pub(super) fn read(args: &ConfigArgs, env: &Env, cwd: &Path) -> Result<(Config, Vec<String>)> {
    let named = match (&args.config, env.first(&[env::KO_CONFIG_PATH])) {
        (Some(path), _) => Some(path.clone()),
        (None, Some(path)) => Some(in_directory(PathBuf::from(path), cwd)),
        (None, None) => None,
    };
    let mut warnings = Vec::new();
    let name = match named {
        Some(path) => path,
        None => {
            let there: Vec<&str> = OWN.iter().chain(KOS).copied().filter(|n| cwd.join(n).is_file()).collect();
            let Some((first, others)) = there.split_first() else {
                if !args.id.is_empty() {
                    let error = Error::new(Kind::Usage, "read --id", "there is no file of GoReleaser's");
                    return Err(error.hint("name it with --config .goreleaser.yaml"));
                }
                return Ok((Config::default(), warnings));
            };
            if !others.is_empty() {
                warnings.push(format!("{first} counts, {} does not", others.join(", ")));
            }
            PathBuf::from(first)
        }
    };
    let path = cwd.join(&name);
    let what = "read the configuration";
    let bytes = std::fs::read(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::new(Kind::Input, what, "no such file").at(name.display()),
        _ => Error::io(what, &name, &e),
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::new(Kind::Input, what, "it isn't UTF-8 text").at(name.display()))?;
    let source = Source { name: name.display().to_string(), text };
    let (config, more) = if source.is_goreleasers() {
        let module = ops::module_around(cwd).map(|(_, path)| path);
        let around = Around { env: env.all(), module: module.as_deref(), ids: &args.id };
        config::read_goreleasers(&source, args.lenient, &around)?
    } else if args.id.is_empty() {
        config::read(&source, args.lenient)?
    } else {
        let why = format!("{} isn't GoReleaser's file", source.name);
        return Err(Error::new(Kind::Usage, "read --id", why));
    };
    warnings.extend(more);
    Ok((config, warnings))
}

/// Reads the lock file in `cwd`, if there is one.
///
/// # Errors
/// A file that can't be read.
pub(super) fn lock(cwd: &Path) -> Result<Option<Lock>> {
    let what = "read the lock file";
    let text = match std::fs::read(cwd.join(lock::FILE)) {
        Ok(bytes) => String::from_utf8(bytes)
            .map_err(|_| Error::new(Kind::Input, what, "it isn't UTF-8 text").at(lock::FILE))?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(what, Path::new(lock::FILE), &e)),
    };
    Lock::parse(&text).map(Some)
}

/// ko's rule: a directory stands for the `.ko.yaml` in it.
fn in_directory(path: PathBuf, cwd: &Path) -> PathBuf {
    if cwd.join(&path).is_dir() { path.join(".ko.yaml") } else { path }
}
