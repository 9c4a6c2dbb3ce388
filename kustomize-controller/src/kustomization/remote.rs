//! Bases that are not in the artifact, fetched within bounds (KC-BLD-023..026).

use std::time::Duration;

use bytes::Bytes;
use flux_git::{
    AuthOptions, EntryKind, FetchOptions, Fetched, GitUrl, Reference, Remote, RemoteOptions,
    Snapshot,
};
use flux_http::{Repeat, read_body};
use flux_kustomize::{RemoteFailure, Repository};
use flux_runtime::outcome::chain;
use flux_tree::{Entry, File, Tree, TreePath};

/// The most bytes that a remote file may have: upstream has no bound (KC-BLD-026).
const MAX_FILE: usize = 16 << 20;
/// The most bytes that the files of a remote repository may have together.
const MAX_REPOSITORY: u64 = 256 << 20;
/// The longest that fetching one file may take.
const FILE_TIMEOUT: Duration = Duration::from_secs(30);
/// What is said where remote bases are switched off.
const REFUSED: &str = "remote bases are disabled by the controller's flag --no-remote-bases";

/// Fetches what a build asks for.
pub(crate) struct Remotes {
    client: reqwest::Client,
}

impl Remotes {
    pub(crate) fn new(client: reqwest::Client) -> Self {
        Self { client }
    }

    /// A file by its URL. Where remote bases are refused it is not asked for, either (KC-BLD-025).
    pub(super) async fn file(&self, url: &str, allowed: bool) -> Result<Bytes, RemoteFailure> {
        if !allowed {
            return Err(RemoteFailure::Other(REFUSED.to_owned()));
        }
        let failed = |error: &(dyn std::error::Error + 'static)| RemoteFailure::Other(chain(error));
        let request = self.client.get(url).timeout(FILE_TIMEOUT);
        let answer = flux_http::send(request, Repeat::Idempotent)
            .await
            .map_err(|error| failed(&error))?;
        let status = answer.status();
        if !status.is_success() {
            let text = status.canonical_reason().unwrap_or_default().to_owned();
            return Err(RemoteFailure::Status {
                code: status.as_u16(),
                text,
            });
        }
        read_body(answer, MAX_FILE)
            .await
            .map_err(|error| failed(&error))
    }

    /// The files of a repository, without credentials, as upstream's containers have none.
    pub(super) async fn repository(
        &self,
        repository: &Repository,
        allowed: bool,
    ) -> Result<Tree, String> {
        if !allowed {
            return Err(REFUSED.to_owned());
        }
        self.checkout(repository)
            .await
            .map_err(|error| chain(&*error))
    }

    async fn checkout(
        &self,
        repository: &Repository,
    ) -> Result<Tree, Box<dyn std::error::Error + Send + Sync>> {
        let url = GitUrl::parse(&repository.url)?;
        let auth = AuthOptions::new(&url, None)?;
        let remote = Remote::new(url, auth, RemoteOptions::default())?;
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
                tokio::task::spawn_blocking(move || tree_of(&snapshot)).await?
            }
            _ => Err("the repository has no commit".into()),
        }
    }

    /// What a reference of a remote base means: a branch, a tag, else a commit; the default branch where there is none
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

fn tree_of(snapshot: &Snapshot) -> Result<Tree, Box<dyn std::error::Error + Send + Sync>> {
    let reader = snapshot.reader()?;
    let mut tree = Tree::new();
    let mut buffer = Vec::new();
    let mut left = MAX_REPOSITORY;
    for entry in snapshot.entries() {
        left = left
            .checked_sub(reader.size(entry)?)
            .ok_or_else(|| format!("the files of the repository exceed {MAX_REPOSITORY} bytes"))?;
        let content = reader.read(entry, &mut buffer)?;
        let path = TreePath::new(entry.path())?;
        let made = match entry.kind() {
            EntryKind::Symlink => Entry::Symlink(String::from_utf8_lossy(content).into_owned()),
            EntryKind::Submodule => Entry::Directory,
            kind => Entry::File(File {
                content: Bytes::copy_from_slice(content),
                executable: kind == EntryKind::Executable,
            }),
        };
        tree.insert(path, made)?;
    }
    Ok(tree)
}
