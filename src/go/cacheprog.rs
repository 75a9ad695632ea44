//! The protocol by which `go` speaks to a program that keeps its build cache: GOCACHEPROG (cmd/go/internal/cacheprog).
//!
//! Requests come as a line of JSON and an empty line; that of a `put` is followed by a line with its body, a JSON string
//! of base64. Answers may come in any order. `go` gives up at once on a program that ends early, says something else, or
//! answers a question that nobody asked; an error is to it what a miss is, but for `put`, where some commands fail. So
//! whatever goes wrong here is a miss, and what is put is at least kept in Go's own directory.

use std::io::{self, BufRead, Read, Write};

use base64::prelude::BASE64_STANDARD;
use base64::read::DecoderReader;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cache::{Action, Found, Session, Tally};
use crate::error::{Error, Kind, Result};
use crate::oci::{Digest, Hasher, rfc3339};

/// No line of a request is longer, but for a body.
const MAX_LINE: u64 = 64 << 10;
/// How many answers may wait for `go` to read them.
const ANSWERS: usize = 64;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Request {
    #[serde(rename = "ID")]
    id: i64,
    command: String,
    #[serde(rename = "ActionID")]
    action: Option<String>,
    #[serde(rename = "OutputID")]
    output: Option<String>,
    body_size: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    #[serde(rename = "ID")]
    id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    err: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    known_commands: Option<[&'static str; 3]>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    miss: bool,
    #[serde(rename = "OutputID", skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_path: Option<String>,
}

impl Response {
    fn hit(id: i64, found: &Found) -> Self {
        let (seconds, rest) = (found.time / 1_000_000_000, found.time % 1_000_000_000);
        let time = format!("{}.{rest:09}Z", rfc3339(seconds).trim_end_matches('Z'));
        Response {
            id,
            output: Some(encode(found.output.bytes())),
            size: Some(found.size),
            time: Some(time),
            disk_path: Some(found.path.to_string_lossy().into_owned()),
            ..Response::default()
        }
    }

    fn failed(id: i64, why: String) -> Self {
        Response { id, err: Some(why), ..Response::default() }
    }
}

/// Serves `session` to a `go` that writes to `input` and reads `output`, until it says that it closes, or is gone. Gives
/// what happened.
///
/// # Errors
/// What comes isn't the protocol, or nothing can be written any more: `go` is gone, or is none.
pub async fn serve(
    session: &Session,
    input: impl BufRead + Send + 'static,
    output: impl Write + Send + 'static,
) -> Result<Tally> {
    let (answers, rest) = mpsc::channel(ANSWERS);
    let writer = tokio::task::spawn_blocking(move || write(output, rest));
    let known_commands = Some(["get", "put", "close"]);
    let first = Response { known_commands, ..Response::default() };
    let _ = answers.send(first).await;
    let prefetching = tokio::spawn({
        let session = session.clone();
        async move { session.prefetch().await }
    });
    let (gets, mut asked) = mpsc::channel::<(i64, Action)>(ANSWERS);
    let reader = tokio::task::spawn_blocking({
        let (session, answers) = (session.clone(), answers.clone());
        move || read(&session, input, &gets, &answers)
    });
    let mut looking = JoinSet::new();
    while let Some((id, action)) = asked.recv().await {
        let (session, answers) = (session.clone(), answers.clone());
        while looking.try_join_next().is_some() {}
        looking.spawn(async move {
            let answer = match session.get(action).await {
                Some(found) => Response::hit(id, &found),
                None => Response { id, miss: true, ..Response::default() },
            };
            let _ = answers.send(answer).await;
        });
    }
    let end = reader.await.map_err(|e| Error::new(Kind::Internal, "read from go", e))?;
    looking.join_all().await;
    prefetching.abort();
    let tally = match &end {
        Ok(Some(_)) => session.finish().await,
        _ => Tally::default(),
    };
    if let Ok(Some(id)) = end {
        let _ = answers.send(Response { id, ..Response::default() }).await;
    }
    drop(answers);
    let written = writer.await.map_err(|e| Error::new(Kind::Internal, "write to go", e))?;
    end.map_err(|e| {
        Error::new(Kind::Input, "read what go says", e)
            .hint("only go starts it: GOCACHEPROG='gimg cacheprog …'")
    })?;
    written.map_err(|e| Error::new(Kind::LocalIo, "answer go", e))?;
    Ok(tally)
}

fn write(mut output: impl Write, mut answers: mpsc::Receiver<Response>) -> io::Result<()> {
    while let Some(answer) = answers.blocking_recv() {
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        output.write_all(&line)?;
        output.flush()?;
    }
    Ok(())
}

/// Reads requests until `close`, of which it gives the id, or the end. What is put is written at once: meanwhile `go`
/// could not send anything else.
fn read(
    session: &Session,
    mut input: impl BufRead,
    gets: &mpsc::Sender<(i64, Action)>,
    answers: &mpsc::Sender<Response>,
) -> io::Result<Option<i64>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut input).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let request: Request = serde_json::from_slice(&line)?;
        let id = request.id;
        let action = request.action.as_deref().and_then(decode).map(Action);
        let answer = match (request.command.as_str(), action) {
            ("close", _) => return Ok(Some(id)),
            ("get", Some(action)) => {
                let _ = gets.blocking_send((id, action));
                continue;
            }
            ("put", action) => {
                let output = request.output.as_deref().and_then(decode).map(Digest::from_bytes);
                let mut body = Body::begin(&mut input, request.body_size)?;
                let put = match action.zip(output) {
                    Some((action, output)) => put(session, (action, output, request.body_size), &mut body),
                    None => Err(io::Error::other("it has no ids of 32 bytes")),
                };
                // Whatever became of it, the next request comes after its end.
                body.finish()?;
                match put {
                    Ok(path) => {
                        let disk_path = Some(path.to_string_lossy().into_owned());
                        Response { id, disk_path, ..Response::default() }
                    }
                    Err(e) => Response::failed(id, format!("keep an output: {e}")),
                }
            }
            ("get", None) => Response { id, miss: true, ..Response::default() },
            _ => Response::failed(id, "unknown command".to_owned()),
        };
        let _ = answers.blocking_send(answer);
    }
}

