//! The variables of post-build substitution (KC-SUB-004..011).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use flux_api::kustomize::KustomizationSpec;
use flux_api::meta::ValuesKind;
use flux_apply::Confidential;
use flux_kustomize::substitute::Variables;
use flux_objects::{Error, Objects};
use flux_runtime::queue::Key;
use flux_runtime::watch::{Cache, Watched};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Client, Resource};
use sha2::{Digest, Sha256};

/// Reads ConfigMaps and Secrets: from the API server, or from the cache if they are cached (KC-PROC-029).
#[derive(Clone)]
pub(crate) enum Configs {
    Live,
    Cached(Cache<ConfigMap>, Cache<Secret>),
}

/// Why a ConfigMap or Secret could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The object is not in the cache; the text is that of upstream's cache.
    #[error("{kind} \"{name}\" not found")]
    NotCached {
        kind: Cow<'static, str>,
        name: String,
    },
    #[error(transparent)]
    Request(#[from] Error),
}

impl ReadError {
    /// Whether the object does not exist.
    fn is_not_found(&self) -> bool {
        match self {
            Self::NotCached { .. } => true,
            Self::Request(error) => error.is_not_found(),
        }
    }
}

impl Configs {
    async fn config_map(&self, client: &Client, key: &Key) -> Result<Arc<ConfigMap>, ReadError> {
        match self {
            Self::Live => live(client, key).await,
            Self::Cached(maps, _) => cached(maps, key),
        }
    }

    async fn secret(&self, client: &Client, key: &Key) -> Result<Arc<Secret>, ReadError> {
        match self {
            Self::Live => live(client, key).await,
            Self::Cached(_, secrets) => cached(secrets, key),
        }
    }
}

async fn live<K>(client: &Client, key: &Key) -> Result<Arc<K>, ReadError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Watched,
{
    let objects = Objects::in_namespace(client.clone(), &key.namespace).map_err(Error::from)?;
    Ok(Arc::new(objects.get(&key.name).await?))
}

fn cached<K>(cache: &Cache<K>, key: &Key) -> Result<Arc<K>, ReadError>
where
    K: Resource<DynamicType = ()> + Watched,
{
    cache.get(key).ok_or_else(|| ReadError::NotCached {
        kind: K::kind(&()),
        name: key.name.clone(),
    })
}

/// The variables of a run, with a digest to compare them by without keeping their values.
#[derive(Clone, Debug, Default)]
pub(super) struct Inputs {
    pub(super) variables: Variables,
    pub(super) digest: String,
}

impl Inputs {
    /// The values that come from Secrets: no message may show these (KC-SUB-009).
    pub(super) fn confidential(&self) -> Confidential {
        let mut confidential = Confidential::default();
        for value in self.variables.secret_values() {
            confidential.add(value);
        }
        confidential
    }
}

/// Why the variables could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum VariablesError {
    /// A reference that is not optional does not exist, or could not be read.
    #[error("substitute from '{kind}/{name}' error")]
    Reference {
        kind: String,
        name: String,
        #[source]
        source: ReadError,
    },
}

/// Reads the variables of a Kustomization, once for all its objects (KC-SUB-011), with the controller's own identity
/// (KC-SUB-010). Later references override earlier ones, and inline values override all.
pub(super) async fn read(
    client: &Client,
    namespace: &str,
    spec: &KustomizationSpec,
    configs: &Configs,
) -> Result<Inputs, VariablesError> {
    let Some(post_build) = &spec.post_build else {
        return Ok(Inputs::default());
    };
    // Each value, and whether it comes from a Secret.
    let mut values: BTreeMap<String, (Vec<u8>, bool)> = BTreeMap::new();
    for reference in &post_build.substitute_from {
        let key = Key::new(namespace, reference.name.as_str());
        let found: Result<Vec<(String, Vec<u8>)>, ReadError> =
            if reference.kind == ValuesKind::Secret {
                let secret = configs.secret(client, &key).await;
                secret.map(|secret| {
                    let data = secret.data.iter().flatten();
                    data.map(|(name, value)| (name.clone(), value.0.clone()))
                        .collect()
                })
            } else {
                let map = configs.config_map(client, &key).await;
                map.map(|map| {
                    let data = map.data.iter().flatten();
                    data.map(|(name, value)| (name.clone(), value.clone().into_bytes()))
                        .collect()
                })
            };
        match found {
            Ok(data) => {
                let secret = reference.kind == ValuesKind::Secret;
                values.extend(data.into_iter().map(|(key, value)| (key, (value, secret))));
            }
            // Only an optional object that does not exist is skipped; one that is forbidden or temporarily unreadable fails
            // the run (KC-SUB-007).
            Err(error) if reference.optional && error.is_not_found() => {}
            Err(source) => {
                let (kind, name) = (reference.kind.as_str().to_owned(), reference.name.clone());
                return Err(VariablesError::Reference { kind, name, source });
            }
        }
    }
    let inline = post_build.substitute.clone().into_iter();
    values.extend(inline.map(|(key, value)| (key, (value.into_bytes(), false))));
    let digest = digest(values.iter().map(|(key, (value, _))| (&**key, &**value)));
    // This removes newlines from the values (KC-SUB-006).
    let mut variables = Variables::default();
    for (name, (value, secret)) in values {
        if secret {
            variables.set_secret(name, value);
        } else {
            variables.set(name, value);
        }
    }
    Ok(Inputs { variables, digest })
}

/// A digest of names and values. It includes their lengths, so that no two lists have the same input.
fn digest<'v>(values: impl Iterator<Item = (&'v str, &'v [u8])>) -> String {
    let mut hasher = Sha256::new();
    for part in values.flat_map(|(name, value)| [name.as_bytes(), value]) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn different_variables_have_different_digests() {
        let of = |values: &[(&str, &str)]| {
            digest(values.iter().map(|(name, value)| (*name, value.as_bytes())))
        };
        let lists: [&[(&str, &str)]; 6] = [
            &[],
            &[("a", "1")],
            &[("a", "2")],
            &[("b", "1")],
            &[("a", "12"), ("b", "")],
            &[("a", "1"), ("2b", "")],
        ];
        for (index, list) in lists.iter().enumerate() {
            for other in lists.get(index + 1..).unwrap_or_default() {
                assert_ne!(of(list), of(other), "{list:?} and {other:?}");
            }
            assert_eq!(of(list), of(list));
        }
    }

    #[test]
    fn only_not_found_counts_as_missing() {
        // KC-SUB-007
        for (code, reason, missing) in [
            (404, "NotFound", true),
            (403, "Forbidden", false),
            (401, "Unauthorized", false),
            (500, "InternalError", false),
            (503, "ServiceUnavailable", false),
        ] {
            let status = Status::failure("no", reason).with_code(code);
            let error = ReadError::Request(kube::Error::Api(status.boxed()).into());
            assert_eq!(error.is_not_found(), missing, "{reason}");
        }
        let secrets: Cache<Secret> = Cache::default();
        let error = cached(&secrets, &Key::new("ns", "vars")).unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "Secret \"vars\" not found"); // KC-PROC-029
    }
}
