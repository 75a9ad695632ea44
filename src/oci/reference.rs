//! References: `registry/repository:tag@digest` (distribution-spec, "Definitions" and "Pulling manifests").

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};
use crate::oci::Digest;

/// The longest `registry/repository` that registries accept.
const MAX_NAME: usize = 255;

/// A registry: `host[:port]`. Docker Hub is always `docker.io`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Registry(String);

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository {
    registry: Registry,
    path: String,
}

/// A tag: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(String);

/// A repository with a tag, a digest, or both. With neither, the tag is `latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Where.
    pub repository: Repository,
    /// The tag, if one was given (or `latest` if nothing was).
    pub tag: Option<Tag>,
    /// The digest, if one was given.
    pub digest: Option<Digest>,
}

fn bad(what: &str, text: &str, why: impl Into<String>) -> Error {
    Error::new(Kind::Input, format!("invalid {what} \"{text}\""), why.into())
}

impl Registry {
    /// `host[:port]` as written in references.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `host[:port]` to connect to: Docker Hub's API lives on another name.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        if self.0 == "docker.io" { "registry-1.docker.io" } else { &self.0 }
    }

    /// The host alone, without port or brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        if let Some(rest) = self.0.strip_prefix('[') {
            return rest.split(']').next().unwrap_or(rest);
        }
        self.0.split(':').next().unwrap_or(&self.0)
    }

    /// Whether the registry is on this machine, where plain HTTP is usual: `localhost`, `*.localhost`,
    /// 127.0.0.0/8, `::1`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl FromStr for Registry {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (host, port) = match text.strip_prefix('[').and_then(|t| t.split_once(']')) {
            Some((ip, rest)) => {
                if ip.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(bad("registry", text, "not an IPv6 address"));
                }
                match rest {
                    "" => ("", None),
                    rest => {
                        ("", Some(rest.strip_prefix(':').ok_or_else(|| bad("registry", text, "no port"))?))
                    }
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let label = |l: &str| {
            !l.is_empty()
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if !text.starts_with('[') && !host.split('.').all(label) {
            return Err(bad("registry", text, "not a host name"));
        }
        if let Some(port) = port {
            if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
                return Err(bad("registry", text, "the port is not a number"));
            }
            if port.parse::<u16>().is_err() {
                return Err(bad("registry", text, format!("port {port} out of range")));
            }
        }
        let name = text.to_ascii_lowercase();
        Ok(Registry(match name.as_str() {
            "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
            _ => name,
        }))
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Repository {
    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The path below the registry, as it stands in URLs.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// This repository with `/rest` after its path.
    ///
    /// # Errors
    /// A path that isn't allowed in a repository.
    pub fn join(&self, rest: &str) -> Result<Self> {
        format!("{self}/{rest}").parse()
    }
}

impl FromStr for Repository {
    type Err = Error;

    /// Reads `[registry/]path` with Docker's rules: without a registry (no dot, no port, not `localhost`)
    /// it is docker.io, and a single name there is `library/name`.
    fn from_str(text: &str) -> Result<Self> {
        if let Some((_, rest)) = text.split_once("://") {
            return Err(bad("repository", text, "a repository has no scheme").hint(format!("use {rest}")));
        }
        let (registry, path) = match text.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':', '[']) || first == "localhost" => {
                (first.parse()?, rest.to_owned())
            }
            _ => (Registry("docker.io".to_owned()), text.to_owned()),
        };
        let path =
            if registry.0 == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path };
        for component in path.split('/') {
            check_component(text, component)?;
        }
        if registry.0.len() + 1 + path.len() > MAX_NAME {
            return Err(bad("repository", text, format!("longer than {MAX_NAME} characters")));
        }
        Ok(Repository { registry, path })
    }
}

