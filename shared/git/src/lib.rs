//! Reads Git repositories over HTTP(S) and SSH, verifies signatures in them, and commits and pushes changes.
//!
//! ```
//! use std::time::Duration;
//! use flux_git::{AuthOptions, FetchOptions, Fetched, GitUrl, Reference, Remote, RemoteOptions};
//! # let server = git_servers::HttpGitServer::start();
//! # git_servers::Repo::init(server.root(), "app.git").commit("main").file("web.yaml", "kind: Service\n").create();
//! # let address = server.url("app.git");
//! # tokio::runtime::Runtime::new()?.block_on(async {
//!
//! let url = GitUrl::parse(&address)?;
//! let remote = Remote::new(url.clone(), AuthOptions::new(&url, None)?, RemoteOptions::default())?;
//! let main = Reference { branch: Some("main".into()), ..Reference::default() };
//! let fetched = remote.fetch(&main, &FetchOptions::default(), Duration::from_secs(60)).await?;
//! let Fetched::Snapshot(snapshot) = fetched else { panic!("a new remote has changed") };
//!
//! let file = &snapshot.entries()[0];
//! assert_eq!(file.path(), b"web.yaml");
//! assert_eq!(snapshot.reader()?.read(file)?[..], *b"kind: Service\n");
//!
//! // The next time, one listing shows that nothing has changed.
//! let again = FetchOptions { last_observed: Some(snapshot.commit().revision()), ..FetchOptions::default() };
//! assert!(matches!(remote.fetch(&main, &again, Duration::from_secs(60)).await?, Fetched::Unchanged(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The protocol is in `wire`, the packs are in `pack`; hashes and object formats are gix's. The transports are HTTP on
//! `flux-http` and SSH on russh; no external program is run. Fetched objects are stored as packs in a temporary folder;
//! files are streamed from there, or checked out. Every operation has a deadline, and ends when its future is dropped.
//! Memory that grows with the repository is taken from the claim in [`RemoteOptions`], so that a repository cannot
//! exhaust the memory of the process.
//!
//! [`Remote::checkout`] prepares commits: [`WorkingCopy`] holds the files and makes commits, signed by a [`SigningKey`] if
//! wanted, and pushes them.
//!
//! Not part of this crate: packing the files (`flux-artifact`), reading Secrets from Kubernetes, and cloud identities.

#![forbid(unsafe_code)]

mod auth;
mod checkout;
mod create;
mod echo;
mod error;
mod fetch;
mod known_hosts;
mod memory;
#[cfg(test)]
mod mutations;
mod new_objects;
mod object;
mod pack;
#[cfg(any(test, feature = "fuzzing"))]
pub mod parsers;
mod protocol;
mod push;
mod reference;
mod refspec;
mod remote;
mod revision;
mod session;
mod sign;
mod snapshot;
mod ssh_key;
mod store;
mod submodules;
mod transport;
mod tree_edit;
mod tree_path;
mod url;
mod verify;
mod wire;
mod working_copy;

pub use auth::{AuthError, AuthOptions};
pub use create::{Change, CommitError, NewCommit};
pub use error::{Error, Fault};
pub use known_hosts::{HostKeyError, KnownHosts, KnownHostsError};
pub use object::{Commit, Person, Tag};
pub use pack::{Content, Stream};
pub use push::{Force, PushError, PushOptions, Pushed};
pub use reference::{DEFAULT_BRANCH, Reference, Strategy};
pub use refspec::{Refspec, RefspecError};
pub use remote::{FetchOptions, Fetched, Remote, RemoteOptions, RemoteReference, SshAlgorithms};
pub use revision::{Hash, split_revision, transform_revision};
pub use session::Limits;
pub use sign::{KeyFault, SignError, SigningKey, SigningKeyError};
pub use snapshot::{Entry, EntryKind, Reader, Snapshot};
pub use ssh_key::{SshKeyError, needs_passphrase};
pub use url::{GitUrl, Transport, UrlError};
pub use verify::{SignatureError, SignatureKind, Signed, TrustedKeys, VerifyError};
pub use working_copy::{Checkout, CheckoutOptions, SwitchBranch, WorkingCopy};
