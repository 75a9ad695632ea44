//! `gimg outdated`: which images stand on an old base, were compiled by an old Go, or hold modules with a known fault. What
//! is attached to an image says what it is made of; where nothing is, its program does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::attest::{self, Advisory, BUILD_TYPE, Claims, Holds, PROVENANCE, STDLIB};
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::oci::{Descriptor, Digest, Reference, annotation, document};
use crate::ops::home::Home;
use crate::ops::{
    Context, base, blocking, claimed, contained, each, history, modules, opened, signatures, verify,
};
use crate::report::{BaseState, Outdated, OutdatedBase, OutdatedGo, OutdatedImage, Vulnerability};
use crate::settings::Base;
use crate::settings::subject::Subject;
use crate::sign::PublicKey;
use crate::{fs, go};

/// The largest entry of a database that is read, in bytes.
const MAX_ENTRY: u64 = 4 << 20;
/// Where its entries are in what others publish: the database's own zip, and its module.
const PLACES: &[&str] = &["ID", "data/osv"];

/// What the user wants to know.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The images; of a repository without a tag `latest`.
    pub images: Vec<Reference>,
    /// Whether all tags of their repositories are meant.
    pub all_tags: bool,
    /// The file of a public key: only what it signed counts of what is attached.
    pub key: Option<PathBuf>,
    /// The directory of a vulnerability database.
    pub database: Option<PathBuf>,
    /// Where the user is.
    pub cwd: PathBuf,
    /// The go command.
    pub go: PathBuf,
}

/// What is known of an image.
struct Found {
    image: String,
    digest: Digest,
    signed: Option<bool>,
    bases: BTreeSet<Stands>,
    go: Option<String>,
    /// Its modules and their versions, the standard library among them; None if nothing names any.
    modules: Option<BTreeSet<(String, String)>>,
    holds: Holds,
}

/// What an image stands on, as is said of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stands {
    name: Option<String>,
    digest: Option<Digest>,
}

/// Looks at the images. Nothing is changed.
///
/// # Errors
/// An image that isn't there, a registry that gives no answer, or a database that can't be read.
pub async fn outdated(cx: &Context, asked: &Asked) -> Result<Outdated> {
    let database = match asked.database.clone() {
        Some(dir) => Some(blocking(move || entries(&dir)).await?),
        None => None,
    };
    let key = signatures::key_of(asked.key.as_deref()).await?;
    let images = images(cx, asked).await?;
    let key = key.as_ref();
    let reads = images.iter().map(|image| async move {
        look(cx, image, key, asked.database.is_some()).await.map_err(|e| e.within(format!("look at {image}")))
    });
    let found: Vec<Found> = each(reads).await?;
    let names: BTreeSet<&String> =
        found.iter().flat_map(|f| &f.bases).filter_map(|b| b.name.as_ref()).collect();
    let stand = names.into_iter().map(|name| async move { Ok((name.clone(), Now::of(cx, name).await?)) });
    let now: BTreeMap<String, Now> = each(stand).await?.into_iter().collect();
    let releases = match found.iter().any(|f| f.go.is_some()) {
        true => releases(cx, asked).await,
        false => None,
    };
    let images = found.into_iter().map(|found| judge(found, &now, releases.as_deref(), database.as_deref()));
    Ok(Outdated { images: images.collect() })
}

/// The images that are meant, each once.
async fn images(cx: &Context, asked: &Asked) -> Result<Vec<Reference>> {
    let mut images: Vec<Reference> = Vec::new();
    for image in &asked.images {
        if !asked.all_tags {
            images.push(image.clone());
            continue;
        }
        let mut named: Vec<_> =
            history::names(cx, &image.repository).await?.into_values().flatten().collect();
        named.sort_by_cached_key(|tag| history::counted(tag.as_str()));
        let of_tag = |tag| Reference { repository: image.repository.clone(), tag: Some(tag), digest: None };
        images.extend(named.into_iter().map(of_tag));
    }
    let mut seen = BTreeSet::new();
    images.retain(|image| seen.insert(image.to_string()));
    Ok(images)
}

