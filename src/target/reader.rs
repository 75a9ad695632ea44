//! Edge: OCI image layouts (image-spec, image-layout.md) as a source. Nothing in them is believed: documents are
//! verified as they are read, blobs must be files of the size that is said of them.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::content::{Blob, Content, Graph, ImageName, Referrer};
use crate::error::{Error, Kind, Result};
use crate::fs::read_small;
use crate::oci::{Descriptor, Digest, ImageIndex, Tag, annotation, document, json};
use crate::target::layout::{blob_path, check_marker};

/// How many referrers of an image are taken along.
const MAX_REFERRERS: usize = 1000;

/// A layout to read from.
#[derive(Clone, Debug)]
pub struct Reader {
    dir: PathBuf,
    entries: Vec<Descriptor>,
}

impl Reader {
    /// Opens a layout.
    ///
    /// # Errors
    /// A directory that isn't a layout of a version that gimg reads.
    pub fn open(dir: &Path) -> Result<Self> {
        let index = dir.join("index.json");
        if !dir.join("oci-layout").is_file() || !index.is_file() {
            return Err(
                Error::new(Kind::Input, "read the layout", "not an OCI image layout").at(dir.display())
            );
        }
        check_marker(dir)?;
        let bytes = capped(&index)?;
        let index: ImageIndex = json::from_bytes(&bytes, "index.json").map_err(|e| e.at(dir.display()))?;
        Ok(Reader { dir: dir.to_owned(), entries: index.manifests })
    }

    /// What `index.json` names.
    #[must_use]
    pub fn entries(&self) -> &[Descriptor] {
        &self.entries
    }

    /// The entry called `name`, or the only one, with the tags that name it. What refers to images, and lists of that,
    /// are none unless they are asked for; what has a name goes before what has none.
    ///
    /// # Errors
    /// No such entry, or several when no name is given.
    pub fn root(&self, name: Option<&str>) -> Result<(Descriptor, Vec<String>)> {
        let what = "read the layout";
        let mut chosen: Vec<&Descriptor> = match name {
            Some(name) => self.entries.iter().filter(|d| label(d) == Some(name)).collect(),
            None => self.entries.iter().collect(),
        };
        if name.is_none() && chosen.len() > 1 {
            chosen.retain(|d| !self.is_about_another(d));
            // oras also names the images of an index, and gives them no name.
            if chosen.iter().any(|d| label(d).is_some()) {
                chosen.retain(|d| label(d).is_some());
            }
        }
        let Some(first) = chosen.first() else {
            let why =
                name.map_or("it holds no image".to_owned(), |n| format!("it holds no image called {n}"));
            return Err(Error::new(Kind::Input, what, why)
                .at(self.dir.display())
                .hint(format!("it holds: {}", self.names())));
        };
        if chosen.iter().any(|d| d.digest != first.digest) {
            return Err(Error::new(Kind::Input, what, "it holds several images")
                .at(self.dir.display())
                .hint(format!("name one as DIR:NAME: {}", self.names())));
        }
        let mut root = Descriptor::new(first.media_type.clone(), first.digest, first.size);
        root.platform.clone_from(&first.platform);
        Ok((root, chosen.iter().filter_map(|d| label(d).map(str::to_owned)).collect()))
    }

    fn names(&self) -> String {
        self.entries.iter().filter_map(label).collect::<Vec<_>>().join(", ")
    }

    /// Whether an entry is a referrer, or a list of them under the tag of their subject.
    fn is_about_another(&self, entry: &Descriptor) -> bool {
        if label(entry).is_some_and(is_tag_of_referrers) {
            return true;
        }
        let read = || {
            let bytes = self.document(entry).ok()?;
            Referrer::read(entry.media_type.clone(), bytes, Vec::new()).ok()?
        };
        entry.media_type.is_manifest_or_index() && read().is_some()
    }

