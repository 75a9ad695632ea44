//! Uploads: mounts, sessions and chunks.

use super::message::{Reply, Request};
use super::store::{Session, State, digest_like, sha256};

/// What GHCR says to a chunk that is too large.
fn too_large(limit: usize) -> String {
    let mib = limit as f64 / f64::from(1 << 20);
    format!("the chunk is larger than the maximum permissible limit of {mib:.2}MiB")
}

impl State {
    /// `POST blobs/uploads/`: a mount, a whole blob, or a new session.
    pub(super) fn open(&mut self, request: &Request, repo: &str) -> Reply {
        if let Some(digest) = request.param("mount")
            && let Some(from) = request.param("from")
            && self.config.mounts
        {
            let readable = self.forbidden(request, &from, "pull").is_none();
            let blob = self.repo(&from).and_then(|r| r.blobs.get(&digest).cloned());
            if let Some(blob) = blob.filter(|_| readable) {
                return self.store(repo, &digest, blob.to_vec());
            }
        }
        if let Some(digest) = request.param("digest") {
            return self.store(repo, &digest, request.body.to_vec());
        }
        let reply = Reply::new(202).with("location", self.session(repo)).with("range", "0-0");
        match self.config.min_chunk {
            Some(size) => reply.with("oci-chunk-min-length", size.to_string()),
            None => reply,
        }
    }

    /// Opens a session; where it is.
    pub(super) fn session(&mut self, repo: &str) -> String {
        self.next += 1;
        let id = format!("upload-{}", self.next);
        let repo = repo.to_owned();
        self.sessions.insert(id.clone(), Session { repo, bytes: Vec::new(), step: 0, short: false });
        self.location(&id)
    }

    /// Where a session goes on: with signed-looking state that must come back as it is.
    fn location(&self, id: &str) -> String {
        let session = &self.sessions[id];
        let (repo, state, step) = (&session.repo, self.config.state, session.step);
        format!("/v2/{repo}/blobs/uploads/{id}?_state={state}{step}")
    }

    fn store(&mut self, repo: &str, digest: &str, bytes: Vec<u8>) -> Reply {
        if digest_like(digest, &bytes).as_deref() != Some(digest) {
            let found = sha256(&bytes);
            return Reply::error(400, "DIGEST_INVALID", &format!("the content is {found}"));
        }
        let until = self.clock + self.config.late_blobs;
        let store = self.repos.entry(repo.to_owned()).or_default();
        if store.blobs.insert(digest.to_owned(), bytes.into()).is_none() && self.config.late_blobs > 0 {
            store.hidden.insert(digest.to_owned(), until);
        }
        store.lost.remove(digest);
        let reply = Reply::new(201).with("location", format!("/v2/{repo}/blobs/{digest}"));
        self.digest_header(reply, digest)
    }

    /// A PATCH or PUT to `path` broke after these bytes.
    pub(super) fn broken(&mut self, path: &str, bytes: &[u8]) {
        if self.config.keeps_partial
            && let Some((_, id)) = path.rsplit_once('/')
            && let Some(session) = self.sessions.get_mut(id)
        {
            session.bytes.extend_from_slice(bytes);
        }
    }

    /// GET, PATCH, PUT and DELETE of a session.
    pub(super) fn upload(&mut self, request: &Request, repo: &str, id: &str, method: &str) -> Reply {
        let known = self.sessions.get(id).filter(|s| s.repo == repo);
        let state = known.map(|s| format!("_state={}{}", self.config.state, s.step));
        let Some(size) = known.map(|s| s.bytes.len()) else {
            return Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload");
        };
        // Who lost an answer only knows an earlier state, and may ask how far the upload is, or end it.
        let early = matches!(method, "GET" | "DELETE");
        let fits = |pair: &str| {
            Some(pair) == state.as_deref()
                || early && pair.starts_with(&format!("_state={}", self.config.state))
        };
        if !request.query.split('&').any(fits) {
            return Reply::error(400, "BLOB_UPLOAD_INVALID", "the location's state is missing");
        }
        let range = |size: usize| format!("0-{}", size.saturating_sub(1));
        match method {
            "GET" => {
                return Reply::new(204).with("location", self.location(id)).with("range", range(size));
            }
            "DELETE" => {
                self.sessions.remove(id);
                return Reply::new(204);
            }
            "PATCH" if !self.config.patches => {
                return Reply::error(405, "UNSUPPORTED", "uploads in chunks are not supported");
            }
            "PATCH" | "PUT" if request.body.len() > self.config.max_chunk => {
                let reply = Reply::error(416, "BLOB_UPLOAD_INVALID", &too_large(self.config.max_chunk));
                return reply.with("location", self.location(id)).with("range", range(size));
            }
            "PUT" if self.config.patch_stores && size > 0 => {
                return Reply::error(400, "BLOB_UPLOAD_INVALID", "the upload is complete already");
            }
            "PATCH" | "PUT" => {}
            _ => return Reply::error(405, "UNSUPPORTED", "method not allowed"),
        }
        if let Some(chunk) = request.header("content-range") {
            let ends = chunk.split_once('-');
            let ends = ends.and_then(|(a, b)| Some((a.parse::<usize>().ok()?, b.parse::<usize>().ok()?)));
            let fits = ends.is_some_and(|(a, b)| a == size && b + 1 == a + request.body.len());
            if !fits {
                let reply = Reply::error(416, "BLOB_UPLOAD_INVALID", "the chunk doesn't follow the last one");
                return reply.with("location", self.location(id)).with("range", range(size));
            }
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload");
        };
        if session.short && !request.body.is_empty() {
            return Reply::error(
                416,
                "BLOB_UPLOAD_INVALID",
                "the chunk before is shorter than the least length",
            );
        }
        session.short = method == "PATCH" && request.body.len() < self.config.min_chunk.unwrap_or(0);
        session.bytes.extend_from_slice(&request.body);
        session.step += 1;
        let size = session.bytes.len();
        if method == "PATCH" && self.config.patch_stores {
            let bytes = session.bytes.clone();
            let mut stored = self.store(repo, &sha256(&bytes), bytes);
            stored.set("location", Some(self.location(id)));
            return stored.with("range", range(size));
        }
        if method == "PATCH" {
            return Reply::new(202).with("location", self.location(id)).with("range", range(size));
        }
        let bytes = std::mem::take(&mut session.bytes);
        self.sessions.remove(id);
        match request.param("digest") {
            Some(digest) => self.store(repo, &digest, bytes),
            None => Reply::error(400, "DIGEST_INVALID", "no digest"),
        }
    }
}
