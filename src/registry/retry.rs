//! When a request is tried again, and how long to wait before: pure policy.

use std::time::Duration;

/// How often a request is tried and how long the pauses are. There is no jitter: the pauses are the same in
/// every run.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The number of tries, the first one included.
    pub tries: u32,
    /// The pause after the first failure; it doubles with each further one.
    pub first: Duration,
    /// The longest pause that gimg chooses itself.
    pub cap: Duration,
    /// The longest pause that a registry's `Retry-After` can ask for.
    pub retry_after_cap: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            tries: 5,
            first: Duration::from_millis(300),
            cap: Duration::from_secs(10),
            retry_after_cap: Duration::from_secs(60),
        }
    }
}

impl Policy {
    /// The pause after the `failed`th failure (counted from 1), or `None` if that was the last try. A pause
    /// that the registry `asked` for is kept even if it is shorter than ours.
    #[must_use]
    pub fn pause(&self, failed: u32, asked: Option<Duration>) -> Option<Duration> {
        if failed >= self.tries {
            return None;
        }
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1)));
        Some(asked.map_or(doubled.min(self.cap), |asked| asked.min(self.retry_after_cap)))
    }
}

/// Whether an answer with this status is worth another try: the registry is overloaded or broken for a
/// moment (RFC 9110, section 15; 499 and 52x are what proxies answer for it).
#[must_use]
pub fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 499 | 500 | 502 | 503 | 504 | 520..=524)
}

/// The pause in a `Retry-After` value: whole seconds, or an HTTP date counted from the answer's own `Date`
/// (RFC 9110, section 10.2.3), so that no local clock is needed.
#[must_use]
pub fn retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let pause = http_date(value)?.checked_sub(http_date(date?)?)?;
    Some(Duration::from_secs(pause))
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

    #[test]
    fn pauses_double_up_to_the_cap() {
        let policy = Policy { tries: 8, ..Policy::default() };
        let millis: Vec<_> =
            (1..=8).map(|n| policy.pause(n, None).map(|d| u64::try_from(d.as_millis()).unwrap())).collect();
        let expected = [300, 600, 1200, 2400, 4800, 9600, 10_000].map(Some);
        assert_eq!(millis[..7], expected);
        assert_eq!(millis[7], None);
    }

    #[test]
    fn the_registrys_wish_counts_up_to_a_minute() {
        let policy = Policy::default();
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(policy.pause(1, seconds(7)), seconds(7));
        assert_eq!(policy.pause(1, seconds(0)), seconds(0));
        assert_eq!(policy.pause(1, seconds(3600)), seconds(60));
        assert_eq!(policy.pause(5, seconds(1)), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let date = Some("Thu, 31 Dec 2026 23:59:50 GMT");
        assert_eq!(retry_after("120", None), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Fri, 01 Jan 2027 00:00:20 GMT", date), Some(Duration::from_secs(30)));
        for (value, date) in
            [("Fri, 01 Jan 2027 00:00:20 GMT", None), ("soon", date), ("-1", None), ("a, b c d e f g", date)]
        {
            assert_eq!(retry_after(value, date), None, "{value}");
        }
    }

    #[test]
    fn client_errors_are_final() {
        for status in [400, 401, 403, 404, 405, 409, 413, 416, 422, 501] {
            assert!(!is_temporary(status), "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(is_temporary(status), "{status}");
        }
    }

    proptest::proptest! {
        #[test]
        fn fuzz_retry_after_is_read_or_left(value in ".*", date in "[A-Z][a-z]{2}, [0-9]{1,2} (Jan|Feb) [0-9]{1,5} [0-9:]{0,9} GMT") {
            let _ = retry_after(&value, Some(&date));
            let _ = retry_after(&date, Some(&date));
        }
    }
}
