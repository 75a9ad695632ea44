//! Putting one blob: HEAD, mount, one PUT with the whole body, chunks only where that is refused or broke in the middle
//! (distribution-spec, "Pushing blobs").

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Put};
use crate::oci::{Digest, Repository};
use crate::registry::endpoint::with_digest;
use crate::registry::failure::{Again, Failure, Refusal};
use crate::registry::retry::Tries;
use crate::registry::sessions::Session;
use crate::registry::transport::{Answer, Body, Upload};
use crate::registry::{Call, Registry, To, refusal};

/// How many tokens may end while a blob is sent: several blobs share one.
const MAX_ENDED: u32 = 3;

/// One blob on its way into one repository.
pub(super) struct Job<'a> {
    pub(super) registry: &'a Registry,
    pub(super) to: &'a Repository,
    pub(super) digest: Digest,
    pub(super) upload: Upload,
    /// Repositories of the same registry that have the blob, the likeliest first.
    pub(super) mounts: &'a [Repository],
    /// Whether it is sent even if the registry says that it has it: that was wrong once.
    pub(super) force: bool,
}

/// What the tries so far taught.
pub(super) struct Course {
    pub(super) tries: Tries,
    /// Whether there was a try at all.
    tried: bool,
    /// Whether the body goes in chunks.
    pub(super) chunked: bool,
    /// The largest chunk that the registry takes, if it said.
    pub(super) most: Option<u64>,
    /// Whether the last chunk goes in the PUT that ends the session: some registries refuse an empty one.
    pub(super) ride: bool,
    /// How many bytes got there in the best session: only more is progress.
    pub(super) best: u64,
    /// A session whose PUT broke: the registry may have a part.
    broken: Option<Session>,
    /// How often a session couldn't even be opened, because the connection ended.
    cuts: u32,
    /// How often a token ended meanwhile.
    ended: u32,
    /// Whether content got damaged: that is forgiven once.
    damaged: bool,
}

/// What a request that opens a session came to.
enum Opened {
    Session(Session),
    /// The registry has the blob now.
    Done,
}

