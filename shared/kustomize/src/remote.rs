//! Remote files and repositories: what a build needs, and what the caller has fetched.

use std::collections::HashMap;

use bytes::Bytes;
use flux_tree::Tree;

use crate::repository::Repository;

/// A remote file or repository that a build needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemoteBase {
    /// The response to a GET of this URL, redirects followed (KZ-PATH-014).
    File(String),
    /// The checkout of a repository (KZ-REM-015).
    Repository(Repository),
}

/// The remote files and repositories that the caller has fetched for a build so far, failures included.
///
/// ```
/// use flux_kustomize::{Build, Options, RemoteBase, Remotes, build};
/// use flux_tree::{Tree, TreePath};
///
/// let mut tree = Tree::new();
/// let root = "resources: ['https://files.example/a.yaml']\n";
/// tree.insert_file(TreePath::new("kustomization.yaml").unwrap(), root, false).unwrap();
///
/// let mut remotes = Remotes::new();
/// let output = loop {
///     match build(&tree, &TreePath::root(), &Options::default(), &remotes)? {
///         Build::Done(output) => break output,
///         Build::Needs(bases) => {
///             for base in bases {
///                 match base {
///                     // Here a program would do an HTTP request.
///                     RemoteBase::File(url) => {
///                         let text = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n";
///                         remotes.add_file(url, Ok(text.into()));
///                     }
///                     RemoteBase::Repository(repository) => {
///                         remotes.add_repository(repository, Err("not here".into()));
///                     }
///                     _ => unreachable!("there are no others so far"),
///                 }
///             }
///         }
///     }
/// };
/// assert_eq!(output.resources.len(), 1);
/// # Ok::<(), flux_kustomize::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Remotes {
    files: HashMap<String, Result<Bytes, RemoteFailure>>,
    repositories: HashMap<Repository, Result<Tree, String>>,
}

/// Why a remote file could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteFailure {
    /// The server responded with a status outside of 200 to 299 (KZ-PATH-016).
    Status {
        /// The status.
        code: u16,
        /// Its standard text, such as `Not Found`.
        text: String,
    },
    /// Anything else: no connection, no such host, too large, not allowed.
    Other(String),
}

impl Remotes {
    /// Nothing is fetched yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing has been fetched.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.repositories.is_empty()
    }

    /// Adds the result of fetching a [`RemoteBase::File`].
    pub fn add_file(&mut self, url: impl Into<String>, content: Result<Bytes, RemoteFailure>) {
        self.files.insert(url.into(), content);
    }

    /// Adds the result of fetching a [`RemoteBase::Repository`]: the checked-out files, or the error.
    pub fn add_repository(&mut self, repository: Repository, checkout: Result<Tree, String>) {
        self.repositories.insert(repository, checkout);
    }

    pub(crate) fn file(&self, url: &str) -> Option<&Result<Bytes, RemoteFailure>> {
        self.files.get(url)
    }

    pub(crate) fn repository(&self, repository: &Repository) -> Option<&Result<Tree, String>> {
        self.repositories.get(repository)
    }
}
