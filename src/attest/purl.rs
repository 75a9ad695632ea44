//! Package URLs (the purl specification, ECMA-427, and its type definitions `golang` and `oci`).

use crate::oci::{Digest, Repository};

/// The purl of a Go module; `None` if its path has one part: such a module can't be fetched, and the type demands a
/// namespace. Path parts are lower-cased, the version isn't.
pub(super) fn go_module(path: &str, version: Option<&str>) -> Option<String> {
    let parts: Vec<String> = path.split('/').map(|part| encode(&part.to_lowercase())).collect();
    if parts.len() < 2 || parts.iter().any(String::is_empty) {
        return None;
    }
    let version = version.map(|v| format!("@{}", encode(v))).unwrap_or_default();
    Some(format!("pkg:golang/{}{version}", parts.join("/")))
}

/// The module and version in the purl of a Go module; of the standard library `stdlib`. The path is in lower case.
#[must_use]
pub fn read_go(purl: &str) -> Option<(String, String)> {
    let rest = purl.strip_prefix("pkg:golang/")?;
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let (path, version) = rest.rsplit_once('@')?;
    let path = path.split('/').map(decode).collect::<Option<Vec<String>>>()?.join("/");
    let path = if path == "std" { "stdlib".to_owned() } else { path };
    Some((path, decode(version)?))
}

/// Undoes [`encode`].
fn decode(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// The purl of Go's standard library, as scanners have it.
pub(super) fn stdlib(version: &str) -> String {
    format!("pkg:golang/stdlib@{}", encode(version))
}

/// The purl of an image or index. `name` is the last part of a repository's name; `repository` and `tag` say where it
/// can be found.
pub(super) fn image(
    name: &str,
    digest: &Digest,
    architecture: Option<&str>,
    found: Option<(&Repository, Option<&str>)>,
) -> String {
    // In the order of their keys.
    let qualifiers = [
        ("arch", architecture.map(str::to_owned)),
        ("repository_url", found.map(|(repository, _)| repository.to_string())),
        ("tag", found.and_then(|(_, tag)| tag).map(str::to_owned)),
    ];
    let mut purl = format!("pkg:oci/{}@{}", encode(&name.to_lowercase()), encode(&digest.to_string()));
    let said = qualifiers.into_iter().filter_map(|(key, value)| Some((key, value?)));
    for (number, (key, value)) in said.enumerate() {
        let separator = if number == 0 { '?' } else { '&' };
        purl.push_str(&format!("{separator}{key}={}", encode(&value)));
    }
    purl
}

/// Percent-encodes all but letters, digits, `.`, `-`, `_`, `~` and the colon, which is never encoded.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_written_as_the_specification_says() {
        for (path, version, purl) in [
            (
                "github.com/BurntSushi/toml",
                Some("v1.6.0"),
                Some("pkg:golang/github.com/burntsushi/toml@v1.6.0"),
            ),
            (
                "github.com/docker/cli",
                Some("v29.0.0+incompatible"),
                Some("pkg:golang/github.com/docker/cli@v29.0.0%2Bincompatible"),
            ),
            (
                "git.sr.ht/~sbinet/gg",
                Some("v0.0.0-2024-a+dirty"),
                Some("pkg:golang/git.sr.ht/~sbinet/gg@v0.0.0-2024-a%2Bdirty"),
            ),
            ("golang.org/x/crypto", None, Some("pkg:golang/golang.org/x/crypto")),
            ("example.com/a@b/c?d", Some("V1"), Some("pkg:golang/example.com/a%40b/c%3Fd@V1")),
            ("app", Some("v1.0.0"), None),
            ("", None, None),
        ] {
            assert_eq!(go_module(path, version).as_deref(), purl);
            if let (Some(purl), Some(version)) = (purl, version) {
                assert_eq!(read_go(purl), Some((path.to_lowercase(), version.to_owned())));
            }
        }
        for (purl, read) in [
            ("pkg:golang/stdlib@1.26.8", Some(("stdlib", "1.26.8"))),
            ("pkg:golang/std@1.26.8", Some(("stdlib", "1.26.8"))),
            ("pkg:golang/a.b/c@v1.0.0?type=module#d/e", Some(("a.b/c", "v1.0.0"))),
            ("pkg:golang/a.b/c", None),
            ("pkg:npm/a@1", None),
            ("pkg:golang/a%zz/b@v1", None),
            ("pkg:golang/a%", None),
        ] {
            let read = read.map(|(path, version)| (path.to_owned(), version.to_owned()));
            assert_eq!(read_go(purl), read, "{purl}");
        }
        assert_eq!(stdlib("1.26.8"), "pkg:golang/stdlib@1.26.8");
    }

    #[test]
    fn images_are_written_as_the_specification_says() {
        let digest = Digest::of(b"");
        let repository: Repository = "gcr.io/distroless/static".parse().unwrap();
        assert_eq!(
            image("Static", &digest, Some("amd64"), Some((&repository, Some("latest")))),
            format!(
                "pkg:oci/static@{digest}?arch=amd64&repository_url=gcr.io%2Fdistroless%2Fstatic&tag=latest"
            )
        );
        assert_eq!(image("app", &digest, None, None), format!("pkg:oci/app@{digest}"));
        assert!(digest.to_string().starts_with("sha256:"));
    }
}
