//! Reads objects of one kind by name: from a cache, or from the API server.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use flux_objects::{Error, Objects};
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

/// Reads objects of one kind by name.
pub enum Reader<K> {
    /// From this cache, which has to be watched.
    Cached(Cache<K>),
    /// From the API server at each use.
    Direct(Client),
}

impl<K> Clone for Reader<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Cached(cache) => Self::Cached(cache.clone()),
            Self::Direct(client) => Self::Direct(client.clone()),
        }
    }
}

/// Why an object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It does not exist. The text is upstream's: its cache names the kind, the API server the resource (KC-PROC-029).
    #[error("{resource} \"{name}\" not found")]
    NotFound {
        /// Kind or resource, with the group unless it is the core group.
        resource: String,
        /// The name.
        name: String,
    },
    /// The name or namespace is not valid, or the API server refused or did not respond.
    #[error(transparent)]
    Request(#[from] Error),
}

impl ReadError {
    /// Whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Request(error) => error.is_not_found(),
        }
    }
}

impl<K> Reader<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    /// Returns once the cache has the initial list. Needed where the cache is not one that the controller watches, since
    /// the workers wait for those.
    pub async fn synced(&self) {
        if let Self::Cached(cache) = self {
            cache.synced().await;
        }
    }

    /// Reads an object.
    ///
    /// # Errors
    /// The object does not exist ([`ReadError::is_not_found`]), its name is not valid, or the API server refuses.
    pub async fn get(&self, key: &Key) -> Result<Arc<K>, ReadError> {
        let (found, named): (Option<Arc<K>>, Cow<'static, str>) = match self {
            Self::Cached(cache) => (cache.get(key), K::kind(&())),
            Self::Direct(client) => {
                let objects = Objects::<K>::in_namespace(client.clone(), &key.namespace);
                let objects = objects.map_err(Error::from)?;
                let found = objects.get_opt(&key.name).await?;
                (found.map(Arc::new), K::plural(&()))
            }
        };
        found.ok_or_else(|| {
            let group = K::group(&());
            let dot = if group.is_empty() { "" } else { "." };
            ReadError::NotFound {
                resource: format!("{named}{dot}{group}"),
                name: key.name.clone(),
            }
        })
    }
}

#[cfg(test)]
mod tests;
