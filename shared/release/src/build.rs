//! Manifests become objects of kinds that the cluster has.

use std::cell::RefCell;
use std::collections::BTreeMap;

use flux_apply::{Cluster, Resource};
use flux_helm::action::{Object, ObjectError, Scope};

/// The kinds that were met, by `apiVersion` and `kind`.
#[derive(Default)]
pub(crate) struct Kinds(BTreeMap<(String, String), Resource>);

impl Kinds {
    /// Reads objects. `read` is called once to see which kinds there are, and again where some had to be looked up.
    pub(crate) async fn read(
        &mut self,
        cluster: &Cluster,
        read: impl Fn(&dyn Fn(&str, &str) -> Option<Scope>) -> Result<Vec<Object>, ObjectError> + Send,
    ) -> Result<Vec<Object>, String> {
        let (first, missing) = {
            let missing = RefCell::new(Vec::new());
            let first = read(&|version, kind| {
                self.scope(version, kind).or_else(|| {
                    let asked = (version.to_owned(), kind.to_owned());
                    missing.borrow_mut().push(asked);
                    Some(Scope::Namespaced)
                })
            });
            (first, missing.into_inner())
        };
        if missing.is_empty() {
            return first.map_err(|error| error.to_string());
        }
        for (api_version, kind) in missing {
            self.learn(cluster, api_version, kind).await?;
        }
        read(&|version, kind| self.scope(version, kind)).map_err(|error| error.to_string())
    }

    /// The kind of an object that was read.
    pub(crate) fn resource(&self, object: &Object) -> Result<&Resource, String> {
        let key = (object.api_version.clone(), object.kind.clone());
        self.0.get(&key).ok_or_else(|| {
            format!(
                "no matches for kind {:?} in version {:?}",
                object.kind, object.api_version
            )
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

    async fn learn(
        &mut self,
        cluster: &Cluster,
        api_version: String,
        kind: String,
    ) -> Result<(), String> {
        let key = (api_version, kind);
        if self.0.contains_key(&key) {
            return Ok(());
        }
        let Some((group, version)) = group_and_version(&key.0) else {
            return Ok(());
        };
        let found = cluster.discovery().find(group, version, &key.1).await;
        let found = found.map_err(|error| format!("unable to recognize \"\": {error}"))?;
        if let Some(resource) = found {
            self.0.insert(key, resource);
        }
        Ok(())
    }
}

/// Group and version; nothing where they cannot be part of a path, so that no cluster has such a kind.
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
    fn only_what_can_be_a_path_is_looked_up() {
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
