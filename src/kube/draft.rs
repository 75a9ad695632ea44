//! A file whose images are to be replaced where they are: which programs it wants, and what it says once they are
//! built. `ko://` references, and with marks also what an earlier run put in their place: it left the reference in a
//! comment behind the value (`image: r.io/app@sha256:… # ko://./cmd/app`). And values by their place in the file.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use granit_parser::{Event, ScalarStyle};

use crate::error::{Error, Kind, Result};
use crate::kube::edit::Edits;
use crate::kube::place::{Found, Place, pair};
use crate::kube::stream::Stream;
use crate::kube::yaml::{self, not_yaml, written};
use crate::kube::{Remark, SCHEME, kustomize};

/// A published image as files name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// All of it: `registry/path@digest`, perhaps with a tag.
    pub reference: String,
    /// `host[:port]`.
    pub registry: String,
    /// The repository's path below it.
    pub path: String,
    /// `sha256:…`.
    pub digest: String,
    /// A tag that stands for it.
    pub tag: String,
}

impl Image {
    /// `registry/path`.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }
}

/// Where a program's image belongs in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The program: what stands after `ko://`, or what the user named.
    pub program: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is there.
    pub was: String,
    pub(super) what: What,
}

/// Nodes are numbers of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A reference in a scalar that began with `ko://`, with what stood there before it.
    Reference(yaml::Found, usize),
    /// A reference in a scalar that an earlier run put there.
    Marked(usize),
    /// A reference in a scalar by its place, and the key before it.
    Value(usize, Option<usize>),
    /// A mapping with the parts of a reference, as charts have it.
    Parts(usize),
    /// An entry of a kustomization's `images`: its mapping if it is there, and its name.
    Entry(Option<usize>, String),
}

/// A file to be edited. It is good for that file's text only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    name: String,
    text: String,
    /// What is replaced.
    pub sites: Vec<Site>,
    /// What its author should look at.
    pub remarks: Vec<Remark>,
    /// Whether references leave a comment.
    marks: bool,
}

impl Draft {
    /// Reads the file `name` and finds its references: with `marks` also those of earlier runs.
    ///
    /// # Errors
    /// As [`yaml::scan`]; with marks a reference that is a part of an image, beside a `repository`.
    pub fn read(name: &str, bytes: &[u8], marks: bool) -> Result<Draft> {
        let scan = yaml::scan(name, bytes, None)?;
        // What isn't text holds no references: the scan has seen to that.
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let mut draft = Draft {
            name: name.to_owned(),
            text: text.to_owned(),
            sites: Vec::new(),
            remarks: scan.remarks,
            marks,
        };
        // Most files of a directory hold neither.
        if scan.found.is_empty() && !(marks && text.contains(SCHEME)) {
            return Ok(draft);
        }
        let stream = Stream::read(text).map_err(|e| not_yaml(name, text, &e))?;
        let in_parts = InParts::of(&stream);
        let mut found = scan.found.into_iter().peekable();
        for (node, (event, span)) in stream.events.iter().enumerate() {
            let Event::Scalar(value, style, ..) = event else { continue };
            let range = span.byte_range().unwrap_or_default();
            let written = text.get(range.clone()).unwrap_or_default();
            let site = |program: &str, what: What| Site {
                program: program.to_owned(),
                line: span.start.line(),
                column: span.start.col() + 1,
                was: value.trim_end().to_owned(),
                what,
            };
            if let Some(reference) = found.next_if(|f| range.contains(&f.span.start)) {
                let program = reference.import_path.clone();
                let what = match in_parts.around(&stream, node).filter(|_| marks) {
                    Some(map) => What::Parts(map),
                    None if marks && in_parts.holds(&stream, node) => {
                        let why = "it is a part of the image that repository beside it is";
                        let error = Edits::of(name, text, &stream).error(node, why);
                        return Err(error.hint("write ko:// as the repository"));
                    }
                    None => What::Reference(reference, node),
                };
                draft.sites.push(site(&program, what));
            } else if marks
                && !matches!(style, ScalarStyle::Literal | ScalarStyle::Folded)
                && let Some(program) = mark(&text[range.end..]).filter(|_| !written.is_empty())
            {
                match in_parts.around(&stream, node) {
                    Some(map) => draft.sites.push(site(program, What::Parts(map))),
                    None if is_pinned(value) && !in_parts.holds(&stream, node) => draft.sites.push(site(program, What::Marked(node))),
                    None => draft.remarks.push(Remark {
                        line: span.start.line(),
                        column: span.start.col() + 1,
                        text: "a comment names a ko:// reference, and what stands before it is no image by digest: it is \
                               left as it is"
                            .to_owned(),
                    }),
                }
            }
        }
        Ok(draft)
    }

