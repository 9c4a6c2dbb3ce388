//! Names of repositories, tags and digests, by the rules of go-containerregistry.

use std::fmt;
use std::net::Ipv4Addr;

use flux_golang::url::Url;

use crate::digest::{Digest, DigestError};

/// The registry of names without one.
pub const DOCKER_HUB: &str = "index.docker.io";
/// Another name of [`DOCKER_HUB`].
const DOCKER_HUB_ALIAS: &str = "docker.io";
/// The namespace of Docker Hub's repositories without one.
const OFFICIAL: &str = "library";

const REPOSITORY_CHARACTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789_-./";
const TAG_CHARACTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789_-.ABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// The most characters of a tag.
pub(crate) const MAX_TAG: usize = 128;
/// The most characters of an invalid name that are shown.
const SHOWN: usize = 300;

/// Why a text is not a name. The texts are go-containerregistry's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no name.
    #[error("a repository name must be specified")]
    Empty,
    /// The name is too short or too long.
    #[error("{part} must be between {min} and {max} characters in length: {text}")]
    Length {
        /// `repository` or `tag`.
        part: &'static str,
        /// The fewest characters.
        min: usize,
        /// The most characters.
        max: usize,
        /// The name without user information, cut off if it is long.
        text: String,
    },
    /// The name has other characters than it may.
    #[error("{part} can only contain the characters `{allowed}`: {text}")]
    Characters {
        /// `repository` or `tag`.
        part: &'static str,
        /// The characters it may have.
        allowed: &'static str,
        /// The name without user information, cut off if it is long.
        text: String,
    },
    /// A part of the path would change where a request goes. Upstream sends such requests, and gets no repository.
    #[error("repository must not contain empty, '.' or '..' segments: {0}")]
    Segment(String),
    /// The registry is not a host.
    #[error("registries must be valid RFC 3986 URI authorities: {0}")]
    Registry(String),
}

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository {
    registry: String,
    path: String,
    insecure: bool,
    is_plain: bool,
}

/// A version in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A tag.
    Tag {
        /// The repository.
        repository: Repository,
        /// The tag.
        tag: String,
    },
    /// A digest.
    Digest {
        /// The repository.
        repository: Repository,
        /// The digest of the manifest.
        digest: Digest,
    },
}

