//! Upload sessions that are open at registries: one that is abandoned is ended, as far as that is quickly done.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, Url};

use crate::event::Event;
use crate::oci::Repository;
use crate::registry::{Call, Registry, To};

/// How long ending sessions may take, all of them together.
const PATIENCE: Duration = Duration::from_secs(1);

/// The sessions that nobody has ended yet.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    open: BTreeMap<u64, (Repository, Url)>,
}

/// An upload session, open at the registry.
#[derive(Debug)]
pub(super) struct Session {
    number: u64,
    /// Where the next request goes. Opaque.
    pub(super) url: Url,
    /// `OCI-Chunk-Min-Length`.
    pub(super) min_chunk: u64,
}

impl Sessions {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a session was opened.
    pub(super) fn opened(&self, repository: &Repository, url: Url, min_chunk: u64) -> Session {
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        state.open.insert(number, (repository.clone(), url.clone()));
        Session { number, url, min_chunk }
    }

    /// Notes where a session goes on.
    pub(super) fn moved(&self, session: &mut Session, url: Url) {
        if let Some((_, known)) = self.state().open.get_mut(&session.number) {
            known.clone_from(&url);
        }
        session.url = url;
    }

    /// Forgets a session: it came to its end, or the registry doesn't know it any more.
    pub(super) fn ended(&self, session: Session) {
        self.state().open.remove(&session.number);
    }
}

impl Registry {
    /// Ends the upload sessions that were abandoned (`DELETE`), so that registries needn't keep half blobs until they
    /// find out. For the end of a run, however it ends: takes a second at most, and what fails is left to the registry.
    /// Not every registry lets clients do this. Says how many requests the run took.
    pub async fn clean_up(&self) {
        let open = std::mem::take(&mut self.0.sessions.state().open);
        let ending = open.into_values().map(|(repository, url)| async move {
            let what = format!("end an upload to {repository}");
            let mut call = Call::new(Method::DELETE, &repository, String::new(), what);
            (call.push, call.to) = (true, To::Url(url));
            let _ = self.try_once(&call).await;
        });
        let _ = tokio::time::timeout(PATIENCE, join_all(ending)).await;
        let asked = self.0.transport.asked();
        if asked > 0 {
            self.0.observer.on(Event::Detail(format!("{asked} requests to registries")));
        }
    }
}