/// What an image is made of.
async fn look(cx: &Context, image: &Reference, key: Option<&PublicKey>, precise: bool) -> Result<Found> {
    let root = opened::root(cx, &Subject::Registry(image.clone())).await?;
    let children = match root.index {
        Some(_) => root.images().into_iter().map(|(descriptor, _)| descriptor).collect(),
        None => vec![root.descriptor.clone()],
    };
    let (mut said, signed) = said(cx, image, &root.descriptor, &children, key, precise).await?;
    if said.bases.is_empty() {
        let home = Home::Registry(cx.origin(), image.repository.clone());
        for child in &children {
            let manifest = document::manifest(&home.document(child).await?, &child.media_type)?;
            let name = manifest.annotations.get(annotation::BASE_NAME).cloned();
            let digest = manifest.annotations.get(annotation::BASE_DIGEST).and_then(|d| d.parse().ok());
            if name.is_some() || digest.is_some() {
                said.bases.insert(Stands { name, digest });
            }
        }
    }
    if said.go.is_none() || precise && said.packages.is_none() {
        let text = format!("what is attached to {image} doesn't say enough: its program is read");
        cx.observer.on(Event::Detail(text));
        let mut packages = Some(BTreeSet::new());
        for program in contained::programs(cx, &root.open(None).await?).await? {
            let Some(info) = &program.header.build_info else { continue };
            let made_of = modules::of(cx, None, info, &program.file).await?;
            let all = made_of.deps.iter().chain([&made_of.main]);
            said.modules.extend(all.filter_map(|m| Some((m.path.to_lowercase(), m.version.clone()?))));
            let own = made_of.packages.map(|own| own.into_values().flatten());
            packages = packages.zip(own).map(|(all, own)| all.into_iter().chain(own).collect());
            said.go.get_or_insert(made_of.go);
        }
        said.packages = packages.filter(|_| said.go.is_some());
    }
    let systems = match (&root.index, precise) {
        (_, false) => None,
        (Some(_), _) => Some(root.images().into_iter().map(|(_, platform)| platform.os).collect()),
        (None, _) => Some(BTreeSet::from([root.open(None).await?.platform.os])),
    };
    let mut linked = said.modules;
    linked.extend(said.go.as_deref().and_then(attest::of_go).map(|version| (STDLIB.to_owned(), version)));
    Ok(Found {
        image: image.to_string(),
        digest: root.descriptor.digest,
        signed,
        bases: said.bases,
        go: said.go,
        modules: (!linked.is_empty()).then_some(linked),
        holds: Holds { packages: said.packages, systems },
    })
}

/// What documents say.
#[derive(Default)]
struct Said {
    bases: BTreeSet<Stands>,
    go: Option<String>,
    modules: BTreeSet<(String, String)>,
    packages: Option<BTreeSet<String>>,
}

/// What is said about an image, and as far as that isn't enough about its `children`; whether the key signed it. To be
/// `precise` all that is said of packages counts.
async fn said(
    cx: &Context,
    image: &Reference,
    root: &Descriptor,
    children: &[Descriptor],
    key: Option<&PublicKey>,
    precise: bool,
) -> Result<(Said, Option<bool>)> {
    let home = Home::Registry(cx.origin(), image.repository.clone());
    let place = (&image.repository, &home);
    let mut said = Said::default();
    let hear = |kind: &str, predicate: &Value| said.hear(kind, predicate, precise);
    let signed = claimed::documents(cx, place, root, key, hear).await?;
    let mut packages = Some(BTreeSet::new());
    for child in children.iter().filter(|child| child.digest != root.digest) {
        if said.go.is_some() && !precise {
            break;
        }
        let mut own = Said::default();
        let hear = |kind: &str, predicate: &Value| own.hear(kind, predicate, precise);
        claimed::documents(cx, place, child, key, hear).await?;
        said.go = said.go.or(own.go);
        said.modules.extend(own.modules);
        // One that says nothing of them may hold any.
        packages = packages.zip(own.packages).map(|(all, own)| all.into_iter().chain(own).collect());
    }
    said.packages = said.packages.or(packages.filter(|all| !all.is_empty()));
    Ok((said, signed))
}

