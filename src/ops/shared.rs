//! The registry as a cache: layers of programs that were pushed before, perhaps from another machine, are used again if
//! they would be made from the same now.
//!
//! What was made from what lies beside the image that a destination's tag holds ([`Inputs`]). Whoever can write to the
//! repository can say there what they like, so this is only done where the user wants it. A registry that has nothing to
//! say, or nonsense, is no reason to fail: everything is made then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;

use futures_util::TryStreamExt as _;
use futures_util::future::{join_all, try_join_all};
use tokio::sync::OnceCell;

use crate::content::{Graph, Source as _};
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::fs::{Away, Moment, Paths, Snapshot};
use crate::git;
use crate::go::{self, Go, Portable};
use crate::image::Written;
use crate::oci::{
    Descriptor, Digest, ImageConfig, ImageIndex, ImageManifest, MediaType, Platform, Repository, Tag,
    document, json,
};
use crate::ops::inputs::{Entry, Inputs};
use crate::ops::memo::{Memo, Source, Stamped, repository};
use crate::ops::publish::Publisher;
use crate::ops::remember::{Place, Remembered, lock, place};
use crate::ops::signer::Signer;
use crate::ops::{Context, blocking, signatures};
use crate::plan::Plan;
use crate::sign::PublicKey;

/// How many documents about one image are read: the newest. Each edit that makes no difference to the programs adds one.
const MAX_DOCUMENTS: usize = 8;

/// What other machines made, and what this one tells them.
pub(super) struct Shared<'a> {
    cx: &'a Context,
    plan: &'a Plan,
    memo: &'a Memo,
    asked: BTreeMap<Place, Asked>,
    /// Whose documents count; without it everybody's.
    key: Option<PublicKey>,
    /// By image, what its tags hold.
    held: Vec<OnceCell<Vec<Held>>>,
    /// What is told of this run's places.
    entries: Mutex<BTreeMap<Place, Entry>>,
}

/// What is asked about a place.
struct Asked {
    what: String,
    platform: Platform,
    portable: Portable,
    /// The digest of all that isn't in files.
    key: Digest,
    /// The directory whose repository is stamped, if one is.
    stamped: Option<PathBuf>,
}

/// An image that a tag held when this run began.
struct Held {
    repository: Repository,
    /// Its name, for people.
    name: String,
    root: Descriptor,
    /// Its images by platform; of a single image without.
    images: Vec<(Option<Platform>, Descriptor)>,
    /// What lies beside it, the newest first.
    documents: Vec<Inputs>,
}

impl<'a> Shared<'a> {
    /// The questions of all places that can have an answer elsewhere.
    ///
    /// # Errors
    /// The program itself can't be read, or the key.
    pub(super) async fn new(
        go: &Go,
        plan: &'a Plan,
        publisher: &'a Publisher<'a>,
        memo: &'a Memo,
    ) -> Result<Self> {
        let cx = publisher.cx;
        let maker = blocking(|| {
            crate::fs::own_digest().map_err(|e| Error::new(Kind::LocalIo, "read gimg's own program", e))
        });
        let maker = maker.await?;
        // Who signs an image vouches for its layers: what nobody vouches for must not get there.
        let key = match (&publisher.settings.cache_key, &publisher.signer) {
            (Some(path), _) => Some(signatures::public_key(path).await?),
            (None, signer) => signer.as_ref().map(Signer::public),
        };
        let held = plan.images.iter().map(|_| OnceCell::new()).collect();
        let mut asked = BTreeMap::new();
        for (number, image) in plan.images.iter().enumerate() {
            for (at, platform) in image.platforms.iter().enumerate() {
                let place = (number, at);
                if let Some(found) = question(go, plan, publisher, place, platform, maker) {
                    asked.insert(place, found);
                }
            }
        }
        Ok(Shared { cx, plan, memo, asked, key, held, entries: Mutex::default() })
    }

