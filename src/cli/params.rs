//! Arguments in a file: `@FILE` stands for the lines of FILE, each an argument as it is. Bazel hands over long lists so
//! (`Args.use_param_file`, format "multiline").
#![expect(clippy::disallowed_methods, reason = "edge: the file that arguments are in")]

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;

use crate::error::{Error, Kind, Result};

/// How large such a file may be, in bytes.
const MAX: u64 = 16 << 20;

/// How an argument goes on after `@` that means an image by its digest.
const DIGEST: &str = "sha256:";

/// Puts the lines of files in place of the arguments that name them; what `@@` begins is an argument with one `@`, and
/// `@sha256:…` is one as it is. The first is the program, and what follows `--` is for somebody else. Lines name no further
/// files.
///
/// # Errors
/// A file that can't be read, or isn't text (kind `Usage`).
pub(super) fn expand(argv: impl Iterator<Item = OsString>) -> Result<Vec<OsString>> {
    let mut found = Vec::new();
    let mut is_ours = true;
    for (number, argument) in argv.enumerate() {
        is_ours &= argument != "--";
        let named = argument.to_str().filter(|_| is_ours && number > 0).and_then(|a| a.strip_prefix('@'));
        match named {
            None => found.push(argument),
            Some(literal) if literal.starts_with('@') => found.push(literal.into()),
            Some(digest) if digest.starts_with(DIGEST) => found.push(argument),
            Some(path) => found.extend(lines(&read(Path::new(path))?).map(OsString::from)),
        }
    }
    Ok(found)
}

/// The lines of a text: the last may end in a line feed or not.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let text = text.strip_suffix('\n').map(Some).unwrap_or((!text.is_empty()).then_some(text));
    text.into_iter().flat_map(|text| text.split('\n'))
}

fn read(path: &Path) -> Result<String> {
    let bad = |why: &dyn std::fmt::Display| {
        Error::new(Kind::Usage, "read the arguments", why)
            .at(path.display())
            .hint("@FILE stands for the lines of FILE, and @@ for an argument that begins with @")
    };
    // A pipe would make us wait for its writer: look before opening.
    let metadata = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => bad(&"no such file"),
        _ => bad(&e),
    })?;
    if !metadata.is_file() {
        return Err(bad(&"it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| bad(&e))?;
    file.take(MAX + 1).read_to_end(&mut bytes).map_err(|e| bad(&e))?;
    if bytes.len() as u64 > MAX {
        return Err(bad(&"it has more than 16 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| bad(&"it isn't UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(argv: &[&str]) -> Result<Vec<String>> {
        let found = expand(argv.iter().map(OsString::from))?;
        Ok(found.into_iter().map(|a| a.into_string().unwrap()).collect())
    }

    #[test]
    fn an_image_by_its_digest_is_no_file() {
        let argv = ["gimg", "rollback", "a/b", "--to", "@sha256:12"];
        assert_eq!(expanded(&argv).unwrap(), argv);
    }

    #[test]
    fn a_file_stands_for_its_lines() {
        let dir = tempfile::tempdir().unwrap();
        let file = |text: &str| {
            std::fs::write(dir.path().join("p"), text).unwrap();
            format!("@{}", dir.path().join("p").display())
        };
        for (text, lines) in [
            ("", &[][..]),
            ("\n", &[""]),
            ("a b\n\n@c\n--\n@@d", &["a b", "", "@c", "--", "@@d"]),
            ("--label\nx=\"y\"\n", &["--label", "x=\"y\""]),
        ] {
            let argument = file(text);
            let found = expanded(&["gimg", "pack", &argument, "@@e"]).unwrap();
            let expected: Vec<&str> = ["gimg", "pack"].iter().chain(lines).chain(&["@e"]).copied().collect();
            assert_eq!(found, expected, "{text:?}");
        }
        let argument = file("x\n");
        assert_eq!(
            expanded(&[&argument, "run", "--", &argument]).unwrap(),
            [&argument, "run", "--", &argument]
        );
    }

    #[test]
    fn what_is_no_text_file_is_a_usage_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        std::fs::write(&path, [0xff, b'\n']).unwrap();
        let large = dir.path().join("large");
        std::fs::File::create(&large).unwrap().set_len(MAX + 1).unwrap();
        for (path, why) in [
            (&path, "isn't UTF-8 text"),
            (&large, "more than 16 MiB"),
            (&dir.path().join("none"), "no such file"),
            (&dir.path().to_owned(), "not a regular file"),
        ] {
            let error = expanded(&["gimg", &format!("@{}", path.display())]).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
