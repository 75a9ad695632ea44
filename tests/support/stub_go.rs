//! A `go` that writes down how it is called, and then is the real one.

use std::path::PathBuf;

use super::Sandbox;

/// The log of a sandbox's `go`.
pub(crate) struct GoLog {
    path: PathBuf,
    bin: PathBuf,
}

/// Puts a logging `go` into the sandbox.
pub(crate) fn go_log(sandbox: &Sandbox) -> GoLog {
    use std::os::unix::fs::PermissionsExt as _;
    let (path, bin) = (sandbox.path("go.log"), sandbox.path("bin"));
    let real = std::env::var("PATH").unwrap();
    let real = std::env::split_paths(&real).map(|d| d.join("go")).find(|p| p.is_file()).expect("go on PATH");
    std::fs::create_dir(&bin).unwrap();
    let script = format!("#!/bin/sh\necho \"$*\" >> {}\nexec {} \"$@\"\n", path.display(), real.display());
    std::fs::write(bin.join("go"), script).unwrap();
    std::fs::set_permissions(bin.join("go"), std::fs::Permissions::from_mode(0o755)).unwrap();
    GoLog { path, bin }
}

impl GoLog {
    /// The sandbox with the logging `go` first on its PATH.
    pub(crate) fn sandbox(&self, sandbox: Sandbox) -> Sandbox {
        let path = format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap());
        sandbox.env("PATH", &path)
    }

    /// One line for each call.
    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap_or_default()
    }

    /// How often `go VERB` was called.
    pub(crate) fn count(&self, verb: &str) -> usize {
        self.text().lines().filter(|l| l.split(' ').next() == Some(verb)).count()
    }
}