/// A path component: lower-case letters and digits, separated by `.`, `_`, `__` or dashes.
fn check_component(whole: &str, component: &str) -> Result<()> {
    if component.is_empty() {
        return Err(bad("repository", whole, "empty path component"));
    }
    if component.bytes().any(|b| b.is_ascii_uppercase()) {
        let hint = format!("did you mean {}", whole.to_ascii_lowercase());
        return Err(bad("repository", whole, "a repository is lower case").hint(hint));
    }
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = component.as_bytes();
    let runs_fine = !component.contains("..")
        && !component.contains("___")
        && !component.contains("._")
        && !component.contains("_.")
        && !component.contains(".-")
        && !component.contains("-.")
        && !component.contains("_-")
        && !component.contains("-_");
    if !bytes.iter().all(|b| allowed(*b)) || !edge(bytes.first()) || !edge(bytes.last()) || !runs_fine {
        return Err(bad("repository", whole, format!("invalid path component \"{component}\"")));
    }
    Ok(())
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl Tag {
    /// The tag of the list of what refers to `subject`, where a registry keeps none itself (distribution-spec,
    /// "Referrers Tag Schema").
    #[must_use]
    pub fn of_referrers(subject: &Digest) -> Self {
        Tag(format!("sha256-{}", subject.hex()))
    }

    /// The tag of the signatures of `subject` in cosign's old layout (cosign, "specs/SIGNATURE_SPEC.md").
    #[must_use]
    pub fn of_signatures(subject: &Digest) -> Self {
        Tag(format!("sha256-{}.sig", subject.hex()))
    }

    /// The tag of the SBOM of `subject` in cosign's old layout (cosign, "specs/SBOM_SPEC.md"), which is ko's.
    #[must_use]
    pub fn of_sbom(subject: &Digest) -> Self {
        Tag(format!("sha256-{}.sbom", subject.hex()))
    }

    /// Whether it is beside an image and names none itself: a list of referrers, or one of cosign's old layout with
    /// signatures, attestations or an SBOM.
    #[must_use]
    pub fn is_beside(&self) -> bool {
        let Some(rest) = self.0.strip_prefix("sha256-") else { return false };
        let (hex, end) = rest.split_once('.').map_or((rest, ""), |(hex, end)| (hex, end));
        format!("sha256:{hex}").parse::<Digest>().is_ok() && ["", "sig", "att", "sbom"].contains(&end)
    }

    /// The tag that is meant when none is given.
    #[must_use]
    pub fn latest() -> Self {
        Tag("latest".to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() > 128 {
            return Err(bad("tag", text, format!("{} characters, limit 128", text.len())));
        }
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let bytes = text.as_bytes();
        if !bytes.first().is_some_and(|b| word(*b)) || !bytes.iter().all(|b| word(*b) || b".-".contains(b)) {
            return Err(bad("tag", text, "allowed is [A-Za-z0-9_][A-Za-z0-9._-]{0,127}"));
        }
        Ok(Tag(text.to_owned()))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        let last = name.rfind('/').map_or(0, |i| i + 1);
        let (name, tag) = match name[last..].split_once(':') {
            // A lone `host:port` with nothing after it can't be told from `name:tag`; it is the latter.
            Some((_, tag)) => (&name[..name.len() - tag.len() - 1], Some(tag.parse()?)),
            None => (name, None),
        };
        let tag = if tag.is_none() && digest.is_none() { Some(Tag::latest()) } else { tag };
        Ok(Reference { repository: name.parse()?, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_read_as_docker_reads_them() {
        for (text, printed) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("org/app:v1", "docker.io/org/app:v1"),
            ("index.docker.io/org/app", "docker.io/org/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/a/b:t", "localhost:5000/a/b:t"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            ("GHCR.io/a/b__c/d-e--f.g", "ghcr.io/a/b__c/d-e--f.g:latest"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), printed, "{text}");
        }
        let digest = Digest::of(b"");
        let both = format!("r.io/a:t@{digest}").parse::<Reference>().unwrap();
        assert_eq!((both.tag.unwrap().as_str(), both.digest), ("t", Some(digest)));
        assert!(format!("r.io/a@{digest}").parse::<Reference>().unwrap().tag.is_none());
    }

    #[test]
    fn bad_references_say_why() {
        for (text, why) in [
            ("ghcr.io/Foo/app", "lower case"),
            ("ghcr.io/../x", "component \"..\""),
            ("ghcr.io/a//b", "empty path component"),
            ("reg.io:99999/x", "port 99999 out of range"),
            ("https://ghcr.io/x", "no scheme"),
            ("ghcr.io/a:b:c", "invalid"),
            ("ghcr.io/a@md5:00", "unsupported digest algorithm"),
            ("ghcr.io/a_-b", "component"),
            ("", "empty"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(
            "a".repeat(129).parse::<Tag>().unwrap_err().to_string().contains("129 characters, limit 128")
        );
        assert!("r.io/".to_owned().parse::<Repository>().is_err());
    }

    #[test]
    fn tags_beside_images_are_known() {
        let subject = Digest::of(b"");
        assert!(Tag::of_referrers(&subject).is_beside() && Tag::of_signatures(&subject).is_beside());
        assert!(Tag::of_sbom(&subject).is_beside());
        let hex = subject.hex();
        for (text, beside) in [
            (format!("sha256-{hex}.att"), true),
            (format!("sha256-{hex}.sbom"), true),
            (format!("sha256-{hex}.v1"), false),
            (format!("sha256-{hex}0"), false),
            (format!("sha256-{}", &hex[1..]), false),
            ("v1".to_owned(), false),
        ] {
            assert_eq!(text.parse::<Tag>().unwrap().is_beside(), beside, "{text}");
        }
    }

    #[test]
    fn loopback_is_known() {
        for (text, loopback) in [
            ("localhost:1", true),
            ("127.0.0.9", true),
            ("[::1]:5", true),
            ("r.localhost", true),
            ("10.0.0.1", false),
        ] {
            assert_eq!(text.parse::<Registry>().unwrap().is_loopback(), loopback, "{text}");
        }
    }
}
