//! Fetches remote bases, within limits (KC-BLD-023..026).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flux_budget::{Budget, Claim, Exhausted};
use flux_git::{
    AuthOptions, EntryKind, FetchOptions, Fetched, GitUrl, Reference, Remote, RemoteOptions,
    Snapshot,
};
use flux_http::{BodyError, Repeat, RequestError, read_body_within};
use flux_kustomize::{RemoteFailure, Repository};
use flux_runtime::outcome::chain;
use flux_runtime::panics;
use flux_runtime::work::WorkFolders;
use flux_tree::{Entry, File, Tree, TreePath, name_text};

/// Maximum bytes of a remote file: upstream has no limit (KC-BLD-026).
const MAX_FILE: usize = 16 << 20;
/// Maximum bytes of all files of a remote repository.
const MAX_REPOSITORY: u64 = 256 << 20;
/// Time limit for fetching one file.
const FILE_TIMEOUT: Duration = Duration::from_secs(30);
/// The error if remote bases are disabled.
const REFUSED: &str = "remote bases are disabled by the controller's flag --no-remote-bases";

/// Bytes of an entry of a tree besides its content.
const ENTRY: u64 = 256;

/// Why a file could not be fetched.
enum Failed {
    Memory(Exhausted),
    Remote(RemoteFailure),
}

impl From<RequestError> for Failed {
    fn from(error: RequestError) -> Self {
        Self::Remote(RemoteFailure::Other(error.to_string()))
    }
}

/// Fetches the remote bases that builds ask for.
pub(crate) struct Remotes {
    client: reqwest::Client,
    /// The memory budget that all reconciles share.
    budget: Budget,
    /// Temporary folders for fetched Git objects.
    work: WorkFolders,
}

impl Remotes {
    pub(crate) fn new(client: reqwest::Client, budget: Budget, work: WorkFolders) -> Self {
        Self {
            client,
            budget,
            work,
        }
    }

    /// Fetches a file by its URL. Makes no request if remote bases are disabled (KC-BLD-025).
    ///
    /// # Errors
    /// The claim cannot grow enough for the file. All other errors are part of the result, for the build to handle.
    pub(super) async fn file(
        &self,
        url: &str,
        allowed: bool,
        claim: &Claim,
    ) -> Result<Result<Bytes, RemoteFailure>, Exhausted> {
        if !allowed {
            return Ok(Err(RemoteFailure::Other(REFUSED.to_owned())));
        }
        let before = claim.held();
        let content = match self.get(url, claim).await {
            Err(Failed::Memory(exhausted)) => return Err(exhausted),
            Err(Failed::Remote(failure)) => Err(failure),
            Ok(content) => Ok(content),
        };
        if content.is_err() {
            claim.give_back(claim.held().saturating_sub(before));
        }
        Ok(content)
    }

    async fn get(&self, url: &str, claim: &Claim) -> Result<Bytes, Failed> {
        let request = self.client.get(url).timeout(FILE_TIMEOUT);
        let answer = flux_http::send(request, Repeat::Idempotent)
            .await
            .map_err(Failed::from)?;
        let status = answer.status();
        if !status.is_success() {
            let text = status.canonical_reason().unwrap_or_default().to_owned();
            return Err(Failed::Remote(RemoteFailure::Status {
                code: status.as_u16(),
                text,
            }));
        }
        let body = read_body_within(answer, MAX_FILE, claim).await;
        body.map_err(|error| match error {
            BodyError::Memory(exhausted) => Failed::Memory(exhausted),
            BodyError::Read(error) => Failed::Remote(RemoteFailure::Other(error.to_string())),
            error => Failed::Remote(RemoteFailure::Other(error.to_string())),
        })
    }

