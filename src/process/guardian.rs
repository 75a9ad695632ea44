//! A guardian: a small process that leads the group of a long-running child, and ends the group when gimg is gone.
//!
//! Nothing can be done at the moment of SIGKILL, so somebody else has to watch. The guardian is gimg itself in a hidden
//! mode: it holds the reading end of a pipe whose writing end is in gimg alone, and waits. When gimg dies, however
//! that happens, the pipe ends, and the guardian sends SIGKILL to its group: `go` with all its compilers and linkers,
//! and itself. The child is gimg's own, not the guardian's: its start, streams and end are as without one.
//!
//! There is no moment at which a child escapes. It joins the group before it runs its program, and until it does, it
//! has (as every new process) copies of all of gimg's files, the writing end among them: the pipe can only end
//! after the child is in the group. Ends of pipes are closed when a program is run (close-on-exec), so no child keeps
//! it open afterwards.
//!
//! Only on Unix; elsewhere there is none.
#![expect(clippy::disallowed_methods, reason = "edge: child processes")]

use std::ffi::OsString;

/// The hidden mode's only argument: it can be neither a package nor a command.
const MODE: &str = ":guardian";

/// How guardians are made: by running this program.
#[derive(Clone, Debug)]
pub struct Guardian {
    #[cfg_attr(not(unix), expect(dead_code, reason = "there are none"))]
    program: std::path::PathBuf,
}

impl Guardian {
    /// By the program that is running, which must call [`serve_if_asked`] first. None where it doesn't know its
    /// own file.
    #[must_use]
    pub fn this_program() -> Option<Self> {
        // The file may be replaced while gimg runs, by an upgrade; this is always the running one.
        let own = std::path::PathBuf::from("/proc/self/exe");
        let program = if own.exists() { own } else { std::env::current_exe().ok()? };
        cfg!(unix).then_some(Guardian { program })
    }
}

/// If this process was started as a guardian, is one until gimg ends, and then returns true: there is nothing else to
/// do. Gives `false` at once otherwise.
pub fn serve_if_asked(mut argv: impl Iterator<Item = OsString>) -> bool {
    if argv.nth(1).is_none_or(|mode| mode != MODE) || argv.next().is_some() {
        return false;
    }
    unix::serve()
}

#[cfg(unix)]
pub(super) use unix::Guard;

#[cfg(unix)]
mod unix {
    use std::io::Read as _;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    use rustix::process::{Pid, Signal, getpgrp, getpid, kill_process_group};

    use super::{Guardian, MODE};

    /// Waits for the pipe's end, and ends the group. Only as its leader: whoever calls this by hand in a script must
    /// not lose the script.
    pub(super) fn serve() -> bool {
        if getpgrp() != getpid() {
            return false;
        }
        let mut pipe = std::io::stdin().lock();
        // Nothing is ever written: whatever ends the wait, gimg is gone. `read` goes on after a signal by itself.
        let _ = pipe.read_exact(&mut [0]);
        let _ = kill_process_group(getpid(), Signal::KILL);
        true
    }

    /// A guardian at work. Dropped, it is gone, and its group is as if it had never been.
    #[derive(Debug)]
    pub(in crate::process) struct Guard {
        child: Child,
    }

    impl Guard {
        /// Starts one; none if that fails: it is a second safety, not a condition.
        pub(in crate::process) fn start(how: &Guardian) -> Option<Self> {
            let mut command = Command::new(&how.program);
            command.arg0("gimg").arg(MODE).env_clear().current_dir("/").process_group(0);
            // It must not keep the user's terminal or pipes open.
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            // The writing end stays in `child` as long as this lives.
            command.spawn().ok().map(|child| Guard { child })
        }

        /// The group that it leads. The number is nobody else's before this is dropped.
        pub(in crate::process) fn group(&self) -> Pid {
            Pid::from_child(&self.child)
        }
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            // It must not see the pipe's end before it is gone: SIGKILL first, and the pipe is closed with `child`.
            let _ = self.child.kill();
            let stdin = self.child.stdin.take();
            let _ = self.child.wait();
            drop(stdin);
        }
    }
}

#[cfg(not(unix))]
mod unix {
    pub(super) fn serve() -> bool {
        false
    }
}
