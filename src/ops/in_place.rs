//! `gimg resolve --in-place` and `--kustomize`: files keep their place, and name the images that were built, by digest.
//!
//! Everything is read, and every edit tried on what would be written, before anything is built; nothing is written
//! unless everything is published. Then each file is replaced as a whole, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::kube::{Draft, Image, Place, Wanted};
use crate::oci::{Digest, Reference};
use crate::ops::manifests::{Files, paths};
use crate::ops::resolve::publish;
use crate::ops::{Context, blocking};
use crate::report::{Edited, EditedFile, EditedImage, Published};
use crate::settings::{Destination, Settings};

/// `--set-image WHERE=PACKAGE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// A place in YAML, or the name of an entry of a kustomization.
    pub at: String,
    /// The program.
    pub package: String,
}

impl Wish {
    /// Reads the words of all `--set-image`.
    ///
    /// # Errors
    /// Words without `=`, or that name no package or a pattern; two for the same place.
    pub fn read(words: &[String]) -> Result<Vec<Wish>> {
        let mut wishes: Vec<Wish> = Vec::new();
        for word in words {
            let bad = |why: &str| {
                Error::new(Kind::Usage, format!("read --set-image {word}"), why)
                    .hint("write it as services.web.image=./cmd/app")
            };
            let (at, package) = word.rsplit_once('=').ok_or_else(|| bad("it has no ="))?;
            let package = package.strip_prefix("ko://").unwrap_or(package);
            match (at, package) {
                ("", _) => return Err(bad("nothing stands before the =")),
                (_, "") => return Err(bad("it names no package")),
                _ if package.contains("...") => return Err(bad("it must name one package, not a pattern")),
                _ if wishes.iter().any(|w| w.at == at) => return Err(bad("the same is named twice")),
                _ => wishes.push(Wish { at: at.to_owned(), package: package.to_owned() }),
            }
        }
        Ok(wishes)
    }
}

/// What is to be edited.
#[derive(Clone, Debug)]
pub enum Subjects {
    /// References in files, and places in them.
    Files(Files),
    /// The `images` of the kustomizations in directories.
    Kustomizations(Vec<String>),
}

/// A file to be edited.
struct Subject {
    path: PathBuf,
    name: String,
    bytes: Vec<u8>,
    draft: Draft,
}

/// Edits the files, and says what changed. With `--push=false` nothing is written.
///
/// # Errors
/// Whatever reading, building or publishing says; an edit that can't be made safely; a file that somebody else changed
/// meanwhile. Nothing is written then, but for files that came before one that can't be written.
pub async fn edit(cx: &Context, settings: &Settings, subjects: &Subjects, wishes: &[Wish]) -> Result<Edited> {
    check(settings)?;
    let (subjects, wishes) = (subjects.clone(), wishes.to_vec());
    let (subjects, warnings) = blocking(move || read(&subjects, &wishes)).await?;
    for warning in warnings {
        cx.observer.on(Event::Warning(warning));
    }
    rehearse(subjects.iter().map(|s| &s.draft))?;
    let mut settings = settings.clone();
    // By their real names, as git knows them.
    let named = subjects.iter().filter(|s| !s.draft.sites.is_empty());
    settings.edits = named.map(|s| crate::fs::same_file(&settings.cwd.join(&s.path))).collect();
    let wanted = wanted(subjects.iter().map(|s| (s.name.as_str(), &s.draft)));
    let (mut images, mut published) = (BTreeMap::new(), Vec::new());
    for (package, image) in publish(cx, &settings, wanted).await? {
        images.insert(package, by_digest(&image)?);
        if !published.iter().any(|p: &Published| p.reference == image.reference) {
            published.push(image);
        }
    }
    let mut files = Vec::new();
    for subject in &subjects {
        files.push(edited(subject, &images)?);
    }
    let written = !settings.destinations.iter().any(|d| matches!(d, Destination::Nowhere));
    if written {
        let stop = cx.stop.clone();
        let work: Vec<(PathBuf, Vec<u8>, String)> = subjects
            .into_iter()
            .zip(&files)
            .filter(|(_, file)| file.changed)
            .map(|(subject, file)| (subject.path, subject.bytes, file.after.clone()))
            .collect();
        blocking(move || write(&work, || stop.is_wanted())).await?;
    }
    if files.iter().all(|file| !file.changed) {
        cx.observer.on(Event::Note("nothing changes: the files name these images already".to_owned()));
    } else if !written {
        cx.observer.on(Event::Note("no file is written, as nothing is published".to_owned()));
    }
    Ok(Edited { files, written, images: published })
}