fn put(
    session: &Session,
    (action, output, size): (Action, Digest, u64),
    body: &mut Body<'_, impl BufRead>,
) -> io::Result<std::path::PathBuf> {
    session.put((action, output, size), |file| {
        let mut hasher = Hasher::new();
        let mut piece = vec![0; 128 * 1024];
        let mut reader = DecoderReader::new(body, &BASE64_STANDARD);
        loop {
            let read = reader.read(&mut piece)?;
            if read == 0 {
                break;
            }
            hasher.update(&piece[..read]);
            file.write_all(&piece[..read])?;
        }
        match hasher.finish() == (output, size) {
            true => Ok(()),
            false => Err(io::Error::other("it isn't what go says it is")),
        }
    })
}

/// The text of a body, between its quotes.
struct Body<'a, R> {
    input: &'a mut R,
    ended: bool,
}

impl<'a, R: BufRead> Body<'a, R> {
    /// An empty body isn't sent at all.
    fn begin(input: &'a mut R, size: u64) -> io::Result<Self> {
        if size == 0 {
            return Ok(Body { input, ended: true });
        }
        loop {
            let mut byte = [0];
            input.read_exact(&mut byte)?;
            match byte[0] {
                b'"' => return Ok(Body { input, ended: false }),
                byte if byte.is_ascii_whitespace() => {}
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "no body where one should be")),
            }
        }
    }

    fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink()).map(drop)
    }
}

impl<R: BufRead> Read for Body<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.ended || out.is_empty() {
            return Ok(0);
        }
        let there = self.input.fill_buf()?;
        if there.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let most = there.len().min(out.len());
        let end = there[..most].iter().position(|byte| *byte == b'"');
        let length = end.unwrap_or(most);
        out[..length].copy_from_slice(&there[..length]);
        self.ended = end.is_some();
        self.input.consume(length + usize::from(self.ended));
        Ok(length)
    }
}

fn encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    BASE64_STANDARD.encode(bytes)
}

fn decode(text: &str) -> Option<[u8; 32]> {
    use base64::Engine as _;
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}
