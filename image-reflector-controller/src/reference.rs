//! The name of an image in a spec.

use flux_oci::{Digest, Repository};

/// Why the text of a spec is not the name of an image (IR-REPO-060 to IR-REPO-064). The name is shown without user
/// information.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReferenceError {
    /// It is a URL.
    #[error("image '{image}' should not include URL scheme; remove '{scheme}://'")]
    Scheme { image: String, scheme: String },
    /// It has a tag, or a digest.
    #[error("image '{image}' should not include a tag; remove ':{tag}'")]
    Tag { image: String, tag: String },
    /// It is not a name by go-containerregistry's rules.
    #[error("could not parse reference: {0}")]
    Invalid(String),
}

/// The repository of an image; `insecure` allows plain HTTP (IR-REPO-023, IR-REPO-063).
///
/// # Errors
/// [`ReferenceError`].
pub(crate) fn parse(image: &str, insecure: bool) -> Result<Repository, ReferenceError> {
    let shown = flux_http::shown_text(image);
    if let Some((scheme, _)) = image.split_once("://") {
        return Err(ReferenceError::Scheme {
            image: shown,
            scheme: flux_http::shown_text(scheme),
        });
    }
    let repository = tagged(image).or_else(|| with_digest(image));
    let repository = repository.ok_or(ReferenceError::Invalid(shown))?;
    let path = image.strip_prefix(repository.registry()).unwrap_or(image);
    if let Some(tag) = path.split(':').nth(1) {
        // A valid name has no user information.
        return Err(ReferenceError::Tag {
            image: image.to_owned(),
            tag: tag.to_owned(),
        });
    }
    Ok(if insecure {
        repository.insecure()
    } else {
        repository
    })
}

/// The repository of a name that may end in a tag: in what follows the last colon, unless that has a slash.
fn tagged(image: &str) -> Option<Repository> {
    let (name, tag) = match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, ""),
    };
    let repository = Repository::parse(name).ok()?;
    if !tag.is_empty() {
        repository.tag(tag).ok()?;
    }
    Some(repository)
}

/// The repository of a name that ends in a digest, which may follow a tag.
fn with_digest(image: &str) -> Option<Repository> {
    let (name, digest) = image.split_once('@')?;
    digest.parse::<Digest>().ok()?;
    tagged(name)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    // IR-REPO-063, IR-REPO-025
    #[case("alpine", Ok("index.docker.io/library/alpine"))]
    #[case("docker.io/alpine", Ok("index.docker.io/library/alpine"))]
    #[case("org/app", Ok("index.docker.io/org/app"))]
    #[case("localhost/foo", Ok("index.docker.io/localhost/foo"))]
    #[case("ghcr.io/org/app", Ok("ghcr.io/org/app"))]
    // IR-REPO-061
    #[case("localhost:5000/app", Ok("localhost:5000/app"))]
    #[case(
        "ghcr.io/org/app:v1",
        Err("image 'ghcr.io/org/app:v1' should not include a tag; remove ':v1'")
    )]
    #[case(
        "localhost:5000/app:v1",
        Err("image 'localhost:5000/app:v1' should not include a tag; remove ':v1'")
    )]
    #[case("alpine:", Err("image 'alpine:' should not include a tag; remove ':'"))]
    // IR-REPO-060
    #[case(
        "https://ghcr.io/org/app",
        Err("image 'https://ghcr.io/org/app' should not include URL scheme; remove 'https://'")
    )]
    // IR-REPO-062
    #[case("ghcr.io/Org/app", Err("could not parse reference: ghcr.io/Org/app"))]
    #[case("", Err("could not parse reference: "))]
    #[case("a", Err("could not parse reference: a"))]
    #[case("org/app?x", Err("could not parse reference: org/app?***"))]
    #[case(
        "ghcr.io/org/app:v+1",
        Err("could not parse reference: ghcr.io/org/app:v+1")
    )]
    #[case(
        "user:s3cret@ghcr.io/app",
        Err("could not parse reference: ***@ghcr.io/app")
    )]
    fn images(#[case] image: &str, #[case] expected: Result<&str, &str>) {
        let found = parse(image, false).map(|repository| repository.to_string());
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
    }

    // IR-REPO-064
    #[test]
    fn a_digest_is_reported_as_a_tag() {
        let digest = Digest::of(b"");
        let image = format!("ghcr.io/org/app@{digest}");
        let expected = format!(
            "image '{image}' should not include a tag; remove ':{}'",
            digest.hex()
        );
        assert_eq!(parse(&image, false).unwrap_err().to_string(), expected);
        let wrong = parse("ghcr.io/org/app@sha256:abc", false).unwrap_err();
        assert!(matches!(wrong, ReferenceError::Invalid(_)));
    }

    // IR-REPO-023, IR-REPO-082
    #[test]
    fn plain_http_has_to_be_allowed() {
        assert!(!parse("ghcr.io/app", false).unwrap().may_use_http());
        assert!(parse("ghcr.io/app", true).unwrap().may_use_http());
        assert!(parse("10.0.0.1:5000/app", false).unwrap().may_use_http());
    }
}