    /// Whether all sites are whole references, and none is in parts.
    #[must_use]
    pub fn only_references(&self) -> bool {
        self.sites.iter().all(|s| !matches!(s.what, What::Parts(_) | What::Entry(..)))
    }

    /// Reads the kustomization `name`: wanted are the images that `wishes` name, each with its program, and entries
    /// that name one themselves, by `name: ko://…` or `newName: ko://…`. Elsewhere it is as any file with marks.
    ///
    /// # Errors
    /// Text that isn't one document of YAML with a mapping, or names an image or key twice.
    pub fn kustomization(name: &str, bytes: &[u8], wishes: &[(String, String)]) -> Result<Draft> {
        let text = yaml::utf8(name, bytes)?;
        let mut draft = Draft::read(name, bytes, true)?;
        let stream = Stream::read(text).map_err(|e| not_yaml(name, text, &e))?;
        let (entries, list) = kustomize::sites(&Edits::of(name, text, &stream), wishes)?;
        let lines = |node: usize| stream.events[node].1.start.line();
        draft
            .remarks
            .retain(|r| list.is_empty() || !(lines(list.start)..=lines(list.end - 1)).contains(&r.line));
        draft.sites.retain(|s| s.what.node().is_none_or(|node| !list.contains(&node)));
        draft.sites.extend(entries);
        draft.sites.sort_by_key(|site| (site.line, site.column));
        Ok(draft)
    }

    /// Wants the image of `program` at a place, if the file has it.
    ///
    /// # Errors
    /// Text that isn't YAML; a place in two documents, or one that holds no image: neither a string nor a mapping with
    /// `repository` and one of `digest` and `tag`.
    pub fn want(&mut self, place: &Place, program: &str) -> Result<Wanted> {
        let (site, instead) = self.look(place, program)?;
        let Some(site) = site else { return Ok(Wanted::Nowhere(instead)) };
        // What has a place needs no mark.
        let node = site.what.node();
        self.sites.retain(|s| s.what.node() != node);
        self.sites.push(site);
        Ok(Wanted::There)
    }

    /// What is at a place, else what is there instead.
    fn look(&self, place: &Place, program: &str) -> Result<(Option<Site>, String)> {
        let stream = Stream::read(&self.text).map_err(|e| not_yaml(&self.name, &self.text, &e))?;
        let edits = Edits::of(&self.name, &self.text, &stream);
        let (mut there, mut instead): (Option<Site>, _) = (None, String::new());
        for document in stream.documents(&self.text) {
            match place.find(&stream, document.root) {
                Found::Never(node, why) => return Err(edits.error(node, format!("look for {place}: {why}"))),
                Found::Nothing(depth, keys) => instead = missing(place, depth, &keys),
                Found::Node(node, _) if there.is_some() => {
                    return Err(edits.error(node, format!("a second document has {place} too")));
                }
                Found::Node(node, key) => {
                    let start = stream.events[node].1.start;
                    there = Some(Site {
                        program: program.to_owned(),
                        line: start.line(),
                        column: start.col() + 1,
                        was: stream.string(node).unwrap_or_default().to_owned(),
                        what: what_is_at(&edits, place, node, key)?,
                    });
                }
            }
        }
        Ok((there, instead))
    }

