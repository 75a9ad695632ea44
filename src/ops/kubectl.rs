//! `gimg apply`, `create`, `run` and `delete`: kubectl takes gimg's place once everything is published.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::ops::resolve::{Files, check_destinations, resolve};
use crate::ops::{Context, build};
use crate::process;
use crate::settings::Settings;
use crate::settings::env::Env;

/// kubectl takes what begins with `{` for JSON alone, and files of YAML may follow one of JSON. Elsewhere this would
/// do harm: a byte-order mark after it is an error.
const YAML_FOLLOWS: &[u8] = b"---\n";

/// A kubectl that is ready to run.
#[derive(Debug)]
pub struct Kubectl {
    program: PathBuf,
    args: Vec<OsString>,
    stdin: Option<Vec<u8>>,
}

impl Kubectl {
    /// Finds it, before anything is built.
    ///
    /// # Errors
    /// None on PATH.
    pub fn find(env: &Env) -> Result<Self> {
        let program = process::find("kubectl", env.first(&["PATH"]).unwrap_or_default());
        let program = program.ok_or_else(|| {
            Error::new(Kind::Input, "run kubectl", "not found on PATH")
                .hint("install kubectl, or write YAML with gimg resolve")
        })?;
        Ok(Kubectl { program, args: Vec::new(), stdin: None })
    }

    /// With these arguments added.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Lets it take this process's place. It is the last thing that a run does: nothing here cleans up any more.
    ///
    /// # Errors
    /// Always one if this returns.
    #[must_use]
    pub fn take_over(self) -> Error {
        let stdin = match self.stdin.map(|bytes| crate::fs::unnamed(&bytes)).transpose() {
            Ok(stdin) => stdin,
            Err(error) => return error,
        };
        process::replace(&self.program, &self.args, stdin)
    }
}

/// `kubectl VERB -f - ARGS` with the resolved files as its input.
///
/// # Errors
/// No kubectl, or whatever [`resolve`] says; kubectl isn't started then.
pub async fn feed(
    cx: &Context,
    settings: &Settings,
    files: &Files,
    verb: &str,
    args: Vec<OsString>,
) -> Result<Kubectl> {
    let kubectl = Kubectl::find(&cx.env)?.args([verb, "-f", "-"]).args(args);
    let mut yaml = resolve(cx, settings, files, &[]).await?;
    if yaml.trim_ascii_start().starts_with(b"{") {
        yaml.splice(0..0, YAML_FOLLOWS.iter().copied());
    }
    Ok(Kubectl { stdin: Some(yaml), ..kubectl })
}

/// `kubectl run NAME --image REFERENCE … ARGS` for the one program that `settings` builds. As in ko, its output is
/// shown, it is run once, and the pod is removed afterwards.
///
/// # Errors
/// No kubectl, more than one program, or whatever building and publishing says; kubectl isn't started then.
pub async fn run(cx: &Context, settings: &Settings, args: Vec<OsString>) -> Result<Kubectl> {
    let kubectl = Kubectl::find(&cx.env)?;
    check_destinations(settings)?;
    if let Some(pattern) = settings.packages.iter().find(|p| p.contains("...")) {
        let why = format!("{pattern} is a pattern, and one program can be run");
        return Err(Error::new(Kind::Usage, "read the package", why));
    }
    let report = build::build(cx, settings).await?;
    let [image] = report.images.as_slice() else {
        return Err(Error::new(Kind::Usage, "read the package", "one program can be run"));
    };
    cx.observer.on(Event::Note(format!("running {}", image.reference)));
    let kubectl = kubectl.args(["run", pod(&image.reference), "--image", &image.reference]);
    Ok(kubectl.args(["--attach", "--rm", "--restart=Never", "--log-flush-frequency=1s"]).args(args))
}

/// The pod's name, as in ko: the last part of the repository.
fn pod(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or_default();
    let last = name.rsplit('/').next().unwrap_or_default();
    last.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::pod;

    #[test]
    fn pods_are_called_like_repositories() {
        assert_eq!(pod("127.0.0.1:5000/x/hello-abc@sha256:00"), "hello-abc");
        assert_eq!(pod("ghcr.io/me/app:v1@sha256:00"), "app");
        assert_eq!(pod("ghcr.io/me/app:v1"), "app");
    }
}
