//! Manifests that hold signatures: which of their blobs to fetch.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::bundle::{MAX_BYTES, MEDIA_TYPE};

/// The maximum size of a manifest.
const MAX_MANIFEST: usize = 4 << 20;
/// The maximum number of signatures in a manifest.
const MAX_LAYERS: usize = 256;
/// The maximum size of a payload.
const MAX_PAYLOAD: u64 = 1 << 20;

/// Why a manifest is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// More than 4 MiB, more than 256 layers, or a layer that is larger than a real signature.
    #[error("manifest of signatures is too large")]
    TooLarge,
    /// Not a manifest.
    #[error("malformed manifest of signatures: {0}")]
    Malformed(String),
    /// Not a bundle, but another referrer.
    #[error("no bundle in manifest")]
    NoBundle,
}

/// A blob to fetch: the layer of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Blob {
    /// The media type.
    #[serde(default)]
    pub media_type: String,
    /// The digest, which the content must have.
    pub digest: String,
    /// The size in bytes.
    pub size: u64,
    /// The annotations of the descriptor.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Blob>,
}

/// The tag of the image that holds the signatures of an artifact in the older layout: `sha256-<hex>.sig`.
///
/// ```
/// let tag = flux_signature::cosign::signature_tag("sha256:0a1b");
/// assert_eq!(tag, "sha256-0a1b.sig");
/// ```
pub fn signature_tag(digest: &str) -> String {
    format!("{}.sig", digest.replacen(':', "-", 1))
}

/// Whether an artifact or a layer of this type is a Sigstore bundle.
pub fn is_bundle(media_type: &str) -> bool {
    media_type.starts_with(MEDIA_TYPE)
}

/// The layers of the image at [`signature_tag`]: fetch each, and verify them as [`Layer`](super::Layer)s with their
/// annotations.
///
/// # Errors
/// If it is not a manifest, or has more than a real one can have.
pub fn signatures(manifest: &[u8]) -> Result<Vec<Blob>, ManifestError> {
    let layers = layers(manifest)?;
    if layers.iter().any(|layer| layer.size > MAX_PAYLOAD) {
        return Err(ManifestError::TooLarge);
    }
    Ok(layers)
}

/// The one layer of a referrer that is a bundle: fetch it, and read it with [`Bundle::parse`](super::Bundle::parse).
///
/// # Errors
/// If it is another kind of referrer, which upstream passes over.
pub fn bundle_blob(manifest: &[u8]) -> Result<Blob, ManifestError> {
    let mut layers = layers(manifest)?;
    let one = layers.pop().filter(|_| layers.is_empty());
    let bundle = one.filter(|layer| is_bundle(&layer.media_type));
    let bundle = bundle.ok_or(ManifestError::NoBundle)?;
    if bundle.size > MAX_BYTES as u64 {
        return Err(ManifestError::TooLarge);
    }
    Ok(bundle)
}

fn layers(manifest: &[u8]) -> Result<Vec<Blob>, ManifestError> {
    if manifest.len() > MAX_MANIFEST {
        return Err(ManifestError::TooLarge);
    }
    let manifest: Manifest = serde_json::from_slice(manifest)
        .map_err(|error| ManifestError::Malformed(error.to_string()))?;
    if manifest.layers.len() > MAX_LAYERS {
        return Err(ManifestError::TooLarge);
    }
    Ok(manifest.layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_of_manifests() {
        let one = r#"{"layers":[{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","digest":"sha256:00","size":9}]}"#;
        assert_eq!(bundle_blob(one.as_bytes()).unwrap().digest, "sha256:00");
        assert_eq!(signatures(one.as_bytes()).unwrap().len(), 1);
        for (manifest, want) in [
            (one.replace("sigstore", "other"), ManifestError::NoBundle),
            (r#"{"layers":[]}"#.to_owned(), ManifestError::NoBundle),
            (one.replace(":9", ":99999999"), ManifestError::TooLarge),
        ] {
            assert_eq!(bundle_blob(manifest.as_bytes()), Err(want), "{manifest}");
        }
        assert_eq!(
            signatures(one.replace(":9", ":2000000").as_bytes()),
            Err(ManifestError::TooLarge)
        );
        assert_eq!(
            signatures(&vec![b' '; MAX_MANIFEST + 1]),
            Err(ManifestError::TooLarge)
        );
        assert!(matches!(signatures(b"1"), Err(ManifestError::Malformed(_))));
    }
}
