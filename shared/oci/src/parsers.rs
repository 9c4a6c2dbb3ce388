//! Every parser of what a registry sends, and of docker configurations, as a function of bytes: for the fuzz targets.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use url::Url;

use crate::auth::{Bearer, Challenge};
use crate::credentials::Keychain;
use crate::error::StatusError;
use crate::name::Repository;
use crate::{manifest, tags};

/// The challenge in a `WWW-Authenticate` header, and its token service.
pub fn challenge(input: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(input) else {
        return;
    };
    let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, value)]);
    let base = Url::parse("https://registry.example.com/");
    if let (Some(challenge), Ok(base)) = (Challenge::of(&headers), base) {
        let _ = Bearer::new(&challenge, &base, String::new());
    }
}

/// The target of a `Link` header.
///
/// # Panics
/// The target is not a part of the header.
pub fn link(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input)
        && let Some(target) = tags::next_link(text)
    {
        assert!(text.contains(&target), "{target}");
    }
}

/// A page of tags.
pub fn tags(input: &[u8]) {
    tags::parse_page(input);
}

/// The body of an error.
///
/// # Panics
/// The credentials that the server repeats are shown.
pub fn error(input: &[u8]) {
    let hide = |text: String| text.replace("s3cret", "***");
    let url = "https://registry.example.com/v2/".to_owned();
    let error = StatusError::new("GET", url, StatusCode::FORBIDDEN, input, hide);
    let text = error.to_string();
    assert!(!text.contains("s3cret"), "{text}");
}

/// A manifest and an index.
pub fn manifest(input: &[u8]) {
    let content = manifest::ManifestContent {
        digest: crate::Digest::of(input),
        media_type: String::new(),
        content: bytes::Bytes::copy_from_slice(input),
    };
    let _ = (content.is_index(), content.manifest());
    if let Ok(index) = content.index() {
        let _ = index.child();
    }
}

/// Docker configurations, and what is found in them.
pub fn config(input: &[u8]) {
    let mut keychain = Keychain::default();
    let _ = keychain.add_config(input);
    let _ = keychain.add_legacy_config(input);
    for name in ["ghcr.io/org/app", "library/redis", "r.example.com:5000/a"] {
        if let Ok(repository) = Repository::parse(name) {
            let _ = keychain.credentials(&repository).is_anonymous();
        }
    }
}