impl Job<'_> {
    /// Makes sure that the blob is in the repository.
    ///
    /// # Errors
    /// Whatever the registry says in the end; content that isn't what its descriptor says ([`Kind::Integrity`]).
    pub(super) async fn run(&self) -> Result<Put> {
        let what = self.what("push");
        let mut course = Course {
            tries: self.registry.blob_tries(self.to.registry()),
            tried: false,
            chunked: false,
            most: None,
            ride: false,
            best: 0,
            broken: None,
            cuts: 0,
            ended: 0,
            damaged: false,
        };
        loop {
            let outcome = self.attempt(&mut course).await;
            course.tried = true;
            if let Some(at) = self.upload.moved() {
                course.tries.moved(at);
            }
            let mut failure = match outcome {
                Ok(how) => return Ok(how),
                Err(failure) => failure,
            };
            // Content that got damaged on its way from elsewhere may come whole next time. What lies on this machine
            // won't.
            let damaged = failure.error.kind() == Kind::Integrity && !failure.answered();
            if damaged && !self.upload.is_local() && !std::mem::replace(&mut course.damaged, true) {
                course.broken = None;
                failure = failure.again();
            }
            self.registry.pause(&mut course.tries, failure, &what).await?;
        }
    }

    pub(super) fn what(&self, verb: &str) -> String {
        format!("{verb} blob {} to {}", self.digest, self.to)
    }

    pub(super) fn call(&self, method: Method, path: String, verb: &str) -> Call<'_> {
        let mut call = Call::new(method, self.to, path, self.what(verb));
        call.push = true;
        call
    }

    /// Whether the blob is there. An answer that says neither counts as no.
    pub(super) async fn present(&self) -> Result<bool, Failure> {
        let call = self.call(Method::HEAD, format!("blobs/{}", self.digest), "push");
        match self.registry.try_once(&call).await {
            Ok(answer) if answer.status() == 200 => {
                Ok(answer.length().is_none_or(|length| length == self.upload.size()))
            }
            Ok(_) => Ok(false),
            // A server of tokens that says no isn't asked again: logins that fail lock accounts.
            Err(failure) if failure.answered() && failure.again != Again::No => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// One try from the start, or from where the last one broke.
    async fn attempt(&self, course: &mut Course) -> Result<Put, Failure> {
        // After a failed try this finds out whether the blob arrived nevertheless.
        if !self.force && self.present().await? {
            if let Some(session) = course.broken.take() {
                self.registry.0.sessions.ended(session);
            }
            return Ok(if course.tried { Put::Sent } else { Put::Present });
        }
        if let Some(mut session) = course.broken.take() {
            // A part that the registry has kept needn't be sent again. If it is wrong, the digest will be.
            if let Some(have) = self.have(&mut session).await.filter(|have| *have > 0) {
                return self.chunks(course, session, have).await;
            }
        }
        let session = match self.session(course).await? {
            Ok(session) => session,
            Err(how) => return Ok(how),
        };
        if course.chunked {
            return self.chunks(course, session, 0).await;
        }
        self.whole(course, session).await
    }

    /// A new session, or how the blob got there without one.
    async fn session(&self, course: &mut Course) -> Result<Result<Session, Put>, Failure> {
        if !course.tried && !self.force {
            for from in self.mounts {
                match self.mount(from).await {
                    Some(Opened::Done) => return Ok(Err(Put::Mounted)),
                    Some(Opened::Session(session)) => return Ok(Ok(session)),
                    None => {}
                }
            }
        }
        match self.open(course).await? {
            Opened::Session(session) => Ok(Ok(session)),
            Opened::Done => Ok(Err(Put::Present)),
        }
    }

    /// Asks the registry to take the blob from `from`. Whatever it answers instead only means that the blob
    /// must be sent, and so does no answer.
    async fn mount(&self, from: &Repository) -> Option<Opened> {
        let path = format!("blobs/uploads/?mount={}&from={}", self.digest, from.path());
        let mut call = self.call(Method::POST, path, "mount");
        call.mount = Some(from);
        let patience = self.registry.0.policy.mount;
        let why = match tokio::time::timeout(patience, self.registry.try_once(&call)).await {
            Ok(Ok(answer)) if answer.status() == 201 => match answer.digest() {
                Some(other) if other != self.digest => format!("the registry answered with {other}"),
                _ => return Some(Opened::Done),
            },
            Ok(Ok(answer)) if answer.status() == 202 => match self.opened(&call, &answer) {
                Ok(session) => return Some(Opened::Session(session)),
                Err(error) => error.to_string(),
            },
            Ok(Ok(answer)) => refusal(&call, answer).await.to_string(),
            Ok(Err(failure)) => failure.error.to_string(),
            Err(_) => format!("no answer for {patience:?}"),
        };
        self.registry.0.observer.on(Event::Detail(format!("not mounted from {from}: {why}")));
        None
    }

    async fn open(&self, course: &mut Course) -> Result<Opened, Failure> {
        let exists = || format!("does the repository {} exist? Some registries want it made first", self.to);
        let call = self.call(Method::POST, "blobs/uploads/".to_owned(), "push");
        let answer = match self.registry.try_once(&call).await {
            Ok(answer) => answer,
            Err(mut failure) => {
                // ECR hangs up instead of saying so.
                if !failure.answered() && !failure.error.why().starts_with("can't connect") {
                    course.cuts += 1;
                    if course.cuts > 1 {
                        failure.error = failure.error.hint(exists());
                    }
                }
                return Err(failure);
            }
        };
        match answer.status() {
            202 => Ok(Opened::Session(self.opened(&call, &answer)?)),
            201 => Ok(Opened::Done),
            404 => Err(refusal(&call, answer).await.hint(exists()).into()),
            _ => Err(refusal(&call, answer).await.into()),
        }
    }

    /// The session that an answer opened.
    fn opened(&self, call: &Call<'_>, answer: &Answer) -> Result<Session> {
        let location = answer
            .header("location")
            .ok_or_else(|| Error::new(Kind::Refused, &call.what, "the registry named no upload location"))?;
        let url = answer.follow(location).map_err(|e| e.within(&call.what))?;
        let min_chunk = answer.header("oci-chunk-min-length").and_then(|v| v.parse().ok()).unwrap_or(0);
        Ok(self.registry.0.sessions.opened(self.to, url, min_chunk))
    }

    /// The whole blob in one request.
    async fn whole(&self, course: &mut Course, session: Session) -> Result<Put, Failure> {
        let mut call = self.call(Method::PUT, String::new(), "push");
        call.to = To::Url(with_digest(session.url.clone(), &self.digest));
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call.body = Body::Upload(self.upload.clone());
        let answer = match self.registry.try_once(&call).await {
            Ok(answer) => answer,
            Err(failure) => {
                if !failure.answered() {
                    course.broken = Some(session);
                }
                return Err(failure);
            }
        };
        if answer.is_success() {
            return self.stored(&answer, session);
        }
        let status = answer.status();
        let refusal = Refusal::read(answer).await;
        let dead = self.dead(&refusal);
        // A proxy that caps bodies, a registry that wants PATCH, GHCR's limit.
        let limit = limit(&refusal);
        if matches!(status, 405 | 413) || status == 404 && !dead || limit.is_some() {
            (course.chunked, course.most) = (true, course.most.or(limit));
            return match self.open(course).await? {
                Opened::Session(session) => self.chunks(course, session, 0).await,
                Opened::Done => Ok(Put::Present),
            };
        }
        if dead {
            self.registry.0.sessions.ended(session);
        }
        Err(self.refused(course, &call, refusal))
    }

    /// The end of an upload that the registry says it has stored.
    pub(super) fn stored(&self, answer: &Answer, session: Session) -> Result<Put, Failure> {
        self.registry.0.sessions.ended(session);
        match answer.digest() {
            Some(other) if other != self.digest => {
                let why = format!("the registry stored {other}, expected {}", self.digest);
                let mut failure = Failure::from(Error::new(Kind::Integrity, self.what("push"), why));
                failure.status = Some(answer.status());
                Err(failure)
            }
            _ => Ok(Put::Sent),
        }
    }

    /// Whether a refusal means that the registry doesn't know the session (any more). GHCR says BLOB_UNKNOWN to a PUT
    /// that is repeated because its commit took long.
    pub(super) fn dead(&self, refusal: &Refusal) -> bool {
        let codes = ["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UNKNOWN"];
        refusal.status == 416 || codes.iter().any(|code| refusal.has_code(code))
    }

    /// A refusal in a session: a new session may do if this one is dead, if the token ended meanwhile, or if the
    /// content was damaged on its way.
    pub(super) fn refused(&self, course: &mut Course, call: &Call<'_>, refusal: Refusal) -> Failure {
        let dead = self.dead(&refusal) || refusal.status == 404;
        let (status, damaged) = (refusal.status, refusal.has_code("DIGEST_INVALID"));
        let mut failure = refusal.failure(&call.what, self.to.registry());
        if damaged {
            failure.error = failure.error.as_kind(Kind::Integrity);
            // On the way to the registry it can get damaged too.
            if !std::mem::replace(&mut course.damaged, true) {
                failure = failure.again();
            }
        } else if dead {
            failure = failure.again();
        } else if status == 401 && course.ended < MAX_ENDED {
            course.ended += 1;
            failure.again = Again::Yes(Some(std::time::Duration::ZERO));
        }
        failure
    }
}

/// The largest request that a refusal allows, in bytes: GHCR says `maximum permissible limit of 4.00MiB`.
pub(super) fn limit(refusal: &Refusal) -> Option<u64> {
    if !matches!(refusal.status, 400 | 413 | 416) {
        return None;
    }
    let after = refusal.after("limit of ")?;
    let digits = after.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = after[..digits].parse().ok()?;
    let unit: f64 = match after[digits..].trim_start() {
        unit if unit.starts_with("kib") || unit.starts_with("kb") => 1024.0,
        unit if unit.starts_with("mib") || unit.starts_with("mb") => 1024.0 * 1024.0,
        unit if unit.starts_with("gib") || unit.starts_with("gb") => 1024.0 * 1024.0 * 1024.0,
        unit if unit.starts_with("byte") => 1.0,
        _ => return None,
    };
    let bytes = number * unit;
    // What a cast of a number that isn't in range would give is no limit.
    (1.0..1e15).contains(&bytes).then_some(bytes as u64)
}
