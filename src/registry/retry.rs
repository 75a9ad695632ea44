//! When a request is tried again, and how long to wait before: pure policy, and the count of one piece of work.

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::oci;

/// How often a request is tried and how long the pauses are. A plain value: tests shrink it.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The number of tries, the first one included. Progress starts the count again.
    pub tries: u32,
    /// The pause after the first failure; it doubles with each further one. Each is shortened by chance to between
    /// half and all of it, so that clients that failed together don't come back together.
    pub first: Duration,
    /// The longest pause that gimg chooses itself.
    pub cap: Duration,
    /// The longest pause that a registry can ask for with `Retry-After`; a longer one ends the work at once.
    pub retry_after_cap: Duration,
    /// How long putting or getting one blob may stand still in all: pauses, and tries that got nowhere. The time
    /// in which bytes move doesn't count.
    pub blob_budget: Duration,
    /// The same for a manifest or a tag.
    pub manifest_budget: Duration,
    /// How long a registry may take to say whether it takes a blob from another repository.
    pub mount: Duration,
    /// What chance begins with; None: something else in every process.
    pub seed: Option<u64>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            tries: 6,
            first: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            retry_after_cap: Duration::from_secs(120),
            blob_budget: Duration::from_secs(5 * 60),
            manifest_budget: Duration::from_secs(2 * 60),
            mount: Duration::from_secs(10),
            seed: None,
        }
    }
}

/// The shortest pause that a registry can ask for: some write microseconds.
const SHORTEST: Duration = Duration::from_millis(100);

/// What to do after a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait so long, then try again.
    Wait(Duration),
    /// That was the last try.
    GiveUp,
    /// The registry asks for a longer pause than gimg makes.
    TooLong(Duration),
}

impl Policy {
    /// What follows the `failed`th failure (counted from 1). A pause that the registry `asked` for is kept even if
    /// it is shorter than ours. `chance` is between 0 and 1.
    #[must_use]
    pub fn next(&self, failed: u32, asked: Option<Duration>, chance: f64) -> Next {
        if let Some(asked) = asked.filter(|asked| *asked > self.retry_after_cap) {
            return Next::TooLong(asked);
        }
        if failed >= self.tries {
            return Next::GiveUp;
        }
        Next::Wait(match asked {
            Some(asked) => asked.max(SHORTEST.min(self.first)),
            None => self.backoff(failed, chance),
        })
    }

    /// Our own pause after the `failed`th failure.
    #[must_use]
    pub fn backoff(&self, failed: u32, chance: f64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1)));
        doubled.min(self.cap).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

/// A source of numbers between 0 and 1 (Vigna's SplitMix64): for pauses, where no secret hangs on it.
#[derive(Debug)]
pub(super) struct Chance(AtomicU64);

impl Chance {
    /// Numbers that depend on `seed`; without one, other numbers in every process.
    pub(super) fn new(seed: Option<u64>) -> Self {
        let random = || std::hash::RandomState::new().build_hasher().finish();
        Chance(AtomicU64::new(seed.unwrap_or_else(random)))
    }

    /// The next number.
    pub(super) fn next(&self) -> f64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // 53 bits are what a float holds exactly.
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The tries of one piece of work at one registry: a blob, a manifest, a tag.
#[derive(Debug)]
pub(super) struct Tries {
    pub(super) registry: oci::Registry,
    /// Failures since there was progress.
    pub(super) failed: u32,
    /// How long the work stood still since there was progress.
    idle: Duration,
    /// Since when it stands still.
    since: Instant,
    budget: Duration,
}

impl Tries {
    /// Work at `registry` that may stand still for `budget`.
    pub(super) fn new(registry: &oci::Registry, budget: Duration) -> Self {
        let (registry, since) = (registry.clone(), Instant::now());
        Tries { registry, failed: 0, idle: Duration::ZERO, since, budget }
    }

    /// Bytes moved until `at`: the time up to then isn't held against the work.
    pub(super) fn moved(&mut self, at: Instant) {
        self.since = self.since.max(at);
    }

    /// The work got on, and what went wrong before is forgiven.
    pub(super) fn progress(&mut self) {
        (self.failed, self.idle, self.since) = (0, Duration::ZERO, Instant::now());
    }

