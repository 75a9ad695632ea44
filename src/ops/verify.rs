//! `gimg verify`: an image is made again by the recipe that is attached to it, and compared byte for byte.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use crate::attest::{BUILD_TYPE, Statement};
use crate::binary;
use crate::content::{Blob, Content, ImageName, Source as _};
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::image::assemble::Image;
use crate::image::diff::{self, Difference};
use crate::oci::{Descriptor, Digest, ImageManifest, Platform, Reference, Repository, Tag, document};
use crate::ops::checkout::{self, Checkout};
use crate::ops::home::Home;
use crate::ops::opened::plain;
use crate::ops::rebuild::{self, Rebuilt};
use crate::ops::{Context, blocking, proofs, signatures};
use crate::plan;
use crate::plan::recipe::Recipe;
use crate::report::Verified;
use crate::target;

/// How many layers are read at a time.
const AT_ONCE: usize = 4;
/// How many records of one image are tried.
const MAX_TRIED: usize = 3;

/// What the user wants to know.
#[derive(Clone, Debug)]
pub struct Verify {
    /// The image.
    pub image: Reference,
    /// The file of a public key that must have signed it, and how it was built.
    pub key: Option<PathBuf>,
    /// Where the sources are: a directory, or the URL of a repository.
    pub source: Option<String>,
    /// Where the user is.
    pub cwd: PathBuf,
    /// The go command.
    pub go: PathBuf,
}

/// An image of a registry, read.
struct Published {
    name: String,
    repository: Repository,
    root: Descriptor,
    bytes: Vec<u8>,
    images: Vec<PublishedImage>,
}

/// The image for one platform.
struct PublishedImage {
    bytes: Vec<u8>,
    manifest: ImageManifest,
    config: Vec<u8>,
}

