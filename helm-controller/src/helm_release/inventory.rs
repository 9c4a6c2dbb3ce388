//! The list of a release's objects in the status (HC-EVT-018, HC-CRD-011).

use std::collections::BTreeMap;

use flux_api::meta::{ResourceInventory, ResourceRef};
use flux_cluster::{Cluster, Object};
use flux_errors::chain;
use flux_helm::{Crd, Release};
use flux_runtime::queue::Key;
use flux_yaml::json::Escape;

use super::owner::GROUP;

/// The annotation of hooks, which are not part of the list.
const HOOK: &str = "helm.sh/hook";

/// The list, and what could not be found out for it (HC-EVT-017).
#[derive(Debug, Default, PartialEq)]
pub(super) struct Inventory {
    pub(super) resources: ResourceInventory,
    pub(super) warnings: Vec<String>,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(super) enum InventoryError {
    #[error("failed to parse manifest: {0}")]
    Manifest(String),
    #[error("failed to parse CRD {name}: {why}")]
    Crd { name: String, why: String },
}

/// The objects of a record and the definitions of its chart.
///
/// # Errors
/// [`InventoryError`]
pub(super) async fn of_release(
    cluster: &Cluster,
    release: &Release,
    crds: &[Crd],
) -> Result<Inventory, InventoryError> {
    let objects = objects(release.manifest.as_bytes()).map_err(InventoryError::Manifest)?;
    let mut inventory = Inventory::default();
    let mut scopes: BTreeMap<(String, String), bool> = BTreeMap::new();
    for object in objects.iter().filter(|object| !is_hook(object)) {
        let mut id = object.id().clone();
        if id.namespace.is_empty() {
            let kind = (id.group.clone(), id.kind.clone());
            let scope = match scopes.get(&kind) {
                Some(namespaced) => Ok(*namespaced),
                None => is_namespaced(cluster, object).await,
            };
            match scope {
                Ok(namespaced) => {
                    scopes.insert(kind, namespaced);
                    if namespaced {
                        id.namespace.clone_from(&release.namespace);
                    }
                }
                Err(error) => inventory.warnings.push(format!(
                    "failed to determine if {} is namespace scoped, skipping namespace: {error}",
                    id.kind
                )),
            }
        }
        inventory.resources.entries.push(ResourceRef {
            id: id.inventory_id(),
            version: object.version().to_owned(),
        });
    }
    for crd in crds {
        let found = self::objects(&crd.file.data).map_err(|why| InventoryError::Crd {
            name: crd.file.name.clone(),
            why,
        })?;
        for object in found {
            inventory.resources.entries.push(ResourceRef {
                id: object.id().inventory_id(),
                version: object.version().to_owned(),
            });
        }
    }
    Ok(inventory)
}

/// The HelmRelease that made a record, by the labels of its objects (HC-POST-002).
pub(super) fn maker_of(release: &Release) -> Option<Key> {
    let objects = objects(release.manifest.as_bytes()).ok()?;
    objects.iter().find_map(|object| {
        let labels = object.at(&["metadata", "labels"])?;
        let label = |name: &str| labels.get(format!("{GROUP}/{name}"))?.as_str();
        Some(Key {
            namespace: label("namespace")?.to_owned(),
            name: label("name")?.to_owned(),
        })
    })
}

fn is_hook(object: &Object) -> bool {
    let annotations = object.at(&["metadata", "annotations"]);
    annotations.is_some_and(|annotations| annotations.get(HOOK).is_some())
}

async fn is_namespaced(cluster: &Cluster, object: &Object) -> Result<bool, String> {
    let resource = cluster.resource_of(object.id(), object.version()).await;
    let resource = resource.map_err(|error| error.to_string())?;
    Ok(resource.namespaced)
}

/// The objects in a stream of documents.
fn objects(text: &[u8]) -> Result<Vec<Object>, String> {
    let (documents, end) = flux_chart::documents(text);
    end.map_err(|error| chain(&error))?;
    let mut values = Vec::with_capacity(documents.len());
    for document in documents {
        let value = flux_yaml::sigs::yaml_to_json(document).map_err(|error| error.to_string())?;
        let json = flux_yaml::json::to_string(&value, Escape::Plain);
        let json = json.map_err(|error| error.to_string())?;
        let value: serde_json::Value =
            serde_json::from_str(&json).map_err(|error| error.to_string())?;
        values.push(value);
    }
    Ok(flux_apply::parse::objects(values))
}

#[cfg(test)]
mod tests;
