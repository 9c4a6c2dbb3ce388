//! Installs the checkout's CustomResourceDefinitions in a cluster.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::cache::{self, Fingerprint};
use crate::failure::{Doing, Failure, Result};

fn folder() -> PathBuf {
    cache::workspace().join("manifests/crds")
}

fn is_yaml(name: &Path) -> bool {
    // A kustomization in the folder lists the others.
    name.extension().is_some_and(|end| end == "yaml") && name != "kustomization.yaml"
}

/// A key of the definitions' content.
pub(super) fn key() -> Result<String> {
    Ok(Fingerprint::default().with_files(&folder(), is_yaml)?.key())
}

/// Applies the definitions and waits until they are served.
pub(super) async fn apply(client: &Client) -> Result {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in read()? {
        let name = definition["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let params = PatchParams::apply(super::FIELD_MANAGER).force();
        api.patch(&name, &params, &Patch::Apply(&definition))
            .await
            .doing(format!("apply the CRD {name}"))?;
    }
    served(client, Instant::now() + Duration::from_mins(1)).await
}

/// Waits until every served version of every definition of ours in the cluster responds to a list.
pub(super) async fn served(client: &Client, deadline: Instant) -> Result {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in api.list(&ListParams::default()).await? {
        let (group, plural) = (&definition.spec.group, &definition.spec.names.plural);
        for version in definition
            .spec
            .versions
            .iter()
            .filter(|version| version.served)
        {
            let path = format!("/apis/{group}/{}/{plural}?limit=1", version.name);
            loop {
                let request = http::Request::get(&path).body(Vec::new())?;
                let Err(error) = client.request_text(request).await else {
                    break;
                };
                if Instant::now() > deadline {
                    return Err(Failure::from(error))
                        .doing(format!("wait for {}", definition.name_any()));
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        }
    }
    Ok(())
}

fn read() -> Result<Vec<Value>> {
    let mut definitions = Vec::new();
    for path in cache::files(&folder(), is_yaml)? {
        let text = std::fs::read_to_string(&path)?;
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).doing(format!("read {}", path.display()))?;
        definitions.extend(
            documents
                .into_iter()
                .filter(|document| document["kind"] == "CustomResourceDefinition"),
        );
    }
    Ok(definitions)
}
