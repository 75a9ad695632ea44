//! The endpoints of the distribution-spec.

use super::message::{Reply, Request};
use super::store::{Repo, State, digest_like};

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
        self.clock += 1;
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
            (End::Manifest(_), "PUT") if request.body.len() > self.config.max_manifest => {
                Reply::error(413, "SIZE_INVALID", "the manifest is too large")
            }
            (End::Manifest(name), "PUT") => {
                if let Some(reply) = self.precondition(request, repo, name) {
                    return reply;
                }
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

    pub(super) fn repo(&mut self, name: &str) -> Option<&mut Repo> {
        self.repos.get_mut(name)
    }

    pub(super) fn digest_header(&self, reply: Reply, digest: &str) -> Reply {
        if self.config.digest_header { reply.with("docker-content-digest", digest) } else { reply }
    }

    fn get_manifest(&mut self, request: &Request, repo: &str, name: &str) -> Reply {
        let unknown = || Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
        let Some(store) = self.repos.get(repo) else { return unknown() };
        let digest = store.tags.get(name).map_or(name, String::as_str).to_owned();
        let manifest = store.manifests.get(&digest).filter(|_| store.shows(&digest, self.clock)).cloned();
        let Some(manifest) = manifest else { return unknown() };
        let accepts = request.headers.get_all("accept").iter().filter_map(|v| v.to_str().ok());
        if !accepts.flat_map(|v| v.split(',')).any(|v| v.trim() == manifest.media_type) {
            return Reply::error(404, "MANIFEST_UNKNOWN", "the client doesn't accept the manifest's type");
        }
        let reply = Reply::new(200).body(&manifest.media_type, manifest.bytes);
        let reply = if self.config.etags { reply.with("etag", format!("\"{digest}\"")) } else { reply };
        self.digest_header(reply, &digest)
    }

    /// The answer to a manifest that should only replace another one than that which is there (RFC 9110, 13.1).
    fn precondition(&self, request: &Request, repo: &str, name: &str) -> Option<Reply> {
        let now = self.repos.get(repo).and_then(|r| r.tags.get(name)).map(|digest| format!("\"{digest}\""));
        let fits = match (request.header("if-match"), request.header("if-none-match")) {
            _ if !self.config.etags => true,
            (Some("*"), _) => now.is_some(),
            (Some(wanted), _) => now.as_deref() == Some(wanted),
            (None, Some("*")) => now.is_none(),
            _ => true,
        };
        (!fits).then(|| Reply::error(412, "DENIED", "the manifest has changed"))
    }

    /// Removes a tag or, by digest, a manifest with its tags; whether it was there.
    pub(super) fn remove_manifest(&mut self, repo: &str, name: &str) -> bool {
        let Some(store) = self.repo(repo) else { return false };
        if name.contains(':') {
            store.tags.retain(|_, digest| digest != name);
            return store.manifests.remove(name).is_some();
        }
        store.tags.remove(name).is_some()
    }

    fn delete_manifest(&mut self, repo: &str, name: &str) -> Reply {
        if self.repo(repo).is_none() {
            return Reply::error(404, "NAME_UNKNOWN", "no such name");
        }
        if self.remove_manifest(repo, name) {
            return Reply::new(202);
        }
        Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown")
    }

    fn get_blob(&mut self, request: &Request, repo: &str, digest: &str) -> Reply {
        let clock = self.clock;
        let Some(store) = self.repo(repo) else { return Reply::error(404, "NAME_UNKNOWN", "no such name") };
        if let Some(size) = store.lost.get(digest).filter(|_| request.method == "HEAD") {
            let reply = Reply::new(200).with("content-length", size.to_string());
            return self.digest_header(reply, digest);
        }
        let blob = store.blobs.get(digest).filter(|_| store.shows(digest, clock)).cloned();
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
