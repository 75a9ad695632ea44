//! In what a published image differs from the one that was made by its recipe: the first thing, down to the byte.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::binary;
use crate::content::{Blob, Content};
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::image::assemble::Image;
use crate::image::diff::{self, Difference};
use crate::oci::{Descriptor, Digest, Platform};
use crate::ops::opened::plain;
use crate::ops::published::{Published, PublishedImage};
use crate::ops::rebuild::Rebuilt;
use crate::ops::{Context, blocking};
use crate::target;

/// Something that isn't what was made.
pub(super) struct Wrong {
    why: String,
    /// The first byte that differs, counted from 0, and of what.
    at: Option<(u64, String)>,
}

impl Wrong {
    pub(super) fn new(why: String) -> Self {
        Wrong { why, at: None }
    }

    pub(super) fn error(self, platform: Option<&Platform>) -> Error {
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
pub(super) async fn compare(cx: &Context, published: &Published, rebuilt: &Rebuilt) -> Result<()> {
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
pub(super) fn said(cx: &Context, theirs: &Value, ours: &Value) -> Result<()> {
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
    // How compiles were kept apart shows in nothing that was made.
    let internal = "/predicate/buildDefinition/internalParameters";
    for statement in [&mut theirs, &mut ours] {
        let internal = statement.pointer_mut(internal).and_then(Value::as_object_mut);
        if internal.and_then(|internal| internal.shift_remove("hermetic")).is_some() {
            let text = "its provenance says that it was compiled hermetically: no build can prove that";
            cx.observer.on(Event::Detail(text.to_owned()));
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