    /// Fetches the files of a repository, without credentials, as upstream's container images have none.
    pub(super) async fn repository(
        &self,
        repository: &Repository,
        allowed: bool,
        claim: &Arc<Claim>,
    ) -> Result<Result<Tree, String>, Exhausted> {
        if !allowed {
            return Ok(Err(REFUSED.to_owned()));
        }
        let before = claim.held();
        let error = match self.checkout(repository, claim).await {
            Ok(tree) => return Ok(Ok(tree)),
            Err(error) => error,
        };
        if let Some(exhausted) = error.downcast_ref::<Exhausted>() {
            return Err(*exhausted);
        }
        claim.give_back(claim.held().saturating_sub(before));
        Ok(Err(chain(&*error)))
    }

    async fn checkout(
        &self,
        repository: &Repository,
        claim: &Arc<Claim>,
    ) -> Result<Tree, Box<dyn std::error::Error + Send + Sync>> {
        let url = GitUrl::parse(&repository.url)?;
        let auth = AuthOptions::new(&url, None)?;
        let folder = self.work.folder("base-")?;
        let settings = RemoteOptions {
            temporary_folder: Some(folder.path().to_owned()),
            // The memory for fetching is released before the build continues.
            claim: Arc::new(self.budget.claim()),
            ..RemoteOptions::default()
        };
        let remote = Remote::new(url, auth, settings)?;
        let reference = self.resolve(&remote, repository).await?;
        let options = FetchOptions {
            submodules: repository.submodules,
            ..FetchOptions::default()
        };
        match remote
            .fetch(&reference, &options, repository.timeout)
            .await?
        {
            Fetched::Snapshot(snapshot) => {
                let claim = claim.clone();
                tokio::task::spawn_blocking(move || tree_of(&snapshot, &claim))
                    .await
                    .map_err(panics::of_task)?
            }
            _ => Err("the repository has no commit".into()),
        }
    }

    /// Resolves the reference of a remote base: a branch, a tag, else a commit; without a reference the default branch
    /// (KZ-REM-003).
    async fn resolve(
        &self,
        remote: &Remote,
        repository: &Repository,
    ) -> Result<Reference, flux_git::Error> {
        let wanted = &repository.reference;
        if wanted.is_empty() {
            return Ok(Reference {
                name: Some("HEAD".to_owned()),
                ..Reference::default()
            });
        }
        let (branch, tag) = (
            format!("refs/heads/{wanted}"),
            format!("refs/tags/{wanted}"),
        );
        let listed = remote.list(&[&branch, &tag], repository.timeout).await?;
        let has = |name: &str| listed.iter().any(|reference| reference.name == name);
        Ok(if has(&branch) {
            Reference {
                branch: Some(wanted.clone()),
                ..Reference::default()
            }
        } else if has(&tag) {
            Reference {
                tag: Some(wanted.clone()),
                ..Reference::default()
            }
        } else if wanted.starts_with("refs/") {
            Reference {
                name: Some(wanted.clone()),
                ..Reference::default()
            }
        } else {
            Reference {
                commit: Some(wanted.clone()),
                ..Reference::default()
            }
        })
    }
}

/// The files of a repository in memory, claimed through `claim`.
fn tree_of(
    snapshot: &Snapshot,
    claim: &Claim,
) -> Result<Tree, Box<dyn std::error::Error + Send + Sync>> {
    let reader = snapshot.reader()?;
    let mut tree = Tree::new();
    let mut left = MAX_REPOSITORY;
    for entry in snapshot.entries() {
        let size = reader.size(entry)?;
        left = left
            .checked_sub(size)
            .ok_or_else(|| format!("the files of the repository exceed {MAX_REPOSITORY} bytes"))?;
        claim.take(size + ENTRY)?;
        let content = reader.read(entry)?;
        let path = TreePath::new(&name_text(entry.path()))?;
        let made = match entry.kind() {
            EntryKind::Symlink => Entry::Symlink(String::from_utf8_lossy(&content).into_owned()),
            EntryKind::Submodule => Entry::Directory,
            kind => Entry::File(File {
                content: Bytes::copy_from_slice(&content),
                executable: kind == EntryKind::Executable,
            }),
        };
        tree.insert(path, made)?;
    }
    Ok(tree)
}
