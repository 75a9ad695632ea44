//! What the test registry keeps: repositories that don't see each other's content.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::Value;
use sha2::Digest as _;

use super::message::Reply;
use super::{Auth, auth::Tokens};

/// What the registry can do and what it wants.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Who may do what.
    pub(crate) auth: Auth,
    /// How many requests a token is good for.
    pub(crate) token_uses: usize,
    /// How many seconds a token says that it lives, if it says so.
    pub(crate) token_life: Option<u64>,
    /// The name of the token in the answer to GET.
    pub(crate) token_field: &'static str,
    /// The token endpoint that challenges name, if not the registry's own.
    pub(crate) realm: Option<String>,
    /// Whether requests under another name of this host are like those with a signed URL: they need no
    /// authorization, and may not have one (as at S3).
    pub(crate) signed: bool,
    /// Whether there is a referrers API.
    pub(crate) referrers: bool,
    /// Whether blobs can be mounted.
    pub(crate) mounts: bool,
    /// Whether answers carry `Docker-Content-Digest`.
    pub(crate) digest_header: bool,
    /// Whether GET of a blob heeds `Range`.
    pub(crate) ranges: bool,
    /// The largest body that a request may have.
    pub(crate) max_body: usize,
    /// The largest manifest.
    pub(crate) max_manifest: usize,
    /// The largest body in an upload; more gets 416, as at GHCR.
    pub(crate) max_chunk: usize,
    /// Whether there is PATCH.
    pub(crate) patches: bool,
    /// Whether PATCH answers 201, has stored what came so far as a blob, and PUT after it fails, as at ECR.
    pub(crate) patch_stores: bool,
    /// The start of the state in every upload's location. It must come back byte for byte, so what the query
    /// encoder of some client writes otherwise (as `a%2Bb==`) shuts that client out.
    pub(crate) state: &'static str,
    /// Whether what came of a PATCH or PUT that broke counts, as at distribution.
    pub(crate) keeps_partial: bool,
    /// For how many further requests a blob isn't seen.
    pub(crate) late_blobs: u64,
    /// For how many further requests a manifest isn't seen.
    pub(crate) late_manifests: u64,
    /// Whether manifests have an `ETag`, and `If-Match` is heeded.
    pub(crate) etags: bool,
    /// `OCI-Chunk-Min-Length`.
    pub(crate) min_chunk: Option<usize>,
    /// Whether the tags that exist can be moved.
    pub(crate) mutable_tags: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            auth: Auth::Open,
            token_uses: usize::MAX,
            token_life: Some(300),
            token_field: "token",
            realm: None,
            signed: false,
            referrers: true,
            mounts: true,
            digest_header: true,
            ranges: true,
            max_body: usize::MAX,
            max_manifest: 4 * 1024 * 1024,
            max_chunk: usize::MAX,
            patches: true,
            patch_stores: false,
            state: "a%2Fb%3D",
            keeps_partial: false,
            late_blobs: 0,
            late_manifests: 0,
            etags: false,
            min_chunk: None,
            mutable_tags: true,
        }
    }
}

/// A stored manifest.
#[derive(Clone)]
pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
}

/// One repository.
#[derive(Default)]
pub(super) struct Repo {
    pub(super) blobs: BTreeMap<String, Bytes>,
    pub(super) manifests: BTreeMap<String, Manifest>,
    pub(super) tags: BTreeMap<String, String>,
    /// Blobs that are gone though HEAD says otherwise, with their sizes.
    pub(super) lost: BTreeMap<String, usize>,
    /// After which request content is seen.
    pub(super) hidden: BTreeMap<String, u64>,
}

impl Repo {
    /// Whether content that is there is seen.
    pub(super) fn shows(&self, digest: &str, clock: u64) -> bool {
        self.hidden.get(digest).is_none_or(|from| clock > *from)
    }
}

/// An upload that isn't finished.
pub(super) struct Session {
    pub(super) repo: String,
    pub(super) bytes: Vec<u8>,
    /// Changes with every step; the client must send back the latest.
    pub(super) step: usize,
    /// Whether the last chunk was shorter than the least length: then it must be the last.
    pub(super) short: bool,
}

/// Everything that the registry knows.
pub(super) struct State {
    pub(super) config: Config,
    pub(super) host: String,
    pub(super) repos: BTreeMap<String, Repo>,
    pub(super) sessions: BTreeMap<String, Session>,
    pub(super) tokens: Tokens,
    pub(super) next: usize,
    /// How many requests were handled.
    pub(super) clock: u64,
}

