//! A private directory with a copy of test data, a clean environment, and gimg run in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use super::canary::{self, PAIR, SECRET};

/// Where a test lives: `src` (the user's files), `home`, and whatever it makes.
pub(crate) struct Sandbox {
    dir: tempfile::TempDir,
    env: BTreeMap<String, String>,
    cwd: PathBuf,
    /// Files that may hold secrets, because the test put them there, or `gimg login`.
    secret: Mutex<BTreeSet<PathBuf>>,
}

impl Drop for Sandbox {
    /// No file holds a secret that nobody put there on purpose.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut found = canary::below(self.dir.path());
        found.retain(|path| !self.secret.lock().unwrap().contains(path));
        assert!(found.is_empty(), "secrets in {found:?}");
    }
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code; -1 if a signal ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// What a command left behind. It shows no secret.
    #[track_caller]
    pub(crate) fn of(what: &str, output: std::process::Output) -> Self {
        let ran = Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        canary::check(what, &ran.stdout);
        canary::check(what, &ran.stderr);
        ran
    }

    /// The same, if it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// The same, if it failed with `code` and said `words` on standard error and nothing on standard output.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "", "standard output of a failure");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in:\n{}", self.stderr);
        }
        assert_eq!(self.stderr.matches("gimg: ").count(), 1, "one error:\n{}", self.stderr);
        self
    }

    /// The lines of standard output.
    pub(crate) fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    /// The digest at the end of the only line.
    #[track_caller]
    pub(crate) fn digest(&self) -> String {
        let lines = self.lines();
        assert_eq!(lines.len(), 1, "{}", self.stdout);
        lines[0].split_once('@').expect("a digest").1.to_owned()
    }
}

/// A command that no signal is ignored by, whoever runs the tests: what a shell puts into the background doesn't hear
/// SIGINT, and gimg leaves it at that.
fn default_signals(program: PathBuf) -> Command {
    if !cfg!(target_os = "linux") {
        return Command::new(program);
    }
    let mut command = Command::new("/usr/bin/env");
    command.arg("--default-signal=HUP,INT,QUIT,TERM").arg(program);
    command
}

/// The project's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A test tool; a missing one fails the test.
#[track_caller]
pub(crate) fn tool(name: &str) -> PathBuf {
    let path = root().join(".tools/bin").join(name);
    assert!(path.exists(), "{} is missing: run make tools", path.display());
    path
}

/// Copies a folder with what is in it.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

impl Sandbox {
    /// An empty sandbox; commands run in its `src`.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("sandbox-").tempdir().unwrap();
        for sub in ["src", "home", "tmp"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let mut env = BTreeMap::new();
        // What reaches the Go toolchain and the network from outside; everything else is ours.
        for key in ["PATH", "GOPROXY", "GOSUMDB", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "GOROOT"] {
            if let Ok(value) = std::env::var(key) {
                env.insert(key.to_owned(), value);
            }
        }
        let at = |sub: &str| dir.path().join(sub).to_str().unwrap().to_owned();
        env.insert("HOME".into(), at("home"));
        env.insert("TMPDIR".into(), at("tmp"));
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
        // Compiling is shared by all tests; modules too.
        env.insert("GOCACHE".into(), cache.join("gocache").to_str().unwrap().into());
        env.insert("GOMODCACHE".into(), cache.join("gomodcache").to_str().unwrap().into());
        env.insert("GOFLAGS".into(), "-modcacherw".into());
        // What a CI system has around, and another registry's login: none of it has any business anywhere.
        env.insert("GITHUB_TOKEN".into(), SECRET.into());
        env.insert("GITHUB_ACTOR".into(), "user".into());
        let cwd = dir.path().join("src");
        let sandbox = Sandbox { dir, env, cwd, secret: Mutex::default() };
        let auths = format!(r#"{{"auths": {{"r.invalid": {{"auth": "{PAIR}"}}}}}}"#);
        sandbox.write_at(&sandbox.path("home/.config/containers/auth.json"), &auths);
        sandbox.may_hold_secrets("home/.docker/config.json");
        sandbox
    }

    /// A sandbox whose `src` is a copy of `testdata/go/<name>`.
    pub(crate) fn go(name: &str) -> Self {
        let sandbox = Self::new();
        copy_tree(&root().join("testdata/go").join(name), &sandbox.path("src"));
        sandbox
    }

    /// A path in the sandbox.
    pub(crate) fn path(&self, sub: &str) -> PathBuf {
        self.dir.path().join(sub)
    }

    /// Where commands run.
    pub(crate) fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// Runs further commands in this folder of the sandbox.
    pub(crate) fn cd(mut self, sub: &str) -> Self {
        self.cwd = self.path(sub);
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Takes a variable away.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.env.remove(key);
        self
    }

    /// Writes a file below the working folder, with its folders.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self
    }

    /// Writes a file below the working folder, with its folders.
    pub(crate) fn write(&self, name: &str, text: &str) {
        self.write_at(&self.cwd.join(name), text);
    }

    fn write_at(&self, path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self.secret.lock().unwrap().insert(path.to_owned());
    }

    /// Says that a secret in this file of the sandbox is there on purpose.
    pub(crate) fn may_hold_secrets(&self, sub: &str) {
        self.secret.lock().unwrap().insert(self.path(sub));
    }

    /// The command of a line; words are split at blanks, `gimg` is the one under test.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut words = line.split_whitespace();
        let program = words.next().unwrap();
        let program = match program {
            "gimg" => PathBuf::from(env!("CARGO_BIN_EXE_gimg")),
            name if root().join(".tools/bin").join(name).exists() => tool(name),
            name => PathBuf::from(name),
        };
        let mut command = default_signals(program);
        command.args(words).current_dir(&self.cwd).env_clear().envs(&self.env).stdin(Stdio::null());
        command
    }

    /// Runs a line.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.run_with(line, &[])
    }

    /// Runs a line with further arguments, which may hold blanks.
    pub(crate) fn run_with(&self, line: &str, more: &[&str]) -> Ran {
        let output = self.command(line).args(more).output().unwrap_or_else(|e| panic!("{line}: {e}"));
        Ran::of(line, output)
    }

    /// Runs git as somebody.
    #[track_caller]
    pub(crate) fn git(&self, args: &str) -> Ran {
        self.run(&format!("git -c user.name=a -c user.email=a@example.com -c commit.gpgsign=false {args}"))
            .ok()
    }

    /// What is left in the temporary folder.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("tmp")).unwrap();
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}