impl Said {
    /// Takes in what a document says; whether that is enough.
    fn hear(&mut self, predicate_type: &str, predicate: &Value, precise: bool) -> bool {
        let claims = Claims::read(predicate_type, predicate);
        if claims.go.is_none() {
            return false;
        }
        self.go = self.go.take().or(claims.go);
        self.modules.extend(attest::linked(predicate));
        self.packages = self.packages.take().or_else(|| attest::packages(predicate));
        if predicate_type == PROVENANCE && predicate["buildDefinition"]["buildType"] == BUILD_TYPE {
            let platforms = verify::recipe(predicate).map(|recipe| recipe.platforms).unwrap_or_default();
            self.bases
                .extend(platforms.into_iter().map(|p| Stands { name: p.base.name, digest: p.base.digest }));
        }
        !precise || self.packages.is_some()
    }
}

/// What the name of a base stands for now.
enum Now {
    /// One that is built in, or none.
    BuiltIn(String),
    /// An image, and those in it.
    Image(Digest, BTreeSet<Digest>),
    /// Nothing.
    Gone,
    /// Always the same.
    Pinned,
    /// It isn't a name that others know.
    Unknown,
}

impl Now {
    async fn of(cx: &Context, name: &str) -> Result<Self> {
        // An older gimg had other data than this one.
        let name = if name.starts_with("static@") { "static" } else { name };
        match Base::parse(name) {
            Ok(Base::Static(_)) => Ok(Now::BuiltIn(format!("static@{}", crate::base::VERSION))),
            Ok(Base::Scratch) => Ok(Now::BuiltIn("scratch".to_owned())),
            Ok(Base::Registry(Reference { tag: None, .. })) => Ok(Now::Pinned),
            Ok(Base::Registry(reference)) => {
                let tagged = Reference { digest: None, ..reference };
                let (root, bytes) = match base::root_of(cx, &tagged, None).await {
                    Ok(found) => found,
                    Err(error) if error.kind() == Kind::Base => return Ok(Now::Gone),
                    Err(error) => return Err(error),
                };
                let below = match root.media_type.is_index() {
                    true => document::index(&bytes, &root.media_type)?.manifests,
                    false => Vec::new(),
                };
                Ok(Now::Image(root.digest, below.into_iter().map(|d| d.digest).collect()))
            }
            Ok(_) | Err(_) => Ok(Now::Unknown),
        }
    }

    /// How a base is whose name stands for this, and what its name stands for if that is another.
    fn judge(&self, name: &str, digest: Option<&Digest>) -> (BaseState, Option<String>) {
        match (self, digest) {
            (Now::BuiltIn(now), _) if now == name => (BaseState::Current, None),
            (Now::BuiltIn(now), _) => (BaseState::Old, Some(now.clone())),
            (Now::Image(root, below), Some(digest)) if root == digest || below.contains(digest) => {
                (BaseState::Current, None)
            }
            (Now::Image(root, _), Some(_)) => (BaseState::Old, Some(root.to_string())),
            (Now::Gone, _) => (BaseState::Gone, None),
            (Now::Pinned, _) => (BaseState::Pinned, None),
            (Now::Unknown, _) | (Now::Image(..), None) => (BaseState::Unknown, None),
        }
    }
}

