//! A child without a network: gimg itself in a hidden mode goes into a network namespace of its own, in which there is
//! nothing, not even a loopback that is up, and then becomes the program (user_namespaces(7), network_namespaces(7)).
//!
//! Only on Linux, and only where users may make namespaces; elsewhere nobody can be [`Alone`].
#![expect(clippy::disallowed_methods, reason = "edge: child processes")]

use std::ffi::OsString;
use std::path::PathBuf;

/// The hidden mode's first argument: it can be neither a package nor a command.
const MODE: &str = ":alone";

/// How a program is started without a network: by this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alone {
    program: PathBuf,
}

impl Alone {
    /// Finds out whether that is possible here.
    #[must_use]
    pub fn possible() -> Option<Self> {
        let program = PathBuf::from("/proc/self/exe");
        let mut command = std::process::Command::new(&program);
        command.arg(MODE).env_clear().stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command.status().is_ok_and(|status| status.success()).then_some(Alone { program })
    }

    /// The program to start instead of `program`, and its arguments before those of that one.
    pub(super) fn instead(&self, program: &std::path::Path) -> (PathBuf, [OsString; 2]) {
        (self.program.clone(), [MODE.into(), program.into()])
    }
}

/// If this process was started to be alone, becomes the program that follows, or returns its exit code: 0 if there is none
/// and it is alone, 125 if it can't be. Gives nothing if it wasn't. Must be called while there is one thread.
pub fn become_if_asked(mut argv: impl Iterator<Item = OsString>) -> Option<u8> {
    if argv.nth(1).is_none_or(|mode| mode != MODE) {
        return None;
    }
    if let Err(error) = unix::leave_the_network() {
        // There is no interface yet, and whoever started us reads this.
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("no network namespace: {error}\n").as_bytes(),
        );
        return Some(125);
    }
    let Some(program) = argv.next() else { return Some(0) };
    let args: Vec<OsString> = argv.collect();
    let error = super::replace(std::path::Path::new(&program), &args, None);
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{error}\n").as_bytes());
    Some(127)
}

#[cfg(target_os = "linux")]
mod unix {
    use std::io;

    use rustix::process::{getgid, getuid};
    use rustix::thread::UnshareFlags;

    /// Into a user namespace, where one may make others, with our own user and group as they are, and a network namespace.
    /// Whoever may make one anyway needs no user namespace.
    pub(super) fn leave_the_network() -> io::Result<()> {
        let (user, group) = (getuid().as_raw(), getgid().as_raw());
        if unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET).is_err() {
            return Ok(unshare(UnshareFlags::NEWNET)?);
        }
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
    }

    #[expect(
        deprecated,
        reason = "unsafe only for tables of files that threads share: there is one thread, and no such flag"
    )]
    fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
        rustix::thread::unshare(flags)
    }
}

#[cfg(not(target_os = "linux"))]
mod unix {
    pub(super) fn leave_the_network() -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}
