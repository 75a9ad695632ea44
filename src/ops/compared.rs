//! Two images for one platform, or two programs, compared: by their documents first, then by the layers that only one of
//! them has, then by what Go recorded in programs, and by their code where nothing else tells. No layer of a base is read,
//! nor one that both have.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::binary::{self, BuildInfo, Format};
use crate::content::Content;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::explain::documents::{self, Documents, Pair, Standing};
use crate::explain::program::Inputs;
use crate::explain::recipe::{self, Recorded};
use crate::explain::{Cause, Change, Explanation, Sort, Subject, files as changed, in_order, program};
use crate::image::diff::{self, Difference, Side};
use crate::oci::{Descriptor, Digest, ImageConfig, Platform, annotation, document, json};
use crate::ops::home::Home;
use crate::ops::opened::{Opened, plain};
use crate::ops::{Context, blocking, contained};
use crate::store::Scratch;
use crate::target;

/// The largest program whose code is compared, in bytes.
const MAX_PROGRAM: u64 = 1 << 30;

/// A program's file, of which there may be no record.
struct Program {
    info: Option<BuildInfo>,
    digest: Digest,
    file: PathBuf,
}

/// Why two programs' files differ.
///
/// # Errors
/// A file that can't be read, or isn't a program (kind `Input`).
pub(super) async fn files(cx: &Context, was: &Path, now: &Path) -> Result<Explanation> {
    let ((old, was), (new, now)) = tokio::try_join!(file(cx, was), file(cx, now))?;
    let same = was.digest == now.digest;
    let mut causes = Vec::new();
    if !same {
        causes = programs("", (old, new), Known::Nothing).await?;
        for cause in &mut causes {
            cause.changes.retain(|change| !change.is_empty());
        }
    }
    Ok(Explanation { subjects: [was, now], same, causes: in_order(causes) })
}

async fn file(cx: &Context, path: &Path) -> Result<(Program, Subject)> {
    let (scratch, path) = (Arc::clone(&cx.scratch), path.to_owned());
    blocking(move || {
        let (file, _) = scratch.copy_of(&path)?;
        let io = |e: std::io::Error| Error::io("read the binary", &path, &e);
        let (digest, _) = Digest::of_reader(crate::fs::open(&file).map_err(io)?).map_err(io)?;
        let header = binary::inspect(crate::fs::open_to_seek(&file).map_err(io)?);
        let header = header.map_err(|e| e.at(path.display()))?;
        if header.format == Format::Unknown {
            let why = format!("it is {}", header.describe());
            return Err(Error::new(Kind::Input, "read the binary", why).at(path.display()));
        }
        let name = path.display().to_string();
        Ok((Program { info: header.build_info, digest, file }, Subject { name, digest }))
    })
    .await
}

/// Why two programs differ: what Go recorded, or else their code. `path` is where the program is in its image.
async fn programs(path: &str, (was, now): (Program, Program), known: Known<'_>) -> Result<Vec<Cause>> {
    // One that only has another name.
    if was.digest == now.digest {
        return Ok(Vec::new());
    }
    let mut causes = match (&was.info, &now.info) {
        (Some(old), Some(new)) => program::recorded(old, new),
        _ => Vec::new(),
    };
    if let Known::Both(old, new, platform) = known {
        let mut inputs = recipe::inputs(old, new, platform);
        // What Go recorded too is told by that.
        let infos = [&was.info, &now.info];
        let is_recorded = |name: &str| infos.into_iter().flatten().any(|info| info.setting(name).is_some());
        inputs.retain(|input| !is_recorded(&input.name) && !causes.iter().any(|cause| cause.is_about(input)));
        causes.extend(inputs);
        if causes.is_empty() {
            causes = recipe::sources(old, new);
        }
    }
    if !causes.is_empty() {
        return Ok(causes.into_iter().map(|cause| cause.changing(path)).collect());
    }
    let inputs = known.inputs();
    let path = path.to_owned();
    blocking(move || {
        let read = |file: &Path| {
            crate::fs::read_small(file, MAX_PROGRAM).map_err(|e| Error::io("read the binary", file, &e))
        };
        let (old, new) = (read(&was.file)?, read(&now.file)?);
        let comparison = binary::diff::compare(&old, &new);
        let first = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
        Ok(program::code(&path, now.info.as_ref(), comparison.as_ref(), first, inputs))
    })
    .await
}

/// What is known of two images' making besides what is in them.
#[derive(Clone, Copy)]
pub(super) enum Known<'a> {
    /// Nothing, or not of both.
    Nothing,
    /// What provenance says of both, and the platform.
    Both(&'a Recorded, &'a Recorded, &'a Platform),
}

impl Known<'_> {
    fn inputs(self) -> Inputs {
        match self {
            Known::Nothing => Inputs::Unknown,
            Known::Both(was, now, _) if was.has_secrets() || now.has_secrets() => Inputs::Unknown,
            Known::Both(was, now, _) if recipe::is_same_source(was, now) => Inputs::EqualWithSource,
            Known::Both(..) => Inputs::Equal,
        }
    }
}

