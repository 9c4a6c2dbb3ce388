//! The kinds of a manifest's objects, as served by the cluster.

use std::collections::BTreeMap;

use flux_cluster::{Cluster, Resource};
use flux_helm::action::{Documents, Object, Scope};

use crate::error::StepError;

/// The kinds that were discovered during an action, by `apiVersion` and `kind`.
#[derive(Default)]
pub(crate) struct Kinds(BTreeMap<(String, String), Resource>);

impl Kinds {
    /// Parses the objects of a manifest once, then discovers their unknown kinds.
    ///
    /// # Errors
    /// The manifest cannot be parsed into objects, or discovery fails.
    pub(crate) async fn objects(
        &mut self,
        cluster: &Cluster,
        manifest: &str,
        namespace: &str,
    ) -> Result<Vec<Object>, StepError> {
        let documents = Documents::parse(manifest);
        for (api_version, kind) in documents.kinds() {
            self.discover(cluster, api_version, kind).await?;
        }
        let objects = documents.objects(namespace, &|version, kind| self.scope(version, kind));
        Ok(objects?)
    }

    /// The resource of an object that was returned by `objects`.
    pub(crate) fn resource(&self, object: &Object) -> Result<&Resource, StepError> {
        let key = (object.api_version.clone(), object.kind.clone());
        self.0.get(&key).ok_or(StepError::NoMatch {
            api_version: key.0,
            kind: key.1,
        })
    }

    fn scope(&self, api_version: &str, kind: &str) -> Option<Scope> {
        let resource = self.0.get(&(api_version.to_owned(), kind.to_owned()))?;
        Some(if resource.namespaced {
            Scope::Namespaced
        } else {
            Scope::Cluster
        })
    }

    async fn discover(
        &mut self,
        cluster: &Cluster,
        api_version: &str,
        kind: &str,
    ) -> Result<(), StepError> {
        let key = (api_version.to_owned(), kind.to_owned());
        if self.0.contains_key(&key) {
            return Ok(());
        }
        let Some((group, version)) = group_and_version(api_version) else {
            return Ok(());
        };
        let found = cluster.discovery().find(group, version, kind).await;
        if let Some(resource) = found.map_err(StepError::Discovery)? {
            self.0.insert(key, resource);
        }
        Ok(())
    }
}

/// Group and version; `None` if they cannot be path segments, so that no cluster serves them.
pub(crate) fn group_and_version(api_version: &str) -> Option<(&str, &str)> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let fits = |part: &str| {
        let mut bytes = part.bytes();
        bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b))
    };
    let names = !version.is_empty() && !version.starts_with('.') && !group.starts_with('.');
    (names && fits(group) && fits(version)).then_some((group, version))
}

#[cfg(test)]
mod tests {
    use super::group_and_version;

    #[test]
    fn only_valid_api_versions_are_looked_up() {
        for (text, want) in [
            ("v1", Some(("", "v1"))),
            ("apps/v1", Some(("apps", "v1"))),
            ("a.b-c.io/v1beta2", Some(("a.b-c.io", "v1beta2"))),
            ("", None),
            ("apps/", None),
            ("a/b/c", None),
            ("../v1", None),
            ("apps/v1?x=y", None),
            ("Apps/V1", None),
        ] {
            assert_eq!(group_and_version(text), want, "{text}");
        }
    }
}
