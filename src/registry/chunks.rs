//! A blob in pieces, one PATCH each, going on where the registry says it stands (distribution-spec, "Pushing a blob in
//! chunks").

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::Fuse;
use reqwest::Method;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue};

use crate::content::ByteStream;
use crate::error::{Error, Kind, Result};
use crate::event::Put;
use crate::registry::To;
use crate::registry::endpoint::with_digest;
use crate::registry::failure::{Failure, Refusal};
use crate::registry::sessions::Session;
use crate::registry::transport::{Answer, Body};
use crate::registry::upload::{Course, Job, limit};

/// The size of chunks, in bytes: the largest request that GHCR takes.
const CHUNK: u64 = 4 * 1024 * 1024;
/// The largest chunk that a registry can ask for with `OCI-Chunk-Min-Length`: each lies in memory.
const MAX_CHUNK: u64 = 128 * 1024 * 1024;
/// Below this a registry that says "too large" refuses something else.
const MIN_CHUNK: u64 = 64 * 1024;

/// The content of a blob from byte `at` on, as far as it was read.
struct Content {
    /// Asked again after its end, which a stream needn't bear.
    stream: Fuse<ByteStream>,
    buffer: BytesMut,
    at: u64,
    total: u64,
}

impl Content {
    /// The next `size` bytes, or all that are left: then the content was read to its end, and is right.
    async fn next(&mut self, size: u64) -> Result<Bytes> {
        let left = self.total - self.at;
        while (self.buffer.len() as u64) < size.min(left) {
            match self.stream.next().await {
                Some(bytes) => self.buffer.extend_from_slice(&bytes?),
                None => break,
            }
        }
        if size >= left {
            while let Some(bytes) = self.stream.next().await {
                self.buffer.extend_from_slice(&bytes?);
            }
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(self.buffer.len());
        Ok(Bytes::copy_from_slice(&self.buffer[..size]))
    }

    /// Goes on at byte `to`. False if that is no place that can be reached: it lies behind, or beyond what was read.
    fn go_on(&mut self, to: u64) -> bool {
        let step = to.checked_sub(self.at).and_then(|step| usize::try_from(step).ok());
        let Some(step) = step.filter(|step| *step <= self.buffer.len()) else { return false };
        self.buffer.advance(step);
        self.at = to;
        true
    }

    /// Reads and drops everything before byte `to`.
    async fn skip(&mut self, to: u64) -> Result<()> {
        while self.at < to {
            let piece = self.next(CHUNK.min(to - self.at)).await?;
            if piece.is_empty() {
                return Err(Error::new(
                    Kind::Integrity,
                    "read a blob",
                    "it is shorter than its descriptor says",
                ));
            }
            self.go_on(self.at + piece.len() as u64);
        }
        Ok(())
    }
}

/// What became of a chunk.
enum Patched {
    /// The registry stands at this byte.
    At(u64),
    /// The same, and it says that the blob is complete.
    Stored(u64),
    /// It was too large: the next may have so many bytes.
    TooLarge(u64, Failure),
    /// It is unclear where the registry stands.
    Unclear(Failure),
    /// The session is of no use any more, or the registry won't have it.
    Over(Failure),
}

impl Job<'_> {
    /// Sends the blob from byte `start` on in the session, one chunk after the other.
    pub(super) async fn chunks(
        &self,
        course: &mut Course,
        mut session: Session,
        start: u64,
    ) -> Result<Put, Failure> {
        let (stream, total) = (self.upload.stream().await?, self.upload.size());
        let mut content = Content { stream: stream.fuse(), buffer: BytesMut::new(), at: 0, total };
        content.skip(start).await?;
        loop {
            let size = self.chunk_size(course, &session, total - content.at)?;
            let chunk = content.next(size).await?;
            let last = content.at + chunk.len() as u64 == total;
            if chunk.is_empty() || last && course.ride {
                return self.finish(course, session, content.at, chunk).await;
            }
            let failure = match self.patch(&mut session, content.at, chunk).await {
                Patched::At(at) if content.go_on(at) => {
                    self.got(course, at);
                    continue;
                }
                Patched::Stored(at) if content.go_on(at) => {
                    self.got(course, at);
                    // ECR has it now and would refuse the end of the session.
                    if at == total && self.present().await? {
                        self.registry.0.sessions.ended(session);
                        return Ok(Put::Sent);
                    }
                    continue;
                }
                Patched::At(at) | Patched::Stored(at) => return Err(self.astray(at)),
                Patched::TooLarge(most, _) if most >= MIN_CHUNK => {
                    course.most = Some(most);
                    continue;
                }
                Patched::TooLarge(_, failure) => return Err(failure),
                Patched::Over(failure) => return Err(failure),
                Patched::Unclear(failure) => failure,
            };
            self.registry.pause(&mut course.tries, failure, &self.what("push")).await?;
            let Some(at) = self.have(&mut session).await else {
                return Err(self.lost());
            };
            if !content.go_on(at) {
                return Err(self.astray(at));
            }
            self.got(course, at);
        }
    }

