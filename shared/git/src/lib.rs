//! Reads Git repositories over HTTP(S) and SSH, and verifies what they hold.
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
//! let mut buffer = Vec::new();
//! let file = &snapshot.entries()[0];
//! assert_eq!((file.path(), snapshot.reader()?.read(file, &mut buffer)?), ("web.yaml", b"kind: Service\n".as_slice()));
//!
//! // The next time, one listing tells that nothing has changed.
//! let again = FetchOptions { last_observed: Some(snapshot.commit().revision()), ..FetchOptions::default() };
//! assert!(matches!(remote.fetch(&main, &again, Duration::from_secs(60)).await?, Fetched::Unchanged(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! gix does the Git work; the transports are HTTP on `flux-http` and SSH on russh, and no program is ever run. Fetched objects
//! lie as packs in a temporary folder; files are read from there, or checked out. Every operation has a deadline, and ends when
//! its future is dropped.
//!
//! Not here: what becomes of the files (`flux-artifact`), reading Secrets from Kubernetes, cloud identities, and, so far,
//! making and pushing commits.

#![forbid(unsafe_code)]

mod auth;
mod checkout;
mod error;
mod fetch;
mod known_hosts;
mod object;
mod protocol;
mod reference;
mod remote;
mod revision;
mod session;
mod snapshot;
mod ssh_key;
mod store;
mod submodules;
mod transport;
mod tree_path;
mod url;
mod verify;

pub use auth::{AuthError, AuthOptions};
pub use error::{Error, Fault};
pub use known_hosts::{HostKeyError, KnownHosts, KnownHostsError};
pub use object::{Commit, Person, Tag};
pub use reference::{DEFAULT_BRANCH, Reference, Strategy};
pub use remote::{FetchOptions, Fetched, Remote, RemoteOptions, RemoteReference, SshAlgorithms};
pub use revision::{Hash, split_revision, transform_revision};
pub use session::Limits;
pub use snapshot::{Entry, EntryKind, Reader, Snapshot};
pub use ssh_key::{SshKeyError, needs_passphrase};
pub use url::{GitUrl, Transport, UrlError};
pub use verify::{SignatureError, SignatureKind, Signed, TrustedKeys, VerifyError};
