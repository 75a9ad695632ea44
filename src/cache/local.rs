//! The cache on this machine: Go's own directory, in Go's own form. So what was compiled without a server is found with
//! one, and the other way round, and Go itself removes what isn't used any more.
//!
//! The form (cmd/go/internal/cache, unchanged since Go 1.10): `xx/<action>-a` is `v1 <action> <output> <size> <time>\n`,
//! hex digits and two numbers of 20 columns; `xx/<output>-d` is the output. `xx` are the first two digits.
#![expect(clippy::disallowed_methods, reason = "edge: Go's cache directory, and its clock")]

use std::fs::{File, FileTimes, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cache::Action;
use crate::oci::Digest;

/// Go writes down that a file was used if the last time is longer ago.
const USED: Duration = Duration::from_secs(60 * 60);

/// Go's cache directory.
#[derive(Clone, Debug)]
pub struct Local {
    dir: PathBuf,
}

/// What is there for an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Go's output id.
    pub output: Digest,
    /// The output's size in bytes.
    pub size: u64,
    /// When the entry was made, in nanoseconds since 1970.
    pub time: u64,
    /// The file with the output.
    pub path: PathBuf,
}

impl Local {
    /// The cache in `dir`, which need not be there.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Local { dir: dir.to_owned() }
    }

    /// What is there for `action`: an entry, and all of the output.
    #[must_use]
    pub fn find(&self, action: Action) -> Option<Found> {
        let name = self.name(&action.0, 'a');
        let text = std::fs::read(&name).ok()?;
        let (output, size, time) = read_entry(action, &text)?;
        let path = self.output(&output, size)?;
        if let Ok(metadata) = std::fs::metadata(&name) {
            mark_used(&name, &metadata);
        }
        Some(Found { output, size, time, path })
    }

    /// The file with this output, if all of it is there. As Go, we take a file for complete that has its size: whoever
    /// writes one gives it its last byte when all is well.
    #[must_use]
    pub fn output(&self, output: &Digest, size: u64) -> Option<PathBuf> {
        let path = self.name(output.bytes(), 'd');
        let metadata = std::fs::metadata(&path).ok().filter(|m| m.is_file() && m.len() == size)?;
        mark_used(&path, &metadata);
        Some(path)
    }

    /// A small output, if all of it is there and it is what it should be.
    #[must_use]
    pub(super) fn bytes(&self, output: &Digest, size: u64) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.output(output, size)?).ok()?;
        (Digest::of(&bytes) == *output).then_some(bytes)
    }

    /// An output to read.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn open(&self, output: &Digest) -> io::Result<File> {
        File::open(self.name(output.bytes(), 'd'))
    }

    /// Writes an output by `write`, which also checks it: whole or not at all.
    ///
    /// # Errors
    /// Those of `write`, and whatever the system says.
    pub fn add(
        &self,
        output: &Digest,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<PathBuf> {
        let path = self.name(output.bytes(), 'd');
        replace(&path, write)?;
        Ok(path)
    }

    /// Writes that `action` gave `output`, which is there.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn link(&self, action: Action, output: &Digest, size: u64) -> io::Result<u64> {
        let time = nanoseconds(SystemTime::now());
        let text = format!("v1 {action:?} {} {size:>20} {time:>20}\n", output.hex());
        replace(&self.name(&action.0, 'a'), |file| file.write_all(text.as_bytes()))?;
        Ok(time)
    }

    fn name(&self, id: &[u8; 32], kind: char) -> PathBuf {
        let hex = Digest::from_bytes(*id).hex();
        self.dir.join(&hex[..2]).join(format!("{hex}-{kind}"))
    }
}

/// Writes a file that appears whole. Its temporary name ends as those that Go removes when they are old: what is left of
/// it if we are killed.
fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".gimg-").suffix("-d");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = match builder.tempfile_in(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(dir)?;
            builder.tempfile_in(dir)?
        }
        made => made?,
    };
    write(file.as_file_mut())?;
    file.persist(path)?;
    Ok(())
}

/// Go removes what was not used for five days.
fn mark_used(path: &Path, metadata: &Metadata) {
    let now = SystemTime::now();
    let fresh = metadata.modified().is_ok_and(|t| now.duration_since(t).unwrap_or_default() < USED);
    if !fresh && let Ok(file) = File::options().append(true).open(path) {
        let _ = file.set_times(FileTimes::new().set_modified(now).set_accessed(now));
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The output, size and time that an entry of `action` says.
fn read_entry(action: Action, text: &[u8]) -> Option<(Digest, u64, u64)> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
    let mut words = text.split_ascii_whitespace();
    let (version, id, output) = (words.next()?, words.next()?, words.next()?);
    let (size, time) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let fits = version == "v1" && id == format!("{action:?}") && words.next().is_none();
    fits.then_some((format!("sha256:{output}").parse().ok()?, size, time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_as_go_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let local = Local::new(dir.path());
        let (action, output) = (Action([0xab; 32]), Digest::of(b"output"));
        assert_eq!(local.find(action), None);
        let path = local.add(&output, |file| file.write_all(b"output")).unwrap();
        let time = local.link(action, &output, 6).unwrap();
        assert_eq!(path, dir.path().join(&output.hex()[..2]).join(format!("{}-d", output.hex())));
        let entry = std::fs::read_to_string(dir.path().join("ab").join(format!("{action:?}-a"))).unwrap();
        // 2 + 1 + 64 + 1 + 64 + 1 + 20 + 1 + 20 + 1: Go takes no other length.
        assert_eq!(entry.len(), 175);
        assert_eq!(entry, format!("v1 {action:?} {} {:>20} {time:>20}\n", output.hex(), 6));
        assert_eq!(local.find(action), Some(Found { output, size: 6, time, path: path.clone() }));
        // Half an output is none.
        std::fs::write(&path, b"outpu").unwrap();
        assert_eq!(local.find(action), None);
    }

    #[test]
    fn what_could_not_be_written_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let local = Local::new(dir.path());
        let output = Digest::of(b"output");
        let fail = |file: &mut dyn Write| {
            file.write_all(b"out")?;
            Err(io::Error::other("no"))
        };
        assert!(local.add(&output, fail).is_err());
        assert_eq!(local.output(&output, 3), None);
        assert_eq!(std::fs::read_dir(dir.path().join(&output.hex()[..2])).unwrap().count(), 0);
    }

    #[test]
    fn entries_of_others_are_not_read() {
        let action = Action([1; 32]);
        let output = Digest::of(b"").hex();
        let fine = format!("v1 {action:?} {output} {:>20} {:>20}\n", 0, 7);
        assert_eq!(read_entry(action, fine.as_bytes()), Some((Digest::of(b""), 0, 7)));
        for wrong in [
            fine.replace("v1", "v2"),
            fine.trim_end().to_owned(),
            fine.replace("0101", "0201"),
            fine.replace(" 0 ", " -1 "),
            fine.replace('\n', " 1\n"),
            String::new(),
        ] {
            assert_eq!(read_entry(action, wrong.as_bytes()), None, "{wrong}");
        }
    }
}
