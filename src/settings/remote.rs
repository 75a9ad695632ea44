//! The remote cache of Go's compiles: where it is, and whether it gets something.

use std::fmt;

use crate::error::{Error, Kind, Result};
use crate::oci::Repository;
use crate::settings::destination::Destination;
use crate::settings::env::{self, Env};

/// How the URL of a repository begins that keeps packs: `oci://ghcr.io/me/cache`.
const PACKS: &str = "oci://";

/// A server that keeps what Go compiled.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteCache {
    /// Its URL; may hold a user and a password.
    pub url: String,
    /// What proves who we are, if there is something: a bearer token.
    pub token: Option<String>,
    /// Whether what it lacks is sent to it.
    pub writes: bool,
}

/// Neither URL nor token are shown: both may be secrets.
impl fmt::Debug for RemoteCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteCache").field("writes", &self.writes).finish_non_exhaustive()
    }
}

impl RemoteCache {
    /// What flags and environment say; none if nobody names one.
    ///
    /// # Errors
    /// A URL of a kind that gimg can't speak to; the wish to write without a URL; a variable that is neither yes nor no.
    pub fn resolve(url: Option<String>, writes: bool, env: &Env) -> Result<Option<Self>> {
        let variable = env.first(&[env::GIMG_REMOTE_CACHE]).map(str::to_owned);
        let Some(url) = url.or(variable) else {
            return match writes {
                true => Err(Error::new(Kind::Usage, "read --remote-cache-write", "there is no remote cache")
                    .hint("name it with --remote-cache URL")),
                false => Ok(None),
            };
        };
        if url == "off" {
            return Ok(None);
        }
        if !["http://", "https://", "grpc://", "grpcs://", PACKS].iter().any(|scheme| url.starts_with(scheme))
        {
            let why = "its URL begins with none of http://, https://, grpc://, grpcs:// and oci://";
            return Err(Error::new(Kind::Usage, "use the remote cache", why));
        }
        let says = env.first(&[env::GIMG_REMOTE_CACHE_WRITE]);
        let writes = writes
            || match says.map(str::to_ascii_lowercase).as_deref() {
                Some("1" | "true" | "yes") => true,
                None | Some("0" | "false" | "no") => false,
                Some(_) => {
                    let what = format!("read {}", env::GIMG_REMOTE_CACHE_WRITE);
                    return Err(Error::new(Kind::Usage, what, "it is neither true nor false"));
                }
            };
        let token = env.first(&[env::GIMG_REMOTE_CACHE_TOKEN]).map(str::to_owned);
        Ok(Some(RemoteCache { url, token, writes }))
    }

    /// The repository, if it is one.
    ///
    /// # Errors
    /// A name that no repository can have.
    pub fn repository(&self) -> Result<Option<Repository>> {
        let wrong = |e: Error| e.within("use the remote cache").as_kind(Kind::Usage);
        self.url.strip_prefix(PACKS).map(|name| name.parse().map_err(wrong)).transpose()
    }

    /// Whether `remote` is asked as a registry is, with its credentials.
    ///
    /// # Errors
    /// As [`RemoteCache::repository`].
    pub fn is_registry(remote: Option<&Self>) -> Result<bool> {
        Ok(remote.map(Self::repository).transpose()?.flatten().is_some())
    }

    /// The variables by which a child that is gimg learns the same.
    #[must_use]
    pub fn variables(&self) -> Vec<(String, String)> {
        let token = self.token.clone().unwrap_or_default();
        vec![
            (env::GIMG_REMOTE_CACHE.to_owned(), self.url.clone()),
            (env::GIMG_REMOTE_CACHE_TOKEN.to_owned(), token),
            (env::GIMG_REMOTE_CACHE_WRITE.to_owned(), self.writes.to_string()),
        ]
    }
}

/// What of a run reaches for a network, or for what others made.
pub(super) struct Reach<'a> {
    /// `--cache-from`.
    pub(super) shares: bool,
    /// `--debug`.
    pub(super) debug: bool,
    /// `--remote-cache`.
    pub(super) remote: Option<&'a RemoteCache>,
    /// Where images go.
    pub(super) destinations: &'a [Destination],
}

/// Checks what `--offline` and `--hermetic` leave possible.
///
/// # Errors
/// What they don't (kind `Usage`).
pub(super) fn check(offline: bool, hermetic: bool, reach: &Reach<'_>) -> Result<()> {
    let wrong = |flag: &str, why: &str| Err(Error::new(Kind::Usage, format!("read {flag}"), why));
    let Reach { shares, debug, remote, destinations } = reach;
    if offline {
        if destinations.contains(&Destination::Registry) {
            return wrong("--offline", "nothing can be pushed without a network").map_err(|e| {
                e.hint("write a layout (--output oci:DIR) and push it later: gimg push DIR REPO")
            });
        }
        if *shares {
            return wrong("--offline", "--cache-from asks a registry");
        }
        if remote.is_some() {
            return wrong("--offline", "there is a remote cache")
                .map_err(|e| e.hint("--remote-cache off does without"));
        }
    }
    if hermetic {
        if *shares {
            return wrong("--hermetic", "--cache-from takes programs that others compiled");
        }
        if *debug {
            return wrong("--hermetic", "--debug compiles a debugger that nobody declared");
        }
        if remote.is_some() {
            return wrong("--hermetic", "a remote cache has what others compiled")
                .map_err(|e| e.hint("--remote-cache off does without"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(url: Option<&str>, writes: bool, variables: &[(&str, &str)]) -> Result<Option<RemoteCache>> {
        let env = Env::new(variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        RemoteCache::resolve(url.map(str::to_owned), writes, &env)
    }

    #[test]
    fn flags_come_before_variables() {
        let set = [("GIMG_REMOTE_CACHE", "http://a"), ("GIMG_REMOTE_CACHE_WRITE", "true")];
        assert_eq!(resolve(None, false, &[]).unwrap(), None);
        assert_eq!(resolve(None, false, &set).unwrap().unwrap().url, "http://a");
        let found = resolve(Some("https://b"), false, &set).unwrap().unwrap();
        assert_eq!((found.url.as_str(), found.writes), ("https://b", true));
        assert_eq!(resolve(Some("off"), false, &set).unwrap(), None);
        assert!(!resolve(None, false, &set[..1]).unwrap().unwrap().writes);
        assert!(resolve(None, true, &set[..1]).unwrap().unwrap().writes);
        for (url, writes, variables) in [
            (None, true, &[][..]),
            (Some("ftp://a"), false, &[]),
            (Some("a"), false, &[]),
            (None, false, &[set[0], ("GIMG_REMOTE_CACHE_WRITE", "perhaps")]),
        ] {
            assert_eq!(resolve(url, writes, variables).unwrap_err().kind(), Kind::Usage);
        }
    }

    #[test]
    fn a_child_learns_the_same_and_debugging_shows_no_secret() {
        let all = [
            ("GIMG_REMOTE_CACHE", "http://me:hunter2@a"),
            ("GIMG_REMOTE_CACHE_TOKEN", "hunter2"),
            ("GIMG_REMOTE_CACHE_WRITE", "1"),
        ];
        let found = resolve(None, false, &all).unwrap().unwrap();
        assert!(!format!("{found:?}").contains("hunter2"));
        let variables = found.variables();
        let variables: Vec<_> = variables.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(resolve(None, false, &variables).unwrap(), Some(found));
    }
}
