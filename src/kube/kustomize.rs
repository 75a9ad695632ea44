//! The `images` of a kustomization: what `kustomize edit set image NAME=REPOSITORY@DIGEST` does, but in place. An entry
//! gets `newName` and `digest`; `newTag` goes, as a digest takes its place.

use std::collections::BTreeSet;
use std::ops::Range;

use granit_parser::Event;

use crate::error::{Error, Kind, Result};
use crate::kube::SCHEME;
use crate::kube::draft::{Image, Site, What, mark, mark_again};
use crate::kube::edit::{Edits, Pair};
use crate::kube::place::pair;

const LIST: &str = "images";

/// The entries that `wishes` and the file itself want, in the order of the file, new ones last; and the events of the list.
pub(super) fn sites(edits: &Edits<'_>, wishes: &[(String, String)]) -> Result<(Vec<Site>, Range<usize>)> {
    let stream = edits.stream;
    let root = root(edits)?;
    let (mut sites, mut named) = (Vec::new(), BTreeSet::new());
    for entry in entries(edits, root)? {
        let name_of = |key: &str| find(edits, entry, key).map(|p| p.and_then(|(_, v)| stream.string(v)));
        let Some(name) = name_of("name")? else {
            return Err(edits.error(entry, "an entry of images has no name"));
        };
        if !named.insert(name) {
            return Err(edits.error(entry, format!("images has two entries of the name {name}")));
        }
        let wish = wishes.iter().find(|(wanted, _)| wanted == name).map(|(_, program)| program.clone());
        let new_name = find(edits, entry, "newName")?;
        let marked = new_name.and_then(|(_, value)| mark(&edits.text[stream.end_byte(value)..]));
        let own = name
            .strip_prefix(SCHEME)
            .or_else(|| new_name.and_then(|(_, v)| stream.string(v)?.strip_prefix(SCHEME)));
        let Some(program) = wish.or_else(|| own.or(marked).map(|p| p.trim_end().to_owned())) else {
            continue;
        };
        if program.is_empty() {
            return Err(edits.error(entry, "its ko:// names no package"));
        }
        let start = stream.events[entry].1.start;
        let was: Vec<&str> =
            [name_of("newName")?.or(Some(name)), name_of("digest")?].into_iter().flatten().collect();
        let what = What::Entry(Some(entry), name.to_owned());
        sites.push(Site { program, line: start.line(), column: start.col() + 1, was: was.join("@"), what });
    }
    for (name, program) in wishes.iter().filter(|(name, _)| !named.contains(name.as_str())) {
        let line = 1 + edits.text.matches('\n').count();
        let what = What::Entry(None, name.clone());
        sites.push(Site { program: program.clone(), line, column: 1, was: String::new(), what });
    }
    let list = find(edits, root, LIST)?.map_or(0..0, |(_, list)| list..stream.end(list));
    Ok((sites, list))
}

/// Edits the entries, and adds those that aren't there.
pub(super) fn put(edits: &mut Edits<'_>, wanted: &[(Option<usize>, &str, &Image)]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let root = root(edits)?;
    let mut new: Vec<Vec<(String, String)>> = Vec::new();
    for (entry, name, image) in wanted {
        match entry {
            Some(entry) => put_entry(edits, *entry, name, image)?,
            None => {
                let mut pairs = vec![("name".to_owned(), (*name).to_owned())];
                if image.repository() != **name {
                    pairs.push(("newName".to_owned(), image.repository()));
                }
                pairs.push(("digest".to_owned(), image.digest.clone()));
                new.push(pairs);
            }
        }
    }
    let new: Vec<Vec<Pair<'_>>> =
        new.iter().map(|pairs| pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()).collect();
    if new.is_empty() {
        return Ok(());
    }
    match find(edits, root, LIST)? {
        None => edits.add_list(root, LIST, &new),
        Some((key, value)) => match edits.stream.events[value].0 {
            Event::SequenceStart(..) => edits.add_items(value, &new),
            _ => edits.fill_list(key, value, &new)?,
        },
    }
    Ok(())
}

fn put_entry(edits: &mut Edits<'_>, entry: usize, name: &str, image: &Image) -> Result<()> {
    let stream = edits.stream;
    let (named, new_name) = (find(edits, entry, "name")?, find(edits, entry, "newName")?);
    let (digest, tag) = (find(edits, entry, "digest")?, find(edits, entry, "newTag")?);
    let repository = image.repository();
    let mut more: Vec<Pair<'_>> = Vec::new();
    match new_name {
        Some((key, value)) => {
            let program = stream.string(value).and_then(|text| text.strip_prefix(SCHEME)).map(str::to_owned);
            edits.set(value, Some(key), &repository)?;
            if let Some(program) = program.filter(|_| !name.starts_with(SCHEME)) {
                mark_again(edits, value, program.trim_end())?;
            }
        }
        None if repository != name => more.push(("newName", &repository)),
        None => {}
    }
    match (digest, tag) {
        (Some((key, value)), tag) => {
            edits.set(value, Some(key), &image.digest)?;
            if let Some((key, value)) = tag {
                edits.remove(entry, key, value)?;
            }
        }
        // The digest takes its line.
        (None, Some((key, value))) => {
            edits.set(key, None, "digest")?;
            edits.set(value, Some(key), &image.digest)?;
        }
        (None, None) => more.push(("digest", &image.digest)),
    }
    let (key, value) = named.ok_or_else(|| edits.error(entry, "an entry of images has no name"))?;
    edits.add_after(entry, key, value, &more);
    Ok(())
}

/// The mapping of the only document.
fn root(edits: &Edits<'_>) -> Result<usize> {
    let documents = edits.stream.documents(edits.text);
    let bad = |why: &str| Error::new(Kind::Input, "read the kustomization", why).at(edits.name);
    let [document] = documents.as_slice() else {
        return Err(bad(if documents.is_empty() { "it is empty" } else { "it has several documents" }));
    };
    match edits.stream.events[document.root].0 {
        Event::MappingStart(..) => Ok(document.root),
        _ => Err(bad("it is no mapping")),
    }
}

/// The mappings in `images`.
fn entries(edits: &Edits<'_>, root: usize) -> Result<Vec<usize>> {
    let stream = edits.stream;
    let Some((_, list)) = find(edits, root, LIST)? else { return Ok(Vec::new()) };
    match &stream.events[list].0 {
        Event::SequenceStart(..) => {}
        Event::Scalar(..) if stream.string(list).is_none() => return Ok(Vec::new()),
        _ => return Err(edits.error(list, "images is no list")),
    }
    let entries = stream.children(list);
    match entries.iter().find(|e| !matches!(stream.events[**e].0, Event::MappingStart(..))) {
        Some(other) => Err(edits.error(*other, "an entry of images is no mapping")),
        None => Ok(entries),
    }
}

fn find(edits: &Edits<'_>, map: usize, key: &str) -> Result<Option<(usize, usize)>> {
    pair(edits.stream, map, key).map_err(|twice| edits.error(twice, format!("the key {key} is there twice")))
}