/// Reads files and finds the images that are wanted in them. It blocks.
fn read(subjects: &Subjects, wishes: &[Wish]) -> Result<(Vec<Subject>, Vec<String>)> {
    let mut warnings = Vec::new();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    match subjects {
        Subjects::Files(files) => {
            if files.names.iter().any(|name| name == "-") {
                let error = Error::new(Kind::Usage, "edit in place", "standard input (-) has no place");
                return Err(error.hint("leave out --in-place to write to standard output"));
            }
            if files.selector.as_ref().is_some_and(|s| !s.is_empty()) {
                let why = "--selector leaves objects out, and a file that is edited keeps all of them";
                return Err(Error::new(Kind::Usage, "edit in place", why));
            }
            for path in paths(files, &mut warnings)? {
                if seen.insert(crate::fs::same_file(&path)) {
                    let kustomizes = crate::fs::is_kustomization(&path);
                    found.push(subject(path, |name, bytes| {
                        let draft = Draft::read(name, bytes, true)?;
                        // There a reference in `images` is one of the entry, and the same goes for what it became.
                        if kustomizes && !(draft.sites.is_empty() && draft.remarks.is_empty()) {
                            return Draft::kustomization(name, bytes, &[]);
                        }
                        Ok(draft)
                    })?);
                }
            }
            want(found.iter_mut().map(|s| (s.name.as_str(), &mut s.draft)), wishes)?;
        }
        Subjects::Kustomizations(dirs) => {
            let wishes: Vec<(String, String)> =
                wishes.iter().map(|w| (w.at.clone(), w.package.clone())).collect();
            for dir in dirs {
                let path = crate::fs::kustomization(Path::new(dir))?;
                if seen.insert(crate::fs::same_file(&path)) {
                    let subject = subject(path, |name, bytes| Draft::kustomization(name, bytes, &wishes))?;
                    if subject.draft.sites.is_empty() {
                        let why = "no entry of images names a program";
                        return Err(Error::new(Kind::Input, "edit the kustomization", why).at(subject.name).hint(
                            "say which: --set-image NAME=./cmd/app, or write newName: ko://./cmd/app in the entry",
                        ));
                    }
                    found.push(subject);
                }
            }
        }
    }
    warnings.extend(found.iter().flat_map(|s| remarks(&s.name, &s.draft)));
    Ok((found, warnings))
}

/// What to warn about in a file.
pub(super) fn remarks(name: &str, draft: &Draft) -> Vec<String> {
    draft.remarks.iter().map(|r| format!("{} [{name}:{}:{}]", r.text, r.line, r.column)).collect()
}

fn subject(path: PathBuf, draft: impl Fn(&str, &[u8]) -> Result<Draft>) -> Result<Subject> {
    crate::fs::replaceable(&path)?;
    let bytes = crate::fs::read_manifest(&path)?;
    let name = path.display().to_string();
    let draft = draft(&name, &bytes)?;
    Ok(Subject { path, name, bytes, draft })
}

/// Puts each wish into the one file that has its place.
///
/// # Errors
/// A place that no file has, or several have.
pub(super) fn want<'a>(files: impl Iterator<Item = (&'a str, &'a mut Draft)>, wishes: &[Wish]) -> Result<()> {
    let mut files: Vec<_> = files.collect();
    for wish in wishes {
        let place: Place = wish.at.parse()?;
        let (mut there, mut instead): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
        for (name, draft) in &mut files {
            match draft.want(&place, &wish.package)? {
                Wanted::There => there.push(name),
                Wanted::Nowhere(what) if what.is_empty() => {}
                Wanted::Nowhere(what) => instead.push(format!("{name}: {what}")),
            }
        }
        let bad = |why: String| Error::new(Kind::Input, format!("look for {place}"), why);
        match there.as_slice() {
            [_] => {}
            [] if instead.is_empty() => return Err(bad("no file has it".to_owned())),
            [] => return Err(bad(format!("no file has it ({})", instead.join("; ")))),
            several => {
                let error = bad(format!("{} have it", several.join(" and ")));
                return Err(error.hint("name one of them with -f, and run gimg once for each"));
            }
        }
    }
    for (_, draft) in files {
        draft.sites.sort_by_key(|site| (site.line, site.column));
    }
    Ok(())
}

