//! Reading: manifests by tag or digest, and blobs as verified streams that resume when they break.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE,
};

use crate::content::{BoxFuture, ByteStream, Source, bytes_stream, verified};
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::{Descriptor, Digest, MediaType, Reference, Repository, Tag, document};
use crate::registry::failure::{Failure, one_line, shown};
use crate::registry::retry::Tries;
use crate::registry::transport::Answer;
use crate::registry::{Call, Registry, refusal};

/// How many bytes of a blob count as progress between two failures.
const PROGRESS: u64 = 64 * 1024;

/// The four types that a base image can have. Each is a value of its own: some registries don't read lists.
pub(super) fn accept() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for media_type in
        [MediaType::INDEX, MediaType::DOCKER_LIST, MediaType::MANIFEST, MediaType::DOCKER_MANIFEST]
    {
        if let Ok(value) = HeaderValue::from_str(media_type.as_str()) {
            headers.append(ACCEPT, value);
        }
    }
    headers
}

/// The media type of a manifest: what header and body agree on.
fn media_type(header: Option<&str>, body: &[u8]) -> Result<MediaType> {
    let wrong = |why: String| Error::new(Kind::Integrity, "read the manifest", why);
    let claimed = document::claimed(body)?;
    let header = header.map(MediaType::from_header);
    match (header, claimed) {
        (Some(header), Some(body)) if header != body => {
            Err(wrong(format!("it is sent as {header} but says that it is {body}")))
        }
        (Some(media_type), _) | (None, Some(media_type)) => Ok(media_type),
        (None, None) => Err(wrong("it has no media type".to_owned())),
    }
}

impl Source for Registry {
    fn resolve<'a>(&'a self, reference: &'a Reference) -> BoxFuture<'a, Result<(Descriptor, Bytes)>> {
        self.guarded(self.manifest_somewhere(reference))
    }

    fn fetch<'a>(
        &'a self,
        repository: &'a Repository,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<ByteStream>> {
        self.guarded(async move {
            if descriptor.media_type.is_manifest_or_index() {
                let reference =
                    Reference { repository: repository.clone(), tag: None, digest: Some(descriptor.digest) };
                let (_, bytes) = self.manifest_somewhere(&reference).await?;
                return Ok(verified(bytes_stream(bytes), descriptor));
            }
            let stream = self.blob_somewhere(repository, descriptor).await?;
            let known = Arc::clone(&self.0.known);
            Ok(Box::pin(stream.map(move |piece| piece.map_err(|error| known.clean(error)))) as ByteStream)
        })
    }
}

impl Registry {
    /// What `tag` stands for in a repository that is pushed to, if it stands for anything.
    ///
    /// # Errors
    /// No answer, or another one than the manifest and that there is none.
    pub async fn tagged(&self, repository: &Repository, tag: &Tag) -> Result<Option<(Descriptor, Bytes)>> {
        self.guarded(self.look_at(repository, tag.as_str(), true)).await
    }