    /// The text with each program's image at its sites.
    ///
    /// # Errors
    /// An edit that can't be made safely, with its place.
    pub fn with(&self, images: &BTreeMap<String, Image>) -> Result<String> {
        if self.sites.is_empty() {
            return Ok(self.text.clone());
        }
        let stream = Stream::read(&self.text).map_err(|e| not_yaml(&self.name, &self.text, &e))?;
        let mut edits = Edits::of(&self.name, &self.text, &stream);
        let mut entries = Vec::new();
        for site in &self.sites {
            let missing = || Error::new(Kind::Internal, format!("edit {}", self.name), "an image is missing");
            let image = images.get(&site.program).ok_or_else(missing)?;
            match &site.what {
                What::Reference(found, node) => self.reference(&mut edits, found, *node, image)?,
                What::Marked(node) => edits.set_shared(*node, None, &image.reference)?,
                What::Value(node, key) => edits.set(*node, *key, &image.reference)?,
                What::Parts(map) => parts(&mut edits, *map, image, self.marks)?,
                What::Entry(map, name) => entries.push((*map, name.as_str(), image)),
            }
        }
        kustomize::put(&mut edits, &entries)?;
        edits.finish()
    }

    fn reference(
        &self,
        edits: &mut Edits<'_>,
        found: &yaml::Found,
        node: usize,
        image: &Image,
    ) -> Result<()> {
        let mut value = image.reference.clone();
        if let Event::Scalar(old, ScalarStyle::Literal | ScalarStyle::Folded, ..) =
            &edits.stream.events[node].0
        {
            value.push_str(&old[old.trim_end().len()..]);
        }
        let text = written(&image.reference, found.style).into_owned();
        edits.replace(node, found.span.clone(), Cow::Owned(text), value);
        match self.marks {
            true => mark_again(edits, node, &found.import_path),
            false => Ok(()),
        }
    }
}

/// What came of a wish for a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The file has it.
    There,
    /// It doesn't: what it has instead, for people, if anything.
    Nowhere(String),
}

impl What {
    /// The node, and whether it is a mapping.
    fn node(&self) -> Option<usize> {
        match self {
            What::Reference(_, node) | What::Marked(node) | What::Value(node, _) | What::Parts(node) => {
                Some(*node)
            }
            What::Entry(map, _) => *map,
        }
    }
}

/// What there is where the place ends in nothing.
fn missing(place: &Place, depth: usize, keys: &[String]) -> String {
    if depth == 0 && keys.is_empty() {
        return String::new();
    }
    let start = place.start(depth);
    let start = if start.is_empty() { "it".to_owned() } else { start };
    let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let more = if keys.len() > 12 { ", …" } else { "" };
    keys.truncate(12);
    match keys.as_slice() {
        [] => format!("{start} has no keys or no such item"),
        keys => format!("{start} has {}{more}", keys.join(", ")),
    }
}

fn what_is_at(edits: &Edits<'_>, place: &Place, node: usize, key: Option<usize>) -> Result<What> {
    let stream = edits.stream;
    match &stream.events[node].0 {
        Event::Scalar(value, ScalarStyle::Plain, ..) if is_other(value) => {
            Err(edits.error(node, format!("{place} is {value}, and no image")))
        }
        Event::Scalar(..) => Ok(What::Value(node, key)),
        Event::MappingStart(..) => {
            let has = |name: &str| stream.value(node, name).is_some();
            if has("repository") && (has("digest") || has("tag")) {
                return Ok(What::Parts(node));
            }
            let why = if has("repository") {
                format!("{place} has neither digest nor tag, and gimg can't know which of them is read")
            } else {
                format!("{place} is a mapping without repository, and no image")
            };
            let error = edits.error(node, why);
            Err(if has("repository") {
                error.hint("add the one that is read: digest: \"\", or tag: \"\"")
            } else {
                error
            })
        }
        Event::Alias(_) => {
            Err(edits.error(node, format!("{place} is an alias: what it means stands elsewhere")))
        }
        _ => Err(edits.error(node, format!("{place} is a list, and no image"))),
    }
}

/// Whether a plain scalar is a number or a truth value.
fn is_other(value: &str) -> bool {
    let number = value.replace('_', "");
    let words = ["true", "false", "yes", "no", "on", "off"];
    number.parse::<f64>().is_ok()
        || words.iter().any(|w| w.eq_ignore_ascii_case(value))
        || value.starts_with("0x")
}

