//! Pulls the layer of an artifact, and unpacks it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use flux_api::source::{OCILayerOperation, OCIRepositorySpec};
use flux_artifact::{ExtractOptions, Spooled, extract_spooled};
use flux_budget::Claim;
use flux_oci::{Blob, Client, Descriptor, Manifest};
use flux_registry::{RegistryFault, within};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::failure::{LayerError, ShownUrl, StepError};
use super::version::Version;
use super::{layer_media_type, layer_operation};

/// The most bytes that a layer may unpack to, and the most entries: consumers of artifacts read no more.
const MAX_UNPACKED: u64 = 4 << 30;
/// The most bytes of a layer, which is stored as it is unless it is unpacked.
const MAX_LAYER: u64 = MAX_UNPACKED;
/// The most bytes of a manifest's annotations, which go into the status: as many as an object of Kubernetes may have.
const MAX_ANNOTATIONS: usize = 256 * 1024;
/// The configuration of a Helm chart.
const CHART_CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
/// The signature of a Helm chart.
const CHART_PROVENANCE: &str = "application/vnd.cncf.helm.chart.provenance.v1.prov";

/// A layer that was downloaded and is that of its descriptor.
pub(super) struct Pulled {
    /// The annotations of the manifest (SC-OCI-062).
    pub(super) annotations: BTreeMap<String, String>,
    /// The layer, in a file without a name.
    file: File,
    work: File,
}

/// What is stored.
pub(super) enum Layer {
    /// The files of the layer.
    Files(Spooled),
    /// The layer itself.
    Whole(File),
}

/// Pulls the layer that the spec selects into files in `folder`, within `limit` (SC-OCI-028, SC-OCI-029).
pub(super) async fn pull(
    client: &Client,
    version: &Version,
    spec: &OCIRepositorySpec,
    folder: &Path,
    limit: Duration,
) -> Result<Pulled, StepError> {
    let pull_failed = |source| StepError::Pull {
        url: ShownUrl::new(&spec.url),
        source,
    };
    let image = Box::pin(within(limit, client, client.image(&version.digest))).await;
    let image = image.map_err(|fault| match fault {
        RegistryFault::Registry(flux_oci::Error::Manifest(_)) => {
            StepError::Manifest(LayerError::Registry(fault))
        }
        fault => pull_failed(fault),
    })?;
    let annotations = annotations(&image.manifest)?;
    let layer = select(&image.manifest, spec)?;
    check_size(layer).map_err(StepError::FirstLayer)?;
    let blob = Box::pin(within(limit, client, client.blob(layer))).await;
    let blob = blob.map_err(|fault| StepError::FirstLayer(LayerError::Registry(fault)))?;

    let failed = |error| match layer_operation(spec) {
        OCILayerOperation::Copy => StepError::Copy(error),
        _ => StepError::Extract(error),
    };
    let create = || tempfile::tempfile_in(folder).map_err(LayerError::File);
    let (file, work) = (create().map_err(failed)?, create().map_err(failed)?);
    let written = timeout(limit, download(blob, file)).await;
    let file = written.unwrap_or(Err(LayerError::Registry(RegistryFault::Timeout)));
    Ok(Pulled {
        annotations,
        file: file.map_err(failed)?,
        work,
    })
}

/// Refuses a layer that is too large before it is asked for.
fn check_size(layer: &Descriptor) -> Result<(), LayerError> {
    match u64::try_from(layer.size) {
        Ok(size) if size > MAX_LAYER => Err(LayerError::TooLarge {
            size,
            limit: MAX_LAYER,
        }),
        _ => Ok(()),
    }
}

async fn download(mut blob: Blob, file: File) -> Result<File, LayerError> {
    let mut file = tokio::fs::File::from_std(file);
    while let Some(piece) = blob.next().await.map_err(LayerError::Blob)? {
        file.write_all(&piece).await.map_err(LayerError::File)?;
    }
    file.flush().await.map_err(LayerError::File)?;
    let mut file = file.into_std().await;
    file.seek(SeekFrom::Start(0)).map_err(LayerError::File)?;
    Ok(file)
}

/// The annotations for the status.
fn annotations(manifest: &Manifest) -> Result<BTreeMap<String, String>, StepError> {
    let annotations = manifest.annotations.iter();
    let bytes: usize = annotations
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > MAX_ANNOTATIONS {
        return Err(StepError::Annotations {
            bytes,
            limit: MAX_ANNOTATIONS,
        });
    }
    Ok(manifest.annotations.clone())
}

/// The layer that the spec selects: the first with its media type, else the first (SC-OCI-063). The signature of a chart is
/// never what is to be unpacked.
fn select<'m>(
    manifest: &'m Manifest,
    spec: &OCIRepositorySpec,
) -> Result<&'m Descriptor, StepError> {
    let layers = &manifest.layers;
    let first = layers.first().ok_or(StepError::NoLayers)?;
    if let Some(wanted) = layer_media_type(spec) {
        let mut found = layers.iter().filter(|layer| layer.media_type == wanted);
        return found
            .next()
            .ok_or_else(|| StepError::LayerMissing(wanted.to_owned()));
    }
    let config = manifest.config.as_ref();
    let is_chart = config.is_some_and(|config| config.media_type == CHART_CONFIG);
    if is_chart && layer_operation(spec) != OCILayerOperation::Copy {
        let mut others = layers.iter();
        let other = others.find(|layer| layer.media_type != CHART_PROVENANCE);
        return Ok(other.unwrap_or(first));
    }
    Ok(first)
}

