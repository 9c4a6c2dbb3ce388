//! The objects of a record's manifest as the manifest wants them on the cluster.

use std::collections::BTreeMap;

use flux_apply::normalise::normalise;
use flux_apply::parse;
use flux_cluster::{Cluster, Metadata, Object, RequestError, Resource};
use flux_helm::Release;
use flux_helm::action::{MANAGED_BY, RELEASE_NAME, RELEASE_NAMESPACE};

use crate::convert::json_of_document;
use crate::error::DriftError;

/// An object as the manifest wants it.
pub(super) struct Desired {
    pub(super) object: Object,
}

impl Desired {
    /// The resource of the object.
    pub(super) async fn resource(&self, cluster: &Cluster) -> Result<Resource, RequestError> {
        let object = &self.object;
        cluster.resource_of(object.id(), object.version()).await
    }
}

/// The objects of the manifest, normalised, with the metadata that Helm adds, and with the release's namespace if their
/// kind is namespaced (HC-DRIFT-002..004). Objects whose scope is unknown stay without one.
///
/// # Errors
/// The manifest is not YAML.
pub(super) async fn desired(
    cluster: &Cluster,
    release: &Release,
    errors: &mut Vec<DriftError>,
) -> Result<Vec<Desired>, DriftError> {
    let mut objects = objects(&release.manifest)?;
    let mut scopes: BTreeMap<(String, String), bool> = BTreeMap::new();
    for object in &mut objects {
        normalise(object);
        own(object, release);
        if !object.namespace().is_empty() {
            continue;
        }
        let kind = (object.api_version().to_owned(), object.kind().to_owned());
        let namespaced = match scopes.get(&kind) {
            Some(namespaced) => *namespaced,
            None => match cluster.resource_of(object.id(), object.version()).await {
                Ok(resource) => *scopes.entry(kind).or_insert(resource.namespaced),
                Err(source) => {
                    let kind = object.kind().to_owned();
                    errors.push(DriftError::Scope { kind, source });
                    continue;
                }
            },
        };
        if namespaced && let Some(metadata) = object.fields_mut().get_mut("metadata") {
            metadata["namespace"] = release.namespace.as_str().into();
        }
    }
    let desired = objects.into_iter().map(|object| Desired { object });
    Ok(desired.collect())
}

fn objects(manifest: &str) -> Result<Vec<Object>, DriftError> {
    let (documents, end) = flux_helm::documents(manifest.as_bytes());
    let mut values = Vec::new();
    for document in documents {
        values.push(json_of_document(&document).map_err(DriftError::Manifest)?);
    }
    match end {
        Ok(()) => Ok(parse::objects(values)),
        Err(error) => Err(DriftError::Manifest(error.to_string())),
    }
}

/// Sets the ownership metadata that Helm sets when it applies.
fn own(object: &mut Object, release: &Release) {
    let (label, value) = (MANAGED_BY.to_owned(), "Helm".to_owned());
    object.set_metadata(Metadata::Labels, [(&label, &value)]);
    let (name, namespace) = (RELEASE_NAME.to_owned(), RELEASE_NAMESPACE.to_owned());
    let pairs = [(&name, &release.name), (&namespace, &release.namespace)];
    object.set_metadata(Metadata::Annotations, pairs);
}
