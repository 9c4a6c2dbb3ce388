//! Artifacts to be pushed.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The digest of these bytes, `sha256:<hex>`.
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A `tar.gz` of these files.
///
/// # Panics
/// If a name is too long.
pub fn tar_gz(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, name, text.as_bytes())
            .expect("add a file");
    }
    let mut packed = archive.into_inner().expect("end the archive");
    packed.flush().expect("flush the archive");
    packed.finish().expect("end the stream")
}

/// An artifact: its configuration, layers and annotations.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Media type of the configuration.
    pub config: String,
    /// Media type and content of each layer.
    pub layers: Vec<(String, Vec<u8>)>,
    /// Annotations of the manifest.
    pub annotations: Vec<(String, String)>,
    /// The artifact type of the manifest, if any.
    pub artifact_type: Option<String>,
    /// Digest and size of the manifest that this one refers to, if any.
    pub subject: Option<(String, usize)>,
}

impl Artifact {
    /// An artifact as the flux command pushes it, with this layer.
    pub fn flux(layer: Vec<u8>) -> Self {
        Self {
            config: "application/vnd.cncf.flux.config.v1+json".to_owned(),
            layers: vec![(
                "application/vnd.cncf.flux.content.v1.tar+gzip".to_owned(),
                layer,
            )],
            annotations: Vec::new(),
            artifact_type: None,
            subject: None,
        }
    }

    /// A chart as Helm pushes it, with this archive.
    pub fn helm(chart: Vec<u8>) -> Self {
        Self {
            config: "application/vnd.cncf.helm.config.v1+json".to_owned(),
            layers: vec![(
                "application/vnd.cncf.helm.chart.content.v1.tar+gzip".to_owned(),
                chart,
            )],
            ..Self::flux(Vec::new())
        }
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotate(mut self, name: &str, value: &str) -> Self {
        self.annotations.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The blobs of the artifact: its configuration, then its layers.
    pub(crate) fn blobs(&self) -> Vec<&[u8]> {
        let layers = self.layers.iter().map(|(_, content)| content.as_slice());
        std::iter::once(b"{}".as_slice()).chain(layers).collect()
    }

    /// The manifest.
    pub fn manifest(&self) -> Vec<u8> {
        let descriptor = |media_type: &str, content: &[u8]| json!({"mediaType": media_type, "digest": digest_of(content), "size": content.len()});
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|(media_type, content)| descriptor(media_type, content))
            .collect();
        let annotations: serde_json::Map<_, _> = self
            .annotations
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor(&self.config, b"{}"),
            "layers": layers,
            "annotations": annotations,
        });
        if let Some(artifact_type) = &self.artifact_type {
            manifest["artifactType"] = json!(artifact_type);
        }
        if let Some((digest, size)) = &self.subject {
            let media_type = "application/vnd.oci.image.manifest.v1+json";
            manifest["subject"] = json!({"mediaType": media_type, "digest": digest, "size": size});
        }
        manifest.to_string().into_bytes()
    }
}
