//! The secret of all tests, and who looks for it: [`Sandbox`](super::Sandbox) after every command and in every file that
//! is left, [`Client`](super::client::Client) in what it hears and in its errors. Nobody has to remember to.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;

/// Every password and token of every test is this, or has it in it.
pub(crate) const SECRET: &str = "canary-5f1c9";
/// base64 of `user` with it.
pub(crate) const PAIR: &str = "dXNlcjpjYW5hcnktNWYxYzk=";
/// Of a compressed or large file no more than this is looked at, in bytes.
const MOST: u64 = 64 * 1024 * 1024;

/// The secret and what it looks like in base64, wherever in it.
fn forms() -> Vec<String> {
    let mut forms = vec![SECRET.to_owned()];
    for before in 0..3 {
        let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode("x".repeat(before) + SECRET);
        // The characters at both ends depend on the neighbours too.
        let start = [0, 2, 3][before];
        forms.push(encoded[start..encoded.len() - 1].to_owned());
    }
    forms
}

/// Panics if `text` holds the secret. `what` is where it comes from.
#[track_caller]
pub(crate) fn check(what: &str, text: &str) {
    let found = forms().into_iter().find(|form| text.contains(form.as_str()));
    assert!(found.is_none(), "a secret in what {what} says:\n{text}");
}

/// `grep` for the secret; its own search is as fast as an optimised one, which this test program isn't.
fn grep(options: &str) -> Command {
    let mut grep = Command::new("grep");
    grep.arg(options).args(forms().iter().flat_map(|form| ["-e", form]));
    grep.stderr(Stdio::null());
    grep
}

/// The files below `dir` that hold the secret, also compressed. Of large ones, which may be sparse, the start.
pub(crate) fn below(dir: &Path) -> Vec<PathBuf> {
    let (mut plain, mut found) = (Vec::new(), Vec::new());
    for entry in walkdir::WalkDir::new(dir).into_iter().flatten().filter(|e| e.file_type().is_file()) {
        let path = entry.path();
        let large = entry.metadata().is_ok_and(|m| m.len() > MOST);
        if large && std::fs::File::open(path).is_ok_and(holds) || compressed(path).is_some_and(holds) {
            found.push(path.to_owned());
        } else if !large {
            plain.push(entry.into_path());
        }
    }
    // Few enough for a command line. Lines end in zeros, of which binary files have more than of line breaks.
    for some in plain.chunks(1000) {
        let output = grep("-lazF").arg("--").args(some).output().unwrap();
        found.extend(String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from));
    }
    found
}

/// What a compressed file holds.
fn compressed(path: &Path) -> Option<Box<dyn std::io::Read>> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut start = [0; 4];
    file.read_exact(&mut start).ok()?;
    let file = std::fs::File::open(path).ok()?;
    match start {
        [0x1f, 0x8b, ..] => Some(Box::new(flate2::read::MultiGzDecoder::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd] => Some(Box::new(zstd::Decoder::new(file).ok()?)),
        _ => None,
    }
}

fn holds(reader: impl std::io::Read) -> bool {
    let mut child = grep("-qazF").stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Damaged files and a grep that has found it end this early.
    let _ = std::io::copy(&mut reader.take(MOST), &mut stdin).and_then(|_| stdin.flush());
    drop(stdin);
    child.wait().unwrap().success()
}