    /// Notes that the registry has the first `at` bytes.
    fn got(&self, course: &mut Course, at: u64) {
        self.upload.report(at);
        if at > course.best {
            course.best = at;
            course.tries.progress();
        }
    }

    /// How large the next chunk is, of a blob of which `left` bytes are left.
    fn chunk_size(&self, course: &Course, session: &Session, left: u64) -> Result<u64, Failure> {
        let least = session.min_chunk;
        let most = course.most.unwrap_or(MAX_CHUNK);
        // The last one may be short.
        if least > most && left > most {
            let why =
                format!("the registry takes chunks of at least {least} bytes, but none of more than {most}");
            return Err(Error::new(Kind::Refused, self.what("push"), why).into());
        }
        Ok(CHUNK.max(least).min(most))
    }

    /// Sends one chunk that starts at byte `start`.
    async fn patch(&self, session: &mut Session, start: u64, chunk: Bytes) -> Patched {
        let size = chunk.len() as u64;
        let mut call = self.call(Method::PATCH, String::new(), "push");
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if let Some(value) = content_range(start, size) {
            call.headers.insert(CONTENT_RANGE, value);
        }
        call.to = To::Url(session.url.clone());
        call.body = Body::Bytes(chunk);
        let answer = match self.registry.try_once(&call).await {
            Ok(answer) => answer,
            Err(failure) if failure.error.kind() == Kind::Unavailable => return Patched::Unclear(failure),
            Err(failure) => return Patched::Over(failure),
        };
        if answer.is_success() {
            if let Err(failure) = self.go_to(session, &answer) {
                return Patched::Over(failure);
            }
            // Some registries write `0-0` whatever they have.
            let at = range_end(&answer).filter(|at| *at > 1).unwrap_or(start + size);
            return if answer.status() == 201 { Patched::Stored(at) } else { Patched::At(at) };
        }
        let status = answer.status();
        let refusal = Refusal::read(answer).await;
        let most = limit(&refusal).filter(|most| *most < size);
        let gone = status == 404 || refusal.has_code("BLOB_UPLOAD_UNKNOWN");
        let failure = refusal.failure(&call.what, self.to.registry());
        match (status, most) {
            (413 | 416, Some(most)) => Patched::TooLarge(most, failure),
            (413, None) => Patched::TooLarge(size / 2, failure),
            (400 | 416, _) if !gone => Patched::Unclear(failure.again()),
            _ if gone => Patched::Over(failure.again()),
            _ => Patched::Over(failure),
        }
    }

    /// How many bytes the registry has in a session: what its `Range` says now. None if it doesn't say.
    pub(super) async fn have(&self, session: &mut Session) -> Option<u64> {
        let mut call = self.call(Method::GET, String::new(), "push");
        call.to = To::Url(session.url.clone());
        let answer = self.registry.try_once(&call).await.ok().filter(Answer::is_success)?;
        self.go_to(session, &answer).ok()?;
        // `0-0` is what registries write for nothing, too: one byte is soon sent again.
        range_end(&answer).map(|at| if at == 1 { 0 } else { at }).filter(|at| *at <= self.upload.size())
    }