    /// What was made for a place from the same, and the repository that has the layer.
    pub(super) async fn recall(&self, place: Place) -> Option<(Remembered, Repository)> {
        let asked = self.asked.get(&place)?;
        let git = match &asked.stamped {
            Some(dir) => Some(Digest::of(git::fingerprint(dir).await?.as_bytes())),
            None => None,
        };
        for held in self.held(place.0).await {
            for inputs in &held.documents {
                let Some(entry) = inputs.platforms.get(&asked.platform.to_string()) else { continue };
                match self.fits(asked, git, held, entry).await {
                    Ok(None) => {
                        lock(&self.entries).insert(place, entry.clone());
                        self.detail(format!("{}: as in {}", asked.what, held.name));
                        return Some((entry.made.clone(), held.repository.clone()));
                    }
                    Ok(Some(why)) => self.detail(format!("{}: not as in {}: {why}", asked.what, held.name)),
                    Err(error) => self.warn(held, &error),
                }
            }
        }
        None
    }

    /// Why what an entry says isn't what would be made now; none if it is.
    async fn fits(
        &self,
        asked: &Asked,
        git: Option<Digest>,
        held: &Held,
        entry: &Entry,
    ) -> Result<Option<&'static str>> {
        if entry.key != asked.key {
            return Ok(Some("it was built otherwise"));
        }
        if entry.git != git {
            return Ok(Some("git says something else"));
        }
        let Some(snapshot) = entry.files.home(|name| asked.portable.path(name)) else {
            return Ok(Some("it names files that can't be here"));
        };
        if !self.memo.holds(snapshot, &asked.what).await? {
            return Ok(Some("files are others"));
        }
        self.is_whole(asked, held, &entry.made.layer).await
    }

    /// Whether the image for a platform is there with all that belongs to it, the layer that was `made` among it.
    async fn is_whole(&self, asked: &Asked, held: &Held, made: &Written) -> Result<Option<&'static str>> {
        let own = |p: &Option<Platform>| p.as_ref().is_none_or(|p| *p == asked.platform);
        let Some((_, image)) = held.images.iter().find(|(platform, _)| own(platform)) else {
            return Ok(Some("it has no image for the platform"));
        };
        let bytes = self.read(&held.repository, image).await?;
        let manifest = document::manifest(&bytes, &image.media_type)?;
        let config = self.read(&held.repository, &manifest.config).await?;
        let config: ImageConfig = json::from_bytes(&config, "the config")?;
        let layer = made.descriptor();
        let same = |other: &Descriptor| {
            (other.digest, other.size, &other.media_type) == (layer.digest, layer.size, &layer.media_type)
        };
        let place = manifest.layers.iter().position(same);
        if place.and_then(|place| config.rootfs.diff_ids.get(place)) != Some(&made.diff_id) {
            return Ok(Some("the layer isn't of that image"));
        }
        let needed = manifest.layers.iter().filter(|d| !d.media_type.is_foreign());
        let there = needed.map(|d| self.cx.registry.has_blob(&held.repository, d));
        let whole = try_join_all(there).await?.into_iter().all(|there| there);
        Ok((!whole).then_some("the registry lacks a part of that image"))
    }

    async fn read(&self, from: &Repository, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let stream = self.cx.registry.fetch(from, descriptor).await?;
        stream
            .try_fold(Vec::new(), |mut all, piece| async move {
                all.extend_from_slice(&piece);
                Ok(all)
            })
            .await
    }

    /// What the tags of an image hold, asked once.
    async fn held(&self, image: usize) -> &[Held] {
        let Some(cell) = self.held.get(image) else { return &[] };
        cell.get_or_init(|| async {
            let plan = &self.plan.images[image];
            let Some(repository) = &plan.name.repository else { return Vec::new() };
            let looks = plan.tags.iter().map(|tag| async move {
                let name = format!("{repository}:{tag}");
                self.look(repository, tag, &name).await.unwrap_or_else(|error| {
                    let why =
                        format!("what {name} was made from can't be read, so everything is built: {error}");
                    self.cx.observer.on(Event::Warning(why));
                    None
                })
            });
            let mut seen = BTreeSet::new();
            let found = join_all(looks).await.into_iter().flatten();
            found.filter(|held| seen.insert(held.root.digest)).collect()
        })
        .await
    }

    async fn look(&self, from: &Repository, tag: &Tag, name: &str) -> Result<Option<Held>> {
        let registry = &self.cx.registry;
        let Some((root, bytes)) = registry.tagged(from, tag).await? else { return Ok(None) };
        let images = if root.media_type.is_index() {
            let index: ImageIndex = document::index(&bytes, &root.media_type)?;
            let images = index.manifests.into_iter().filter(|d| !d.is_attestation());
            images.map(|d| (d.platform.clone(), d)).filter(|(platform, _)| platform.is_some()).collect()
        } else {
            vec![(None, root.clone())]
        };
        let listed = registry.referrers(from, &root.digest, Some(&MediaType::INPUTS)).await?;
        let newest = Inputs::newest(listed).into_iter().take(MAX_DOCUMENTS);
        let documents = join_all(newest.map(|artifact| async move {
            let read = self.document(from, &artifact).await;
            read.unwrap_or_else(|error| {
                self.detail(format!("{} in {name}: {error}", artifact.digest));
                None
            })
        }));
        let documents = documents.await.into_iter().flatten().collect();
        Ok(Some(Held { repository: from.clone(), name: name.to_owned(), root, images, documents }))
    }

    async fn document(&self, from: &Repository, artifact: &Descriptor) -> Result<Option<Inputs>> {
        let bytes = self.read(from, artifact).await?;
        let manifest: ImageManifest = document::manifest(&bytes, &artifact.media_type)?;
        let Some((layer, bundle)) = Inputs::layers(&manifest) else { return Ok(None) };
        if let Some(key) = &self.key {
            let is_vouched = match bundle {
                Some(bundle) => Inputs::is_vouched(&self.read(from, bundle).await?, &layer.digest, key),
                None => false,
            };
            if !is_vouched {
                let what = "read what was read before";
                return Err(Error::new(Kind::Attestation, what, "it isn't signed by the key that counts"));
            }
        }
        Inputs::read(&self.read(from, layer).await?).map(Some)
    }

    /// What of `paths` is to be looked at before a place is made, so that it can be told to others.
    pub(super) fn paths(&self, place: Place, paths: &Paths) -> Option<Paths> {
        let asked = self.asked.get(&place)?;
        Some(paths.only(|path| asked.portable.name(path) != Away::Implied))
    }

    /// Takes note of what was made for a place, which began at `begun`, from `paths`.
    pub(super) async fn made(
        &self,
        place: Place,
        paths: &Paths,
        begun: Moment,
        git: Option<&Stamped>,
        made: &Remembered,
    ) {
        let Some(asked) = self.asked.get(&place) else { return };
        let Some(paths) = self.paths(place, paths) else { return };
        let why = match self.memo.take(paths, begun).await {
            Ok(Ok(snapshot)) => return self.tell(place, asked, &snapshot, git, made),
            Ok(Err(doubt)) => format!("{}: {}", doubt.path.display(), doubt.why),
            Err(error) => error.to_string(),
        };
        self.detail(format!("what {} was made from isn't told: {why}", asked.what));
    }

    /// Takes note of what was made before on this machine for a place, from the same as would be now.
    pub(super) fn known(&self, place: Place, source: &Source, made: &Remembered) {
        if let Some(asked) = self.asked.get(&place) {
            self.tell(place, asked, &source.snapshot, source.git.as_ref(), made);
        }
    }

    fn tell(&self, place: Place, asked: &Asked, from: &Snapshot, git: Option<&Stamped>, made: &Remembered) {
        let git = git.map(|stamped| Digest::of(stamped.state.as_bytes()));
        match from.away(|path| asked.portable.name(path)) {
            Ok(files) => {
                let entry = Entry { key: asked.key, git, files, made: made.clone() };
                lock(&self.entries).insert(place, entry);
            }
            Err(path) => {
                let (what, path) = (&asked.what, path.display());
                self.detail(format!("what {what} was made from isn't told: {path} is outside of the module"));
            }
        }
    }

    /// The graph of an image, with what its programs were made from if that isn't beside it yet, signed if somebody signs.
    ///
    /// # Errors
    /// As [`Inputs::referrer`].
    pub(super) async fn with_inputs(
        &self,
        image: usize,
        graph: &Graph,
        signer: Option<&Signer>,
    ) -> Result<Graph> {
        let platforms = {
            let entries = lock(&self.entries);
            let of_image = entries.iter().filter(|((number, _), _)| *number == image);
            let platform = |place| self.asked.get(place).map(|asked| asked.platform.to_string());
            of_image.filter_map(|(place, entry)| Some((platform(place)?, entry.clone()))).collect()
        };
        let inputs = Inputs { platforms };
        // What we wouldn't believe ourselves isn't told to others.
        let counts = self.key.is_none() || self.key == signer.map(Signer::public);
        if inputs.platforms.is_empty() || !counts {
            return Ok(graph.clone());
        }
        let root = &graph.root.descriptor;
        let is_there = |held: &Held| held.root.digest == root.digest && held.documents.contains(&inputs);
        if self.held(image).await.iter().any(is_there) {
            return Ok(graph.clone());
        }
        match inputs.referrer(root, self.cx.now, signer)? {
            Some(referrer) => Ok(graph.clone().with_referrers(vec![referrer])),
            None => {
                self.detail(format!("what {} was made from isn't told: it is too much", graph.name.shown()));
                Ok(graph.clone())
            }
        }
    }

    fn detail(&self, text: String) {
        self.cx.observer.on(Event::Detail(text));
    }

    fn warn(&self, held: &Held, error: &Error) {
        let text = format!("{} isn't used as a cache: {error}", held.name);
        self.cx.observer.on(Event::Warning(text));
    }
}

