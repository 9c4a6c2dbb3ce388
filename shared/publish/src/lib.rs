//! An object's artifact: stored, verified, recorded in its status, and served.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use flux_artifact::{Algorithm, Content, ContentEntry, InMemory, Retention, Storage};
//! use flux_publish::{Deadline, Owner, Publisher, Rules};
//!
//! let folder = tempfile::tempdir().unwrap();
//! let storage = Storage::open(folder.path(), "localhost:9090", Algorithm::Sha256, Retention::default()).unwrap();
//! let publisher = Publisher::new(Arc::new(storage));
//! let mut content = Content::new();
//! let file = ContentEntry::File { executable: false, content: Bytes::from("kind: Service") };
//! content.insert(b"web.yaml", file);
//!
//! let path = Owner::new("Bucket", "default", "app").path("0c4f.tar.gz");
//! let deadline = Deadline::within(Duration::from_secs(60));
//! let stored = publisher.store(&path, &content, &mut InMemory, Rules::OfContent(None), deadline).unwrap();
//! let artifact = publisher.artifact(path, "sha256:0c4f".to_owned(), &stored);
//! assert_eq!(artifact.url, "http://localhost:9090/bucket/default/app/0c4f.tar.gz");
//! ```
//!
//! - [`Publisher`] opens the storage that the flags configure, serves it, and puts files into it.
//! - [`Publisher::inspect`], [`announce`], [`stored`], [`notify`] and [`Publisher::finalize`] are the steps
//!   that the runs of all source kinds have in common, from status to events (SC-ART, SC-PROC rows).
//! - [`Table`] is the list of a source kind's conditions, from which the frame's settings follow.
//!
//! The kinds decide what a source is fetched from, what makes its artifact outdated, and the reasons of failures. A
//! controller whose artifacts belong to other objects (source-watcher) uses [`Publisher`] and [`Owner`] alone.

#![forbid(unsafe_code)]

mod conditions;
mod deadline;
mod inspect;
mod publisher;
mod reason;
mod source;
mod store;

pub use conditions::{
    ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, FETCH_FAILED, Row, SOURCE_VERIFIED,
    STORAGE_OPERATION_FAILED, Table,
};
pub use deadline::{Deadline, Guarded};
pub use inspect::{InspectError, Presence};
pub use publisher::{Owner, Publisher};
pub use reason::SourceReason;
pub use source::{
    ArtifactStatus, News, RemoveError, Source, announce, notify, progress, stored, up_to_date,
    work_folder,
};
pub use store::{Rules, StoreError, WriteError};