/// The releases of Go, if they can be known.
async fn releases(cx: &Context, asked: &Asked) -> Option<Vec<String>> {
    let ask = async {
        let (temporary, dir) = (cx.scratch.directory()?, cx.scratch.directory()?);
        let go = go::find(&asked.go, &asked.cwd, cx.env.all(), temporary, cx.guardian.clone()).await?;
        go::releases(&go, &dir).await
    };
    match ask.await {
        Ok(releases) if !releases.is_empty() => Some(releases),
        Ok(_) => None,
        Err(error) => {
            let text = format!("whether there is a newer Go isn't known: {error}");
            cx.observer.on(Event::Warning(text));
            None
        }
    }
}

/// The entries of a database: one file each, in the directory or where it is published.
fn entries(dir: &Path) -> Result<Vec<Advisory>> {
    let bad = |why: String, at: &Path| {
        Error::new(Kind::Input, "read the vulnerability database", why).at(at.display())
    };
    let place = PLACES.iter().map(|place| dir.join(place)).find(|place| fs::is_directory(place));
    let place = place.unwrap_or_else(|| dir.to_owned());
    let names = fs::names(&place).map_err(|e| bad(e.to_string(), &place))?;
    let files = names.into_iter().map(|name| place.join(name));
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let (mut entries, mut count) = (Vec::new(), 0_usize);
    for path in files {
        let bytes = fs::read_small(&path, MAX_ENTRY).map_err(|e| bad(e.to_string(), &path))?;
        entries.extend(Advisory::read(&bytes).map_err(|e| e.at(path.display()))?);
        count += 1;
    }
    match count {
        0 => Err(bad("it holds no entries".to_owned(), &place)
            .hint("it is a directory of files like GO-2024-2687.json: of golang.org/x/vulndb, data/osv")),
        _ => Ok(entries),
    }
}

/// What of an image is old.
fn judge(
    found: Found,
    now: &BTreeMap<String, Now>,
    releases: Option<&[String]>,
    database: Option<&[Advisory]>,
) -> OutdatedImage {
    let bases = found.bases.into_iter().map(|Stands { name, digest }| {
        let known = name.as_ref().and_then(|name| Some((name, now.get(name)?)));
        let (state, now) =
            known.map_or((BaseState::Unknown, None), |(name, now)| now.judge(name, digest.as_ref()));
        OutdatedBase { name: name.unwrap_or_default(), state, digest, now }
    });
    let bases: Vec<OutdatedBase> = bases.collect();
    let go = found.go.map(|version| {
        let newer = releases.and_then(|releases| attest::newer_go(&version, releases));
        let supported = releases.map(|_| newer.as_ref().is_none_or(|n| n.looked_after));
        let supported = supported.filter(|_| attest::of_go(&version).is_some());
        OutdatedGo { version, newer: newer.map(|n| n.version), supported }
    });
    let holds = found.holds;
    let vulnerabilities = database.zip(found.modules).map(|(database, modules)| {
        let mut hits: Vec<Vulnerability> = Vec::new();
        for (module, version) in &modules {
            let of_module =
                database.iter().filter_map(|entry| Some((entry, entry.hits(module, version, &holds)?)));
            hits.extend(of_module.map(|(entry, hit)| Vulnerability {
                id: entry.id.clone(),
                aliases: entry.aliases.clone(),
                summary: entry.summary.clone(),
                module: module.clone(),
                version: version.clone(),
                fixed: hit.fixed,
                packages: hit.packages,
            }));
        }
        hits.sort_by(|a, b| (&a.module, &a.id).cmp(&(&b.module, &b.id)));
        hits
    });
    let outdated = bases.iter().any(|base| matches!(base.state, BaseState::Old | BaseState::Gone))
        || go.as_ref().is_some_and(|go| go.newer.is_some())
        || vulnerabilities.as_ref().is_some_and(|all| !all.is_empty());
    let Found { image, digest, signed, .. } = found;
    OutdatedImage { image, digest, outdated, signed, bases, go, vulnerabilities }
}