/// What is asked about a place. None where the answer would mean nothing on another machine.
fn question(
    go: &Go,
    plan: &Plan,
    publisher: &Publisher<'_>,
    at: Place,
    platform: &Platform,
    maker: Digest,
) -> Option<Asked> {
    let image = plan.images.get(at.0)?;
    let mut groups = plan.groups.iter().filter(|g| g.packages.iter().any(|p| place(p) == at));
    let (Some(group), None) = (groups.next(), groups.next()) else { return None };
    if !go::can_judge(&go.toolchain.settings, group) {
        return None;
    }
    let portable = Portable::of(go, group, publisher.cx.env.all())?;
    let root = match go::may_stamp(go, group) {
        true => repository(&group.dir)?.root,
        false => None,
    };
    let stamped = root.as_ref().map(|_| group.dir.clone());
    let repository = match root {
        Some(root) => Some(portable.relative(&root)?),
        None => None,
    };
    let mut programs: Vec<_> = group.packages.iter().filter(|p| place(p) == at).collect();
    programs.sort_by_key(|p| p.program);
    let programs: Vec<&str> = programs.iter().map(|p| p.import_path.as_str()).collect();
    let files: Vec<String> = image.programs.iter().map(|p| p.file(&platform.os)).collect();
    let question = serde_json::to_vec(&(
        (maker, portable.settings(), repository),
        (programs, files, &image.programs_dir, image.capabilities.map(|c| c.to_vec()), &platform.os),
        publisher.settings.compression.encoder_id(),
    ));
    Some(Asked {
        what: format!("{} for {platform}", image.name.program),
        platform: platform.clone(),
        portable,
        key: Digest::of(&question.ok()?),
        stamped,
    })
}