impl Repository {
    /// Reads `[host[:port]/]path`. A first part without dot and colon belongs to the path, and the host is then Docker
    /// Hub, where a path of one part is below `library` (SC-OCI-048).
    ///
    /// # Errors
    /// The text is not such a name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let split = text.split_once('/');
        let (registry, path) = match split {
            Some((host, path)) if host.contains(['.', ':']) => (host, path),
            _ => ("", text),
        };
        check_path(path)?;
        check_registry(registry)?;
        let registry = match registry {
            "" | DOCKER_HUB_ALIAS => DOCKER_HUB,
            other => other,
        };
        let path = if registry == DOCKER_HUB && !path.contains('/') {
            format!("{OFFICIAL}/{path}")
        } else {
            path.to_owned()
        };
        Ok(Self {
            registry: registry.to_owned(),
            path,
            insecure: false,
            is_plain: false,
        })
    }

    /// The repository `path` of this registry, whose host may be a name without a dot, as Helm's client reads them.
    ///
    /// # Errors
    /// One of them is not valid.
    pub fn in_registry(registry: &str, path: &str) -> Result<Self, NameError> {
        if registry.is_empty() || registry == DOCKER_HUB_ALIAS {
            return Self::parse(&format!("{DOCKER_HUB}/{path}"));
        }
        check_path(path)?;
        check_registry(registry)?;
        Ok(Self {
            registry: registry.to_owned(),
            path: path.to_owned(),
            insecure: false,
            is_plain: false,
        })
    }

    /// The same repository, which is read over plain HTTP only: HTTPS is not tried (SC-HREPO-015).
    #[must_use]
    pub fn plain_http(mut self) -> Self {
        self.insecure = true;
        self.is_plain = true;
        self
    }

    /// Whether only plain HTTP may be used.
    #[must_use]
    pub fn is_plain_http(&self) -> bool {
        self.is_plain
    }

    /// The same repository, which may also be read over plain HTTP (SC-OCI-049).
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// The host of the registry, with its port if one was given.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag `tag` of this repository.
    ///
    /// # Errors
    /// It is not a valid tag.
    pub fn tag(&self, tag: &str) -> Result<Reference, NameError> {
        check("tag", tag, TAG_CHARACTERS, 1, MAX_TAG)?;
        if matches!(tag, "." | "..") {
            return Err(NameError::Segment(shown(tag)));
        }
        Ok(Reference::Tag {
            repository: self.clone(),
            tag: tag.to_owned(),
        })
    }

    /// The manifest with this digest.
    ///
    /// # Errors
    /// The text is not a digest.
    pub fn digest(&self, digest: &str) -> Result<Reference, DigestError> {
        Ok(self.at(digest.parse()?))
    }

    /// The manifest with this digest.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Reference {
        Reference::Digest {
            repository: self.clone(),
            digest,
        }
    }

    /// Whether plain HTTP may be used: the repository is insecure, or its registry is on this machine or in a private
    /// network by its address.
    #[must_use]
    pub fn may_use_http(&self) -> bool {
        if self.insecure {
            return true;
        }
        let (host, port) = match self.registry.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => {
                (host, Some(port))
            }
            _ => (self.registry.as_str(), None),
        };
        let address = host.parse::<Ipv4Addr>();
        address.is_ok_and(|address| address.is_private() || address == Ipv4Addr::LOCALHOST)
            || (host == "localhost" && port.is_some())
            || matches!(host.rsplit_once('.'), Some((_, "local" | "localhost")))
            || host == "[::1]"
    }

    /// The scope of a token for reading.
    pub(crate) fn pull_scope(&self) -> String {
        format!("repository:{}:pull", self.path)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl Reference {
    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        match self {
            Self::Tag { repository, .. } | Self::Digest { repository, .. } => repository,
        }
    }

    /// The tag or digest.
    #[must_use]
    pub fn identifier(&self) -> String {
        match self {
            Self::Tag { tag, .. } => tag.clone(),
            Self::Digest { digest, .. } => digest.to_string(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag { repository, tag } => write!(f, "{repository}:{tag}"),
            Self::Digest { repository, digest } => write!(f, "{repository}@{digest}"),
        }
    }
}

fn check_path(path: &str) -> Result<(), NameError> {
    check("repository", path, REPOSITORY_CHARACTERS, 2, 255)?;
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(NameError::Segment(shown(path)));
    }
    Ok(())
}

fn check_registry(registry: &str) -> Result<(), NameError> {
    let parsed = Url::parse(format!("//{registry}").as_bytes());
    if parsed.is_ok_and(|url| url.host == registry.as_bytes() && url.user.is_none()) {
        Ok(())
    } else {
        Err(NameError::Registry(shown(registry)))
    }
}

fn check(
    part: &'static str,
    text: &str,
    allowed: &'static str,
    min: usize,
    max: usize,
) -> Result<(), NameError> {
    if !(min..=max).contains(&text.chars().count()) {
        return Err(NameError::Length {
            part,
            min,
            max,
            text: shown(text),
        });
    }
    if text.chars().any(|character| !allowed.contains(character)) {
        return Err(NameError::Characters {
            part,
            allowed,
            text: shown(text),
        });
    }
    Ok(())
}

