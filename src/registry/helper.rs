//! Credential helpers: `docker-credential-NAME get|store|erase` (docker-credential-helpers, "Development").
#![expect(clippy::disallowed_methods, reason = "edge: credential helpers are children")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::OnceCell;

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer};
use crate::registry::keychain::Credential;
use crate::registry::secret::Secret;

const PATIENCE: Duration = Duration::from_secs(30);
const MAX_OUTPUT: u64 = 64 * 1024;

/// What a helper knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A credential.
    Found(Credential),
    /// It runs, but has nothing for this server.
    NotFound,
    /// It isn't installed.
    Missing,
}

type Asked = Arc<OnceCell<Outcome>>;

/// Runs helpers, each once per server.
pub(super) struct Helpers {
    env: BTreeMap<String, String>,
    asked: Mutex<BTreeMap<(String, String), Asked>>,
    warned: Mutex<BTreeSet<String>>,
    /// How long a helper may take.
    pub(super) patience: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    secret: Secret,
}

impl Helpers {
    /// Helpers that run with `env` and nothing else.
    pub(super) fn new(env: BTreeMap<String, String>) -> Self {
        Helpers { env, asked: Mutex::default(), warned: Mutex::default(), patience: PATIENCE }
    }

    /// Whether `name` hasn't been warned about before.
    pub(super) fn first_warning(&self, name: &str) -> bool {
        self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned())
    }

    fn cell(&self, name: &str, server: &str) -> Asked {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(asked.entry((name.to_owned(), server.to_owned())).or_default())
    }

    /// What the helper `name` has for `server`.
    pub(super) async fn get(&self, name: &str, server: &str) -> Result<Outcome> {
        self.cell(name, server).get_or_try_init(|| self.run(name, server)).await.cloned()
    }

    /// What the helper `name`, which nobody named, has for `server`: if it fails, nothing.
    pub(super) async fn offered(&self, name: &str, server: &str, observer: &dyn Observer) -> Outcome {
        let cell = self.cell(name, server);
        let ask = async || match self.run(name, server).await {
            Ok(outcome) => outcome,
            Err(error) => {
                observer.on(Event::Detail(format!("{error}; going on without")));
                Outcome::NotFound
            }
        };
        cell.get_or_init(ask).await.clone()
    }

    async fn run(&self, name: &str, server: &str) -> Result<Outcome> {
        let fail = |why: String| {
            Error::new(Kind::Auth, format!("get the credentials for {server} from helper \"{name}\""), why)
        };
        let Some((status, output)) = self.talk(name, "get", server.as_bytes()).await.map_err(fail)? else {
            return Ok(Outcome::Missing);
        };
        if !status.success() {
            if nothing_found(&output) {
                return Ok(Outcome::NotFound);
            }
            return Err(fail(format!("it ended with {status}")));
        }
        // serde's own message could quote the secret.
        let answer: Answer = serde_json::from_slice(&output).map_err(|e| {
            let why = if e.is_data() { "its answer has no Secret" } else { "its answer is not JSON" };
            fail(why.to_owned())
        })?;
        Ok(match (answer.username, answer.secret) {
            (username, secret) if username.is_empty() && secret.expose().is_empty() => Outcome::NotFound,
            (username, token) if username == "<token>" => {
                Outcome::Found(Credential::Identity { username, token })
            }
            (username, password) => Outcome::Found(Credential::Basic { username, password }),
        })
    }

    /// Gives a credential for `server` to the helper `name`.
    pub(super) async fn store(&self, name: &str, server: &str, user: &str, secret: &Secret) -> Result<()> {
        let what = format!("store the credentials for {server} with helper \"{name}\"");
        let fail = |why: String| Error::new(Kind::Auth, &what, why);
        let input = serde_json::json!({ "ServerURL": server, "Username": user, "Secret": secret.expose() });
        match self.talk(name, "store", input.to_string().as_bytes()).await.map_err(fail)? {
            Some((status, _)) if status.success() => Ok(()),
            Some((status, _)) => Err(fail(format!("it ended with {status}"))),
            None => Err(fail(format!("docker-credential-{name} is not installed"))),
        }
    }

    /// Makes the helper `name` forget `server`; false if it knew nothing.
    pub(super) async fn erase(&self, name: &str, server: &str) -> Result<bool> {
        let what = format!("erase the credentials for {server} with helper \"{name}\"");
        let fail = |why: String| Error::new(Kind::Auth, &what, why);
        match self.talk(name, "erase", server.as_bytes()).await.map_err(fail)? {
            Some((status, _)) if status.success() => Ok(true),
            Some((_, output)) if nothing_found(&output) => Ok(false),
            Some((status, _)) => Err(fail(format!("it ended with {status}"))),
            None => Err(fail(format!("docker-credential-{name} is not installed"))),
        }
    }

    /// Runs the helper `name` with `input`: its end and its output, `None` if it isn't installed; or why it can't
    /// be talked to.
    async fn talk(
        &self,
        name: &str,
        verb: &str,
        input: &[u8],
    ) -> Result<Option<(ExitStatus, Vec<u8>)>, String> {
        // The name comes from a file: it must not lead to another directory.
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err("invalid helper name".to_owned());
        }
        let mut command = tokio::process::Command::new(format!("docker-credential-{name}"));
        // They find their own credentials by the user's variables, which nobody can list. What they say on standard
        // error may quote what they were given.
        command.arg(verb).env_clear().envs(&self.env).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        #[cfg(unix)]
        command.process_group(0);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let mut group = Group::of(&child);
        let talk = async {
            if let Some(mut stdin) = child.stdin.take() {
                // A helper that doesn't read its input isn't wrong yet.
                let _ = stdin.write_all(input).await;
            }
            let mut output = Vec::new();
            if let Some(stdout) = child.stdout.take() {
                stdout.take(MAX_OUTPUT + 1).read_to_end(&mut output).await?;
            }
            if output.len() as u64 > MAX_OUTPUT {
                return Ok((None, output));
            }
            Ok::<_, std::io::Error>((Some(child.wait().await?), output))
        };
        let (status, output) = tokio::time::timeout(self.patience, talk)
            .await
            .map_err(|_| format!("timed out after {:?}", self.patience))?
            .map_err(|e| e.to_string())?;
        if status.is_some() {
            group.ended();
        }
        let status = status.ok_or_else(|| "its answer is too long".to_owned())?;
        Ok(Some((status, output)))
    }
}

/// The process group of a helper. Dropped before the helper has ended, it stops what the helper started too.
struct Group {
    #[cfg(unix)]
    leader: Option<rustix::process::Pid>,
}

impl Group {
    #[cfg(unix)]
    fn of(child: &tokio::process::Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Group { leader: id.and_then(rustix::process::Pid::from_raw) }
    }

    #[cfg(not(unix))]
    fn of(_child: &tokio::process::Child) -> Self {
        Group {}
    }

    /// The helper has been waited for: its number may be another's now.
    #[cfg_attr(not(unix), expect(clippy::unused_self, reason = "there are no groups here"))]
    fn ended(&mut self) {
        #[cfg(unix)]
        {
            self.leader = None;
        }
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

/// Whether a helper that failed only had nothing to offer.
fn nothing_found(output: &[u8]) -> bool {
    let said = String::from_utf8_lossy(output).to_ascii_lowercase();
    said.contains("credentials not found") || said.contains("no credentials server url")
}
