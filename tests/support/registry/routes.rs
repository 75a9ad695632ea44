//! The endpoints of the distribution-spec.

use super::store::{Repo, Session, State, digest_like, sha256};
use super::{Reply, Request};

/// The part of a path after the repository.
enum End<'a> {
    Manifest(&'a str),
    Blob(&'a str),
    Upload(&'a str),
    Tags,
    Referrers(&'a str),
}

fn split(path: &str) -> Option<(&str, End<'_>)> {
    let path = path.strip_prefix("/v2/")?;
    if let Some(repo) = path.strip_suffix("/tags/list") {
        return Some((repo, End::Tags));
    }
    let at = |part: &str| path.rfind(part).map(|i| (&path[..i], &path[i + part.len()..]));
    if let Some((repo, id)) = at("/blobs/uploads/") {
        return Some((repo, End::Upload(id)));
    }
    if let Some((repo, digest)) = at("/blobs/") {
        return Some((repo, End::Blob(digest)));
    }
    if let Some((repo, digest)) = at("/referrers/") {
        return Some((repo, End::Referrers(digest)));
    }
    at("/manifests/").map(|(repo, name)| (repo, End::Manifest(name)))
}

fn is_tag(name: &str) -> bool {
    name.parse::<gimg::oci::Tag>().is_ok()
}

impl State {
    /// Carries out a request.
    pub(super) fn handle(&mut self, request: &Request) -> Reply {
        if request.path == "/token" {
            return self.token(request);
        }
        if matches!(&*request.path, "/v2" | "/v2/") {
            return self.forbidden(request, "", "pull").unwrap_or_else(|| Reply::new(200));
        }
        let Some((repo, end)) = split(&request.path) else {
            return Reply::error(404, "UNSUPPORTED", "no such endpoint");
        };
        let name_ok = format!("r.io/{repo}").parse::<gimg::oci::Repository>().is_ok();
        if !name_ok {
            return Reply::error(400, "NAME_INVALID", "not a repository name");
        }
        let action = match &*request.method {
            "GET" | "HEAD" if !matches!(end, End::Upload(_)) => "pull",
            _ => "push",
        };
        if let Some(reply) = self.forbidden(request, repo, action) {
            return reply;
        }
        if request.body.len() > self.config.max_body {
            return Reply::error(413, "SIZE_INVALID", "the body is too large");
        }
        match (end, &*request.method) {
            (End::Manifest(name), "GET" | "HEAD") => self.get_manifest(request, repo, name),
            (End::Manifest(name), "PUT") => {
                if !name.contains(':') && !is_tag(name) {
                    return Reply::error(400, "TAG_INVALID", "not a tag");
                }
                let media_type = request.header("content-type").unwrap_or_default().to_owned();
                self.put_manifest(repo, name, &media_type, &request.body)
            }
            (End::Manifest(name), "DELETE") => self.delete_manifest(repo, name),
            (End::Blob(digest), "GET" | "HEAD") => self.get_blob(request, repo, digest),
            (End::Blob(digest), "DELETE") => match self.repo(repo).and_then(|r| r.blobs.remove(digest)) {
                Some(_) => Reply::new(202),
                None => Reply::error(404, "BLOB_UNKNOWN", "no such blob"),
            },
            (End::Upload(""), "POST") => self.open(request, repo),
            (End::Upload(id), method) => self.upload(request, repo, id, method),
            (End::Tags, "GET") => self.list(request, repo),
            (End::Referrers(digest), "GET") if self.config.referrers => {
                if digest_like(digest, b"").is_none() {
                    return Reply::error(400, "DIGEST_INVALID", "not a digest");
                }
                self.referrers(repo, digest, request.param("artifactType").as_deref())
            }
            (End::Referrers(_), "GET") => Reply::error(404, "UNSUPPORTED", "no referrers here"),
            _ => Reply::error(405, "UNSUPPORTED", "method not allowed"),
        }
    }

    fn repo(&mut self, name: &str) -> Option<&mut Repo> {
        self.repos.get_mut(name)
    }

    fn digest_header(&self, reply: Reply, digest: &str) -> Reply {
        if self.config.digest_header { reply.with("docker-content-digest", digest) } else { reply }
    }

    fn get_manifest(&mut self, request: &Request, repo: &str, name: &str) -> Reply {
        let unknown = || Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
        let Some(store) = self.repos.get(repo) else { return unknown() };
        let digest = store.tags.get(name).map_or(name, String::as_str).to_owned();
        let Some(manifest) = store.manifests.get(&digest).cloned() else { return unknown() };
        let accepts = request.headers.get_all("accept").iter().filter_map(|v| v.to_str().ok());
        if !accepts.flat_map(|v| v.split(',')).any(|v| v.trim() == manifest.media_type) {
            return Reply::error(404, "MANIFEST_UNKNOWN", "the client doesn't accept the manifest's type");
        }
        let reply = Reply::new(200).body(&manifest.media_type, manifest.bytes);
        self.digest_header(reply, &digest)
    }

    fn delete_manifest(&mut self, repo: &str, name: &str) -> Reply {
        let Some(store) = self.repo(repo) else { return Reply::error(404, "NAME_UNKNOWN", "no such name") };
        let found = if name.contains(':') {
            store.tags.retain(|_, digest| digest != name);
            store.manifests.remove(name).is_some()
        } else {
            store.tags.remove(name).is_some()
        };
        if found { Reply::new(202) } else { Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown") }
    }

    fn get_blob(&mut self, request: &Request, repo: &str, digest: &str) -> Reply {
        let blob = self.repo(repo).and_then(|r| r.blobs.get(digest).cloned());
        let Some(blob) = blob else { return Reply::error(404, "BLOB_UNKNOWN", "no such blob") };
        let size = blob.len();
        let range = request.header("range").filter(|_| self.config.ranges && request.method == "GET");
        let reply = match range.and_then(|r| r.strip_prefix("bytes=")?.split_once('-')) {
            None => Reply::new(200).body("application/octet-stream", blob),
            Some((start, end)) => {
                let (start, end) = match (start, end) {
                    // `-n` is the last n bytes.
                    ("", last) => (size.saturating_sub(last.parse().unwrap_or(0)), size),
                    (start, end) => (
                        start.parse().unwrap_or(usize::MAX),
                        end.parse::<usize>().map_or(size, |end| size.min(end.saturating_add(1))),
                    ),
                };
                if start >= end {
                    return Reply::new(416).with("content-range", format!("bytes */{size}"));
                }
                let reply = Reply::new(206).body("application/octet-stream", blob.slice(start..end));
                reply.with("content-range", format!("bytes {start}-{}/{size}", end - 1))
            }
        };
        self.digest_header(reply.with("accept-ranges", "bytes"), digest)
    }

    /// `POST blobs/uploads/`: a mount, a whole blob, or a new session.
    fn open(&mut self, request: &Request, repo: &str) -> Reply {
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
        self.next += 1;
        let id = format!("upload-{}", self.next);
        self.sessions.insert(id.clone(), Session { repo: repo.to_owned(), bytes: Vec::new(), step: 0 });
        let reply = Reply::new(202).with("location", self.location(&id)).with("range", "0-0");
        match self.config.min_chunk {
            Some(size) => reply.with("oci-chunk-min-length", size.to_string()),
            None => reply,
        }
    }

    /// Where a session goes on: with signed-looking state that must come back as it is.
    fn location(&self, id: &str) -> String {
        let session = &self.sessions[id];
        format!("/v2/{}/blobs/uploads/{id}?_state=a%2Fb%3D{}", session.repo, session.step)
    }

    fn store(&mut self, repo: &str, digest: &str, bytes: Vec<u8>) -> Reply {
        if digest_like(digest, &bytes).as_deref() != Some(digest) {
            let found = sha256(&bytes);
            return Reply::error(400, "DIGEST_INVALID", &format!("the content is {found}"));
        }
        self.repos.entry(repo.to_owned()).or_default().blobs.insert(digest.to_owned(), bytes.into());
        let reply = Reply::new(201).with("location", format!("/v2/{repo}/blobs/{digest}"));
        self.digest_header(reply, digest)
    }

    /// GET, PATCH, PUT and DELETE of a session.
    fn upload(&mut self, request: &Request, repo: &str, id: &str, method: &str) -> Reply {
        let known = self.sessions.get(id).filter(|s| s.repo == repo);
        let state = known.map(|s| format!("_state=a%2Fb%3D{}", s.step));
        let Some(size) = known.map(|s| s.bytes.len()) else {
            return Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload");
        };
        if !request.query.split('&').any(|pair| Some(pair) == state.as_deref()) {
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
        session.bytes.extend_from_slice(&request.body);
        session.step += 1;
        let size = session.bytes.len();
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

    fn list(&mut self, request: &Request, repo: &str) -> Reply {
        let Some(store) = self.repos.get(repo) else {
            return Reply::error(404, "NAME_UNKNOWN", "no such repository");
        };
        let last = request.param("last");
        let after = store.tags.keys().filter(|tag| last.as_ref().is_none_or(|last| *tag > last));
        let after: Vec<_> = after.cloned().collect();
        let limit = request.param("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
        let page = &after[..limit.min(after.len())];
        let body = serde_json::json!({"name": repo, "tags": page});
        let reply = Reply::new(200).body("application/json", body.to_string());
        match page.last() {
            Some(last) if page.len() < after.len() => {
                let next = format!("</v2/{repo}/tags/list?n={limit}&last={last}>; rel=\"next\"");
                reply.with("link", next)
            }
            _ => reply,
        }
    }
}