    /// The verified bytes of a manifest, index or config.
    ///
    /// # Errors
    /// A blob that isn't there, is too large, or isn't what its descriptor says.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Bytes> {
        let path = blob_path(&self.dir, &descriptor.digest);
        let bytes = capped(&path)?;
        let size = bytes.len() as u64;
        let wrong = |why: String| Err(Error::new(Kind::Integrity, "read the layout", why).at(path.display()));
        if size != descriptor.size {
            return wrong(format!("it has {size} bytes, its descriptor says {}", descriptor.size));
        }
        match Digest::of(&bytes) {
            found if found == descriptor.digest => Ok(bytes),
            found => wrong(format!("its content isn't what the digest says but {found}")),
        }
    }

    /// Where a blob of the layout is, if it is there.
    #[must_use]
    pub fn place(&self, descriptor: &Descriptor) -> Blob {
        let path = blob_path(&self.dir, &descriptor.digest);
        Blob { descriptor: descriptor.clone(), content: Content::File(path.into()) }
    }

    /// A blob of the layout. Its content is verified when it is read. What is kept elsewhere isn't looked for.
    ///
    /// # Errors
    /// A blob that isn't there, isn't a file, or has another size than its descriptor says.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Blob> {
        let blob = self.place(descriptor);
        if descriptor.media_type.is_foreign() || descriptor.extra.contains_key("urls") {
            return Ok(blob);
        }
        let path = blob_path(&self.dir, &descriptor.digest);
        // A pipe would make whoever reads it wait for its writer.
        let found = std::fs::metadata(&path).map_err(|e| Error::io("read the layout", &path, &e))?;
        let wrong = |kind, why: String| Err(Error::new(kind, "read the layout", why).at(path.display()));
        if !found.is_file() {
            return wrong(Kind::Input, "it is not a regular file".to_owned());
        }
        if found.len() != descriptor.size {
            let why = format!("it has {} bytes, its descriptor says {}", found.len(), descriptor.size);
            return wrong(Kind::Integrity, why);
        }
        Ok(blob)
    }

    /// Everything that `root` needs, with what refers to it, as a graph called `name`.
    ///
    /// # Errors
    /// A document that can't be read, or one that is neither manifest nor index.
    pub fn graph(&self, root: &Descriptor, name: ImageName, tags: Vec<Tag>) -> Result<Graph> {
        let bytes = self.document(root)?;
        let (mut blobs, mut children) = (Vec::new(), Vec::new());
        if root.media_type.is_index() {
            let index = document::index(&bytes, &root.media_type).map_err(|e| e.at(self.dir.display()))?;
            for child in &index.manifests {
                let bytes = self.document(child)?;
                self.image(child, &bytes, &mut blobs)?;
                children.push(Blob { descriptor: child.clone(), content: Content::Bytes(bytes) });
            }
        } else {
            self.image(root, &bytes, &mut blobs)?;
        }
        let root = Blob { descriptor: root.clone(), content: Content::Bytes(bytes) };
        let known = children.iter().chain([&root]).map(|b| b.descriptor.digest).collect();
        let referrers = self.referrers(known)?;
        Ok(Graph::new(name, blobs, children, root, tags).with_referrers(referrers))
    }

    fn image(&self, descriptor: &Descriptor, bytes: &[u8], blobs: &mut Vec<Blob>) -> Result<()> {
        if !descriptor.media_type.is_manifest() {
            let why = format!("{} is {}, not an image", descriptor.digest, descriptor.media_type);
            return Err(Error::new(Kind::Input, "read the layout", why).at(self.dir.display()));
        }
        let manifest =
            document::manifest(bytes, &descriptor.media_type).map_err(|e| e.at(self.dir.display()))?;
        for descriptor in manifest.layers.iter().chain([&manifest.config]) {
            blobs.push(self.blob(descriptor)?);
        }
        Ok(())
    }

    /// What refers to `known` digests, and to that in turn: entries of `index.json` (as oras writes them), and of lists
    /// under the tag of a subject (as regclient does).
    fn referrers(&self, mut known: BTreeSet<Digest>) -> Result<Vec<Referrer>> {
        let mut candidates = Vec::new();
        let mut seen = known.clone();
        for entry in self.entries.iter().filter(|e| e.media_type.is_manifest_or_index()) {
            if label(entry).is_some_and(is_tag_of_referrers) && entry.media_type.is_index() {
                let list: ImageIndex = json::from_bytes(&self.document(entry)?, "the list of referrers")?;
                candidates.extend(list.manifests);
            } else {
                candidates.push(entry.clone());
            }
        }
        candidates.retain(|c| c.media_type.is_manifest_or_index() && seen.insert(c.digest));
        let mut open = Vec::new();
        for candidate in &candidates {
            let bytes = match self.document(candidate) {
                Ok(bytes) => bytes,
                // Another image of the layout, which isn't asked for.
                Err(_) if label(candidate).is_some() => continue,
                Err(error) => return Err(error),
            };
            if let Some(referrer) = Referrer::read(candidate.media_type.clone(), bytes, Vec::new())? {
                open.push(referrer);
            }
        }
        let mut found: Vec<Referrer> = Vec::new();
        loop {
            let of_known = |r: &Referrer| known.contains(&r.subject.digest);
            let (now, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(of_known);
            if now.is_empty() {
                return Ok(found);
            }
            open = rest;
            for mut referrer in now {
                known.insert(referrer.manifest.descriptor.digest);
                self.needs(&referrer.manifest, &mut referrer.blobs)?;
                found.push(referrer);
            }
            if found.len() > MAX_REFERRERS {
                let why = format!("more than {MAX_REFERRERS} manifests refer to the image");
                return Err(Error::new(Kind::Integrity, "read the layout", why).at(self.dir.display()));
            }
        }
    }

    /// What a referrer needs, leaves first.
    fn needs(&self, manifest: &Blob, blobs: &mut Vec<Blob>) -> Result<()> {
        let Content::Bytes(bytes) = &manifest.content else { return Ok(()) };
        if manifest.descriptor.media_type.is_manifest() {
            return self.image(&manifest.descriptor, bytes, blobs);
        }
        let index = document::index(bytes, &manifest.descriptor.media_type)?;
        for child in &index.manifests {
            let bytes = self.document(child)?;
            self.image(child, &bytes, blobs)?;
            blobs.push(Blob { descriptor: child.clone(), content: Content::Bytes(bytes) });
        }
        Ok(())
    }
}

/// The name of an entry.
fn label(entry: &Descriptor) -> Option<&str> {
    entry.annotations.get(annotation::REF_NAME).map(String::as_str)
}

/// Whether a name is that of a list of referrers.
fn is_tag_of_referrers(name: &str) -> bool {
    let hex = name.strip_prefix("sha256-").unwrap_or_default();
    format!("sha256:{hex}").parse::<Digest>().is_ok()
}

/// A file of at most [`json::MAX_DOCUMENT`] bytes.
fn capped(path: &Path) -> Result<Bytes> {
    let what = "read the layout";
    let found = std::fs::metadata(path).map_err(|e| Error::io(what, path, &e))?;
    if found.len() > json::MAX_DOCUMENT {
        return Err(Error::new(Kind::Integrity, what, "larger than 4 MiB").at(path.display()));
    }
    let kind = if found.is_file() { Kind::LocalIo } else { Kind::Input };
    let bytes = read_small(path, json::MAX_DOCUMENT);
    Ok(Bytes::from(bytes.map_err(|e| Error::new(kind, what, e).at(path.display()))?))
}
