//! Decryption of what SOPS has encrypted: files before the build, objects after it (KC-SOPS rows).
//!
//! [`Decryption`] is what the process has for it, [`Keys`] what one object brings along, [`Decryptor`] both for one run. The
//! files and objects themselves are decrypted by `flux-sops`, which asks for the data keys that a service has.

mod aws;
mod azure;
mod environment;
mod file;
mod gcp;
mod keys;
mod objects;
mod services;
mod sources;
#[cfg(test)]
mod tests;
mod transit;

use std::collections::btree_map::Entry;
use std::sync::Arc;

use flux_api::kustomize::Kustomization;
use flux_cloud::{CacheKey, Environment};
use flux_identity::Identities;
use flux_references::Configs;
use flux_runtime::queue::Key;
use flux_sops::{Answers, Keyring, MasterKey};
use tokio::sync::Mutex;

pub(super) use self::file::FileError;
pub(super) use self::keys::{Keys, KeysError};
pub(super) use self::objects::{ObjectError, decrypt as decrypt_object, needs as object_needs};
use self::services::Services;
pub(super) use self::sources::{Encrypted, Found, SourcesError, find as find_sources};

/// What the process has for decryption.
pub(crate) struct Decryption {
    /// Reads Secrets and ConfigMaps.
    pub(crate) configs: Configs,
    /// The cloud identities of objects.
    pub(crate) identities: Identities,
    /// The API client, for the controller's own tokens.
    pub(crate) client: kube::Client,
    /// The Secret with age identities for objects that name none (KC-PROC-012).
    pub(crate) age_secret: Option<Key>,
    /// The ConfigMap with the transit servers that logins are sent to (KC-PROC-013).
    pub(crate) transit_servers: Option<Key>,
    /// The variables of the process.
    pub(crate) environment: Environment,
}

impl Decryption {
    /// The keys of an object; `None` if it asks for no decryption (KC-SOPS-001). They are read anew for each run, and used for
    /// no other object (KC-SOPS-048).
    pub(super) async fn keys(&self, object: &Kustomization) -> Result<Option<Keys>, KeysError> {
        let Some(decryption) = &object.spec.decryption else {
            return Ok(None);
        };
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let keys = Keys::read(self, namespace, decryption).await?;
        Ok(Some(keys))
    }

    /// What decrypts for one run of an object.
    pub(super) fn decryptor<'d>(
        &'d self,
        object: &'d Kustomization,
        keys: &'d Keys,
    ) -> Decryptor<'d> {
        Decryptor {
            ring: keys.ring.clone(),
            services: Services::new(self, object, keys),
            answers: Mutex::default(),
        }
    }
}

/// Decrypts for one run of an object.
pub(super) struct Decryptor<'d> {
    ring: Arc<Keyring>,
    services: Services<'d>,
    answers: Mutex<Answers>,
}

impl Decryptor<'_> {
    /// The private keys.
    pub(super) fn ring(&self) -> Arc<Keyring> {
        Arc::clone(&self.ring)
    }

    /// What services have answered so far.
    pub(super) async fn answers(&self) -> Answers {
        self.answers.lock().await.clone()
    }

    /// Asks the service that has a key, unless it was asked already.
    pub(super) async fn ask(&self, key: MasterKey) {
        let mut answers = self.answers.lock().await;
        if let Entry::Vacant(entry) = answers.entry(key) {
            let answer = self.services.decrypt(entry.key()).await;
            entry.insert(answer);
        }
    }

    /// Whether a service has given a key, so that the result depends on more than the inputs of the build.
    pub(super) async fn used_services(&self) -> bool {
        !self.answers.lock().await.is_empty()
    }

    /// Decrypts a file.
    pub(super) async fn decrypt(&self, found: Encrypted) -> Result<file::Decrypted, FileError> {
        loop {
            let (ring, answers) = (self.ring(), self.answers().await);
            let attempt = {
                let found = found.clone();
                move || found.decrypt(&ring, &answers)
            };
            // Ciphers of files of some megabytes, off the async threads.
            let attempt = tokio::task::spawn_blocking(attempt).await;
            match attempt.unwrap_or(Err(FileError::Panicked {
                format: found.format,
            }))? {
                file::Attempt::Done(decrypted) => return Ok(decrypted),
                file::Attempt::Needs(key) => self.ask(*key).await,
            }
        }
    }
}

/// A digest of keys, to compare them by without keeping them.
fn digest(parts: &[(&str, &[u8])]) -> String {
    use sha2::{Digest as _, Sha256};
    let mut hasher = Sha256::new();
    for part in parts
        .iter()
        .flat_map(|(name, value)| [name.as_bytes(), value])
    {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
}

/// The key under which a token is cached.
fn cache_key(parts: &[(&str, &str)]) -> CacheKey {
    let parts: Vec<(&str, &[u8])> = parts
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()))
        .collect();
    CacheKey::of(&parts)
}
