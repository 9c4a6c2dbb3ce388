//! The kinds that a cluster serves, and their paths.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResource, APIResourceList};
use kube::Client;
use kube::core::ApiResource;

use crate::error::RequestError;
use crate::request::{About, exchange_json};

/// How long a response is cached.
const LIFETIME: Duration = Duration::from_mins(10);

/// A kind as a cluster serves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// The group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind.
    pub kind: String,
    /// The name in paths.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// Group and version, as objects write it.
    pub fn api_version(&self) -> String {
        group_version(&self.group, &self.version)
    }

    pub(crate) fn api_resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version: self.api_version(),
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }

    /// The resource's name with its group, as the server's messages write it.
    pub(crate) fn qualified_name(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// A response with the time at which it was received.
type Dated<T> = (Instant, T);

/// The kinds of a cluster. An unknown kind is requested each time, since its CRD may just have been applied; known ones
/// are cached for ten minutes.
pub struct Discovery {
    client: Client,
    kinds: Mutex<HashMap<String, Dated<Vec<Resource>>>>,
    versions: Mutex<HashMap<String, Dated<Vec<String>>>>,
}

impl Discovery {
    /// An empty cache in front of this client.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            kinds: Mutex::default(),
            versions: Mutex::default(),
        }
    }

    /// The kind in that version.
    ///
    /// # Errors
    ///
    /// If the cluster does not have the kind, or does not answer.
    pub async fn resource(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<Resource, RequestError> {
        self.find(group, version, kind).await?.ok_or_else(|| {
            let group_version = group_version(group, version);
            RequestError::local(format!(
                "no matches for kind {kind:?} in version {group_version:?}"
            ))
        })
    }

    /// The kind in that version, if the cluster has it.
    ///
    /// # Errors
    ///
    /// If the cluster does not answer.
    pub async fn find(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<Option<Resource>, RequestError> {
        let group_version = group_version(group, version);
        let known =
            |kinds: &[Resource]| kinds.iter().find(|resource| resource.kind == kind).cloned();
        if let Some(kinds) = fresh(&self.kinds, &group_version)
            && let Some(resource) = known(&kinds)
        {
            return Ok(Some(resource));
        }
        let kinds = self.fetch_kinds(group, version).await?;
        let found = known(&kinds);
        keep(&self.kinds, group_version, kinds);
        Ok(found)
    }

    /// Whether the cluster serves this version of a group, regardless of its kinds.
    ///
    /// # Errors
    ///
    /// If the cluster does not answer.
    pub async fn serves(&self, group: &str, version: &str) -> Result<bool, RequestError> {
        if !is_name_of_version(group, version) {
            return Ok(false);
        }
        match self.resource_list(group, version).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The kind in the first version of its group that has it, in the server's order of preference.
    ///
    /// # Errors
    ///
    /// If the cluster does not have the kind, or does not answer.
    pub async fn preferred(&self, group: &str, kind: &str) -> Result<Resource, RequestError> {
        if group.is_empty() {
            return self.resource(group, "v1", kind).await;
        }
        let versions = match fresh(&self.versions, group) {
            Some(versions) => versions,
            None => self.fetch_versions(group).await?,
        };
        for version in versions {
            if let Ok(resource) = self.resource(group, &version, kind).await {
                return Ok(resource);
            }
        }
        Err(RequestError::local(format!(
            "no matches for kind {kind:?} in group {group:?}"
        )))
    }

    /// As [`Discovery::forget`].
    pub(crate) fn forget_version(&self, group: &str, version: &str) {
        self.forget(&group_version(group, version));
    }

    /// Drops the cached kinds of a group's version, which may have changed.
    pub(crate) fn forget(&self, group_version: &str) {
        self.kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(group_version);
    }

    async fn fetch_kinds(&self, group: &str, version: &str) -> Result<Vec<Resource>, RequestError> {
        if !is_name_of_version(group, version) {
            return Ok(Vec::new());
        }
        match self.resource_list(group, version).await {
            Ok(list) => Ok(list
                .resources
                .into_iter()
                .filter_map(|entry| resource_of(entry, group, version))
                .collect()),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            // The text of upstream's client.
            Err(error) => Err(RequestError {
                message: format!(
                    "failed to get API group resources: unable to retrieve the complete list of server APIs: {}: {error}",
                    group_version(group, version)
                ),
                ..error
            }),
        }
    }

    async fn resource_list(
        &self,
        group: &str,
        version: &str,
    ) -> Result<APIResourceList, RequestError> {
        let root = if group.is_empty() { "/api" } else { "/apis" };
        self.get(&format!("{root}/{}", group_version(group, version)))
            .await
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, RequestError> {
        self.document(path, "application/json").await
    }

    /// A document of the server that is not about objects, such as `/version`, in one of the media types of `accept`.
    ///
    /// # Errors
    ///
    /// The server's, or the document is not the JSON that is expected.
    pub async fn document<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        accept: &str,
    ) -> Result<T, RequestError> {
        let request = http::Request::get(path)
            .header(http::header::ACCEPT, accept)
            .body(Vec::new())
            .map_err(|error| RequestError::local(error.to_string()))?;
        exchange_json(&self.client, request, &About::default()).await
    }

    async fn fetch_versions(&self, group: &str) -> Result<Vec<String>, RequestError> {
        let groups: APIGroupList = self.get("/apis").await?;
        let mut asked = Vec::new();
        for entry in groups.groups {
            let mut versions: Vec<String> = entry
                .preferred_version
                .into_iter()
                .map(|version| version.version)
                .collect();
            for version in entry.versions {
                if !versions.contains(&version.version) {
                    versions.push(version.version);
                }
            }
            if entry.name == group {
                asked.clone_from(&versions);
            }
            keep(&self.versions, entry.name, versions);
        }
        Ok(asked)
    }
}

/// Whether these can name a version of a group. Other values, which no cluster has, would change the path or add a
/// query.
fn is_name_of_version(group: &str, version: &str) -> bool {
    let is_label = |text: &str| {
        !matches!(text, "." | "..")
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    is_label(group) && is_label(version) && !version.is_empty()
}

/// The resource of a discovery entry; `None` for a subresource, whose name has a slash.
fn resource_of(entry: APIResource, group: &str, version: &str) -> Option<Resource> {
    (!entry.name.contains('/')).then(|| Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: entry.kind,
        plural: entry.name,
        namespaced: entry.namespaced,
    })
}

fn fresh<T: Clone>(answers: &Mutex<HashMap<String, Dated<T>>>, key: &str) -> Option<T> {
    let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    answers
        .get(key)
        .filter(|(at, _)| at.elapsed() < LIFETIME)
        .map(|(_, answer)| answer.clone())
}

fn keep<T>(answers: &Mutex<HashMap<String, Dated<T>>>, key: String, answer: T) {
    answers
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(key, (Instant::now(), answer));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_version_with_path_segments_is_refused_without_a_request() {
        let service = tower::service_fn(|request: http::Request<kube::client::Body>| async move {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other(format!(
                "asked for {}",
                request.uri()
            )))
        });
        let discovery = Discovery::new(Client::new(service, "default"));
        for (group, version) in [
            ("", "v1?watch=true"),
            ("", "../apis"),
            ("..", "v1"),
            ("", ".."),
            ("a/b", "v1"),
            ("apps", "v1#"),
            ("apps", "v1%2f"),
            ("apps", ""),
        ] {
            assert_eq!(
                discovery.find(group, version, "Kind").await.unwrap(),
                None,
                "{group}/{version}"
            );
            assert!(!discovery.serves(group, version).await.unwrap());
        }
        assert!(discovery.find("apps", "v1", "Kind").await.is_err());
    }
}
