//! Edge: running a child to its end, with its output captured and its whole process group stopped if the
//! caller loses interest (Ctrl-C drops the future; `go` must not leave compilers behind), or is gone (see [`Guardian`]).
#![expect(clippy::disallowed_methods, reason = "edge: child processes")]

mod alone;
mod guardian;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures_util::{Stream, StreamExt as _};
use tokio::io::AsyncWriteExt as _;

pub use alone::{Alone, become_if_asked};
pub use guardian::{Guardian, serve_if_asked};

use crate::error::{Error, Kind, Result};

/// A child to run. The environment is the caller's, changed by `set` and `remove`.
#[derive(Clone, Debug, Default)]
pub struct Child {
    /// The program: a path, or a name looked up in PATH.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Where it runs.
    pub dir: PathBuf,
    /// Variables to set, after `remove`.
    pub set: Vec<(String, String)>,
    /// Variables to take away.
    pub remove: Vec<String>,
    /// Who ends it and everything it started when this process is killed; nobody if there is none.
    pub guardian: Option<Guardian>,
    /// Whether it gets nothing of the caller's environment but what `set` says.
    pub cleared: bool,
    /// It is started without a network.
    pub alone: Option<Alone>,
}

/// What a child left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// Whether it ended with status 0.
    pub success: bool,
    /// Its end in words, such as `exit status: 1`.
    pub status: String,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error, as text.
    pub stderr: String,
}

/// Why a child could not be started.
#[derive(Debug)]
pub enum StartError {
    /// There is no such program.
    NotFound,
    /// Anything else, in words.
    Other(Error),
}

