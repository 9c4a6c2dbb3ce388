//! Artifacts: storing, packing, serving, downloading and caching them.
//!
//! ```
//! use std::time::Duration;
//!
//! use flux_artifact::{Algorithm, Retention, Storage, extract, pack_tree};
//! use flux_budget::Claim;
//! use flux_tree::{Tree, TreePath};
//!
//! let folder = tempfile::tempdir().unwrap();
//! let storage = Storage::open(folder.path(), "localhost:9090", Algorithm::Sha256, Retention::default()).unwrap();
//! let mut tree = Tree::new();
//! tree.insert_file(TreePath::new("web.yaml").unwrap(), "kind: Service\n", false).unwrap();
//!
//! let path = "gitrepository/default/app/0c4f.tar.gz";
//! storage.make_dir(path).unwrap();
//! let lock = storage.lock(path, Duration::from_secs(60)).unwrap();
//! let stored = pack_tree(&tree, |_, _| false, storage.create(path).unwrap()).unwrap().commit().unwrap();
//! drop(lock);
//!
//! storage.verify(path, &stored.digest.to_string()).unwrap();
//! assert_eq!(storage.url(path), "http://localhost:9090/gitrepository/default/app/0c4f.tar.gz");
//! let unpacked = extract(storage.read(path).unwrap(), &Default::default(), Claim::unlimited()).unwrap();
//! assert_eq!(unpacked, tree);
//! ```
//!
//! - [`Storage`] is the producers' side on disk; [`TarGz`] writes reproducible archives into it, from a [`Tree`](flux_tree::Tree), a
//!   folder, or entry by entry (which lets a Git object database be archived without a checkout).
//! - [`server`] serves the files over HTTP.
//! - [`Content`] is what goes into an archive, read when it is needed; the rules of `flux-ignore` decide what is left
//!   out.
//! - [`Artifacts`] is the consumers' side: artifacts by URL and digest, as trees or bytes. [`DigestCache`] caches what
//!   is made of them.
//!
//! `flux-publish` and the controllers decide what goes into an object's status.

#![forbid(unsafe_code)]

mod address;
mod archive;
mod artifacts;
mod content;
mod digest;
mod digest_cache;
mod extract;
mod fetch;
mod leftovers;
mod retention;
mod scope;
pub mod server;
mod spool;
mod storage;
mod sums;

pub use address::{AddressError, advertised_address, with_host};
pub use archive::{ArchiveError, TarGz, pack_directory, pack_tree};
pub use artifacts::{Artifacts, Hosts, Location};
pub use content::{
    Content, ContentEntry, InMemory, PackError, PlaceError, ReadContent, RulesError,
};
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use digest_cache::DigestCache;
pub use extract::{ExtractError, ExtractOptions, UnpackError, extract, extract_verified};
pub use fetch::{ArtifactBytes, DigestMismatch, FetchError, FetchOptions, Fetcher, TransferError};
pub use leftovers::Leftovers;
pub use retention::Retention;
pub use spool::{Spooled, extract_spooled, extract_summed};
pub use storage::{
    Lock, Storage, StorageError, Stored, VerifyError, Writing, artifact_dir, is_artifact_of,
};
pub use sums::{Adler32, Sums};
