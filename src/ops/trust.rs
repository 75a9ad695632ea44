//! `--ca-cert`: a layer with the CA bundle that an image has anyway, and the user's certificates after it. With a base
//! that isn't built in this is the one time that its layers are opened: from the topmost down to where the bundle is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::content::Blob;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::image::assemble::Layer;
use crate::image::certificates::{self, Certificate, MAX_BUNDLE, PLACES};
use crate::image::view::{self, Access, Names, Seen, View};
use crate::image::{Data, FileTree, Filesystem, Meta};
use crate::oci::Digest;
use crate::ops::base::Bases;
use crate::ops::data::DataLayers;
use crate::ops::opened::plain;
use crate::ops::publish::Publisher;
use crate::ops::{Context, blocking};
use crate::settings::{Base, Settings};
use crate::target;

/// The largest file of the user's that is read.
const MAX_FILE: u64 = 16 << 20;
/// The largest layer of a base that is taken in to look into it.
const MAX_LAYER: u64 = 16 << 30;

/// How much memory the names in all layers may take.
const MAX_NAMES: usize = 1 << 30;

/// The layers with the bundles, by image and platform; empty without `--ca-cert`.
pub(super) type Bundles = BTreeMap<(usize, usize), Layer>;

/// The certificates in the user's files, each once.
///
/// # Errors
/// A file that isn't there, or holds anything but certificates (bad input).
pub(super) async fn certificates(settings: &Settings) -> Result<Vec<Certificate>> {
    let files = settings.ca_certs.clone();
    blocking(move || {
        let (mut seen, mut list) = (BTreeSet::new(), Vec::new());
        for path in &files {
            let bad =
                |why| Error::new(Kind::Input, "read the CA certificates", why).at(path.display().to_string());
            let text = crate::fs::read_small(path, MAX_FILE).map_err(|e| bad(e.to_string()))?;
            let found = certificates::read(&text).map_err(bad)?;
            list.extend(found.into_iter().filter(|c| seen.insert(c.clone())));
        }
        Ok(list)
    })
    .await
}

/// Only Linux has its bundle in files that are known.
pub(super) fn check(settings: &Settings, bases: &[Bases]) -> Result<()> {
    let platforms = bases.iter().flat_map(Bases::platforms);
    match platforms.filter(|_| !settings.ca_certs.is_empty()).find(|p| p.os != "linux") {
        Some(platform) => {
            let why = format!("{platform}: CA certificates can be added to Linux images only");
            Err(Error::new(Kind::Usage, "add the CA certificates", why))
        }
        None => Ok(()),
    }
}

/// Makes the layers. `data` lies over the bases: it may bring a bundle of its own.
///
/// # Errors
/// A layer of the base that can't be read or isn't what its digest says.
pub(super) async fn bundles(publisher: &Publisher<'_>, data: &[DataLayers]) -> Result<Bundles> {
    let mut bundles = Bundles::new();
    if publisher.certificates.is_empty() {
        return Ok(bundles);
    }
    let mut opener = Opener { cx: publisher.cx, opened: BTreeMap::new(), room: MAX_NAMES };
    let mut places: BTreeMap<Key, Place> = BTreeMap::new();
    let mut written = BTreeMap::new();
    for (index, image) in publisher.images.iter().enumerate() {
        let bases = &publisher.bases[image.base];
        for (number, (platform, base)) in bases.list.iter().enumerate() {
            let own = data.get(index).and_then(|d| d.get(&Filesystem::of(platform)));
            let own = own.into_iter().flatten().map(|layer| &layer.blob);
            let layers: Vec<&Blob> = base.layers.iter().chain(own).collect();
            let named = named_bundle(&base.config.config.env, &image.config.env);
            let key = (layers.iter().map(|l| l.descriptor.digest).collect(), named.clone());
            let place = match places.get(&key) {
                Some(place) => place.clone(),
                None => {
                    let place = opener.place(&layers, named.as_deref()).await?;
                    let is_scratch = bases.of.get(number).is_some_and(|root| root.base == Base::Scratch);
                    if place.content.is_none() && !is_scratch {
                        warn(publisher.cx, &place);
                    }
                    places.entry(key).or_insert(place).clone()
                }
            };
            let comment = format!("CA certificates, at /{}", place.path);
            if !written.contains_key(&place) {
                let tree = place.tree(publisher.certificates)?;
                written.insert(place.clone(), publisher.write(tree, crate::fs::open).await?);
            }
            if let Some(done) = written.get(&place) {
                bundles.insert((index, number), publisher.layer(done.clone(), image, &comment, None));
            }
        }
    }
    opener.close();
    Ok(bundles)
}

fn warn(cx: &Context, place: &Place) {
    cx.observer.on(Event::Warning(format!(
        "the base has no CA bundle: programs will trust just the certificates of --ca-cert, in /{}",
        place.path
    )));
}

/// The layers of an image, and the file that is named as its bundle.
type Key = (Vec<Digest>, Option<String>);

/// Where the bundle goes, and what is in it so far.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    path: String,
    content: Option<Bytes>,
    mode: u32,
    owner: (u64, u64),
}

