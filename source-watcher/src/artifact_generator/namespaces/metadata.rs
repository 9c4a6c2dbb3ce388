//! The labels and annotations of a managed namespace.

use std::collections::BTreeMap;

use flux_api::extensions::{ArtifactGenerator, MetadataStrategy, NamespaceMetadataSource};
use flux_cel::{EvaluateError, Expression};
use flux_golang::strconv::quote;
use flux_yaml::{Map, Value};
use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};

use super::{ManagedRules, holds};
use crate::artifact_generator::EXTERNAL_FINALIZER;
use crate::artifact_generator::copy::SourceFiles;
use crate::artifact_generator::inputs::{FileError, read};
use crate::artifact_generator::merge::{MergeError, mapping};
use crate::artifact_generator::owner::owner_labels;
use crate::artifact_generator::path_pattern::{TemplateError, render};
use crate::artifact_generator::staging::Staging;

/// The version and kind of a file with metadata (SW-GEN-211).
const API_VERSION: &str = "source.extensions.fluxcd.io/v1beta1";
const KIND: &str = "NamespaceMetadata";

/// Labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::artifact_generator) struct Metadata {
    /// The labels.
    pub(in crate::artifact_generator) labels: BTreeMap<String, String>,
    /// The annotations.
    pub(in crate::artifact_generator) annotations: BTreeMap<String, String>,
}