/// Why the images of one platform differ; they do.
///
/// # Errors
/// A layer that can't be read, or isn't what its digest says.
pub(super) async fn images(
    cx: &Context,
    was: &Opened,
    now: &Opened,
    recorded: Option<(&Recorded, &Recorded)>,
) -> Result<Vec<Cause>> {
    let known = recorded.map_or(Known::Nothing, |(old, new)| Known::Both(old, new, &now.platform));
    let (old, new) = bases(cx, was, now).await;
    let old = Documents { manifest: &was.manifest, config: &was.config, base: old.as_ref() };
    let new = Documents { manifest: &now.manifest, config: &now.config, base: new.as_ref() };
    let told = documents::told(&old, &new);
    let mut causes = told.causes;
    let mut found = Found::default();
    for pair in told.pairs {
        causes.extend(layers(cx, (was, now), pair, &mut found).await?);
    }
    let mut renamed = Vec::new();
    for Twins { paths, was, now } in found.twins((was, now)) {
        causes.extend(programs(&paths.1, (was, now), known).await?);
        renamed.extend(Some(paths).filter(|(was, now)| was != now));
    }
    if let Some(said) = recorded.and_then(|(old, new)| recipe::compression(old, new)) {
        let shown = causes.iter_mut().filter(|cause| cause.sort == Sort::Compression);
        shown
            .for_each(|cause| *cause = Cause { changes: std::mem::take(&mut cause.changes), ..said.clone() });
    }
    changed::settle(&mut causes, &renamed);
    if causes.is_empty() {
        causes.push(documents::form(&old, &new));
    }
    Ok(causes)
}

/// The programs in layers that are compared, by name.
#[derive(Default)]
struct Found {
    was: BTreeMap<String, Program>,
    now: BTreeMap<String, Program>,
}

/// Two programs that are to be compared, and their paths.
struct Twins {
    paths: (String, String),
    was: Program,
    now: Program,
}

impl Found {
    /// Which programs are to be compared: those of one path, and one that came in the place of one that went: the same
    /// program, one of the same package, or the one that runs.
    fn twins(mut self, run: (&Opened, &Opened)) -> Vec<Twins> {
        let mut twins = Vec::new();
        let runs = |image: &Opened, name: &str| {
            image
                .config
                .config
                .entrypoint
                .last()
                .is_some_and(|program| program.strip_prefix('/') == Some(name))
        };
        for (name, was) in self.was {
            let is_twin = |(other, now): &(&String, &Program)| {
                let package = |program: &Program| program.info.as_ref().map(|info| info.path.clone());
                was.digest == now.digest
                    || package(&was).is_some_and(|path| package(now) == Some(path))
                    || runs(run.0, &name) && runs(run.1, other)
            };
            let same = self.now.contains_key(&name).then(|| name.clone());
            let Some(other) = same.or_else(|| self.now.iter().find(is_twin).map(|(other, _)| other.clone()))
            else {
                continue;
            };
            if let Some(now) = self.now.remove(&other) {
                let paths = (format!("/{name}"), format!("/{other}"));
                twins.push(Twins { paths, was, now });
            }
        }
        twins
    }
}

/// Compares two layers, or says what one has that has no other.
async fn layers(
    cx: &Context,
    images: (&Opened, &Opened),
    pair: Pair,
    found: &mut Found,
) -> Result<Vec<Cause>> {
    let (was, now) = tokio::try_join!(fetched(cx, images.0, pair.0), fetched(cx, images.1, pair.1))?;
    let elsewhere = |layer: &Option<Layer>| match layer {
        Some(Layer { file: None, digest }) => Some(*digest),
        _ => None,
    };
    if let Some(digest) = elsewhere(&was).or(elsewhere(&now)) {
        let cause = Cause::new(Sort::Form, format!("layer {digest}"), Change::Changed);
        return Ok(vec![cause.note("it is kept elsewhere and isn't compared")]);
    }
    let file = |layer: Option<Layer>| layer.and_then(|layer| layer.file);
    let (was, now) = (file(was), file(now));
    let scratch = Arc::clone(&cx.scratch);
    let (differences, seen) = blocking(move || {
        let compared = compare(&scratch, was.as_deref(), now.as_deref());
        was.iter().chain(&now).for_each(|file| scratch.remove(file));
        compared
    })
    .await
    .map_err(|e| if e.kind() == Kind::Base { e.as_kind(Kind::Input) } else { e })?;
    let is_program = |name: &str| seen.was.contains_key(name) || seen.now.contains_key(name);
    let mut causes = changed::told(&differences, &is_program);
    if differences.is_empty() {
        let number = pair.1.or(pair.0).map_or(0, |n| n + 1);
        let cause = Cause::new(Sort::Form, format!("layer {number}"), Change::Changed);
        causes.push(cause.note("the same files in another order, or with other headers"));
    }
    found.was.extend(seen.was);
    found.now.extend(seen.now);
    Ok(causes)
}

/// A layer on this machine; without a file if it is kept elsewhere.
struct Layer {
    digest: Digest,
    file: Option<PathBuf>,
}

