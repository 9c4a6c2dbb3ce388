//! A remote repository and its operations.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flux_budget::Claim;

use crate::auth::AuthOptions;
use crate::echo::Sent;
use crate::error::{Error, Fault};
use crate::memory::Portion;
use crate::protocol::{Conversation, Listed};
use crate::reference::{Reference, Strategy};
use crate::revision::Hash;
use crate::session::{self, Limits};
use crate::snapshot::Snapshot;
use crate::url::GitUrl;

/// SSH algorithms (`--ssh-kex-algos`, `--ssh-hostkey-algos`); empty lists mean the defaults (RT-GIT-014).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SshAlgorithms {
    /// Key exchange algorithms, best first. Unknown names are ignored.
    pub kex: Vec<String>,
    /// Host key algorithms, best first.
    pub host_key: Vec<String>,
}

/// Connection settings of a remote other than its address and credentials.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// Proxy for all connections, including SSH (SC-GIT-127).
    pub proxy: flux_http::Proxy,
    /// Algorithms of SSH.
    pub ssh: SshAlgorithms,
    /// Allows credentials over plain HTTP (SC-GIT-120).
    pub credentials_over_http: bool,
    /// Timeout of one connection attempt, within that of the operation.
    pub connect_timeout: Duration,
    /// `User-Agent` of HTTP.
    pub user_agent: String,
    /// Limits on the repository.
    pub limits: Limits,
    /// Parent folder of fetched objects; the system's temporary folder if unset.
    pub temporary_folder: Option<PathBuf>,
    /// The claim for memory that grows with the repository.
    pub claim: Arc<Claim>,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            proxy: flux_http::Proxy::Environment,
            ssh: SshAlgorithms::default(),
            credentials_over_http: false,
            connect_timeout: Duration::from_secs(30),
            user_agent: concat!("git/flux-", env!("CARGO_PKG_VERSION")).to_owned(),
            limits: Limits::default(),
            temporary_folder: None,
            claim: Arc::new(Claim::unlimited()),
        }
    }
}

/// A remote repository.
#[derive(Clone)]
pub struct Remote {
    pub(crate) url: GitUrl,
    pub(crate) auth: AuthOptions,
    pub(crate) options: RemoteOptions,
}

/// What to fetch.
#[derive(Debug, Clone, Default)]
pub struct FetchOptions {
    /// The last observed revision (in either form, SC-GIT-061); if the remote still has it, nothing is fetched.
    pub last_observed: Option<String>,
    /// Prefixes of the wanted paths, without `./`; all if empty (SC-GIT-073).
    pub sparse: Vec<String>,
    /// Whether to fetch submodules (SC-GIT-071); not combined with `sparse` (SC-GIT-075).
    pub submodules: bool,
}

/// The result of a fetch.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fetched {
    /// The remote still has the last observed revision; nothing was fetched. Only hash and reference of the commit are
    /// known (SC-GIT-060).
    Unchanged(Box<crate::Commit>),
    /// The remote has no commit yet (SC-GIT-027, RT-GIT-008); only for branches.
    Empty,
    /// The commit and its files.
    Snapshot(Box<Snapshot>),
}

/// A reference of the remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteReference {
    /// The full name.
    pub name: String,
    /// The object it points to: the tag object of an annotated tag.
    pub hash: Hash,
    /// The commit that an annotated tag points to.
    pub peeled: Option<Hash>,
}

impl From<Listed> for RemoteReference {
    fn from(listed: Listed) -> Self {
        let hash = |id: gix::hash::ObjectId| Hash::new(id.to_string());
        Self {
            name: listed.name,
            hash: hash(listed.target),
            peeled: listed.peeled.map(hash),
        }
    }
}

impl Remote {
    /// Checks that the credentials may be sent to this address (RT-GIT-010, RT-GIT-011). Sends nothing.
    pub fn new(url: GitUrl, auth: AuthOptions, options: RemoteOptions) -> Result<Self, Error> {
        auth.check(&url, options.credentials_over_http)?;
        Ok(Self { url, auth, options })
    }