impl Place {
    fn new(path: String, found: Option<(Bytes, Access)>) -> Self {
        let (content, access) = found.unzip();
        let access = access.unwrap_or(Access { mode: Meta::data(false).mode, uid: 0, gid: 0 });
        Place { path, content, mode: access.mode, owner: (access.uid, access.gid) }
    }

    fn tree(&self, added: &[Certificate]) -> Result<FileTree> {
        let bundle = certificates::bundle(self.content.as_deref().unwrap_or_default(), added);
        let meta = Meta::new(self.mode).owned_by(self.owner.0, self.owner.1);
        let mut tree = FileTree::new();
        tree.add_file(&self.path, Data::Bytes(bundle.into()), meta)?;
        Ok(tree)
    }
}

/// The file that SSL_CERT_FILE names, the user's or the base's: Go and OpenSSL look there before all.
fn named_bundle(base: &[String], own: &BTreeMap<String, String>) -> Option<String> {
    let inherited = || base.iter().rev().find_map(|v| v.strip_prefix("SSL_CERT_FILE="));
    let value = own.get("SSL_CERT_FILE").map(String::as_str).or_else(inherited);
    value.filter(|path| path.starts_with('/')).map(str::to_owned)
}

/// Opens layers, each once however many platforms have it.
struct Opener<'a> {
    cx: &'a Context,
    opened: BTreeMap<Digest, (PathBuf, Arc<Names>)>,
    /// What is left of [`MAX_NAMES`].
    room: usize,
}

impl Opener<'_> {
    /// Where the bundle of an image of these layers, the lowest first, is.
    async fn place(&mut self, layers: &[&Blob], named: Option<&str>) -> Result<Place> {
        let mut view = View::default();
        let mut below = layers.iter().rev();
        loop {
            let found = first(&view, named);
            match found {
                First::Below => match below.next() {
                    Some(layer) => view.add(self.open(layer).await?),
                    None => view.complete(),
                },
                First::Nothing(path) => return Ok(Place::new(path, None)),
                First::Found { to, layer, name, access } => {
                    // The view's layers are counted from the topmost.
                    let blob = layers.iter().rev().nth(layer).map(|l| l.descriptor.digest);
                    let file = blob.and_then(|digest| self.opened.get(&digest)).map(|(path, _)| path.clone());
                    let internal = || Error::new(Kind::Internal, "read a layer", "it was never opened");
                    let file = file.ok_or_else(internal)?;
                    let content = blocking(move || view::read(plain(&file)?, &name, MAX_BUNDLE)).await?;
                    return Ok(Place::new(to, Some((content.into(), access))));
                }
            }
        }
    }

    /// The names in a layer, whose verified bytes come to lie in the run's private directory.
    async fn open(&mut self, layer: &Blob) -> Result<Arc<Names>> {
        let descriptor = &layer.descriptor;
        if let Some((_, names)) = self.opened.get(&descriptor.digest) {
            return Ok(Arc::clone(names));
        }
        let within = |e: Error| {
            let error = e.within(format!("look for the CA bundle in {}", descriptor.digest));
            match error.kind() {
                Kind::Refused | Kind::Input => error.as_kind(Kind::Base),
                _ => error,
            }
        };
        if descriptor.size > MAX_LAYER {
            let why = "a layer of more than 16 GiB";
            return Err(within(Error::new(Kind::Integrity, "read a layer", why)));
        }
        self.cx
            .observer
            .on(Event::Detail(format!("looking for the CA bundle in layer {}", descriptor.digest)));
        let path = self.cx.scratch.directory()?.join("layer");
        target::save(layer, &*self.cx.origin(), &path).await.map_err(within)?;
        let file = path.clone();
        let mut room = self.room;
        let read = move || Ok((view::names(plain(&file)?, &mut room)?, room));
        let (names, room) = blocking(read).await.map_err(within)?;
        let names = Arc::new(names);
        self.room = room;
        self.opened.insert(descriptor.digest, (path, Arc::clone(&names)));
        Ok(names)
    }

    /// Gives the room back.
    fn close(self) {
        self.opened.values().for_each(|(path, _)| self.cx.scratch.remove(path));
    }
}

/// What the places of a bundle hold.
enum First {
    /// A bundle: a file of this layer, and where the new one goes.
    Found { to: String, layer: usize, name: String, access: Access },
    /// There is none; one would be here.
    Nothing(String),
    /// It depends on a lower layer.
    Below,
}

fn first(view: &View, named: Option<&str>) -> First {
    let mut missing = None;
    let mut is_named_missing = false;
    for (place, is_named) in named.map(|n| (n, true)).into_iter().chain(PLACES.iter().map(|p| (*p, false))) {
        match view.at(place) {
            Seen::Below => return First::Below,
            Seen::File { path, layer, name, access } => {
                // A bundle elsewhere doesn't count where one is named: what is in it must go there.
                let to = missing.filter(|_| is_named_missing).unwrap_or(path);
                return First::Found { to, layer, name, access };
            }
            Seen::Nothing(path) => {
                is_named_missing |= is_named;
                missing = missing.or(Some(path));
            }
            Seen::Other => {}
        }
    }
    First::Nothing(missing.unwrap_or_else(|| PLACES[0].trim_start_matches('/').to_owned()))
}
