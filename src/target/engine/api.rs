//! The Docker Engine API (docs.docker.com/reference/api/engine), which podman speaks too: what gimg needs of it.
//! Paths carry no version: that is the newest one of every engine, and these calls are as old as the API.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Response};
use serde::Deserialize;

use crate::content::ByteStream;
use crate::error::{Error, Kind, Result};
use crate::oci::{Digest, Platform};
use crate::target::engine::find::{Address, Tls};

const CONNECT: Duration = Duration::from_secs(10);
/// How long an engine may take for an answer that needs no work.
const QUICK: Duration = Duration::from_secs(60);
/// How long nothing may move while an image is loaded: engines unpack it before they answer.
const STALL: Duration = Duration::from_secs(15 * 60);
/// The most that is read of an answer.
const MAX_ANSWER: usize = 4 << 20;

/// A client of one engine.
#[derive(Clone, Debug)]
pub(super) struct Api {
    client: Client,
    base: String,
    name: String,
    address: String,
}

impl Api {
    /// A client of the engine `name` at `address`; nothing is asked yet.
    ///
    /// # Errors
    /// Certificates that can't be used.
    pub(super) fn new(name: &str, address: &Address) -> Result<Self> {
        let builder = Client::builder().no_proxy().connect_timeout(CONNECT).user_agent("gimg");
        let (builder, base) = match address {
            #[cfg(unix)]
            Address::Unix(path) => {
                (builder.unix_socket(path.as_path()).tls_certs_only([]), "http://localhost".to_owned())
            }
            #[cfg(not(unix))]
            Address::Unix(_) => {
                let why = "this system has no such sockets";
                return Err(Error::new(Kind::Input, format!("connect to {name}"), why)
                    .at(address)
                    .hint("use tcp://host:port"));
            }
            Address::Tcp(authority, None) => (builder.tls_certs_only([]), format!("http://{authority}")),
            Address::Tcp(authority, Some(tls)) => (with_tls(builder, tls)?, format!("https://{authority}")),
        };
        // Another part of the process may have chosen a provider already; that one is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = builder.build().map_err(|e| Error::new(Kind::Input, format!("connect to {name}"), e))?;
        Ok(Api { client, base, name: name.to_owned(), address: address.to_string() })
    }

    /// What the engine runs.
    ///
    /// # Errors
    /// An engine that isn't there or doesn't answer.
    pub(super) async fn platform(&self) -> Result<Platform> {
        #[derive(Deserialize)]
        struct Info {
            #[serde(rename = "OSType")]
            os: String,
            #[serde(rename = "Architecture")]
            machine: String,
        }
        let what = format!("connect to {}", self.name);
        let answer = self.quick(&what, self.client.get(format!("{}/info", self.base))).await?;
        let (status, text) = self.read(&what, answer).await?;
        if status != 200 {
            return Err(self.refused(&what, &text));
        }
        let info: Info = serde_json::from_slice(&text).map_err(|e| {
            let why = format!("it doesn't answer as an engine does: {e}");
            Error::new(Kind::Unavailable, &what, why).at(&self.address)
        })?;
        Ok(Platform::of_machine(&info.os.to_lowercase(), &info.machine.to_lowercase()))
    }

    /// Whether the engine has the image of this config.
    ///
    /// # Errors
    /// Whatever the engine says.
    pub(super) async fn has(&self, config: &Digest) -> Result<bool> {
        let what = format!("look for {config} in {}", self.name);
        let request = self.client.get(format!("{}/images/{config}/json", self.base));
        let answer = self.quick(&what, request).await?;
        match self.read(&what, answer).await? {
            (200, _) => Ok(true),
            (404, _) => Ok(false),
            (_, text) => Err(self.refused(&what, &text)),
        }
    }

    /// Lets `repository:tag` name `image`, an id or a name.
    ///
    /// # Errors
    /// Whatever the engine says.
    pub(super) async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<()> {
        let what = format!("tag {repository}:{tag} in {}", self.name);
        // References hold nothing that must be escaped in a URL.
        let url = format!("{}/images/{image}/tag?repo={repository}&tag={tag}", self.base);
        let answer = self.quick(&what, self.client.post(url)).await?;
        match self.read(&what, answer).await? {
            (200..=299, _) => Ok(()),
            (_, text) => Err(self.refused(&what, &text)),
        }
    }

    /// Loads the image called `reference` in the tar `content`.
    ///
    /// # Errors
    /// Whatever the engine says, also in the middle of its answer; or the content's own error.
    pub(super) async fn load(&self, reference: &str, content: ByteStream) -> Result<()> {
        let what = format!("load {reference} into {}", self.name);
        let moved = Arc::new(AtomicU64::new(0));
        let broken: Arc<Mutex<Option<Error>>> = Arc::default();
        let (counter, keeper) = (Arc::clone(&moved), Arc::clone(&broken));
        let body = content.map(move |piece| match piece {
            Ok(bytes) => {
                counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok(bytes)
            }
            Err(error) => {
                *keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(std::io::Error::other("the content can't be read"))
            }
        });
        let request = self
            .client
            .post(format!("{}/images/load?quiet=1", self.base))
            .header(CONTENT_TYPE, "application/x-tar")
            .body(reqwest::Body::wrap_stream(body));
        let sending = async {
            let answer = request.send().await.map_err(|e| self.unreachable(&what, &e))?;
            self.read(&what, answer).await
        };
        let result = self.while_it_moves(&what, &moved, sending).await;
        // The content's own failure says more than that of the connection it broke.
        if let Some(error) = broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        let (status, text) = result?;
        if status != 200 {
            return Err(self.refused(&what, &text));
        }
        match failure(&text) {
            Some(why) => Err(Error::new(Kind::Refused, what, why).at(&self.address)),
            None => Ok(()),
        }
    }