    /// The address.
    pub fn url(&self) -> &GitUrl {
        &self.url
    }

    /// Lists the references whose names begin with one of `prefixes` (all if empty), within `timeout`.
    ///
    /// Dropping the future cancels the work.
    pub async fn list(
        &self,
        prefixes: &[&str],
        timeout: Duration,
    ) -> Result<Vec<RemoteReference>, Error> {
        let remote = self.clone();
        let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        let late = self.failing(Phase::List);
        session::run(timeout, self.options.limits, &late, move |session| {
            let fail = remote.failing(Phase::List);
            let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
            let listed =
                Conversation::begin(&remote, session).and_then(|mut talk| talk.list(&prefixes));
            let listed = listed.map_err(&fail)?;
            // They exist twice until the list is returned.
            let bytes = listed.len() * 2 * size_of::<RemoteReference>();
            let _copy = Portion::take(&remote.options.claim, "references", bytes).map_err(fail)?;
            Ok(listed.iter().cloned().map(RemoteReference::from).collect())
        })
        .await
    }

    /// Fetches the commit that `reference` selects, within `timeout` (SC-GIT-029).
    ///
    /// Dropping the future cancels the work.
    pub async fn fetch(
        &self,
        reference: &Reference,
        options: &FetchOptions,
        timeout: Duration,
    ) -> Result<Fetched, Error> {
        let (remote, reference, options) = (self.clone(), reference.clone(), options.clone());
        let lists_first =
            matches!(reference.strategy(), Strategy::Name(_)) || options.last_observed.is_some();
        let late = self.failing(if lists_first {
            Phase::List
        } else {
            Phase::Clone
        });
        session::run(timeout, self.options.limits, &late, move |session| {
            crate::fetch::fetch(&remote, &reference, &options, session)
        })
        .await
    }

    /// What is sent to the server, and must not appear in a message.
    pub(crate) fn sent(&self) -> Sent {
        Sent::new(&self.url, &self.auth)
    }

    /// Wraps a fault in the error of the phase in which it occurred.
    pub(crate) fn failing(&self, phase: Phase) -> impl Fn(Fault) -> Error + use<> {
        let url = self.url.to_string();
        let sent = self.sent();
        move |source| {
            let url = url.clone();
            match (phase, sent.hide(source)) {
                (_, source @ Fault::SshSettings(_)) => Error::Setup { url, source },
                (Phase::List, source) => Error::List { url, source },
                (Phase::Clone, Fault::RepositoryNotFound(reason)) if reason.is_empty() => {
                    Error::RepositoryNotFound {
                        url,
                        reason: "repository not found",
                    }
                }
                (Phase::Clone, Fault::EmptyRemote) => Error::RepositoryNotFound {
                    url,
                    reason: "remote repository is empty",
                },
                (Phase::Clone, source) => Error::Clone { url, source },
            }
        }
    }
}

/// The phase in which a fault occurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    List,
    Clone,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("url", &self.url)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A remote with this one's settings, for a submodule.
pub(crate) fn sibling(parent: &Remote, url: GitUrl) -> Remote {
    use crate::url::Transport;
    let same_host = url.host().eq_ignore_ascii_case(parent.url.host())
        && url.port() == parent.url.port()
        && url.transport() == parent.url.transport();
    let mut auth = parent.auth.clone();
    auth.transport = url.transport();
    if url.transport() == Transport::Ssh {
        if let Some(user) = url.user() {
            user.clone_into(&mut auth.username);
        } else if parent.url.transport() != Transport::Ssh {
            "git".clone_into(&mut auth.username);
        }
    } else if !same_host {
        // Another host must not receive this one's credentials.
        url.user()
            .unwrap_or_default()
            .clone_into(&mut auth.username);
        auth.password = url.password().cloned().unwrap_or_default();
        auth.bearer_token = flux_http::Secret::default();
    }
    Remote {
        url,
        auth,
        options: parent.options.clone(),
    }
}

/// Shared by the strategies.
pub(crate) type SharedSession = Arc<session::Session>;