    /// Counts a failure; what to do next. Waiting for the registry's sake (`busy`) is counted as the pause alone.
    pub(super) fn fail(&mut self, policy: &Policy, asked: Option<Duration>, busy: bool, chance: f64) -> Next {
        self.failed += 1;
        if !busy {
            self.idle += self.since.elapsed();
        }
        let next = policy.next(self.failed, asked, chance);
        if let Next::Wait(delay) = next {
            self.idle += delay;
            if self.idle > self.budget {
                return Next::GiveUp;
            }
            self.since = Instant::now() + delay;
        }
        next
    }
}

/// Whether an answer with this status is worth another try: the registry is overloaded or broken for a
/// moment (RFC 9110, section 15; 499 and 52x are what proxies answer for it).
#[must_use]
pub fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 499 | 500 | 502 | 503 | 504 | 520..=524)
}

/// The pause in a `Retry-After` value: whole seconds, an HTTP date counted from the answer's own `Date`
/// (RFC 9110, section 10.2.3), so that no local clock is needed, or a duration as Go writes it (GHCR).
#[must_use]
pub fn retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    if let Some(duration) = go_duration(value) {
        return Some(duration);
    }
    // A moment that is over already means: now.
    let pause = http_date(value)?.saturating_sub(http_date(date?)?);
    Some(Duration::from_secs(pause))
}

/// The pause that a message asks for in words: `toomanyrequests: retry-after: 880.092µs, allowed: …` (GHCR).
#[must_use]
pub fn retry_after_in(message: &str) -> Option<Duration> {
    let lower = message.to_lowercase();
    let after = lower.split_once("retry-after")?.1.trim_start_matches([':', '=', ' ', '"']);
    let end = after.find([',', ';', ' ', '"', '}', '\n']).unwrap_or(after.len());
    retry_after(after[..end].trim_end_matches('.'), None)
}