/// Why a namespace has no metadata.
#[derive(Debug, thiserror::Error)]
pub(in crate::artifact_generator) enum MetadataError {
    #[error("invalid namespace metadata path")]
    Path(#[source] TemplateError),
    #[error("failed to read namespace metadata file {}", quote(.0))]
    Read(String, #[source] FileError),
    #[error("failed to parse namespace metadata file {}", quote(.0))]
    Parse(String, #[source] MergeError),
    #[error("namespace metadata file {} has unsupported apiVersion {}", quote(.0), quote(.1))]
    ApiVersion(String, String),
    #[error("namespace metadata file {} has unsupported kind {}", quote(.0), quote(.1))]
    Kind(String, String),
    #[error("namespace metadata file {}: {what} {} is not a string", quote(.file), quote(.key))]
    NotText {
        file: String,
        what: &'static str,
        key: String,
    },
    #[error("namespace metadata file {}: {what} {} with value {} does not match the allowed expression {}", quote(.file), quote(.key), quote(.value), quote(.expression))]
    Refused {
        file: String,
        what: &'static str,
        key: String,
        value: String,
        expression: String,
    },
    #[error("namespace metadata file {}: {what} {}", quote(.file), quote(.key))]
    Evaluate {
        file: String,
        what: &'static str,
        key: String,
        source: EvaluateError,
    },
    #[error("metadata for namespace {} must not set the reserved {} annotation, it is reserved for external finalizers", quote(.0), quote(EXTERNAL_FINALIZER))]
    Reserved(String),
}

/// Where the metadata of a file comes from: the first artifact that is in the namespace.
pub(in crate::artifact_generator) struct Origin<'o> {
    /// The captured values of its directory.
    pub(in crate::artifact_generator) captures: &'o BTreeMap<String, String>,
    /// The sources.
    pub(in crate::artifact_generator) sources: &'o SourceFiles,
    /// Its files.
    pub(in crate::artifact_generator) staging: &'o Staging,
}

impl Metadata {
    /// The metadata of a namespace (SW-GEN-211). Without an `origin` what comes from a file is missing.
    pub(in crate::artifact_generator) fn of(
        object: &ArtifactGenerator,
        rules: &ManagedRules,
        namespace: &str,
        origin: Option<Origin<'_>>,
    ) -> Result<Self, MetadataError> {
        let mut metadata = Self::default();
        if let Some(common) = &object.spec.common_metadata {
            metadata.labels.extend(common.labels.clone());
            metadata.annotations.extend(common.annotations.clone());
        }
        let managed = object.spec.managed_namespaces.as_ref();
        let spec = managed.and_then(|managed| managed.metadata.as_ref());
        let source = spec.and_then(|spec| spec.from_source.as_ref());
        if let (Some(source), Some(origin)) = (source, origin) {
            let sourced = rules.sourced(source, &origin)?;
            metadata.labels.extend(sourced.labels);
            metadata.annotations.extend(sourced.annotations);
        }
        let operations = spec.into_iter().flat_map(|spec| &spec.from);
        let ours = |named: &str| named == "*" || named == namespace;
        for operation in operations.filter(|operation| ours(&operation.namespace)) {
            for (held, given) in [
                (&mut metadata.labels, &operation.labels),
                (&mut metadata.annotations, &operation.annotations),
            ] {
                match operation.strategy {
                    MetadataStrategy::Reset => held.clone_from(given),
                    MetadataStrategy::Override => held.extend(given.clone()),
                    MetadataStrategy::Merge | MetadataStrategy::Other(_) => {
                        for (key, value) in given {
                            held.entry(key.clone()).or_insert_with(|| value.clone());
                        }
                    }
                }
            }
        }
        let reserved = metadata.annotations.get(EXTERNAL_FINALIZER);
        if reserved.is_some_and(|value| !value.is_empty()) {
            return Err(MetadataError::Reserved(namespace.to_owned()));
        }
        let uid = object.uid().unwrap_or_default();
        metadata.labels.extend(owner_labels(&uid));
        Ok(metadata)
    }

    /// The digest for the inventory (SW-GEN-216).
    pub(in crate::artifact_generator) fn digest(&self) -> String {
        let lines = |kind: &str, pairs: &BTreeMap<String, String>| {
            let pairs = pairs.iter();
            let lines = pairs.map(|(key, value)| format!("{kind}:{key}={value}"));
            lines.collect::<Vec<_>>()
        };
        let mut parts = lines("label", &self.labels);
        parts.extend(lines("annotation", &self.annotations));
        parts.sort();
        format!("sha256:{}", hex::encode(Sha256::digest(parts.join("|"))))
    }
}

impl ManagedRules {
    /// What the file of a source gives and the spec allows.
    fn sourced(
        &self,
        source: &NamespaceMetadataSource,
        origin: &Origin<'_>,
    ) -> Result<Metadata, MetadataError> {
        let file = if origin.captures.is_empty() {
            source.path.clone()
        } else {
            render(&source.path, origin.captures).map_err(MetadataError::Path)?
        };
        let content = read(&file, origin.sources, origin.staging);
        let content = content.map_err(|error| MetadataError::Read(file.clone(), error))?;
        let parsed = mapping(&content, origin.staging.claim())
            .map_err(|error| MetadataError::Parse(file.clone(), error))?;
        let parsed = parsed.unwrap_or_default();
        let text = |key: &str| parsed.get(key).and_then(Value::as_str).unwrap_or_default();
        if !matches!(text("apiVersion"), "" | API_VERSION) {
            let found = text("apiVersion").to_owned();
            return Err(MetadataError::ApiVersion(file, found));
        }
        if !matches!(text("kind"), "" | KIND) {
            return Err(MetadataError::Kind(file, text("kind").to_owned()));
        }
        let given = |part: &str| {
            let metadata = parsed.get("metadata")?;
            metadata.get(part)?.as_map()
        };
        Ok(Metadata {
            labels: allowed(&file, "label", given("labels"), &self.labels)?,
            annotations: allowed(&file, "annotation", given("annotations"), &self.annotations)?,
        })
    }
}

/// The pairs whose keys are allowed; a value that its expression does not accept is refused.
fn allowed(
    file: &str,
    what: &'static str,
    given: Option<&Map>,
    allowed: &BTreeMap<String, Expression>,
) -> Result<BTreeMap<String, String>, MetadataError> {
    let mut accepted = BTreeMap::new();
    for (key, value) in given.into_iter().flatten() {
        let Some(expression) = allowed.get(key) else {
            continue;
        };
        let (file, key) = (file.to_owned(), key.clone());
        let Some(value) = value.as_str() else {
            return Err(MetadataError::NotText { file, what, key });
        };
        match holds(expression, "value", value) {
            Ok(true) => accepted.insert(key, value.to_owned()),
            Ok(false) => {
                return Err(MetadataError::Refused {
                    file,
                    what,
                    key,
                    value: value.to_owned(),
                    expression: expression.text().to_owned(),
                });
            }
            Err(source) => {
                return Err(MetadataError::Evaluate {
                    file,
                    what,
                    key,
                    source,
                });
            }
        };
    }
    Ok(accepted)
}