    /// The image called `name` as the engine saves it; none if it has no such image.
    ///
    /// # Errors
    /// Whatever the engine says.
    pub(super) async fn save(&self, name: &str) -> Result<Option<ByteStream>> {
        let what = format!("save {name} from {}", self.name);
        let request = self.client.get(format!("{}/images/{name}/get", self.base));
        let sending = async { request.send().await.map_err(|e| self.unreachable(&what, &e)) };
        let answer = self.while_it_moves(&what, &AtomicU64::new(0), sending).await?;
        match answer.status().as_u16() {
            200 => {
                let api = self.clone();
                Ok(Some(Box::pin(
                    answer.bytes_stream().map(move |piece| piece.map_err(|e| api.unreachable(&what, &e))),
                )))
            }
            status => {
                let (_, text) = self.read(&what, answer).await?;
                let unknown = status == 404 || failure(&text).is_some_and(|why| is_unknown(&why));
                if unknown { Ok(None) } else { Err(self.refused(&what, &text)) }
            }
        }
    }

    /// `work`, as long as `moved` grows now and then.
    async fn while_it_moves<T>(
        &self,
        what: &str,
        moved: &AtomicU64,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut work = std::pin::pin!(work);
        let mut seen = 0;
        loop {
            if let Ok(result) = tokio::time::timeout(STALL, &mut work).await {
                return result;
            }
            let now = moved.load(Ordering::Relaxed);
            if now == seen {
                let why = format!("nothing moved for {} minutes", STALL.as_secs() / 60);
                return Err(Error::new(Kind::Unavailable, what, why).at(&self.address));
            }
            seen = now;
        }
    }

    async fn quick(&self, what: &str, request: RequestBuilder) -> Result<Response> {
        request.timeout(QUICK).send().await.map_err(|e| self.unreachable(what, &e))
    }

    /// Status and body of an answer.
    async fn read(&self, what: &str, answer: Response) -> Result<(u16, Vec<u8>)> {
        let status = answer.status().as_u16();
        let (mut all, mut pieces) = (Vec::new(), answer.bytes_stream());
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece.map_err(|e| self.unreachable(what, &e))?);
            if all.len() > MAX_ANSWER {
                let why = format!("an answer of more than {MAX_ANSWER} bytes");
                return Err(Error::new(Kind::Refused, what, why).at(&self.address));
            }
        }
        Ok((status, all))
    }

    /// A failure of the connection, by its innermost cause.
    fn unreachable(&self, what: &str, error: &reqwest::Error) -> Error {
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let error = Error::new(Kind::Unavailable, what, cause).at(&self.address);
        if what.starts_with("connect") { error.hint(hint(&self.name)) } else { error }
    }

    fn refused(&self, what: &str, text: &[u8]) -> Error {
        let why = match failure(text) {
            Some(why) => why,
            None => String::from_utf8_lossy(&text[..text.len().min(1000)]).trim().to_owned(),
        };
        Error::new(Kind::Refused, what, why).at(&self.address)
    }
}

/// Whether an engine says that it has no such image: some say it with status 500.
fn is_unknown(why: &str) -> bool {
    let why = why.to_lowercase();
    why.contains("no such image") || why.contains("image not known") || why.contains("does not exist")
}

/// What to do about an engine that isn't there.
fn hint(name: &str) -> String {
    let variable = if name == "podman" { "CONTAINER_HOST" } else { "DOCKER_HOST" };
    format!("start {name}, or let {variable} name its socket")
}

fn with_tls(builder: reqwest::ClientBuilder, tls: &Tls) -> Result<reqwest::ClientBuilder> {
    let bad = |e: reqwest::Error| Error::new(Kind::Input, "read docker's certificates", e);
    let builder = match &tls.ca {
        Some(pem) => builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem).map_err(bad)?),
        None => builder,
    };
    let builder = match &tls.identity {
        Some(pem) => builder.identity(reqwest::Identity::from_pem(pem).map_err(bad)?),
        None => builder,
    };
    Ok(if tls.verify { builder } else { builder.tls_danger_accept_invalid_certs(true) })
}

/// The error in an answer, a sequence of JSON objects: `message` of a refusal, or `error` in the middle of a load
/// that began well. Podman tells the cause apart.
fn failure(text: &[u8]) -> Option<String> {
    for object in serde_json::Deserializer::from_slice(text).into_iter::<serde_json::Value>() {
        let Ok(object) = object else { break };
        let field = |name: &str| object.get(name).and_then(|v| v.as_str()).filter(|v| !v.is_empty());
        if let Some(why) = field("error").or(field("message")) {
            return Some(why.trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_found_wherever_an_engine_puts_them() {
        for (text, why) in [
            (r#"{"message":"no such image: x"}"#, Some("no such image: x")),
            (
                "{\"status\":\"Loading layer\",\"progressDetail\":{\"current\":1}}\r\n{\"errorDetail\":\
                 {\"message\":\"unexpected EOF\"},\"error\":\"unexpected EOF\"}\r\n",
                Some("unexpected EOF"),
            ),
            (
                r#"{"cause":"bad tag","message":"normalizing image: bad tag","response":500}"#,
                Some("normalizing image: bad tag"),
            ),
            ("{\"stream\":\"Loaded image: a:b\\n\"}\r\n", None),
            ("", None),
            ("not json", None),
        ] {
            assert_eq!(failure(text.as_bytes()).as_deref(), why, "{text}");
        }
    }
}
