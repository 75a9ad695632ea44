//! What the user decided about `gimg layer`: what goes into one layer, and where its files are. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::image::Compression;
use crate::settings::env::{self, Env};
use crate::settings::pack::{self, Prebuilt};
use crate::settings::program::{self, Files, Place};
use crate::settings::{config, pairs};

/// Everything the user decided about a layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The program, if one goes in.
    pub program: Option<Prebuilt>,
    /// Where it lies.
    pub place: Place,
    /// Files that go in.
    pub files: Vec<Files>,
    /// The directory that links in them must stay below, if the user named one.
    pub root: Option<PathBuf>,
    /// The layer's file; absolute.
    pub out: PathBuf,
    /// The file that says what it is; absolute.
    pub metadata: Option<PathBuf>,
    /// How it is compressed.
    pub compression: Compression,
    /// Annotations of its descriptor.
    pub annotations: BTreeMap<String, String>,
    /// Seconds since 1970 when its history says that it was made.
    pub epoch: Option<u64>,
    /// How many threads compress.
    pub jobs: usize,
}

/// What the command line said.
#[derive(Clone, Debug, Default)]
pub struct LayerWords {
    /// `--binary`.
    pub binary: Option<String>,
    /// `--program`.
    pub program: Option<String>,
    /// `--file`.
    pub files: Vec<String>,
    /// `--out`.
    pub out: PathBuf,
    /// `--metadata`.
    pub metadata: Option<PathBuf>,
    /// `--compression`.
    pub compression: Option<String>,
    /// `--layer-annotation`.
    pub annotations: Vec<String>,
}

/// What names of layers say about compression.
const ENDINGS: &[(&str, &str)] =
    &[(".tar.gz", "gzip"), (".tgz", "gzip"), (".tar.zst", "zstd"), (".tzst", "zstd"), (".tar", "none")];

/// Reads the words of a user in `cwd`.
///
/// # Errors
/// A word that can't be read; nothing to put in; a name that says another compression than the user.
pub fn resolve(words: LayerWords, env: &Env, cwd: &Path, cores: usize) -> Result<Layer> {
    let usage = |e: Error| e.as_kind(Kind::Usage);
    let program = match &words.binary {
        Some(word) => {
            let (platform, path) = pack::binary(word)?;
            Some(Prebuilt { platform, path: cwd.join(path) })
        }
        None => None,
    };
    let place = match &words.program {
        Some(text) => program::place(text, "--program").map_err(usage)?,
        None => Place::default(),
    };
    let mut files = Vec::new();
    for word in &words.files {
        files.extend(program::files(&[file(word)?], "--file", cwd).map_err(usage)?);
    }
    if program.is_none() && files.is_empty() {
        return Err(Error::new(Kind::Usage, "make a layer", "nothing goes into it")
            .hint("name a program with --binary, or files with --file"));
    }
    let compression = compression(words.compression.as_deref(), &words.out)?;
    Ok(Layer {
        program,
        place,
        files,
        root: env.first(&[env::KO_DATA_PATH_ALLOWED_ROOT]).map(|root| cwd.join(root)),
        out: cwd.join(words.out),
        metadata: words.metadata.map(|path| cwd.join(path)),
        compression,
        annotations: pairs("--layer-annotation", &words.annotations)?,
        epoch: env.epoch(env::SOURCE_DATE_EPOCH)?,
        jobs: cores,
    })
}

/// `FILE=/PATH`. A file's name may have a `=` in it, but none before a slash.
fn file(word: &str) -> Result<config::Files> {
    let pair = word.find("=/").filter(|at| *at > 0).map(|at| (&word[..at], &word[at + 1..]));
    let (from, to) = pair.ok_or_else(|| {
        Error::new(Kind::Usage, "read --file", format!("\"{word}\" isn't FILE=/PATH"))
            .hint("it takes a file or directory, and where it goes: static=/srv/static")
    })?;
    Ok(config::Files { from: from.to_owned(), to: to.to_owned(), mode: None, owner: None })
}

/// The compression that is asked for, else the one that the name says.
fn compression(word: Option<&str>, out: &Path) -> Result<Compression> {
    let name = out.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let said = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, method)| *method);
    let Some(word) = word else {
        let method = said.ok_or_else(|| {
            let why = format!("\"{name}\" doesn't say how it is compressed");
            Error::new(Kind::Usage, "read --out", why)
                .hint("end it in .tar.gz, .tar.zst or .tar, or say --compression")
        })?;
        return method.parse();
    };
    let compression: Compression = word.parse()?;
    let method = word.split(':').next().unwrap_or(word);
    if let Some(said) = said.filter(|said| *said != method) {
        let why = format!("the layer is to be called {name}, which says {said}");
        return Err(Error::new(Kind::Usage, format!("read --compression {word}"), why));
    }
    Ok(compression)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(binary: Option<&str>, files: &[&str], out: &str, compression: Option<&str>) -> Result<Layer> {
        let words = LayerWords {
            binary: binary.map(str::to_owned),
            files: files.iter().map(|f| (*f).to_owned()).collect(),
            out: out.into(),
            metadata: Some("m.json".into()),
            compression: compression.map(str::to_owned),
            ..LayerWords::default()
        };
        resolve(words, &Env::default(), Path::new("/w"), 2)
    }

    #[test]
    fn names_say_how_layers_are_compressed() {
        for (out, word, method) in [
            ("a.tar.gz", None, "gzip:2"),
            ("d/a.tgz", None, "gzip:2"),
            ("a.tar.zst", None, "zstd:3"),
            ("a.tzst", Some("zstd:7"), "zstd:7"),
            ("a.tar", None, "none"),
            ("a.tar.gz", Some("gzip:9"), "gzip:9"),
            ("blob", Some("none"), "none"),
        ] {
            let layer = settle(Some("linux/amd64=x"), &[], out, word).unwrap();
            assert_eq!(layer.compression.to_string(), method, "{out}");
            assert_eq!(layer.out, Path::new("/w").join(out));
        }
    }

    #[test]
    fn files_go_to_absolute_paths() {
        let layer = settle(None, &["a=b=/c/", "/abs=/d", "x=/e=/f"], "o.tar", None).unwrap();
        let found: Vec<_> = layer
            .files
            .iter()
            .map(|f| (f.from.to_str(), f.destination.to.as_str(), f.destination.file_name.as_deref()))
            .collect();
        let expected =
            [(Some("/w/a=b"), "c", Some("a=b")), (Some("/abs"), "d", None), (Some("/w/x"), "e=/f", None)];
        assert_eq!(found, expected);
    }

    #[test]
    fn bad_words_say_what_is_bad() {
        for (binary, files, out, compression, words) in [
            (None, &[][..], "o.tar", None, "nothing goes into it"),
            (Some("app"), &[], "o.tar", None, "isn't PLATFORM=FILE"),
            (None, &["a"], "o.tar", None, "\"a\" isn't FILE=/PATH"),
            (None, &["=/a"], "o.tar", None, "isn't FILE=/PATH"),
            (None, &["a=b"], "o.tar", None, "isn't FILE=/PATH"),
            (None, &["a=/b/../c"], "o.tar", None, "has . or .. in it"),
            (None, &["a=/b"], "o", None, "doesn't say how it is compressed"),
            (None, &["a=/b"], "o.tar", Some("gzip"), "which says none"),
            (None, &["a=/b"], "o.tar", Some("brotli"), "invalid compression"),
        ] {
            let error = settle(binary, files, out, compression).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.kind(), Kind::Usage, "{error}");
        }
    }
}