    /// Notes where an answer says that the session goes on.
    fn go_to(&self, session: &mut Session, answer: &Answer) -> Result<(), Failure> {
        if let Some(location) = answer.header("location") {
            let url = answer.follow(location).map_err(|e| e.within(self.what("push")))?;
            self.registry.0.sessions.moved(session, url);
        }
        Ok(())
    }

    /// Ends the session, of which the registry has `at` bytes, with the `rest`.
    async fn finish(
        &self,
        course: &mut Course,
        mut session: Session,
        at: u64,
        rest: Bytes,
    ) -> Result<Put, Failure> {
        let empty = rest.is_empty();
        loop {
            let mut call = self.call(Method::PUT, String::new(), "push");
            call.to = To::Url(with_digest(session.url.clone(), &self.digest));
            if !empty {
                call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                if let Some(value) = content_range(at, rest.len() as u64) {
                    call.headers.insert(CONTENT_RANGE, value);
                }
                call.body = Body::Bytes(rest.clone());
            }
            let failure = match self.registry.try_once(&call).await {
                Ok(answer) if answer.is_success() => {
                    self.upload.report(self.upload.size());
                    return self.stored(&answer, session);
                }
                Ok(answer) => {
                    let refusal = Refusal::read(answer).await;
                    let ends_otherwise =
                        refusal.has_code("DIGEST_INVALID") || matches!(refusal.status, 401 | 403);
                    let failure = self.refused(course, &call, refusal);
                    // ECR wants a part in this request: in the next session it gets one.
                    if empty && !ends_otherwise && !std::mem::replace(&mut course.ride, true) {
                        return Err(failure.again());
                    }
                    return Err(failure);
                }
                Err(failure) => failure,
            };
            if failure.status == Some(500) {
                course.ride |= empty;
                return Err(failure);
            }
            self.registry.pause(&mut course.tries, failure, &self.what("push")).await?;
            // It may have been stored.
            if self.present().await? {
                self.registry.0.sessions.ended(session);
                return Ok(Put::Sent);
            }
            if self.have(&mut session).await != Some(at) {
                return Err(self.lost());
            }
        }
    }

    /// A session that the registry says nothing about.
    fn lost(&self) -> Failure {
        let why = "the registry doesn't say how much of it it has";
        Failure::broken(Error::new(Kind::Unavailable, self.what("push"), why))
    }

    /// A registry that stands at a byte where this session can't go on.
    fn astray(&self, at: u64) -> Failure {
        let why = format!("the registry goes on at byte {at}, which isn't where it was");
        Failure::broken(Error::new(Kind::Unavailable, self.what("push"), why))
    }
}

/// A chunk's place. Unlike HTTP's own header, the specification's has no unit.
fn content_range(start: u64, size: u64) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("{start}-{}", (start + size).checked_sub(1)?)).ok()
}

/// The byte after the last one that an answer's `Range` names. Some write HTTP's unit before it.
fn range_end(answer: &Answer) -> Option<u64> {
    parse_range_end(answer.header("range")?)
}

pub(super) fn parse_range_end(range: &str) -> Option<u64> {
    let range = range.trim();
    let range = range.strip_prefix("bytes=").or(range.strip_prefix("bytes ")).unwrap_or(range);
    let (start, end) = range.split_once('-')?;
    (start.trim() == "0").then(|| end.trim().parse::<u64>().ok()?.checked_add(1)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_a_unit_or_none_and_begin_at_the_start() {
        for (range, end) in
            [("0-0", Some(1)), ("0-99", Some(100)), ("bytes=0-99", Some(100)), (" bytes 0-9 ", Some(10))]
        {
            assert_eq!(parse_range_end(range), end, "{range}");
        }
        for bad in ["", "-", "5-9", "0-", "0-x", "0--1", "99", "0-18446744073709551615"] {
            assert_eq!(parse_range_end(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn fuzz_ranges_are_read_or_left(text in ".*", range in "(bytes[= ])?0?-[0-9]{0,25}") {
            for text in [text, range] {
                let _ = parse_range_end(&text);
            }
        }
    }
}