/// A duration as Go's `time.Duration` writes it: `1m30s`, `880.092µs`. Negative ones and bare numbers aren't.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-9,
            // The micro sign and the Greek letter.
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number * unit;
        rest = &rest[end..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

/// Seconds of an `IMF-fixdate` such as `Sun, 06 Nov 1994 08:49:37 GMT` since some fixed day.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split([' ', ':']);
    let day: u64 = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|m| *m == month)? as u64 + 1;
    let year: u64 = parts.next()?.parse().ok().filter(|y| (1970..10_000).contains(y))?;
    let hour: u64 = parts.next()?.parse().ok()?;
    let minute: u64 = parts.next()?.parse().ok()?;
    let second: u64 = parts.next()?.parse().ok()?;
    if day > 31 || hour > 23 || minute > 59 || second > 60 || parts.next()? != "GMT" {
        return None;
    }
    // Days of the Gregorian calendar, the year starting in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    #[test]
    fn pauses_double_up_to_the_cap() {
        let policy = Policy { tries: 9, ..Policy::default() };
        let millis =
            |chance| -> Vec<u128> { (1..=8).map(|n| policy.backoff(n, chance).as_millis()).collect() };
        assert_eq!(millis(1.0), [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(millis(0.0), [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
        assert_eq!(policy.next(8, None, 1.0), Next::Wait(Duration::from_secs(30)));
        assert_eq!(policy.next(9, None, 1.0), Next::GiveUp);
    }

    #[test]
    fn chance_is_even_and_can_be_repeated() {
        let numbers = |seed| {
            let chance = Chance::new(seed);
            (0..1000).map(|_| chance.next()).collect::<Vec<f64>>()
        };
        let some = numbers(Some(7));
        assert_eq!(some, numbers(Some(7)));
        assert_ne!(some, numbers(Some(8)));
        assert_ne!(numbers(None), numbers(None));
        assert!(some.iter().all(|n| (0.0..1.0).contains(n)));
        let mean = some.iter().sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
    }

    #[test]
    fn the_registrys_wish_counts_up_to_two_minutes() {
        let policy = Policy::default();
        for (asked, expected) in [
            (seconds(7), Next::Wait(Duration::from_secs(7))),
            (seconds(120), Next::Wait(Duration::from_secs(120))),
            (seconds(0), Next::Wait(Duration::from_millis(100))),
            (Some(Duration::from_nanos(880_092)), Next::Wait(Duration::from_millis(100))),
            (seconds(121), Next::TooLong(Duration::from_secs(121))),
        ] {
            assert_eq!(policy.next(1, asked, 0.5), expected);
        }
        assert_eq!(policy.next(6, seconds(1), 0.5), Next::GiveUp);
        assert_eq!(policy.next(6, seconds(3600), 0.5), Next::TooLong(Duration::from_secs(3600)));
    }

    #[tokio::test]
    async fn work_that_stands_still_too_long_ends() {
        let policy = Policy { tries: 99, ..Policy::default() };
        let mut tries = Tries::new(&"r.io".parse().unwrap(), Duration::from_secs(100));
        let ask = |tries: &mut Tries| tries.fail(&policy, seconds(45), true, 0.0);
        assert_eq!(ask(&mut tries), Next::Wait(Duration::from_secs(45)));
        assert_eq!(ask(&mut tries), Next::Wait(Duration::from_secs(45)));
        assert_eq!(ask(&mut tries), Next::GiveUp);
        tries.progress();
        assert_eq!((tries.failed, ask(&mut tries)), (0, Next::Wait(Duration::from_secs(45))));
    }

    #[test]
    fn retry_after_is_seconds_a_date_or_gos_duration() {
        let date = Some("Thu, 31 Dec 2026 23:59:50 GMT");
        for (value, date, expected) in [
            ("120", None, seconds(120)),
            ("Fri, 01 Jan 2027 00:00:20 GMT", date, seconds(30)),
            ("Thu, 31 Dec 2026 23:59:40 GMT", date, seconds(0)),
            ("1m30s", None, seconds(90)),
            ("1h", None, seconds(3600)),
            ("2.5s", None, Some(Duration::from_millis(2500))),
            ("250ms", None, Some(Duration::from_millis(250))),
            ("Fri, 01 Jan 2027 00:00:20 GMT", None, None),
            ("soon", date, None),
            ("-1", None, None),
            ("-5s", None, None),
            ("5 s", None, None),
            ("5x", None, None),
            ("", None, None),
            ("a, b c d e f g", date, None),
        ] {
            assert_eq!(retry_after(value, date), expected, "{value}");
        }
        for micro in ["880.092\u{b5}s", "880.092\u{3bc}s", "880.092us"] {
            let found = retry_after(micro, None).unwrap();
            assert!((879_000..881_000).contains(&found.as_nanos()), "{micro}: {found:?}");
        }
    }

    #[test]
    fn messages_ask_for_pauses_too() {
        let ghcr = "toomanyrequests: retry-after: 880.092µs, allowed: 44000/minute";
        assert_eq!(retry_after_in(ghcr).unwrap().as_micros(), 880);
        assert_eq!(retry_after_in("Retry-After: 1m30s."), seconds(90));
        assert_eq!(retry_after_in(r#"{"retry-after":"12"}"#), seconds(12));
        for none in ["please wait", "retry-after", "retry-after: soon", "retry-after: İ"] {
            assert_eq!(retry_after_in(none), None, "{none}");
        }
    }

    #[test]
    fn client_errors_are_final() {
        for status in [400, 401, 403, 404, 405, 409, 411, 413, 415, 416, 422, 501] {
            assert!(!is_temporary(status), "{status}");
        }
        for status in [408, 425, 429, 499, 500, 502, 503, 504, 520, 524] {
            assert!(is_temporary(status), "{status}");
        }
    }

    proptest::proptest! {
        #[test]
        fn fuzz_retry_after_is_read_or_left(value in ".*", date in "[A-Z][a-z]{2}, [0-9]{1,2} (Jan|Feb) [0-9]{1,5} [0-9:]{0,9} GMT", go in "([0-9.]{0,30}(ns|us|µs|ms|s|m|h)?){0,4}") {
            for text in [&value, &date, &go] {
                let _ = retry_after(text, Some(&date));
                let _ = retry_after_in(&format!("retry-after: {text}"));
            }
        }
    }
}
