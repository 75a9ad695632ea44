//! The cache: where it is and how large it may become.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::settings::env::{self, Env};

/// How large the cache may become if nobody says otherwise: 10 GiB.
pub const DEFAULT_MAX: u64 = 10 << 30;

/// Where the cache is and how large it may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Where.
    pub place: Place,
    /// How large, in bytes.
    pub max: u64,
}

/// Where the cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The user wants none.
    Off,
    /// No variable says where.
    Unknown,
    /// In this directory, which needn't be there.
    At(PathBuf),
}

/// What the environment says: `GIMG_CACHE`, else `gimg` in `XDG_CACHE_HOME` (a relative one is ignored, as the XDG Base
/// Directory Specification wants it), else `.cache/gimg` in `HOME`.
///
/// # Errors
/// A size that isn't one (kind `Usage`).
pub fn resolve(env: &Env) -> Result<Cache> {
    let absolute = |name| env.first(&[name]).map(Path::new).filter(|path| path.is_absolute());
    let place = match env.first(&[env::GIMG_CACHE]) {
        Some("off") => Place::Off,
        Some(dir) => Place::At(PathBuf::from(dir)),
        None => match (absolute(env::XDG_CACHE_HOME), absolute("HOME")) {
            (Some(caches), _) => Place::At(caches.join("gimg")),
            (None, Some(home)) => Place::At(home.join(".cache").join("gimg")),
            (None, None) => Place::Unknown,
        },
    };
    let max = match env.first(&[env::GIMG_CACHE_MAX]) {
        Some(text) => size(text).ok_or_else(|| {
            Error::new(Kind::Usage, format!("read {}", env::GIMG_CACHE_MAX), not_a_size(text))
        })?,
        None => DEFAULT_MAX,
    };
    Ok(Cache { place, max })
}

/// A size in words: bytes, or with K, M, G or T (KiB and the like mean the same) powers of 1024. None if it isn't one.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let power = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << power)
}

/// Why a text isn't a size.
#[must_use]
pub fn not_a_size(text: &str) -> String {
    format!("\"{text}\" isn't a size such as 10GiB or 500M")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_says_where_decides() {
        let place = |variables: &[(&str, &str)]| {
            let env = Env::new(variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
            resolve(&env).unwrap().place
        };
        let at = |path: &str| Place::At(PathBuf::from(path));
        let all = [("GIMG_CACHE", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")];
        assert_eq!(place(&all), at("/a"));
        assert_eq!(place(&all[1..]), at("/b/gimg"));
        assert_eq!(place(&all[2..]), at("/c/.cache/gimg"));
        assert_eq!(place(&[]), Place::Unknown);
        assert_eq!(place(&[("GIMG_CACHE", "off"), ("HOME", "/c")]), Place::Off);
        assert_eq!(place(&[("GIMG_CACHE", ""), ("HOME", "/c")]), at("/c/.cache/gimg"));
        assert_eq!(place(&[("GIMG_CACHE", "here")]), at("here"));
        assert_eq!(place(&[("XDG_CACHE_HOME", "b"), ("HOME", "/c")]), at("/c/.cache/gimg"));
        assert_eq!(place(&[("HOME", "c")]), Place::Unknown);
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("12B", 12),
            ("12 b", 12),
            ("3k", 3 << 10),
            ("3KiB", 3 << 10),
            ("500M", 500 << 20),
            ("10GiB", 10 << 30),
            ("10 gib", 10 << 30),
            ("2T", 2 << 40),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in
            ["", "G", "-1", "1.5G", "1GB", "10Gi", "10 iB", "1kk", "99999999999999999999", "99999999T", "ten"]
        {
            assert_eq!(size(text), None, "{text}");
        }
        let env = Env::new([("GIMG_CACHE_MAX".to_owned(), "much".to_owned())].into());
        assert_eq!(resolve(&env).unwrap_err().kind(), Kind::Usage);
    }
}
