//! Times in UTC, as SBOMs have them.

use crate::image::assemble::EPOCH;
use crate::oci::rfc3339;

/// A time as SPDX has it (2.3, section 6.9), `YYYY-MM-DDThh:mm:ssZ`, of one as RFC 3339 has it, which may have fractions and an offset.
/// One that can't be read becomes the time that stands for none.
#[must_use]
pub fn utc(time: &str) -> String {
    read_time(time).unwrap_or_else(|| EPOCH.to_owned())
}

fn read_time(time: &str) -> Option<String> {
    let (at, rest) = time.split_at_checked(19)?;
    let shape = b"0000-00-00T00:00:00";
    let fits = |(a, s): (u8, &u8)| if *s == b'0' { a.is_ascii_digit() } else { a.eq_ignore_ascii_case(s) };
    if !at.bytes().zip(shape).all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| at.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let possible = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !possible || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let offset = rest.strip_prefix('.').map_or(rest, |r| r.trim_start_matches(|c: char| c.is_ascii_digit()));
    let east = match offset.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign @ ("+" | "-"), text) => {
            let (hours, minutes) = text.split_once(':')?;
            let east = i64::from(hours.parse::<u8>().ok()?) * 60 + i64::from(minutes.parse::<u8>().ok()?);
            if sign == "+" { east } else { -east }
        }
        _ => return None,
    };
    if east == 0 {
        return Some(format!("{}Z", at.to_ascii_uppercase()));
    }
    // Days by Hinnant's days-from-civil.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = days * 86_400 + hour * 3600 + (minute - east) * 60 + second;
    u64::try_from(seconds).ok().map(rfc3339)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_without_fractions() {
        for (time, utc_time) in [
            ("2024-02-29T23:30:00.123456789-01:00", "2024-03-01T00:30:00Z"),
            ("2024-01-01T01:15:30+05:45", "2023-12-31T19:30:30Z"),
            ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
            ("2024-01-01t00:00:00.5z", "2024-01-01T00:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("0001-01-01T00:00:00+01:00", EPOCH),
            ("2024-13-01T00:00:00Z", EPOCH),
            ("2024-01-01T24:00:00Z", EPOCH),
            ("2024-01-01T00:00:00", EPOCH),
            ("2024-01-01T00:00:00+1", EPOCH),
            ("2024-01-01T00:00:00Zx", EPOCH),
            ("2024-01-01 00:00:00é", EPOCH),
            ("", EPOCH),
        ] {
            assert_eq!(utc(time), utc_time, "{time}");
        }
    }
}
