//! Fetches a commit from its remote.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flux_api::meta::GoDuration;
use flux_api::source::{GitRepositoryRef, GitRepositorySpec};
use flux_budget::Claim;
use flux_git::{Commit, FetchOptions, Fetched, Reference, RemoteOptions, Snapshot, SshAlgorithms};

use super::credentials::Remote;
use super::failure::StepError;

/// The timeout of a fetch if the spec has none (SC-GIT-002).
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// The reference, and how to fetch it.
#[derive(Debug)]
pub(super) struct Wanted {
    reference: Reference,
    options: FetchOptions,
    timeout: Duration,
}

impl Wanted {
    /// Takes the reference from the spec. `last_observed` is the revision for which nothing needs to be fetched
    /// (SC-GIT-060).
    pub(super) fn of(spec: &GitRepositorySpec, last_observed: Option<String>) -> Self {
        let prefix = |path: &String| path.strip_prefix("./").unwrap_or(path).to_owned();
        Self {
            reference: spec.reference.as_ref().map(reference).unwrap_or_default(),
            options: FetchOptions {
                last_observed,
                sparse: spec.sparse_checkout.iter().map(prefix).collect(),
                submodules: spec.recurse_submodules,
            },
            timeout: spec.timeout.map_or(DEFAULT_TIMEOUT, GoDuration::to_std),
        }
    }

    /// The timeout of the fetch.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}

fn reference(spec: &GitRepositoryRef) -> Reference {
    Reference {
        branch: spec.branch.clone(),
        tag: spec.tag.clone(),
        semver: spec.semver.clone(),
        name: spec.name.clone(),
        commit: spec.commit.clone(),
    }
}

/// The result of a fetch.
#[derive(Debug)]
pub(super) enum Found {
    /// The remote is still at the last observed revision: only hash and reference of the commit were listed.
    Unchanged(Box<Commit>),
    /// A different revision, which was fetched.
    Fetched(Box<Snapshot>),
}

/// Fetches the commit. Stores its Git objects in `dir` and claims memory through `claim` (SC-GIT-026, SC-GIT-027,
/// SC-GIT-029).
pub(super) async fn fetch(
    remote: &Remote,
    wanted: &Wanted,
    dir: &Path,
    claim: &Arc<Claim>,
) -> Result<Found, StepError> {
    let options = RemoteOptions {
        proxy: remote.proxy.clone(),
        ssh: SshAlgorithms {
            kex: remote.settings.kex_algorithms.clone(),
            host_key: remote.settings.host_key_algorithms.clone(),
        },
        credentials_over_http: true, // SC-GIT-120
        temporary_folder: Some(dir.to_owned()),
        claim: claim.clone(),
        ..RemoteOptions::default()
    };
    let remote = flux_git::Remote::new(remote.url.clone(), remote.auth.clone(), options)
        .map_err(StepError::Client)?;
    let fetched = remote
        .fetch(&wanted.reference, &wanted.options, wanted.timeout)
        .await;
    match fetched.map_err(StepError::Checkout)? {
        Fetched::Unchanged(commit) => Ok(Found::Unchanged(commit)),
        Fetched::Snapshot(snapshot) => Ok(Found::Fetched(snapshot)),
        _ => Err(StepError::Empty),
    }
}

/// Checks that each folder of a sparse checkout exists (SC-GIT-074).
pub(super) fn check_sparse_paths(
    spec: &GitRepositorySpec,
    snapshot: &Snapshot,
) -> Result<(), StepError> {
    for path in &spec.sparse_checkout {
        if !snapshot.exists(path).map_err(StepError::Checkout)? {
            return Err(StepError::SparseMissing(path.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // SC-GIT-002, SC-GIT-060, SC-GIT-073
    #[test]
    fn fetch_options_follow_the_spec() {
        let spec = GitRepositorySpec {
            sparse_checkout: vec!["./a".into(), "b/".into(), "././c".into()],
            recurse_submodules: true,
            reference: Some(GitRepositoryRef {
                branch: Some("main".into()),
                tag: Some("v1".into()),
                ..GitRepositoryRef::default()
            }),
            ..GitRepositorySpec::default()
        };
        let wanted = Wanted::of(&spec, Some("main@sha1:0".into()));
        assert_eq!(wanted.options.sparse, ["a", "b/", "./c"]);
        assert!(wanted.options.submodules);
        assert_eq!(wanted.options.last_observed.as_deref(), Some("main@sha1:0"));
        assert_eq!(wanted.reference.branch.as_deref(), Some("main"));
        assert_eq!(wanted.reference.tag.as_deref(), Some("v1"));
        assert_eq!(wanted.timeout, DEFAULT_TIMEOUT);
        let hurried = GitRepositorySpec {
            timeout: Some("5s".parse().unwrap()),
            ..GitRepositorySpec::default()
        };
        assert_eq!(Wanted::of(&hurried, None).timeout, Duration::from_secs(5));
        assert_eq!(Wanted::of(&hurried, None).reference, Reference::default());
    }
}