    /// The same in a repository that is only read, itself and no mirror of it.
    ///
    /// # Errors
    /// As [`Registry::tagged`].
    pub async fn tagged_to_read(
        &self,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Option<(Descriptor, Bytes)>> {
        self.guarded(self.look_at(repository, tag.as_str(), false)).await
    }

    /// The manifest of this digest in a repository that is pushed to, if it has it: itself, and no mirror of it.
    ///
    /// # Errors
    /// As [`Registry::tagged`], and other content than the digest's.
    pub async fn held(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<(Descriptor, Bytes)>> {
        let looking = async {
            let found = self.look_at(repository, &digest.to_string(), true).await?;
            match found.as_ref().map(|(descriptor, _)| descriptor.digest).filter(|found| found != digest) {
                Some(other) => {
                    let what = format!("get {repository}@{digest}");
                    Err(Error::new(Kind::Integrity, what, format!("the content is {other}")))
                }
                None => Ok(found),
            }
        };
        self.guarded(looking).await
    }

    /// The digest of what `tag` stands for in a repository that is only read. HEAD says it, which registries with limits
    /// don't count; where it doesn't, GET does.
    ///
    /// # Errors
    /// As [`Registry::tagged`].
    pub async fn digest_of(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>> {
        let what = format!("look for {repository}:{tag}");
        let mut call = Call::new(Method::HEAD, repository, format!("manifests/{tag}"), what);
        call.headers = accept();
        let asking = async {
            let answer = self.send(&call).await?;
            match answer.digest().filter(|_| answer.status() == 200) {
                Some(digest) => Ok(Some(digest)),
                None => {
                    Ok(self.look_at(repository, tag.as_str(), false).await?.map(|(found, _)| found.digest))
                }
            }
        };
        self.guarded(asking).await
    }

    async fn look_at(
        &self,
        repository: &Repository,
        name: &str,
        push: bool,
    ) -> Result<Option<(Descriptor, Bytes)>> {
        let separator = if name.contains(':') { '@' } else { ':' };
        let what = format!("look for {repository}{separator}{name}");
        let mut call = Call::new(Method::GET, repository, format!("manifests/{name}"), what);
        (call.push, call.headers) = (push, accept());
        let answer = self.send(&call).await?;
        match answer.status() {
            200 => {}
            404 => return Ok(None),
            _ => return Err(refusal(&call, answer).await),
        }
        let header = answer.header(CONTENT_TYPE.as_str()).map(str::to_owned);
        let bytes = answer.read(&call.what, MAX_DOCUMENT).await.map_err(|f| f.error)?;
        let media_type = media_type(header.as_deref(), &bytes).map_err(|e| e.within(&call.what))?;
        Ok(Some((Descriptor::of(media_type, &bytes), bytes)))
    }

    /// Whether a repository that is pushed to has a blob of this digest and size.
    ///
    /// # Errors
    /// No answer, or one that says neither.
    pub async fn has_blob(&self, repository: &Repository, descriptor: &Descriptor) -> Result<bool> {
        let digest = descriptor.digest;
        let what = format!("look for blob {digest} in {repository}");
        let mut call = Call::new(Method::HEAD, repository, format!("blobs/{digest}"), what);
        call.push = true;
        let asking = async {
            let answer = self.send(&call).await?;
            match answer.status() {
                200 => Ok(answer.length().is_none_or(|length| length == descriptor.size)),
                404 => Ok(false),
                _ => Err(refusal(&call, answer).await),
            }
        };
        self.guarded(asking).await
    }

    /// A manifest of this very repository; `patient` if it is asked for again when that may help.
    pub(super) async fn manifest(&self, reference: &Reference, patient: bool) -> Result<(Descriptor, Bytes)> {
        let name = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_string(),
            (None, None) => "latest".to_owned(),
        };
        let what = format!("get {reference}");
        let mut call =
            Call::new(Method::GET, &reference.repository, format!("manifests/{name}"), what.clone());
        call.headers = accept();
        call.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut tries = self.manifest_tries(reference.repository.registry());
        let mut damaged = false;
        let (header, digest, bytes) = loop {
            let failure = match self.document(&call, reference.digest).await {
                Ok(found) => break found,
                Err(failure) if !patient => return Err(failure.error),
                Err(failure) => failure,
            };
            self.pause(&mut tries, once(failure, &mut damaged), &what).await?;
        };
        let media_type = media_type(header.as_deref(), &bytes).map_err(|e| e.within(&what))?;
        Ok((Descriptor::new(media_type, digest, bytes.len() as u64), bytes))
    }

    /// Type (as the registry says), digest and bytes of a manifest, which must have the digest that was `asked` for and
    /// the one that the registry says.
    async fn document(
        &self,
        call: &Call<'_>,
        asked: Option<Digest>,
    ) -> Result<(Option<String>, Digest, Bytes), Failure> {
        let answer = self.try_once(call).await?;
        if answer.status() != 200 {
            return Err(refusal(call, answer).await.into());
        }
        encoded(&answer, &call.what)?;
        let header = answer.header(CONTENT_TYPE.as_str()).map(str::to_owned);
        let claimed = answer.digest();
        let bytes = answer.read(&call.what, MAX_DOCUMENT).await?;
        let digest = Digest::of(&bytes);
        let mismatch = |why: String| Err(Error::new(Kind::Integrity, &call.what, why).into());
        if let Some(asked) = asked.filter(|asked| *asked != digest) {
            return mismatch(format!("asked for {asked}, the content is {digest}"));
        }
        if let Some(claimed) = claimed.filter(|claimed| *claimed != digest) {
            return mismatch(format!("the registry says {claimed}, the content is {digest}"));
        }
        Ok((header, digest, bytes))
    }

    /// A blob of this very repository, as it comes, from a single request.
    pub(super) async fn blob_once(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<ByteStream> {
        let call = blob_call(repository, descriptor);
        let answer = self.try_once(&call).await.map_err(|failure| failure.error)?;
        match answer.status() {
            200 => Ok(answer.stream(call.what)),
            _ => Err(refusal(&call, answer).await),
        }
    }

    /// A blob of this very repository as a verified stream, which is resumed when it breaks. A small one is read first:
    /// if it is wrong, it is read once more.
    pub(super) async fn blob(&self, repository: &Repository, descriptor: &Descriptor) -> Result<ByteStream> {
        if descriptor.size > MAX_DOCUMENT {
            return self.open_blob(repository, descriptor).await;
        }
        let mut first = true;
        loop {
            let mut stream = self.open_blob(repository, descriptor).await?;
            let mut all = BytesMut::new();
            let end = loop {
                match stream.next().await {
                    Some(Ok(bytes)) => all.extend_from_slice(&bytes),
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                }
            };
            match end {
                Ok(()) => return Ok(bytes_stream(all.freeze())),
                Err(error) if error.kind() == Kind::Integrity && std::mem::take(&mut first) => {
                    let what = format!("get blob {} of {repository}", descriptor.digest);
                    let delay = Duration::ZERO;
                    self.0.observer.on(Event::Retry { what, why: error.to_string(), delay });
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn open_blob(&self, repository: &Repository, descriptor: &Descriptor) -> Result<ByteStream> {
        let call = blob_call(repository, descriptor);
        let mut tries = self.blob_tries(repository.registry());
        let answer = loop {
            let failure = match self.try_once(&call).await {
                Ok(answer) if answer.status() != 200 => return Err(refusal(&call, answer).await),
                Ok(answer) => match encoded(&answer, &call.what) {
                    Ok(()) => break answer,
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            self.pause(&mut tries, failure, &call.what).await?;
        };
        fits(&answer, descriptor)?;
        let reading = Reading {
            registry: self.clone(),
            repository: repository.clone(),
            descriptor: descriptor.clone(),
            current: answer.stream(call.what.clone()),
            have: 0,
            ranges: true,
            tries,
            since: 0,
        };
        let resumed = stream::unfold(Some(reading), |reading| async {
            let mut reading = reading?;
            match reading.next().await {
                Some(Ok(bytes)) => Some((Ok(bytes), Some(reading))),
                Some(Err(error)) => Some((Err(error), None)),
                None => None,
            }
        });
        // What is wrong says where it came from: the same content may be right elsewhere.
        let from = format!("pull from {repository}");
        let placed = move |error: Error| match error.kind() {
            Kind::Integrity => error.within(&from),
            _ => error,
        };
        Ok(Box::pin(verified(Box::pin(resumed), descriptor).map(move |piece| piece.map_err(&placed))))
    }
}

fn blob_call<'a>(repository: &'a Repository, descriptor: &Descriptor) -> Call<'a> {
    let digest = descriptor.digest;
    let what = format!("get blob {digest} of {repository}");
    let mut call = Call::new(Method::GET, repository, format!("blobs/{digest}"), what);
    call.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    call
}

/// A failure by which content is damaged is worth a second try from scratch, and only one.
fn once(failure: Failure, damaged: &mut bool) -> Failure {
    if failure.error.kind() == Kind::Integrity && !std::mem::replace(damaged, true) {
        return failure.again();
    }
    failure
}

/// A body in an encoding that nobody asked for, as some proxies send it, has other bytes than those of the digest.
fn encoded(answer: &Answer, what: &str) -> Result<(), Failure> {
    match answer.header(CONTENT_ENCODING.as_str()) {
        None | Some("" | "identity") => Ok(()),
        Some(encoding) => {
            let why = format!("the answer is encoded ({}), though nobody asked", one_line(encoding));
            Err(Failure::broken(Error::new(Kind::Unavailable, what, why).at(shown(answer.url()))))
        }
    }
}

/// A blob being read: where it stands, to go on there when the connection breaks.
struct Reading {
    registry: Registry,
    repository: Repository,
    descriptor: Descriptor,
    current: ByteStream,
    have: u64,
    /// Whether the registry may be asked for a part.
    ranges: bool,
    /// Tries since there was progress.
    tries: Tries,
    /// Bytes since the last failure.
    since: u64,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            let error = match self.current.next().await {
                Some(Ok(bytes)) => {
                    self.have += bytes.len() as u64;
                    self.since += bytes.len() as u64;
                    // A few bytes with every try would be tries without end.
                    if self.since >= PROGRESS {
                        self.tries.progress();
                    }
                    return Some(Ok(bytes));
                }
                None if self.have >= self.descriptor.size => return None,
                None => Error::new(Kind::Unavailable, "read a blob", "the connection ended early"),
                Some(Err(error)) => error,
            };
            let what = format!("get blob {} of {}", self.descriptor.digest, self.repository);
            let mut failure = Failure::broken(error);
            self.since = 0;
            // Errors while reopening count too; progress starts the count again.
            loop {
                if let Err(error) = self.registry.pause(&mut self.tries, failure, &what).await {
                    return Some(Err(error));
                }
                match self.reopen().await {
                    Ok(()) => break,
                    Err(next) => failure = next,
                }
            }
        }
    }

    /// Asks for the rest; a registry that sends everything has its first part skipped.
    async fn reopen(&mut self) -> Result<(), Failure> {
        let mut call = blob_call(&self.repository, &self.descriptor);
        if self.have > 0
            && self.ranges
            && let Ok(value) = HeaderValue::from_str(&format!("bytes={}-", self.have))
        {
            call.headers.insert(RANGE, value);
        }
        let answer = self.registry.try_once(&call).await?;
        let skip = match answer.status() {
            206 if starts_at(&answer, self.have) => 0,
            200 => {
                fits(&answer, &self.descriptor)?;
                self.have
            }
            // Another part than was asked for, or none: the whole, then.
            206 | 416 if std::mem::take(&mut self.ranges) => {
                return Err(Failure::broken(refusal(&call, answer).await));
            }
            // There is no more, and it wasn't all.
            416 if self.have > 0 => return Err(misfit(self.have, &self.descriptor).into()),
            _ => return Err(refusal(&call, answer).await.into()),
        };
        encoded(&answer, &call.what)?;
        self.current = skipped(answer.stream(call.what), skip);
        Ok(())
    }
}

/// Checks the length of a whole blob's answer before its bytes are read. What is encoded has another.
fn fits(answer: &Answer, descriptor: &Descriptor) -> Result<()> {
    match answer.length() {
        Some(length) if length != descriptor.size && answer.header("content-encoding").is_none() => {
            Err(misfit(length, descriptor))
        }
        _ => Ok(()),
    }
}

fn misfit(length: u64, descriptor: &Descriptor) -> Error {
    let why = format!("it has {length} bytes, its descriptor says {}", descriptor.size);
    Error::new(Kind::Integrity, format!("read {}", descriptor.digest), why)
}

/// Whether a 206 begins at byte `start` (RFC 9110, section 14.4).
fn starts_at(answer: &Answer, start: u64) -> bool {
    let range = answer.header("content-range").and_then(|r| r.strip_prefix("bytes "));
    range.and_then(|r| r.split('-').next()).and_then(|s| s.trim().parse().ok()) == Some(start)
}

/// `inner` without its first `skip` bytes.
fn skipped(inner: ByteStream, skip: u64) -> ByteStream {
    let mut left = skip;
    Box::pin(inner.map(move |piece| {
        piece.map(|mut bytes| {
            let cut = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            left -= cut as u64;
            bytes.split_off(cut)
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_body_must_agree() {
        let oci = MediaType::MANIFEST.to_string();
        let body = |t: &str| format!(r#"{{"schemaVersion":2,"mediaType":"{t}","layers":[]}}"#);
        assert_eq!(media_type(Some(&oci), body(&oci).as_bytes()).unwrap(), MediaType::MANIFEST);
        assert_eq!(media_type(None, body(&oci).as_bytes()).unwrap(), MediaType::MANIFEST);
        let with_charset = format!("{oci}; charset=utf-8");
        let plain = br#"{"schemaVersion":2,"layers":[]}"#;
        assert_eq!(media_type(Some(&with_charset), plain).unwrap(), MediaType::MANIFEST);
        for (header, body, kind) in [
            (Some(oci.as_str()), body(MediaType::INDEX.as_str()), Kind::Integrity),
            (None, r#"{"schemaVersion":2}"#.to_owned(), Kind::Integrity),
            (Some(oci.as_str()), r#"{"schemaVersion":1}"#.to_owned(), Kind::Refused),
            (
                Some(oci.as_str()),
                r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#.to_owned(),
                Kind::Integrity,
            ),
            (Some("text/html"), "<html>".to_owned(), Kind::Integrity),
        ] {
            assert_eq!(media_type(header, body.as_bytes()).unwrap_err().kind(), kind, "{body}");
        }
    }
}