/// A layer of an image, fetched and verified.
async fn fetched(cx: &Context, image: &Opened, number: Option<usize>) -> Result<Option<Layer>> {
    let Some(descriptor) = number.and_then(|number| image.manifest.layers.get(number)) else {
        return Ok(None);
    };
    let digest = descriptor.digest;
    let Some(blob) = image.layers.iter().find(|blob| blob.descriptor.digest == digest) else {
        return Ok(Some(Layer { digest, file: None }));
    };
    cx.observer.on(Event::Detail(format!("reading layer {digest} of {}", image.name)));
    let path = cx.scratch.vacant();
    let saved = target::save(blob, &*cx.origin(), &path).await;
    saved.map_err(|e| e.within(format!("read layer {digest} of {}", image.name)))?;
    Ok(Some(Layer { digest, file: Some(path) }))
}

/// Compares two layers' tars, and takes out the programs whose bytes differ.
fn compare(scratch: &Scratch, was: Option<&Path>, now: Option<&Path>) -> Result<(Vec<Difference>, Found)> {
    let mut found = Found::default();
    let mut look = |side: Side, name: &str, content: &diff::Content, bytes: &mut dyn Read| {
        if binary::begins_as_program(content.start())
            && let Some(program) = contained::take(name, bytes, scratch)?
        {
            let programs = if side == Side::Was { &mut found.was } else { &mut found.now };
            let (info, digest) = (program.header.build_info, content.digest);
            programs.insert(name.to_owned(), Program { info, digest, file: program.file });
        }
        Ok(())
    };
    let old = was.map(|path| move || plain(path));
    let new = now.map(|path| move || plain(path));
    let differences = diff::differences(
        old.as_ref().map(|open| open as &dyn Fn() -> Result<Box<dyn Read>>),
        new.as_ref().map(|open| open as &dyn Fn() -> Result<Box<dyn Read>>),
        &mut look,
    )?;
    Ok((differences, found))
}

/// What two images stand on, where that is known and matters: the built-in base, nothing, or a base in a registry, whose
/// documents alone are read.
async fn bases(cx: &Context, was: &Opened, now: &Opened) -> (Option<Standing>, Option<Standing>) {
    let old = Documents { manifest: &was.manifest, config: &was.config, base: None };
    let new = Documents { manifest: &now.manifest, config: &now.config, base: None };
    let is_known = |image: &Documents<'_>| image.base_layers().is_some();
    if is_known(&old) && is_known(&new) && !documents::stand_apart(&old, &new) {
        return (None, None);
    }
    tokio::join!(standing(cx, was, &old), standing(cx, now, &new))
}

/// What an image stands on, as far as it says that itself, or its base's documents do.
pub(super) async fn standing(cx: &Context, image: &Opened, documents: &Documents<'_>) -> Option<Standing> {
    if image.base().is_none() {
        let layers = documents.base_layers()?;
        if layers == 0 {
            return Some(Standing::default());
        }
        documents.built_in()?;
        let config = crate::base::config(&image.platform, *image.config.rootfs.diff_ids.first()?);
        return Some(Standing { config, layers, ..Standing::default() });
    }
    // Who looks at files alone doesn't expect requests.
    let is_remote = image.layers.iter().any(|layer| matches!(layer.content, Content::Remote(_)));
    if !is_remote {
        return None;
    }
    match base(cx, image).await {
        Ok(base) => base,
        Err(error) => {
            cx.observer.on(Event::Detail(format!("the base of {} is unknown: {error}", image.name)));
            None
        }
    }
}

/// The documents of an image's base, in its registry; none if the image doesn't begin with its layers.
async fn base(cx: &Context, image: &Opened) -> Result<Option<Standing>> {
    let Some((mut reference, digest)) = image.base() else { return Ok(None) };
    reference.digest = Some(digest);
    let (mut descriptor, mut bytes) = cx.origin().resolve(&reference).await?;
    let home = Home::Registry(cx.origin(), reference.repository.clone());
    if descriptor.media_type.is_index() {
        let index = document::index(&bytes, &descriptor.media_type)?;
        let images: Vec<Descriptor> = index.manifests.into_iter().filter(|d| d.platform.is_some()).collect();
        let at = image.platform.best_of(images.iter().filter_map(|d| d.platform.as_ref()));
        let Some(found) = at.and_then(|at| images.into_iter().nth(at)) else { return Ok(None) };
        bytes = home.document(&found).await?;
        descriptor = found;
    }
    let manifest = document::manifest(&bytes, &descriptor.media_type)?;
    let own = image.manifest.layers.iter().map(|l| l.digest);
    let is_below = manifest.layers.iter().map(|l| l.digest).eq(own.take(manifest.layers.len()));
    if !is_below {
        return Ok(None);
    }
    let config: ImageConfig = json::from_bytes(&home.document(&manifest.config).await?, "its config")?;
    let mut annotations = manifest.annotations;
    annotations.retain(|key, _| ![annotation::BASE_NAME, annotation::BASE_DIGEST].contains(&key.as_str()));
    Ok(Some(Standing { config, annotations, layers: manifest.layers.len() }))
}