/// Unpacks the layer, or leaves it as it is (SC-OCI-064, SC-OCI-065). The memory of its paths is taken through `claim`.
pub(super) async fn unpack(
    pulled: Pulled,
    spec: &OCIRepositorySpec,
    claim: Claim,
) -> Result<Layer, StepError> {
    match layer_operation(spec) {
        OCILayerOperation::Copy => Ok(Layer::Whole(pulled.file)),
        OCILayerOperation::Extract => {
            let options = ExtractOptions {
                skip_symlinks: true,
                max_bytes: MAX_UNPACKED,
                ..ExtractOptions::default()
            };
            let extract = move || extract_spooled(pulled.file, &options, claim, pulled.work);
            let extracted = tokio::task::spawn_blocking(extract).await?;
            let files = extracted.map_err(|error| StepError::Extract(LayerError::Archive(error)));
            Ok(Layer::Files(files?))
        }
        OCILayerOperation::Other(operation) => Err(StepError::Operation(operation)),
    }
}

#[cfg(test)]
mod tests {
    use flux_api::source::OCILayerSelector;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn manifest(config: &str, layers: &[&str]) -> Manifest {
        let descriptor = |media_type: &str| serde_json::json!({"mediaType": media_type, "digest": format!("sha256:{HEX}"), "size": 0});
        let layers: Vec<_> = layers.iter().map(|layer| descriptor(layer)).collect();
        let manifest = serde_json::json!({"config": descriptor(config), "layers": layers});
        serde_json::from_value(manifest).unwrap()
    }

    fn spec(media_type: Option<&str>, operation: OCILayerOperation) -> OCIRepositorySpec {
        OCIRepositorySpec {
            layer_selector: Some(OCILayerSelector {
                media_type: media_type.map(str::to_owned),
                operation: Some(operation),
            }),
            ..OCIRepositorySpec::default()
        }
    }

    // SC-OCI-063, SC-OCI-066
    #[test]
    fn the_first_layer_or_that_of_the_media_type_is_selected() {
        use OCILayerOperation::{Copy, Extract};
        let chart = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
        for (config, layers, media_type, operation, expected) in [
            ("any", &["a", "b"][..], None, Extract, Ok("a")),
            ("any", &["a", "b"], Some("b"), Extract, Ok("b")),
            (
                "any",
                &["a"],
                Some("b"),
                Extract,
                Err("failed to find layer with media type 'b' in artifact"),
            ),
            (
                "any",
                &[],
                None,
                Extract,
                Err("no layers found in artifact"),
            ),
            (
                "any",
                &[],
                Some("b"),
                Extract,
                Err("no layers found in artifact"),
            ),
            // FR-H-064: a signed chart without a selector
            (
                CHART_CONFIG,
                &[CHART_PROVENANCE, chart],
                None,
                Extract,
                Ok(chart),
            ),
            (
                CHART_CONFIG,
                &[CHART_PROVENANCE, chart],
                None,
                Copy,
                Ok(CHART_PROVENANCE),
            ),
            (
                CHART_CONFIG,
                &[CHART_PROVENANCE],
                None,
                Extract,
                Ok(CHART_PROVENANCE),
            ),
            (
                "any",
                &[CHART_PROVENANCE, chart],
                None,
                Extract,
                Ok(CHART_PROVENANCE),
            ),
        ] {
            let manifest = manifest(config, layers);
            let spec = spec(media_type, operation);
            let found = select(&manifest, &spec).map(|layer| layer.media_type.as_str());
            let found = found.map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned));
        }
    }

    // SC-OCI-064
    #[test]
    fn layers_are_bounded_by_their_descriptor() {
        let mut manifest = manifest("any", &["a"]);
        let layer = &mut manifest.layers[0];
        layer.size = 4 << 30;
        check_size(layer).unwrap();
        layer.size += 1;
        let error = check_size(layer).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the layer has 4294967297 bytes, and 4294967296 at most are pulled"
        );
        let interval = Duration::from_hours(1);
        let later = StepError::FirstLayer(error).retried_after(interval);
        assert!(matches!(later, StepError::Later { wait, .. } if wait == interval));
    }

    #[test]
    fn annotations_fit_into_the_status() {
        let mut manifest = manifest("any", &[]);
        let value = "x".repeat(MAX_ANNOTATIONS - 1);
        manifest.annotations.insert("a".to_owned(), value.clone());
        assert_eq!(annotations(&manifest).unwrap()["a"], value);
        manifest.annotations.insert("b".to_owned(), String::new());
        assert_eq!(
            annotations(&manifest).unwrap_err().to_string(),
            "the annotations of the artifact have 262145 bytes, and 262144 at most are kept"
        );
    }
}