/// The digest of `bytes` by the algorithm of `like`; None if that isn't a digest.
pub(super) fn digest_like(like: &str, bytes: &[u8]) -> Option<String> {
    let (algorithm, hex) = like.split_once(':')?;
    if !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return None;
    }
    let raw = match (algorithm, hex.len()) {
        ("sha256", 64) => sha2::Sha256::digest(bytes).to_vec(),
        ("sha512", 128) => sha2::Sha512::digest(bytes).to_vec(),
        _ => return None,
    };
    let mut text = format!("{algorithm}:");
    for byte in raw {
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

/// The sha256 digest of `bytes`.
pub(super) fn sha256(bytes: &[u8]) -> String {
    gimg::oci::Digest::of(bytes).to_string()
}

/// What a manifest refers to: blobs (what can't be distributed left out) and manifests.
fn references(value: &Value) -> (Vec<String>, Vec<String>) {
    let digests = |field: &str| {
        let list = value[field].as_array().cloned().unwrap_or_default();
        let here = list.into_iter().filter(|d| {
            !d["mediaType"].as_str().is_some_and(|t| t.contains("nondistributable") || t.contains("foreign"))
        });
        here.filter_map(|d| d["digest"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let mut blobs = digests("layers");
    blobs.extend(value["config"]["digest"].as_str().map(str::to_owned));
    (blobs, digests("manifests"))
}

impl State {
    /// An empty registry that is reached at `host`.
    pub(super) fn new(config: Config, host: String) -> Self {
        State {
            config,
            host,
            repos: BTreeMap::new(),
            sessions: BTreeMap::new(),
            tokens: Tokens::default(),
            next: 0,
            clock: 0,
        }
    }

    /// Loses a blob; HEAD doesn't know.
    pub(super) fn lose_blob(&mut self, repo: &str, digest: &str) {
        if let Some(store) = self.repos.get_mut(repo)
            && let Some(blob) = store.blobs.remove(digest)
        {
            store.lost.insert(digest.to_owned(), blob.len());
        }
    }

    /// Every tag of a repository with its digest.
    pub(super) fn tags(&self, repo: &str) -> BTreeMap<String, String> {
        self.repos.get(repo).map(|r| r.tags.clone()).unwrap_or_default()
    }

    /// What tags need but their repositories haven't got.
    pub(super) fn incomplete(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (name, repo) in &self.repos {
            let mut todo: Vec<_> = repo.tags.values().cloned().collect();
            let mut seen = BTreeSet::new();
            while let Some(digest) = todo.pop() {
                if !seen.insert(digest.clone()) {
                    continue;
                }
                let Some(manifest) = repo.manifests.get(&digest) else {
                    missing.push(format!("{name}@{digest}"));
                    continue;
                };
                let value: Value = serde_json::from_slice(&manifest.bytes).unwrap();
                let (blobs, children) = references(&value);
                let lost = blobs.into_iter().filter(|b| !repo.blobs.contains_key(b));
                missing.extend(lost.map(|b| format!("{name}@{b}")));
                todo.extend(children);
            }
        }
        missing
    }

    /// Stores a manifest under a tag or digest, if everything that it names is there.
    pub(super) fn put_manifest(&mut self, repo: &str, name: &str, media_type: &str, bytes: &Bytes) -> Reply {
        let invalid = |why: &str| Reply::error(400, "MANIFEST_INVALID", why);
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return invalid("not JSON") };
        if !value.is_object() || value["schemaVersion"] != 2 {
            return invalid("schemaVersion is not 2");
        }
        if value["mediaType"].as_str().is_some_and(|t| t != media_type) {
            return invalid("Content-Type differs from mediaType");
        }
        let digest = if name.contains(':') {
            match digest_like(name, bytes) {
                Some(digest) if digest == name => digest,
                _ => return Reply::error(400, "DIGEST_INVALID", "the content has another digest"),
            }
        } else {
            sha256(bytes)
        };
        let store = self.repos.entry(repo.to_owned()).or_default();
        let (blobs, children) = references(&value);
        let unknown = |lost: &str| {
            let why = format!("{lost} unknown to repository");
            Reply::detailed(400, "MANIFEST_BLOB_UNKNOWN", &why, Some(lost))
        };
        let seen = |digest: &String| store.shows(digest, self.clock);
        if let Some(lost) = blobs.iter().find(|b| !store.blobs.contains_key(*b) || !seen(b)) {
            return unknown(lost);
        }
        if let Some(lost) = children.iter().find(|c| !store.manifests.contains_key(*c) || !seen(c)) {
            return unknown(lost);
        }
        if !name.contains(':') {
            if !self.config.mutable_tags && store.tags.contains_key(name) {
                return Reply::error(400, "TAG_INVALID", "the tag exists and is immutable");
            }
            store.tags.insert(name.to_owned(), digest.clone());
        }
        let manifest = Manifest { media_type: media_type.to_owned(), bytes: bytes.clone() };
        if store.manifests.insert(digest.clone(), manifest).is_none() && self.config.late_manifests > 0 {
            store.hidden.insert(digest.clone(), self.clock + self.config.late_manifests);
        }
        let mut reply = Reply::new(201).with("location", format!("/v2/{repo}/manifests/{name}"));
        if self.config.digest_header {
            reply = reply.with("docker-content-digest", digest);
        }
        match value["subject"]["digest"].as_str() {
            Some(subject) if self.config.referrers => reply.with("oci-subject", subject),
            _ => reply,
        }
    }

    /// The index of the manifests whose subject is `digest`.
    pub(super) fn referrers(&self, repo: &str, digest: &str, artifact_type: Option<&str>) -> Reply {
        let mut entries = Vec::new();
        for (own, manifest) in self.repos.get(repo).map(|r| &r.manifests).into_iter().flatten() {
            let value: Value = serde_json::from_slice(&manifest.bytes).unwrap();
            if value["subject"]["digest"] != digest {
                continue;
            }
            let kind = value["artifactType"].as_str().filter(|t| !t.is_empty());
            let kind = kind.or(value["config"]["mediaType"].as_str());
            if artifact_type.is_some_and(|wanted| kind != Some(wanted)) {
                continue;
            }
            let mut entry = serde_json::json!({
                "mediaType": manifest.media_type, "digest": own, "size": manifest.bytes.len()
            });
            if let Some(kind) = kind {
                entry["artifactType"] = kind.into();
            }
            if value["annotations"].is_object() {
                entry["annotations"] = value["annotations"].clone();
            }
            entries.push(entry);
        }
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
        let reply = Reply::new(200).body(media_type, index.to_string());
        if artifact_type.is_some() { reply.with("oci-filters-applied", "artifactType") } else { reply }
    }
}