/// The programs that files want, each with its place for messages.
pub(super) fn wanted<'a>(
    files: impl Iterator<Item = (&'a str, &'a Draft)>,
) -> impl Iterator<Item = (String, String)> {
    let sites = files.flat_map(|(name, draft)| draft.sites.iter().map(move |site| (name, site)));
    sites.map(|(name, site)| (site.program.clone(), format!("{name}:{}:{}", site.line, site.column)))
}

/// Tries every edit with a name that is none, before anything is built.
///
/// # Errors
/// An edit that can't be made safely.
pub(super) fn rehearse<'a>(drafts: impl Iterator<Item = &'a Draft>) -> Result<()> {
    let (registry, path, digest) =
        ("registry.invalid".to_owned(), "a/b".to_owned(), Digest::of(b"").to_string());
    let reference = format!("{registry}/{path}@{digest}");
    let image = Image { reference, registry, path, digest, tag: "latest".to_owned() };
    for draft in drafts {
        let images = draft.sites.iter().map(|site| (site.program.clone(), image.clone())).collect();
        draft.with(&images)?;
    }
    Ok(())
}

/// What pins by digest needs one.
pub(super) fn check(settings: &Settings) -> Result<()> {
    if settings.tag_only {
        let why = "a file names images by digest, and --tag-only leaves it out";
        return Err(Error::new(Kind::Usage, "name images by digest", why));
    }
    Ok(())
}

/// A published image as files name it.
///
/// # Errors
/// An image without a digest in its name: what engines hold has none.
pub(super) fn by_digest(image: &Published) -> Result<Image> {
    let reference: Reference = image.reference.parse()?;
    let Some(digest) = reference.digest else {
        let why = format!("{} has no digest", image.reference);
        return Err(Error::new(Kind::Usage, "name the image in a file", why)
            .hint("push to a registry: what an engine holds has no name by digest"));
    };
    Ok(Image {
        reference: image.reference.clone(),
        registry: reference.repository.registry().to_string(),
        path: reference.repository.path().to_owned(),
        digest: digest.to_string(),
        tag: image.tags.first().cloned().unwrap_or_else(|| "latest".to_owned()),
    })
}

fn edited(subject: &Subject, images: &BTreeMap<String, Image>) -> Result<EditedFile> {
    if subject.draft.sites.is_empty() {
        let (before, after) = (String::new(), String::new());
        return Ok(EditedFile {
            file: subject.name.clone(),
            changed: false,
            images: Vec::new(),
            before,
            after,
        });
    }
    let after = subject.draft.with(images)?;
    let sites = subject.draft.sites.iter().map(|site| EditedImage {
        line: site.line,
        column: site.column,
        package: site.program.clone(),
        was: site.was.clone(),
        reference: images.get(&site.program).map(|i| i.reference.clone()).unwrap_or_default(),
    });
    let before = String::from_utf8_lossy(&subject.bytes).into_owned();
    Ok(EditedFile {
        file: subject.name.clone(),
        changed: before != after,
        images: sites.collect(),
        before,
        after,
    })
}

/// Replaces the files, if all of them are still what was read. It blocks.
fn write(work: &[(PathBuf, Vec<u8>, String)], is_stopped: impl Fn() -> bool) -> Result<()> {
    for (path, before, _) in work {
        if crate::fs::read_manifest(path)? != *before {
            let why = "somebody changed it while the images were built: nothing is written";
            return Err(Error::new(Kind::LocalIo, "edit in place", why)
                .at(path.display())
                .hint("run it again"));
        }
    }
    for (done, (path, _, after)) in work.iter().enumerate() {
        if is_stopped() {
            return Ok(());
        }
        crate::fs::rewrite(path, after.as_bytes()).map_err(|e| match done {
            0 => e,
            _ => e.within(format!("edit file {} of {}, those before are written", done + 1, work.len())),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_name_a_place_and_a_program() {
        let read = |words: &[&str]| Wish::read(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        let wishes = read(&["a.b=./cmd/app", "x=ko://example.com/x", "a=b=./c"]).unwrap();
        let pairs: Vec<_> = wishes.iter().map(|w| (w.at.as_str(), w.package.as_str())).collect();
        assert_eq!(pairs, [("a.b", "./cmd/app"), ("x", "example.com/x"), ("a=b", "./c")]);
        for (words, why) in [
            (&["a"][..], "no ="),
            (&["=./a"], "before the ="),
            (&["a="], "no package"),
            (&["a=ko://"], "no package"),
            (&["a=./..."], "not a pattern"),
            (&["a=./b", "a=./c"], "named twice"),
        ] {
            let error = read(words).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