/// Makes the image again and compares.
///
/// # Errors
/// A difference, of which the first is named, or what can't be made again (kind `Integrity`); no signature (kind
/// `Attestation`); as a build.
pub async fn verify(cx: &Context, asked: &Verify) -> Result<Verified> {
    let (published, statements) = read(cx, asked).await?;
    let within = |e: Error| e.within(format!("verify {}", published.name));
    whole(cx, &published).await.map_err(broken).map_err(within)?;
    let mut first = None;
    for statement in statements.iter().take(MAX_TRIED) {
        match attempt(cx, asked, &published, statement).await {
            Ok(verified) => return Ok(verified),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    let none = || Error::new(Kind::Internal, "verify", "there was no record");
    Err(within(first.unwrap_or_else(none)))
}

/// A shell script that builds the programs of the image without gimg, and compares their digests.
///
/// # Errors
/// As [`verify`], before anything is made.
pub async fn script(cx: &Context, asked: &Verify) -> Result<String> {
    let (published, statements) = read(cx, asked).await?;
    let within = |e: Error| e.within(format!("read the recipe of {}", published.name));
    let none = || Error::new(Kind::Internal, "read its provenance", "there is none");
    let statement = statements.first().ok_or_else(none)?;
    let recipe = recipe(statement).map_err(within)?;
    // Where that is decides the script, which knows only its own directories.
    let root = Path::new("/");
    let name = ImageName { program: String::new(), repository: None };
    let plan = recipe.plan((root, root), name, Tag::latest()).map_err(within)?;
    rebuild::check(&recipe.settings(root).map_err(within)?, &plan).map_err(within)?;
    Ok(plan::script::script(&published.name, &recipe, &plan.groups, &digests(&recipe, &statement.predicate)))
}

/// The digests of the programs, as the record has them: platform, package, digest.
fn digests(recipe: &Recipe, predicate: &Value) -> Vec<(String, String, Digest)> {
    let byproducts = predicate["runDetails"]["byproducts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut found = Vec::new();
    for platform in recipe.platforms.iter().map(|p| &p.platform) {
        let start = format!("{platform} program ");
        let of_platform =
            byproducts.iter().filter(|b| b["name"].as_str().is_some_and(|n| n.starts_with(&start)));
        for (program, byproduct) in recipe.programs.iter().zip(of_platform) {
            let hex = byproduct["digest"]["sha256"].as_str().unwrap_or_default();
            if let Ok(digest) = format!("sha256:{hex}").parse() {
                found.push((platform.clone(), program.package.clone(), digest));
            }
        }
    }
    found
}

/// The image, and what counts of what is said about how it was built.
async fn read(cx: &Context, asked: &Verify) -> Result<(Published, Vec<Statement>)> {
    let repository = &asked.image.repository;
    let key = match &asked.key {
        Some(path) => Some(signatures::public_key(path).await?),
        None => None,
    };
    let within = |e: Error| e.within(format!("verify {}", asked.image));
    let published = published(cx, &asked.image).await.map_err(within)?;
    if let Some(key) = &key {
        signatures::require(cx, repository, &published.root, key).await?;
    }
    let statements = proofs::provenance(cx, repository, &published.root, key.as_ref()).await;
    Ok((published, statements.map_err(within)?))
}

async fn attempt(
    cx: &Context,
    asked: &Verify,
    published: &Published,
    statement: &Statement,
) -> Result<Verified> {
    let recipe = recipe(statement)?;
    // Before anything is made: who wrote it may want much of it.
    if recipe.platforms.len() != published.images.len() {
        let (theirs, ours) = (published.images.len(), recipe.platforms.len());
        let why = format!("it has images for {theirs} platforms, its recipe makes {ours}");
        return Err(Wrong::new(why).error(None));
    }
    let places = (asked.cwd.as_path(), asked.go.as_path());
    let Checkout { root, go, from } = checkout::sources(cx, &recipe, asked.source.as_deref(), places).await?;
    cx.observer.on(Event::Note(format!("building from {from}, with {}", recipe.go.version)));
    let rebuilt = rebuild::rebuild(cx, &recipe, (&root, &go), &asked.go).await?;
    compare(cx, published, &rebuilt).await?;
    said(cx, &statement.whole, &rebuilt.statement)?;
    Ok(Verified {
        reference: format!("{}@{}", published.repository, published.root.digest),
        digest: published.root.digest,
        platforms: recipe.platforms.iter().map(|p| p.platform.clone()).collect(),
        source: from,
        go: recipe.go.version,
        signed: asked.key.is_some(),
    })
}

/// The recipe in a statement.
fn recipe(statement: &Statement) -> Result<Recipe> {
    let wrong = |why: String| Error::new(Kind::Integrity, "read its provenance", why);
    let build = &statement.predicate["buildDefinition"];
    if build["buildType"] != BUILD_TYPE {
        return Err(wrong(format!("it was built by something else: {}", build["buildType"])));
    }
    serde_json::from_value(build["externalParameters"].clone()).map_err(|e| wrong(e.to_string()))
}

/// Reads the documents of an image, from the registry and nowhere else.
async fn published(cx: &Context, reference: &Reference) -> Result<Published> {
    let repository = reference.repository.clone();
    let (root, bytes) = cx.registry.resolve(reference).await?;
    let home = Home::itself(cx, &repository);
    let mut images = Vec::new();
    let children = match root.media_type.is_index() {
        true => document::index(&bytes, &root.media_type).map_err(broken)?.manifests,
        false => Vec::new(),
    };
    for child in children.iter().filter(|d| !d.is_attestation()) {
        let bytes = home.document(child).await.map_err(broken)?.to_vec();
        images.push(image(&home, child, bytes).await?);
    }
    if !root.media_type.is_index() {
        images.push(image(&home, &root, bytes.to_vec()).await?);
    }
    let name = format!("{repository}@{}", root.digest);
    Ok(Published { name, repository, root, bytes: bytes.to_vec(), images })
}

async fn image(home: &Home, descriptor: &Descriptor, bytes: Vec<u8>) -> Result<PublishedImage> {
    let manifest = document::manifest(&bytes, &descriptor.media_type).map_err(broken)?;
    let config = home.document(&manifest.config).await.map_err(broken)?.to_vec();
    Ok(PublishedImage { bytes, manifest, config })
}

/// What isn't there, or can't be understood, isn't what the sources give.
fn broken(error: Error) -> Error {
    match error.kind() {
        Kind::Input | Kind::Refused => error.as_kind(Kind::Integrity),
        _ => error,
    }
}

/// Reads every layer: each must be there, and be what its digest says.
async fn whole(cx: &Context, published: &Published) -> Result<()> {
    let layers = published.images.iter().flat_map(|image| &image.manifest.layers);
    let mut layers: Vec<&Descriptor> = layers.filter(|d| !d.media_type.is_foreign()).collect();
    layers.sort_by_key(|layer| layer.digest);
    layers.dedup_by_key(|layer| layer.digest);
    let reads = layers.into_iter().map(|layer| async move {
        let mut stream = cx.registry.fetch(&published.repository, layer).await?;
        while let Some(piece) = stream.next().await {
            piece?;
        }
        Ok::<_, Error>(())
    });
    stream::iter(reads).buffer_unordered(AT_ONCE).try_collect().await
}

/// Something that isn't what was made.
struct Wrong {
    why: String,
    /// The first byte that differs, counted from 0, and of what.
    at: Option<(u64, String)>,
}

impl Wrong {
    fn new(why: String) -> Self {
        Wrong { why, at: None }
    }

    fn error(self, platform: Option<&Platform>) -> Error {
        let what = match platform {
            Some(platform) => format!("compare the image for {platform}"),
            None => "compare".to_owned(),
        };
        let error = Error::new(Kind::Integrity, what, self.why);
        match self.at {
            Some((byte, of)) => error.at(format!("byte {byte} of {of}")),
            None => error,
        }
    }
}

/// Compares what is published with what was made: programs and layers, configs, manifests, the index.
async fn compare(cx: &Context, published: &Published, rebuilt: &Rebuilt) -> Result<()> {
    let ours = &rebuilt.image;
    for ((theirs, ours), inherited) in published.images.iter().zip(&ours.images).zip(&rebuilt.inherited) {
        let platform = ours.manifest.descriptor.platform.as_ref();
        let mut wrong = layers(cx, published, theirs, ours, *inherited).await?;
        for (what, theirs, ours) in
            [("the config", &theirs.config, &ours.config), ("the manifest", &theirs.bytes, &ours.manifest)]
        {
            wrong = match wrong {
                None => document(what, theirs, ours)?,
                wrong => wrong,
            };
        }
        if let Some(wrong) = wrong {
            return Err(wrong.error(platform));
        }
    }
    match document("the index", &published.bytes, &ours.graph.root)? {
        Some(wrong) => Err(wrong.error(None)),
        None => Ok(()),
    }
}

/// Compares the layers of an image.
async fn layers(
    cx: &Context,
    published: &Published,
    theirs: &PublishedImage,
    ours: &Image,
    inherited: usize,
) -> Result<Option<Wrong>> {
    let pairs = theirs.manifest.layers.iter().zip(&ours.layers).enumerate();
    for (number, (layer, own)) in pairs {
        if layer.digest == own.descriptor.digest {
            continue;
        }
        if number < inherited {
            let why = format!("layer {} isn't the base's, which is {}", layer.digest, own.descriptor.digest);
            return Ok(Some(Wrong::new(why)));
        }
        return layer_differs(cx, published, layer, own).await.map(Some);
    }
    let (theirs, ours) = (theirs.manifest.layers.len(), ours.layers.len());
    let why = || format!("it has {theirs} layers, its recipe makes {ours}");
    Ok((theirs != ours).then(|| Wrong::new(why())))
}

/// In what a layer differs from the one that was made.
async fn layer_differs(
    cx: &Context,
    published: &Published,
    theirs: &Descriptor,
    ours: &Blob,
) -> Result<Wrong> {
    let digest = theirs.digest;
    let (was, now) = (cx.scratch.vacant(), local(ours)?);
    let content = Content::Remote(published.repository.clone());
    let blob = Blob { descriptor: theirs.clone(), content };
    target::save(&blob, &cx.registry, &was).await?;
    blocking(move || {
        let found =
            match diff::differences(Some(&|| plain(&was)), Some(&|| plain(&now)), &mut |_, _, _, _| Ok(())) {
                Ok(found) => found,
                Err(error) => return Ok(Wrong::new(format!("layer {digest} can't be read: {error}"))),
            };
        // What runs is worse than what is read.
        let worst = |d: &&Difference| (!is_program(d), d.name.clone());
        if let Some(difference) = found.iter().min_by_key(worst) {
            return Ok(in_layer(difference, &digest));
        }
        let of = |what: &str, at: Option<u64>| Wrong {
            why: format!("only the {what} of layer {digest} differs, its files are the same"),
            at: at.map(|at| (at, "it".to_owned())),
        };
        match first_byte(plain(&was)?, plain(&now)?)? {
            Some(at) => Ok(of("tar", Some(at))),
            None => {
                let open =
                    |path: &Path| crate::fs::open(path).map_err(|e| Error::io("read a layer", path, &e));
                Ok(of("compression", first_byte(open(&was)?, open(&now)?)?))
            }
        }
    })
    .await
}

/// One difference of a layer, in words.
fn in_layer(difference: &Difference, layer: &Digest) -> Wrong {
    let what = if is_program(difference) { "the program" } else { "the file" };
    let name = &difference.name;
    let why = match (&difference.was, &difference.now) {
        (Some(_), None) => format!("/{name} is in layer {layer}, but not in what its recipe makes"),
        (None, _) => format!("/{name} is missing in layer {layer}"),
        _ if difference.is_of_content() => {
            format!("{what} /{name} in layer {layer} isn't what its sources give")
        }
        _ => {
            let aspects = difference.aspects();
            let aspects = aspects.iter().map(|(word, was, now)| format!("{word} is {was}, not {now}"));
            format!("/{name} in layer {layer}: its {}", aspects.collect::<Vec<_>>().join(", its "))
        }
    };
    Wrong { why, at: difference.first.map(|at| (at, format!("/{name}"))) }
}

/// Whether it is a program: a file that starts as one does.
fn is_program(difference: &Difference) -> bool {
    let entry = difference.was.as_ref().or(difference.now.as_ref());
    let start = entry.and_then(|e| e.content.as_ref()).map(diff::Content::start).unwrap_or_default();
    binary::begins_as_program(start)
}

/// Compares a document.
fn document(what: &str, theirs: &[u8], ours: &Blob) -> Result<Option<Wrong>> {
    let Content::Bytes(ours) = &ours.content else {
        return Err(Error::new(Kind::Internal, "compare", "a document isn't in memory"));
    };
    let Some(at) = first_difference(theirs, ours) else { return Ok(None) };
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    let place = match (read(theirs), read(ours)) {
        (Some(theirs), Some(ours)) => place(&theirs, &ours),
        _ => None,
    };
    let place = place.map(|(place, theirs, ours)| format!(": {place} is {theirs}, not {ours}"));
    let why = format!("{what} isn't what its recipe makes{}", place.unwrap_or_default());
    Ok(Some(Wrong { why, at: Some((at, what.to_owned())) }))
}

/// Compares what is said about the build with what is to be said about this one. By whom and by which programs it was
/// made is said in passing: another gimg, or a toolchain for another system, may give the same.
fn said(cx: &Context, theirs: &Value, ours: &Value) -> Result<()> {
    let (mut theirs, mut ours) = (theirs.clone(), ours.clone());
    for (what, theirs, ours) in [
        ("gimg", builder(&mut theirs), builder(&mut ours)),
        ("programs of the toolchain", tools(&mut theirs), tools(&mut ours)),
    ] {
        if let Some((place, theirs, ours)) = place(&theirs, &ours) {
            let text = format!("its provenance names other {what}: {place} is {theirs}, here {ours}");
            cx.observer.on(Event::Warning(text));
        }
    }
    match place(&theirs, &ours) {
        None => Ok(()),
        Some((place, theirs, ours)) => {
            let why = format!("its provenance isn't true: {place} is {theirs}, not {ours}");
            Err(Wrong::new(why).error(None))
        }
    }
}

/// Takes who made it out of a statement.
fn builder(statement: &mut Value) -> Value {
    let parts = |statement: &mut Value, within: &str, keys: &[&str]| -> Value {
        let part = statement.pointer_mut(within).and_then(Value::as_object_mut);
        let taken = part.map(|part| keys.iter().filter_map(|key| part.remove_entry(*key)).collect());
        taken.map(Value::Object).unwrap_or_default()
    };
    let who = parts(statement, "/predicate/runDetails", &["builder"]);
    let how = parts(statement, "/predicate/buildDefinition/internalParameters", &["encoder"]);
    Value::Array(vec![who, how])
}

/// Takes the programs of the toolchain out of a statement.
fn tools(statement: &mut Value) -> Value {
    let list = statement.pointer_mut("/predicate/buildDefinition/resolvedDependencies");
    let Some(list) = list.and_then(Value::as_array_mut) else { return Value::Null };
    let is_tool = |d: &Value| d["name"].as_str().is_some_and(|name| name.starts_with("go1"));
    let (tools, rest) = std::mem::take(list).into_iter().partition(is_tool);
    *list = rest;
    Value::Array(tools)
}

/// The first place where two values differ, and what is there.
fn place(theirs: &Value, ours: &Value) -> Option<(String, String, String)> {
    if theirs == ours {
        return None;
    }
    let within = |key: &str, theirs: &Value, ours: &Value| {
        place(theirs, ours).map(|(rest, theirs, ours)| (format!("{key}{rest}"), theirs, ours))
    };
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|key| {
                let none = &Value::Null;
                within(&format!(".{key}"), a.get(key).unwrap_or(none), b.get(key).unwrap_or(none))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(at, (a, b))| within(&format!("[{at}]"), a, b))
        }
        _ => Some((String::new(), short(theirs), short(ours))),
    }
}

/// A value in a message.
fn short(value: &Value) -> String {
    const MAX: usize = 200;
    let text = value.to_string();
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn first_difference(a: &[u8], b: &[u8]) -> Option<u64> {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    (a.len() != b.len() || same < a.len()).then_some(same as u64)
}

/// The first byte in which two readers differ.
fn first_byte(mut left: Box<dyn Read>, mut right: Box<dyn Read>) -> Result<Option<u64>> {
    let (mut one, mut other) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut at = 0;
    loop {
        let unreadable = |e: std::io::Error| Error::new(Kind::LocalIo, "read a layer", e);
        let n = fill(&mut *left, &mut one).map_err(unreadable)?;
        let m = fill(&mut *right, &mut other).map_err(unreadable)?;
        match first_difference(&one[..n], &other[..m]) {
            Some(first) => return Ok(Some(at + first)),
            None if n == 0 => return Ok(None),
            None => at += n as u64,
        }
    }
}

fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

fn local(blob: &Blob) -> Result<Arc<Path>> {
    match &blob.content {
        Content::File(path) => Ok(Arc::clone(path)),
        _ => Err(Error::new(Kind::Internal, "compare", "a layer isn't on this machine")),
    }
}
