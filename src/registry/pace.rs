//! How fast a registry is asked: one pace for all requests to it. A registry that says "too many requests" means the
//! machine, not the one request that it happened to answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// After how many answers one more request may be under way.
const SUCCESSES: usize = 10;

/// The pace of the requests to one registry. Nothing is held back until the registry asks for it.
#[derive(Debug, Default)]
pub(super) struct Pace {
    state: Mutex<State>,
    /// Told when a request ends.
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Nobody asks before.
    until: Option<Instant>,
    /// How many requests may be under way; None: as many as there are.
    limit: Option<usize>,
    active: usize,
    /// Answers since the limit last changed.
    successes: usize,
    /// When the limit was halved last. Requests that were under way then say nothing new.
    halved: Option<Instant>,
    /// Until when it was said that everything waits.
    said: Option<Instant>,
}

impl Pace {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of a request. One whose bytes another request is waiting for doesn't `queue`: that one would
    /// wait for itself. It keeps pauses all the same.
    pub(super) async fn enter(self: &Arc<Self>, queue: bool) -> Turn {
        loop {
            let ended = self.ended.notified();
            let mut ended = std::pin::pin!(ended);
            // Whoever ends between our look and our waiting is heard too.
            ended.as_mut().enable();
            let pause = {
                let mut state = self.state();
                let now = Instant::now();
                match state.until.filter(|until| *until > now) {
                    Some(until) => Some(until),
                    None if !queue => return Turn { pace: None, start: now },
                    None if state.limit.is_none_or(|limit| state.active < limit) => {
                        state.active += 1;
                        return Turn { pace: Some(Arc::clone(self)), start: now };
                    }
                    None => None,
                }
            };
            match pause {
                Some(until) => tokio::time::sleep_until(until).await,
                None => ended.await,
            }
        }
    }

    /// The registry answered: after some answers it may be asked more at a time.
    pub(super) fn answered(&self) {
        let mut state = self.state();
        if let Some(limit) = state.limit {
            state.successes += 1;
            if state.successes >= SUCCESSES {
                state.successes = 0;
                state.limit = Some(limit + 1);
                self.ended.notify_waiters();
            }
        }
    }

    /// The registry had enough of the request that began at `start`: half as many at a time from now on.
    pub(super) fn refused(&self, start: Instant) {
        let mut state = self.state();
        if state.halved.is_some_and(|halved| start <= halved) {
            return;
        }
        let now = state.limit.map_or(state.active, |limit| limit.min(state.active));
        state.limit = Some((now / 2).max(1));
        (state.successes, state.halved) = (0, Some(Instant::now()));
    }

    /// Nobody asks for `delay` from now. Whether that is news: the first who hears it says it.
    pub(super) fn hold(&self, delay: Duration) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        let until = now + delay;
        state.until = state.until.max(Some(until));
        let news = state.said.is_none_or(|said| said <= now);
        if news {
            state.said = Some(until);
        }
        news
    }
}

/// A request's turn; it ends when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    /// None if it didn't queue.
    pace: Option<Arc<Pace>>,
    /// When it began.
    pub(super) start: Instant,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(pace) = &self.pace {
            pace.state().active -= 1;
            pace.ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `wanted` requests get their turn at once.
    async fn at_once(pace: &Arc<Pace>, wanted: usize) -> (usize, Vec<Turn>) {
        let mut turns = Vec::new();
        for _ in 0..wanted {
            let turn = pace.enter(true);
            match tokio::time::timeout(Duration::from_millis(5), turn).await {
                Ok(turn) => turns.push(turn),
                Err(_) => break,
            }
        }
        (turns.len(), turns)
    }

    #[tokio::test]
    async fn a_refusal_halves_and_answers_bring_it_back_one_by_one() {
        let pace = Arc::new(Pace::default());
        let (all, turns) = at_once(&pace, 8).await;
        assert_eq!(all, 8);
        // All eight are refused: that is one refusal.
        for turn in &turns {
            pace.refused(turn.start);
        }
        drop(turns);
        assert_eq!(at_once(&pace, 8).await.0, 4);
        for _ in 0..SUCCESSES {
            pace.answered();
        }
        let (more, turns) = at_once(&pace, 8).await;
        assert_eq!(more, 5);
        pace.refused(turns[0].start);
        drop(turns);
        assert_eq!(at_once(&pace, 8).await.0, 2);
        for _ in 0..3 {
            let (_, turns) = at_once(&pace, 1).await;
            pace.refused(turns[0].start);
        }
        assert_eq!(at_once(&pace, 8).await.0, 1);
    }

    #[tokio::test]
    async fn who_waits_gets_the_next_turn() {
        let pace = Arc::new(Pace::default());
        let turn = pace.enter(true).await;
        pace.refused(turn.start);
        let waiting = tokio::spawn({
            let pace = Arc::clone(&pace);
            async move { drop(pace.enter(true).await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        // Who doesn't queue isn't kept.
        drop(pace.enter(false).await);
        drop(turn);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn a_pause_is_for_everyone_and_is_said_once() {
        let pace = Arc::new(Pace::default());
        let start = Instant::now();
        assert!(pace.hold(Duration::from_millis(40)));
        assert!(!pace.hold(Duration::from_millis(60)));
        assert!(!pace.hold(Duration::from_millis(1)));
        drop(pace.enter(true).await);
        drop(pace.enter(false).await);
        assert!(start.elapsed() >= Duration::from_millis(60));
        assert!(pace.hold(Duration::from_millis(1)));
    }
}
