//! The capabilities of a cluster, as templates see them.

use flux_cluster::{Cluster, RequestError};
use flux_helm::{Capabilities, Discovery, KubeVersion};
use serde::Deserialize;

/// The media types of discovery: all versions with their kinds in one document, else the list of groups or versions.
const ACCEPT: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// The capabilities of a cluster whose version may be known already.
///
/// # Errors
/// The cluster does not answer.
pub(crate) async fn capabilities(
    cluster: &Cluster,
    version: Option<&KubeVersion>,
) -> Result<(Capabilities, Vec<String>), RequestError> {
    let discovery = cluster.discovery();
    let kube_version = match version {
        Some(version) => version.clone(),
        None => version_of(cluster).await?,
    };
    let mut found = Discovery::default();
    for root in ["/api", "/apis"] {
        let document: Document = discovery.document(root, ACCEPT).await?;
        if document.kind == "APIGroupDiscoveryList" {
            found.add_all(document.items.into_iter().flatten());
        } else {
            add_singly(cluster, root, document, &mut found).await?;
        }
    }
    Ok(Capabilities::of_cluster(kube_version, &found))
}

async fn version_of(cluster: &Cluster) -> Result<KubeVersion, RequestError> {
    let discovery = cluster.discovery();
    let version: Version = discovery.document("/version", "application/json").await?;
    Ok(KubeVersion {
        version: version.git,
        normalized: String::new(),
        major: version.major,
        minor: version.minor,
    })
}

/// Asks for the kinds of each version: an older server does not have them in one document.
async fn add_singly(
    cluster: &Cluster,
    root: &str,
    document: Document,
    found: &mut Discovery,
) -> Result<(), RequestError> {
    let groups = document.groups.into_iter().flatten();
    let versions = groups.flat_map(|group| group.versions.into_iter().flatten());
    let versions = versions.map(|version| version.group_version);
    for version in (document.versions.into_iter().flatten()).chain(versions) {
        found.versions.push(version.clone());
        let path = format!("{root}/{version}");
        let list = cluster.discovery().document(&path, "application/json");
        match list.await {
            Ok(Kinds { resources }) => {
                let kinds = resources
                    .into_iter()
                    .flatten()
                    .map(|resource| resource.kind);
                found.kinds.push((version, kinds.collect()));
            }
            Err(error) if error.code == 0 => return Err(error),
            Err(error) => found.failed.push((version, error.to_string())),
        }
    }
    Ok(())
}

/// Adds what one document says of all groups.
trait AddAll {
    fn add_all(&mut self, groups: impl Iterator<Item = Group>);
}

impl AddAll for Discovery {
    fn add_all(&mut self, groups: impl Iterator<Item = Group>) {
        for group in groups {
            let name = group.metadata.name;
            for version in group.versions.into_iter().flatten() {
                let slash = if name.is_empty() { "" } else { "/" };
                let id = format!("{name}{slash}{}", version.version);
                self.versions.push(id.clone());
                if version.freshness == "Stale" {
                    let why = format!("stale GroupVersion discovery: {id}");
                    self.failed.push((id, why));
                    continue;
                }
                let mut kinds = Vec::new();
                for resource in version.resources.into_iter().flatten() {
                    let subresources = resource.subresources.into_iter().flatten();
                    let subresources = subresources.map(|subresource| subresource.response_kind);
                    for kind in [resource.response_kind].into_iter().chain(subresources) {
                        kinds.extend(kind.map(|kind| kind.kind).filter(|kind| !kind.is_empty()));
                    }
                }
                self.kinds.push((id, kinds));
            }
        }
    }
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "gitVersion")]
    git: String,
    #[serde(default)]
    major: String,
    #[serde(default)]
    minor: String,
}

/// `APIGroupDiscoveryList`, `APIGroupList` or `APIVersions`. Go writes an empty list as null.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    kind: String,
    items: Option<Vec<Group>>,
    groups: Option<Vec<PlainGroup>>,
    versions: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct PlainGroup {
    versions: Option<Vec<PlainVersion>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlainVersion {
    group_version: String,
}

#[derive(Deserialize)]
struct Kinds {
    resources: Option<Vec<Kind>>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct Group {
    metadata: Named,
    versions: Option<Vec<GroupVersion>>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
    #[serde(default)]
    freshness: String,
    resources: Option<Vec<Resource>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(default)]
    response_kind: Option<Kind>,
    subresources: Option<Vec<Subresource>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subresource {
    #[serde(default)]
    response_kind: Option<Kind>,
}

#[cfg(test)]
mod tests;