/// An invalid name as a message may show it: cut off, and without user information, which a URL may have before the host.
fn shown(text: &str) -> String {
    let shown = flux_http::shown_text(text);
    shown.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // SC-OCI-048
    #[rstest]
    #[case("nginx", "index.docker.io/library/nginx")]
    #[case("docker.io/nginx", "index.docker.io/library/nginx")]
    #[case("docker.io/bitnami/nginx", "index.docker.io/bitnami/nginx")]
    #[case("bitnami/nginx", "index.docker.io/bitnami/nginx")]
    #[case("localhost/app/x", "index.docker.io/localhost/app/x")]
    #[case("localhost:5000/app", "localhost:5000/app")]
    #[case("ghcr.io/org/app", "ghcr.io/org/app")]
    #[case("[::1]:5000/app", "[::1]:5000/app")]
    fn names_are_completed_as_in_go_containerregistry(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(Repository::parse(text).unwrap().to_string(), expected);
    }

    #[rstest]
    #[case("localhost", "charts/app", "localhost/charts/app")]
    #[case("registry", "app", "registry/app")]
    #[case("docker.io", "app", "index.docker.io/library/app")]
    #[case("ghcr.io", "org/app", "ghcr.io/org/app")]
    fn names_with_any_host(#[case] host: &str, #[case] path: &str, #[case] expected: &str) {
        let repository = Repository::in_registry(host, path).unwrap();
        assert_eq!(repository.to_string(), expected);
        assert!(!repository.is_plain_http());
        let plain = repository.plain_http();
        assert!(plain.is_plain_http() && plain.may_use_http());
    }

    #[rstest]
    #[case("a.b:x", "app")]
    #[case("user@a.b", "app")]
    #[case("a.b", "x/../y")]
    #[case("a.b", "")]
    fn hosts_and_paths_are_checked(#[case] host: &str, #[case] path: &str) {
        assert!(Repository::in_registry(host, path).is_err());
    }

    // SC-OCI-026: the texts behind `URL validation failed`
    #[rstest]
    #[case("", "a repository name must be specified")]
    #[case(
        "ghcr.io/",
        "repository must be between 2 and 255 characters in length: "
    )]
    #[case(
        "ghcr.io/Org/app",
        "repository can only contain the characters `abcdefghijklmnopqrstuvwxyz0123456789_-./`: Org/app"
    )]
    #[case(
        "ghcr.io/org/app:v1",
        "repository can only contain the characters `abcdefghijklmnopqrstuvwxyz0123456789_-./`: org/app:v1"
    )]
    #[case(
        "user@ghcr.io/app",
        "registries must be valid RFC 3986 URI authorities: ***@ghcr.io"
    )]
    #[case(
        "user:s3cret@ghcr.io/app",
        "registries must be valid RFC 3986 URI authorities: ***@ghcr.io"
    )]
    #[case(
        "user:s3/cret@ghcr.io/app",
        "repository can only contain the characters `abcdefghijklmnopqrstuvwxyz0123456789_-./`: ***@ghcr.io/app"
    )]
    #[case(
        "ghcr.io/app?token=s3cret",
        "repository can only contain the characters `abcdefghijklmnopqrstuvwxyz0123456789_-./`: app?token=***"
    )]
    #[case(
        "a.b:x/app",
        "registries must be valid RFC 3986 URI authorities: a.b:x"
    )]
    #[case(
        "a.b/../../metadata",
        "repository must not contain empty, '.' or '..' segments: ../../metadata"
    )]
    fn invalid_names_have_upstreams_messages(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(Repository::parse(text).unwrap_err().to_string(), expected);
    }

    #[test]
    fn tags_and_digests_are_checked() {
        let repository = Repository::parse("ghcr.io/org/app").unwrap();
        let tag = repository.tag("v1.0.0_x").unwrap();
        assert_eq!(tag.to_string(), "ghcr.io/org/app:v1.0.0_x");
        for invalid in ["", "a/b", "a+b", "..", "a?b"] {
            assert!(repository.tag(invalid).is_err(), "{invalid}");
        }
        let digest = repository.at(Digest::of(b""));
        assert!(
            digest
                .to_string()
                .starts_with("ghcr.io/org/app@sha256:e3b0")
        );
        assert!(repository.digest("v1").is_err());
    }

    // SC-OCI-049
    #[rstest]
    #[case("localhost:5000/app", true)]
    #[case("127.0.0.1:5000/app", true)]
    #[case("10.0.0.1/app", true)]
    #[case("192.168.1.1:5000/app", true)]
    #[case("registry.local/app", true)]
    #[case("registry.local:5000/app", true)]
    #[case("[::1]:5000/app", true)]
    #[case("127.0.0.1.example.com/app", false)]
    #[case("8.8.8.8/app", false)]
    #[case("ghcr.io/app", false)]
    fn http_is_used_for_local_registries_only(#[case] text: &str, #[case] expected: bool) {
        let repository = Repository::parse(text).unwrap();
        assert_eq!(repository.may_use_http(), expected);
        assert!(repository.insecure().may_use_http());
    }
}
