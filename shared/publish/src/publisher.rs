//! The storage of a controller's artifacts: opened, cleaned up and served.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::time::SystemTime;

use flux_api::meta::Artifact;
use flux_artifact::{
    Algorithm, Retention, Storage, StorageError, Stored, advertised_address, artifact_dir,
    is_artifact_of, server,
};
use flux_runtime::flags::StorageFlags;
use flux_runtime::manager::{Fatal, Manager, hostname};
use flux_runtime::outcome::chain;
use kube::{Resource, ResourceExt};

/// The object whose artifacts are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    kind: String,
    namespace: String,
    name: String,
}

impl Owner {
    /// The object of this kind, namespace and name.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The owner for this object.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        let namespace = object.namespace().unwrap_or_default();
        Self::new(&K::kind(&()), &namespace, &object.name_any())
    }

    /// The folder of the object's artifacts (SC-ART-002).
    pub fn folder(&self) -> String {
        artifact_dir(&self.kind, &self.namespace, &self.name)
    }

    /// The path of the object's artifact with the file name `file`.
    pub fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.folder())
    }

    /// Whether `path` is that of an artifact of this object. Another client may have written a status, and its path may
    /// be that of another object's artifact.
    pub fn owns(&self, path: &str) -> bool {
        is_artifact_of(path, &self.kind, &self.namespace, &self.name)
    }
}

/// Publishes artifacts. Clones share the storage.
#[derive(Clone, Debug)]
pub struct Publisher {
    pub(crate) storage: Arc<Storage>,
}

impl Publisher {
    /// A publisher for the artifacts in `storage`.
    pub fn new(storage: Arc<Storage>) -> Self {
        Self { storage }
    }

    /// Opens the storage that the flags configure (SC-ART-001, SC-ART-020 to SC-ART-023).
    ///
    /// # Errors
    /// The folder does not exist, or a flag is invalid.
    pub fn from_flags(flags: &StorageFlags) -> Result<Self, Fatal> {
        let algorithm = flags.artifact_digest_algo.parse::<Algorithm>();
        let algorithm = algorithm
            .map_err(|error| format!("unable to configure canonical digest algorithm: {error}"))?;
        // SC-ART-022
        let own_name = || {
            env::var("HOSTNAME")
                .ok()
                .filter(|name| !name.is_empty())
                .unwrap_or_else(hostname)
        };
        let host = advertised_address(&flags.storage_adv_addr, &flags.storage_addr, own_name)?;
        let retention = Retention {
            ttl: flags.artifact_retention_ttl,
            records: flags.artifact_retention_records,
        };
        let storage = Storage::open(&flags.storage_path, host, algorithm, retention)?;
        Ok(Self::new(Arc::new(storage)))
    }

    /// The storage.
    pub fn storage(&self) -> &Arc<Storage> {
        &self.storage
    }

    /// Serves the storage on `--storage-addr` while this process leads: only the leader has the artifacts
    /// (SC-PROC-043). First removes what a killed leader has left in the storage.
    pub fn serve(&self, manager: &mut Manager, flags: &StorageFlags) {
        sweep(manager, self.storage.clone());
        let (address, root) = (flags.storage_addr.clone(), self.storage.root().to_owned());
        manager.add_leading(async move |stop| {
            let listener = server::listen(&address).await;
            let listener =
                listener.map_err(|error| format!("artifact server error: {}", chain(&error)))?;
            tracing::info!(logger = "setup", "starting storage server on {address}"); // SW-PROC-042
            let limits = server::Limits::default();
            server::serve(listener, root, limits, stop.cancelled_owned()).await;
            Ok(())
        });
    }

    /// The artifact for a status, of the file `stored` at `path` (SC-ART-008).
    pub fn artifact(&self, path: String, revision: String, stored: &Stored) -> Artifact {
        Artifact {
            url: self.storage.url(&path),
            path,
            revision,
            digest: stored.digest.to_string(),
            size: i64::try_from(stored.size).ok(),
            last_update_time: jiff::Timestamp::now().into(),
            metadata: BTreeMap::new(),
        }
    }

    /// Removes everything that is stored for an object, and returns whether there was anything (SC-ART-045). Blocks.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub fn remove(&self, owner: &Owner) -> Result<bool, StorageError> {
        self.storage.remove_all(&owner.folder())
    }
}

/// Removes what a killed leader has left in the storage, once this process leads.
fn sweep(manager: &mut Manager, storage: Arc<Storage>) {
    manager.add_leading(async move |stop| {
        let begin = SystemTime::now();
        let leftovers =
            tokio::task::spawn_blocking(move || storage.remove_leftovers(begin)).await?;
        if leftovers.removed > 0 {
            let count = leftovers.removed;
            tracing::info!(logger = "setup", count, "removed leftovers from storage");
        }
        for error in leftovers.problems {
            tracing::error!(
                logger = "setup",
                error,
                "cannot remove leftovers from storage"
            );
        }
        stop.cancelled().await; // a task that ends early ends the process
        Ok(())
    });
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn flags(folder: &Path) -> StorageFlags {
        StorageFlags {
            storage_path: folder.to_owned(),
            storage_addr: ":9090".to_owned(),
            storage_adv_addr: String::new(),
            artifact_retention_ttl: Duration::from_mins(1),
            artifact_retention_records: 2,
            artifact_digest_algo: "sha512".to_owned(),
        }
    }

    #[test]
    fn storage_is_opened_from_flags() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = Publisher::from_flags(&flags(folder.path())).unwrap();
        assert_eq!(publisher.storage().algorithm(), Algorithm::Sha512);
        // SC-ART-021
        assert_eq!(publisher.storage().url("a"), "http://localhost:9090/a");

        // SC-ART-001
        let missing = folder.path().join("missing");
        let refused = Publisher::from_flags(&flags(&missing)).unwrap_err();
        let want = format!("invalid dir path: {}", missing.display());
        assert_eq!(refused.to_string(), want);
        let unknown = StorageFlags {
            artifact_digest_algo: "md5".to_owned(),
            ..flags(folder.path())
        };
        assert_eq!(
            Publisher::from_flags(&unknown).unwrap_err().to_string(),
            "unable to configure canonical digest algorithm: unsupported digest algorithm: md5"
        );
    }

    // SC-ART-002, SW-ART-010
    #[test]
    fn artifact_paths_belong_to_the_owner() {
        let owner = Owner::new("ExternalArtifact", "ns", "app");
        let path = owner.path("123.tar.gz");
        assert_eq!(path, "externalartifact/ns/app/123.tar.gz");
        assert!(owner.owns(&path));
        for other in [
            "externalartifact/ns/other/123.tar.gz",
            "externalartifact/ns/app/../other/a",
            "externalartifact/ns/app/",
            "bucket/ns/app/123.tar.gz",
        ] {
            assert!(!owner.owns(other), "{other}");
        }
    }

    // SC-ART-045
    #[test]
    fn deleting_an_object_removes_its_artifacts() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = Publisher::from_flags(&flags(folder.path())).unwrap();
        let (owner, other) = (
            Owner::new("Bucket", "ns", "a"),
            Owner::new("Bucket", "ns", "b"),
        );
        for owner in [&owner, &other] {
            let path = owner.path("x");
            publisher.storage().make_dir(&path).unwrap();
            std::fs::write(folder.path().join(path), "x").unwrap();
        }
        assert!(publisher.remove(&owner).unwrap());
        assert!(!publisher.remove(&owner).unwrap());
        assert!(publisher.storage().exists(&other.path("x")).unwrap());
    }
}