/// Sets `repository`, with `registry` where that is a key of its own; `digest`; and `tag`. A chart without `digest` gets
/// it behind the tag: `tag@sha256:…` makes a reference by digest all the same.
fn parts(edits: &mut Edits<'_>, map: usize, image: &Image, marks: bool) -> Result<()> {
    let stream = edits.stream;
    let find = |name: &str| {
        pair(stream, map, name).map_err(|twice| edits.error(twice, format!("the key {name} is there twice")))
    };
    let (registry, repository, digest, tag) =
        (find("registry")?, find("repository")?, find("digest")?, find("tag")?);
    if let Some((key, value)) = registry {
        edits.set(value, Some(key), &image.registry)?;
    }
    if let Some((key, value)) = repository {
        let program = stream.string(value).and_then(|text| text.strip_prefix(SCHEME)).map(str::to_owned);
        let path = if registry.is_some() { image.path.clone() } else { image.repository() };
        edits.set(value, Some(key), &path)?;
        if let (true, Some(program)) = (marks, program) {
            mark_again(edits, value, program.trim_end())?;
        }
    }
    match (digest, tag) {
        (Some((key, value)), _) => {
            edits.set(value, Some(key), &image.digest)?;
            // An empty one leaves the choice to the chart.
            if let Some((key, value)) =
                tag.filter(|(_, tag)| stream.string(*tag).is_some_and(|t| !t.is_empty()))
            {
                edits.set(value, Some(key), &image.tag)?;
            }
        }
        (None, Some((key, value))) => {
            edits.set(value, Some(key), &format!("{}@{}", image.tag, image.digest))?
        }
        (None, None) => return Err(edits.error(map, "it has neither digest nor tag")),
    }
    Ok(())
}

/// Leaves the comment that says which program's image this is, unless it is there.
pub(super) fn mark_again(edits: &mut Edits<'_>, node: usize, program: &str) -> Result<()> {
    let end = edits.stream.end_byte(node);
    if mark(&edits.text[end..]) == Some(program) {
        return Ok(());
    }
    edits.comment(node, &format!("{SCHEME}{program}"))
}

/// The program that a comment right behind a value names: `# ko://PROGRAM`, and perhaps more words.
pub(super) fn mark(after: &str) -> Option<&str> {
    let comment = after.trim_start_matches([' ', '\t']).strip_prefix('#')?;
    if !after.starts_with([' ', '\t']) {
        return None;
    }
    let comment = comment.split(['\n', '\r']).next()?;
    let program = comment.trim_start_matches([' ', '\t']).strip_prefix(SCHEME)?;
    let program = program.split([' ', '\t']).next()?;
    (!program.is_empty() && !program.contains(char::is_control)).then_some(program)
}

/// Whether text is a reference by digest.
fn is_pinned(value: &str) -> bool {
    let digest = value.rsplit_once("@sha256:").map(|(_, hex)| hex);
    digest.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The mappings of a text that hold an image in parts: `repository`, and `tag` or `digest`.
struct InParts {
    repositories: BTreeMap<usize, usize>,
    others: BTreeSet<usize>,
}

impl InParts {
    fn of(stream: &Stream<'_>) -> Self {
        let mut parts = InParts { repositories: BTreeMap::new(), others: BTreeSet::new() };
        for value in 0..stream.events.len() {
            let (Some(key), Some(map)) = (stream.key_of(value), stream.parent(value)) else { continue };
            match stream.string(key) {
                Some("repository") => drop(parts.repositories.entry(map).or_insert(value)),
                Some("tag" | "digest") => drop(parts.others.insert(map)),
                _ => {}
            }
        }
        parts
    }

    /// The mapping whose `repository` a scalar is.
    fn around(&self, stream: &Stream<'_>, node: usize) -> Option<usize> {
        let map = stream.parent(node)?;
        (self.repositories.get(&map) == Some(&node) && self.others.contains(&map)).then_some(map)
    }

    /// Whether a scalar is the `registry`, `tag` or `digest` beside a `repository`.
    fn holds(&self, stream: &Stream<'_>, node: usize) -> bool {
        let key = stream.key_of(node).and_then(|key| stream.string(key));
        let named = matches!(key, Some("registry" | "tag" | "digest"));
        named && stream.parent(node).is_some_and(|map| self.repositories.contains_key(&map))
    }
}
