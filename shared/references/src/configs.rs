//! ConfigMaps and Secrets.

use std::sync::Arc;

use flux_api::meta::ValuesKind;
use flux_budget::{Claim, Exhausted};
use flux_http::SecretData;
use flux_runtime::Reconciler;
use flux_runtime::controller::Controller;
use flux_runtime::manager::Manager;
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use flux_selector::{ParseError, Selector};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::{Api, Client};

use crate::triggers::{on_config, only_marked};
use crate::{Index, ReadError, Reader};

/// How many bytes of values one run of an object may read. An object's list of references is bounded by the size of the
/// object only, and each referenced object may have a megabyte.
pub const MAX_VALUES: usize = 16 << 20;

/// Reads ConfigMaps and Secrets: from the API server, or from caches of all of them if the gate
/// `CacheSecretsAndConfigMaps` is on (KC-PROC-029).
#[derive(Clone)]
pub struct Configs {
    /// Reads ConfigMaps.
    pub config_maps: Reader<ConfigMap>,
    /// Reads Secrets.
    pub secrets: Reader<Secret>,
}

impl Configs {
    /// From caches, which [`Configs::watched`] has to fill, or with `client` at each use.
    pub fn new(cached: bool, client: &Client) -> Self {
        if cached {
            Self {
                config_maps: Reader::Cached(Cache::default()),
                secrets: Reader::Cached(Cache::default()),
            }
        } else {
            Self {
                config_maps: Reader::Direct(client.clone()),
                secrets: Reader::Direct(client.clone()),
            }
        }
    }

    /// Starts to read the values for one run of an object, which take their memory through `claim`.
    pub fn reading<'c>(&'c self, claim: &'c Claim) -> Reading<'c> {
        Reading {
            configs: self,
            left: MAX_VALUES,
            claim,
        }
    }

    /// Lets `controller` watch ConfigMaps and Secrets: into the caches if there are any, and so that a change of one that
    /// `selector` matches enqueues the objects that refer to it by `index`. `None` watches for no changes
    /// (KC-PROC-025, KC-PROC-037).
    ///
    /// # Errors
    /// The selector is invalid.
    pub fn watched<R: Reconciler>(
        &self,
        controller: Controller<R>,
        manager: &Manager,
        selector: Option<&str>,
        (index, referrers): (&Index, &Cache<R::Kind>),
    ) -> Result<Controller<R>, ParseError> {
        if let (Reader::Cached(maps), Reader::Cached(secrets)) = (&self.config_maps, &self.secrets)
        {
            // The watch that fills the cache also delivers the changes, so that a reconcile finds the change that triggered it.
            let marked = selector.map(Selector::parse).transpose()?.map(Arc::new);
            let on_map = on_config(index.clone(), referrers.clone());
            let on_secret = on_config(index.clone(), referrers.clone());
            let any = watcher::Config::default;
            return Ok(controller
                .watching(
                    manager.api::<ConfigMap>(),
                    any(),
                    maps.clone(),
                    only_marked(marked.clone(), on_map),
                )
                .watching(
                    manager.api::<Secret>(),
                    any(),
                    secrets.clone(),
                    only_marked(marked, on_secret),
                ));
        }
        let Some(selector) = selector else {
            return Ok(controller);
        };
        // Metadata only, and only of objects with the label to be watched (RT-WAT-009, RT-WAT-010).
        let marked = || match selector {
            "" => watcher::Config::default(),
            selector => watcher::Config::default().labels(selector),
        };
        let secrets: Api<PartialObjectMeta<Secret>> = manager.api();
        let maps: Api<PartialObjectMeta<ConfigMap>> = manager.api();
        let on_secret = on_config(index.clone(), referrers.clone());
        let on_map = on_config(index.clone(), referrers.clone());
        Ok(controller
            .watching(secrets, marked(), Cache::default(), on_secret)
            .watching(maps, marked(), Cache::default(), on_map))
    }
}

/// The entries of a ConfigMap's or Secret's `data`. There is no `Debug`: they may be secret.
#[derive(Clone, Default)]
pub struct Values {
    /// Names and values, sorted by name (KC-SUB-005).
    pub entries: Vec<(String, Vec<u8>)>,
    /// Whether they are from a Secret.
    pub is_secret: bool,
}

/// Why values could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ValuesError {
    /// The ConfigMap or Secret could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The run has read more than [`MAX_VALUES`].
    #[error("the values of all references take more than {MAX_VALUES} bytes")]
    TooLarge,
    /// They do not fit into memory.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

/// Reads values for one run of an object, up to [`MAX_VALUES`] in all.
pub struct Reading<'c> {
    configs: &'c Configs,
    left: usize,
    claim: &'c Claim,
}

/// How many times its bytes a value takes: as it is read, as it is kept, and for the work with it.
const COPIES: u64 = 3;

impl Reading<'_> {
    /// The values of a ConfigMap or Secret; any other kind is read as a ConfigMap. `None` if it does not exist and is
    /// `optional`: one that is forbidden or temporarily unreadable is an error all the same (KC-SUB-007, HC-VAL-008).
    ///
    /// # Errors
    /// The object cannot be read, or the values of the run are too large.
    pub async fn values(
        &mut self,
        kind: &ValuesKind,
        key: &Key,
        optional: bool,
    ) -> Result<Option<Values>, ValuesError> {
        let is_secret = *kind == ValuesKind::Secret;
        let read = if is_secret {
            let secret = self.configs.secrets.get(key).await;
            secret.map(|secret| {
                let data = secret.data.iter().flatten();
                self.entries(data.map(|(name, value)| (name, &value.0[..])))
            })
        } else {
            let map = self.configs.config_maps.get(key).await;
            map.map(|map| {
                let data = map.data.iter().flatten();
                self.entries(data.map(|(name, value)| (name, value.as_bytes())))
            })
        };
        match read {
            Ok(entries) => Ok(Some(Values {
                entries: entries?,
                is_secret,
            })),
            Err(error) if optional && error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Copies entries, up to what is left.
    fn entries<'v>(
        &mut self,
        data: impl Iterator<Item = (&'v String, &'v [u8])> + Clone,
    ) -> Result<Vec<(String, Vec<u8>)>, ValuesError> {
        const ENTRY: usize = size_of::<(String, Vec<u8>)>();
        let bytes = data.clone();
        let bytes: usize = bytes.map(|(name, value)| name.len() + value.len()).sum();
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or(ValuesError::TooLarge)?;
        let places = ENTRY * data.clone().count();
        self.claim.take(COPIES * (bytes + places) as u64)?;
        Ok(data
            .map(|(name, value)| (name.clone(), value.to_vec()))
            .collect())
    }
}

/// The data of a Secret, for the parsers of well-known formats.
pub fn secret_data<'s>(secret: &'s Secret, namespace: &str, name: &str) -> SecretData<'s> {
    let entries = secret.data.iter().flatten();
    SecretData::new(
        namespace,
        name,
        entries.map(|(key, value)| (key.as_str(), value.0.as_slice())),
    )
}

#[cfg(test)]
mod tests;