impl Child {
    /// A child `program` in `dir`.
    #[must_use]
    pub fn new(program: &Path, dir: &Path) -> Self {
        Child { program: program.to_owned(), dir: dir.to_owned(), ..Child::default() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.set.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Runs it to its end. Dropping the future stops it and everything it started.
    ///
    /// # Errors
    /// Only if it can't be started or waited for; a failing child is a successful [`Output`].
    pub async fn run(&self) -> Result<Output, StartError> {
        self.run_with(None::<futures_util::stream::Empty<Result<bytes::Bytes>>>).await
    }

    /// The same, with `input` on its standard input. If the input fails the child is stopped before it sees an end
    /// of it. A child that stops reading early is not an error: its end says what it thinks.
    ///
    /// # Errors
    /// As [`Child::run`], and the error of `input`.
    pub async fn run_with(
        &self,
        input: Option<impl Stream<Item = Result<bytes::Bytes>> + Unpin>,
    ) -> Result<Output, StartError> {
        // A missing directory gives the same error as a missing program.
        if !self.dir.is_dir() {
            return Err(StartError::Other(Error::new(
                Kind::Input,
                format!("run {}", self.program.display()),
                format!("no such directory {}", self.dir.display()),
            )));
        }
        let mut command = match &self.alone {
            Some(alone) => {
                let (program, before) = alone.instead(&self.program);
                let mut command = tokio::process::Command::new(program);
                command.args(before);
                command
            }
            None => tokio::process::Command::new(&self.program),
        };
        if self.cleared {
            command.env_clear();
        }
        command.args(&self.args).current_dir(&self.dir).kill_on_drop(true);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        for key in &self.remove {
            command.env_remove(key);
        }
        for (key, value) in &self.set {
            command.env(key, value);
        }
        // PWD may name another spelling of the directory (a symlink); Go prints paths relative to it.
        command.env("PWD", &self.dir);
        let mut started = Group::new(self.guardian.as_ref());
        started.join(&mut command);
        let other = |e: std::io::Error| {
            StartError::Other(Error::new(Kind::LocalIo, format!("run {}", self.program.display()), e))
        };
        let mut child = command.spawn().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => StartError::NotFound,
            _ => other(e),
        })?;
        started.has(&child);
        // Closed only once the child is stopped: it must not take a failed input for one that ended.
        let mut stdin = child.stdin.take();
        let mut group = started;
        let feeding = async {
            match input {
                Some(input) => feed(input, &mut stdin).await.map_err(StartError::Other),
                None => Ok(()),
            }
        };
        let waiting = async {
            let output = child.wait_with_output().await.map_err(other)?;
            group.ended();
            Ok(output)
        };
        let ((), output) = tokio::try_join!(feeding, waiting)?;
        Ok(Output {
            success: output.status.success(),
            status: output.status.to_string(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// Writes all of `input` and closes `stdin`; a child that closes it first has read enough.
///
/// # Errors
/// The input's, and then `stdin` stays open.
async fn feed(
    mut input: impl Stream<Item = Result<bytes::Bytes>> + Unpin,
    stdin: &mut Option<tokio::process::ChildStdin>,
) -> Result<()> {
    while let (Some(pipe), Some(piece)) = (stdin.as_mut(), input.next().await) {
        if pipe.write_all(&piece?).await.is_err() {
            break;
        }
    }
    *stdin = None;
    Ok(())
}

/// The file of the program that is running, if it is still there: what a child of a child can run.
#[must_use]
pub fn this_program() -> Option<PathBuf> {
    std::env::current_exe().ok().filter(|program| program.is_file())
}

/// The program `name` in the directories of `path` (the variable PATH), if there is one that may be run. A relative
/// directory, such as an empty one that means here, is passed over: what runs must not depend on where one is.
#[must_use]
pub fn find(name: &str, path: &str) -> Option<PathBuf> {
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(&name))
        .find(|file| is_program(file))
}

#[cfg(unix)]
fn is_program(file: &Path) -> bool {
    use rustix::fs::{Access, access};
    file.is_file() && access(file, Access::EXEC_OK).is_ok()
}

#[cfg(not(unix))]
fn is_program(file: &Path) -> bool {
    file.is_file()
}

/// Lets `program` take this process's place, with its terminal, signals and exit code, and `stdin` (else ours) as its
/// standard input. Where the system can't do that, waits for it and exits as it did. Returns only if it can't be
/// started; whoever calls has cleaned up.
#[must_use]
pub fn replace(program: &Path, args: &[OsString], stdin: Option<std::fs::File>) -> Error {
    let mut command = std::process::Command::new(program);
    command.args(args);
    if let Some(stdin) = stdin {
        command.stdin(stdin);
    }
    #[cfg(unix)]
    let error = {
        use std::os::unix::process::CommandExt as _;
        command.exec()
    };
    #[cfg(not(unix))]
    let error = match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    };
    Error::new(Kind::LocalIo, format!("run {}", program.display()), error)
}

/// The process group of a child, with its guardian as leader if it has one. Dropped before the child has ended, it stops
/// all of the group.
#[cfg(unix)]
struct Group {
    guard: Option<guardian::Guard>,
    /// The child; none before its start and after its end.
    child: Option<rustix::process::Pid>,
}

#[cfg(unix)]
impl Group {
    fn new(guardian: Option<&Guardian>) -> Self {
        Group { guard: guardian.and_then(guardian::Guard::start), child: None }
    }

    /// Lets a child that isn't started yet be in it; without a guardian the child leads.
    fn join(&self, command: &mut tokio::process::Command) {
        let leader = self.guard.as_ref().map_or(0, |guard| guard.group().as_raw_nonzero().get());
        command.process_group(leader);
    }

    fn has(&mut self, child: &tokio::process::Child) {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        self.child = id.and_then(rustix::process::Pid::from_raw);
    }

    /// The child has ended by itself, and was waited for: its number may be another's now.
    fn ended(&mut self) {
        self.child = None;
        self.guard = None;
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        use rustix::process::{Signal, WaitOptions, kill_process_group, waitpid};
        let Some(child) = self.child else { return };
        let leader = self.guard.as_ref().map_or(child, guardian::Guard::group);
        let _ = kill_process_group(leader, Signal::KILL);
        // Its files may only be removed when it is gone: wait, but not for ever.
        for _ in 0..200 {
            match waitpid(Some(child), WaitOptions::NOHANG) {
                Ok(None) => std::thread::sleep(std::time::Duration::from_millis(5)),
                Ok(Some(_)) | Err(_) => break,
            }
        }
    }
}

/// There are no groups here: the child alone is stopped, by its own drop.
#[cfg(not(unix))]
struct Group;

#[cfg(not(unix))]
impl Group {
    fn new(_guardian: Option<&Guardian>) -> Self {
        Group
    }

    fn join(&self, _command: &mut tokio::process::Command) {}

    fn has(&mut self, _child: &tokio::process::Child) {}

    fn ended(&mut self) {}
}
