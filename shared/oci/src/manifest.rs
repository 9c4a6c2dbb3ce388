//! Manifests and indexes.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};

use crate::blob::BlobError;
use crate::digest::Digest;

/// The most bytes of a manifest or index. The specification asks registries for 4 MiB; upstream reads 100 MiB.
pub const MAX_MANIFEST: usize = 4 << 20;
/// How many times the bytes of its text a manifest may take once it is parsed: a short annotation has its texts and its
/// place in a map.
pub(crate) const PARSED: u64 = 16;

/// Media types.
pub mod media_types {
    /// An OCI manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// A docker manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// A docker index.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// The oldest docker manifest, which is not supported.
    pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
    /// The same, signed.
    pub const DOCKER_SCHEMA1_SIGNED: &str =
        "application/vnd.docker.distribution.manifest.v1+prettyjws";
}

/// The media types of a request for any manifest, as upstream sends them.
pub(crate) const ACCEPTED: [&str; 6] = [
    media_types::DOCKER_SCHEMA1,
    media_types::DOCKER_SCHEMA1_SIGNED,
    media_types::DOCKER_MANIFEST,
    media_types::OCI_MANIFEST,
    media_types::DOCKER_INDEX,
    media_types::OCI_INDEX,
];

/// What a manifest says of one of its parts, or an index of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the content.
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes.
    #[serde(default, deserialize_with = "or_default")]
    pub size: i64,
    /// Annotations.
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// The platform of a manifest in an index.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// The type of an artifact in an index.
    #[serde(default, deserialize_with = "or_default")]
    pub artifact_type: String,
}

/// A manifest that refers to another one, as lists of referrers name it. Its annotations are not kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// The media type of the manifest.
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    /// The digest of the manifest.
    pub digest: Digest,
    /// The size of the manifest in bytes.
    #[serde(default, deserialize_with = "or_default")]
    pub size: i64,
    /// The type of the artifact.
    #[serde(default, deserialize_with = "or_default")]
    pub artifact_type: String,
}

impl Referrer {
    /// The bytes that it takes in a list that grows.
    pub(crate) fn bytes(&self) -> u64 {
        let texts = self.media_type.len() + self.artifact_type.len() + self.digest.hex().len();
        (3 * size_of::<Self>() + texts) as u64 + 96
    }
}

impl Descriptor {
    /// The size as a count.
    pub(crate) fn byte_count(&self) -> Result<u64, BlobError> {
        u64::try_from(self.size).map_err(|_| BlobError::Negative(self.size))
    }
}

/// A platform.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// The processor.
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    /// The operating system.
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
}

/// The manifest of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The media type of the manifest itself.
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    /// The type of the artifact; if empty, the media type of the configuration is meant.
    #[serde(default, deserialize_with = "or_default")]
    pub artifact_type: String,
    /// The configuration.
    #[serde(default)]
    pub config: Option<Descriptor>,
    /// The layers.
    #[serde(default, deserialize_with = "or_default")]
    pub layers: Vec<Descriptor>,
    /// Annotations.
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// The manifest that this one is about.
    #[serde(default)]
    pub subject: Option<Descriptor>,
}

/// A list of manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// The manifests.
    #[serde(default, deserialize_with = "or_default")]
    pub manifests: Vec<Descriptor>,
    /// Annotations.
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
}

/// A manifest or index as a registry holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestContent {
    /// The digest of the content.
    pub digest: Digest,
    /// The media type that the registry gave.
    pub media_type: String,
    /// The content.
    pub content: Bytes,
}

/// The manifest of an artifact with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of the manifest: not that of the index through which it was found.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
}

impl ManifestContent {
    /// Whether this is an index.
    #[must_use]
    pub fn is_index(&self) -> bool {
        matches!(
            self.media_type.as_str(),
            media_types::OCI_INDEX | media_types::DOCKER_INDEX
        )
    }

    /// Parses a manifest.
    ///
    /// # Errors
    /// The content is not a manifest.
    pub fn manifest(&self) -> Result<Manifest, serde_json::Error> {
        object(&self.content)
    }

    /// Parses an index.
    ///
    /// # Errors
    /// The content is not an index.
    pub fn index(&self) -> Result<Index, serde_json::Error> {
        object(&self.content)
    }
}

/// Parses an object. The parser would take an array for one, too, with the fields in order.
fn object<T: serde::de::DeserializeOwned>(content: &[u8]) -> Result<T, serde_json::Error> {
    if content.trim_ascii_start().starts_with(b"[") {
        return Err(serde::de::Error::custom("not an object"));
    }
    serde_json::from_slice(content)
}

impl Index {
    /// The manifest for linux/amd64; one without a platform counts as such (SC-OCI-044).
    pub(crate) fn child(&self) -> Option<&Descriptor> {
        self.manifests.iter().find(|child| {
            child
                .platform
                .as_ref()
                .is_none_or(|platform| platform.os == "linux" && platform.architecture == "amd64")
        })
    }
}

/// As in Go, `null` is as good as nothing.
fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn content(text: &str) -> ManifestContent {
        ManifestContent {
            digest: Digest::of(text.as_bytes()),
            media_type: media_types::OCI_MANIFEST.to_owned(),
            content: Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    #[test]
    fn null_fields_are_empty() {
        let text = format!(
            r#"{{"layers": null, "annotations": null, "config": {{"digest": "sha256:{HEX}", "size": 2, "mediaType": null}}}}"#
        );
        let manifest = content(&text).manifest().unwrap();
        assert!(manifest.layers.is_empty() && manifest.annotations.is_empty());
        assert_eq!(manifest.config.unwrap().size, 2);
        for invalid in [
            "[]",
            r#"{"layers": [{"digest": "x"}]}"#,
            r#"{"layers": [{}]}"#,
        ] {
            assert!(content(invalid).manifest().is_err(), "{invalid}");
        }
    }

    // SC-OCI-044
    #[test]
    fn the_manifest_for_linux_amd64_is_selected() {
        let child = |platform: &str| format!(r#"{{"digest": "sha256:{HEX}"{platform}}}"#);
        let platform = |os: &str, architecture: &str| {
            child(&format!(
                r#", "platform": {{"os": "{os}", "architecture": "{architecture}"}}"#
            ))
        };
        for (children, found) in [
            (
                vec![platform("linux", "arm64"), platform("linux", "amd64")],
                Some(1),
            ),
            (vec![platform("windows", "amd64"), child("")], Some(1)),
            (vec![platform("linux", "arm64")], None),
            (vec![], None),
        ] {
            let text = format!(r#"{{"manifests": [{}]}}"#, children.join(","));
            let index = content(&text).index().unwrap();
            let expected = found.map(|number: usize| &index.manifests[number]);
            assert_eq!(index.child(), expected);
        }
        assert_eq!(
            content(r#"{"manifests": null}"#).index().unwrap(),
            Index::default()
        );
    }
}
