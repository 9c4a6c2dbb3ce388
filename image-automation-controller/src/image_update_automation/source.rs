//! What a run checks out and where it pushes to, from the specs of the automation and of its source.

use std::sync::Arc;
use std::time::Duration;

use flux_api::image::{AutomationSourceKind, GitSpec, ImageUpdateAutomation, SigningKeyType};
use flux_api::meta::GoDuration;
use flux_api::source::{GitRepository, GitRepositoryRef};
use flux_budget::Claim;
use flux_git::{
    DEFAULT_BRANCH, Force, PushOptions, Reference, Refspec, Remote, RemoteOptions, SigningKey,
    SwitchBranch,
};
use flux_identity::Identities;
use flux_references::{ReadError, Reader, Secrets, key_in, secret_data};
use flux_runtime::queue::Key;
use flux_tenancy::Access;
use kube::ResourceExt as _;

use super::Gates;
use super::failure::{SourceError, StepError};

/// The timeout of Git operations if the source has none (IA-GIT-005).
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// What a run checks out and where it pushes to.
#[derive(Debug)]
pub(super) struct Plan {
    /// The source.
    pub(super) source: Arc<GitRepository>,
    /// The timeout of the checkout, and that of the pushes (IA-GIT-005).
    pub(super) timeout: Duration,
    /// What is checked out (IA-GIT-006).
    pub(super) reference: Reference,
    /// The branch that is pushed (IA-GIT-007).
    pub(super) branch: String,
    /// Whether that is another branch than the one that is checked out (IA-GIT-008, IA-GIT-009).
    pub(super) switches: bool,
    /// What is pushed besides the branch (IA-GIT-075).
    pub(super) refspec: Option<String>,
    /// Push options (IA-GIT-078).
    options: Vec<(String, String)>,
}

/// Reads the source and decides on branches (IA-GIT-001 to IA-GIT-011). Asks no Git server.
pub(super) async fn plan(
    automation: &ImageUpdateAutomation,
    sources: &Reader<GitRepository>,
    access: Access,
) -> Result<Plan, StepError> {
    let spec = &automation.spec;
    if spec.source_ref.kind != AutomationSourceKind::GitRepository {
        let kind = spec.source_ref.kind.as_str().to_owned();
        return Err(StepError::SourceKind(kind));
    }
    let git = spec.git.as_ref().ok_or(StepError::NoGit)?;
    let own = automation.namespace().unwrap_or_default();
    let key = key_in(
        spec.source_ref.namespace.as_deref(),
        &own,
        &spec.source_ref.name,
    );
    access.check(&own, "GitRepository", &key)?;
    if let Some(refspec) = refspec(git) {
        check_refspec(refspec)?;
    }
    let source = read(sources, &key).await?;
    let checkout = match &git.checkout {
        Some(checkout) => Some(&checkout.reference),
        None => source.spec.reference.as_ref(),
    };
    let (branch, switches) = push_branch(git, checkout)?;
    Ok(Plan {
        timeout: source
            .spec
            .timeout
            .map_or(DEFAULT_TIMEOUT, GoDuration::to_std),
        reference: checkout.map(reference).unwrap_or_default(),
        branch,
        switches,
        refspec: refspec(git).map(str::to_owned),
        options: git
            .push
            .iter()
            .flat_map(|push| push.options.clone())
            .collect(),
        source,
    })
}

async fn read(
    sources: &Reader<GitRepository>,
    key: &Key,
) -> Result<Arc<GitRepository>, SourceError> {
    sources.get(key).await.map_err(|error: ReadError| {
        if error.is_not_found() {
            SourceError::Missing(error)
        } else {
            SourceError::Read(error)
        }
    })
}

fn refspec(git: &GitSpec) -> Option<&str> {
    let refspec = git.push.as_ref()?.refspec.as_deref();
    refspec.filter(|refspec| !refspec.is_empty())
}

/// Refuses what would force an update or delete a reference, also of an object that is older than the pattern in the
/// definition (IA-API-028, IA-GIT-114).
fn check_refspec(refspec: &str) -> Result<(), StepError> {
    if refspec.trim_start().starts_with(['+', ':', '^']) {
        return Err(StepError::Refspec(refspec.to_owned()));
    }
    Ok(())
}

/// The branch to push, and whether it differs from the one that is checked out (IA-GIT-007 to IA-GIT-009).
fn push_branch(
    git: &GitSpec,
    checkout: Option<&GitRepositoryRef>,
) -> Result<(String, bool), SourceError> {
    let checked_out = match checkout {
        Some(reference) => reference.branch.as_deref().unwrap_or_default(),
        None => DEFAULT_BRANCH,
    };
    let named = git.push.as_ref().and_then(|push| push.branch.as_deref());
    match named.filter(|branch| !branch.is_empty()) {
        Some(branch) => Ok((branch.to_owned(), branch != checked_out)),
        None if checkout.is_none() || checked_out.is_empty() => Err(SourceError::NoBranch),
        None => Ok((checked_out.to_owned(), false)),
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

impl Plan {
    /// The branch to switch to after the checkout (IA-GIT-047, IA-GIT-060).
    pub(super) fn switch(&self, gates: Gates) -> Option<SwitchBranch> {
        self.switches.then(|| SwitchBranch {
            name: self.branch.clone(),
            use_remote: gates.all_branches,
        })
    }

    /// How the branch is pushed: forced only if it is another one than was checked out, and unless its remote state is ignored
    /// only while it was not moved by another push (IA-GIT-080, IA-GIT-081).
    pub(super) fn push(&self, gates: Gates) -> PushOptions {
        PushOptions {
            refspecs: Vec::new(),
            force: match (self.switches && gates.force_push, gates.all_branches) {
                (false, _) => Force::Never,
                (true, true) => Force::IfUnmoved,
                (true, false) => Force::Always,
            },
            options: self.options.clone(),
        }
    }

    /// How the refspec is pushed, if there is one (IA-GIT-075, IA-GIT-080).
    ///
    /// # Errors
    /// It is malformed.
    pub(super) fn push_refspec(&self, gates: Gates) -> Result<Option<PushOptions>, StepError> {
        let Some(refspec) = &self.refspec else {
            return Ok(None);
        };
        let refspec = Refspec::parse(refspec).map_err(|error| StepError::Push(error.into()))?;
        let force = if self.switches && gates.force_push {
            Force::Always
        } else {
            Force::Never
        };
        Ok(Some(PushOptions {
            refspecs: vec![refspec],
            force,
            options: self.options.clone(),
        }))
    }

    /// Whether the run can start over after another push has moved the branch: not if the state of the remote branch is
    /// ignored, since it would come to the same commit (IA-GIT-115).
    pub(super) fn follows_branch(&self, gates: Gates) -> bool {
        !self.switches || gates.all_branches
    }
}

/// What credentials come from.
#[derive(Clone, Copy)]
pub(super) struct Credentials<'c> {
    pub(super) secrets: &'c Secrets,
    pub(super) identities: &'c Identities,
    pub(super) ssh: &'c flux_git::SshAlgorithms,
}

/// The remote with its credentials (IA-GIT-012 to IA-GIT-040), whose fetched objects go to `folder`.
pub(super) async fn remote(
    automation: &ImageUpdateAutomation,
    plan: &Plan,
    from: Credentials<'_>,
    folder: &std::path::Path,
    claim: &Arc<Claim>,
) -> Result<Remote, StepError> {
    let secrets = from.secrets.within(plan.timeout);
    let access = flux_repository::access(automation, &plan.source, &secrets, from.identities);
    let access = Box::pin(access).await?;
    let options = RemoteOptions {
        proxy: access.proxy,
        ssh: from.ssh.clone(),
        credentials_over_http: true, // IA-GIT-026
        temporary_folder: Some(folder.to_owned()),
        claim: claim.clone(),
        ..RemoteOptions::default()
    };
    Remote::new(access.url, access.auth, options).map_err(|error| SourceError::Client(error).into())
}

/// The key that commits are signed with, from the automation's own namespace (IA-GIT-090 to IA-GIT-099).
pub(super) async fn signing_key(
    automation: &ImageUpdateAutomation,
    secrets: &Secrets,
) -> Result<Option<SigningKey>, SourceError> {
    let commit = automation.spec.git.as_ref().map(|git| &git.commit);
    let Some(key) = commit.and_then(|commit| commit.signing_key.as_ref()) else {
        return Ok(None);
    };
    let namespace = automation.namespace().unwrap_or_default();
    let name = &key.secret_ref.name;
    let secret = secrets.read(&namespace, name).await;
    let secret = secret.map_err(|source| SourceError::SigningSecret {
        name: name.clone(),
        source,
    })?;
    let kind = key.type_.as_ref().map_or("", SigningKeyType::as_str);
    let data = secret_data(&secret, &namespace, name);
    let key = SigningKey::from_secret(kind, name, &data).map_err(SourceError::SigningKey)?;
    Ok(Some(key))
}

/// The paths of a sparse checkout: the cleaned update path, unless it is the root (IA-GIT-048).
pub(super) fn sparse(automation: &ImageUpdateAutomation, gates: Gates) -> Vec<String> {
    let update = automation.spec.update.as_ref();
    let path = update.and_then(|update| update.path.as_deref());
    let path = path.filter(|path| gates.sparse && !path.is_empty());
    let path = path.map(|path| {
        flux_golang::path::clean(path)
            .trim_start_matches('/')
            .to_owned()
    });
    path.filter(|path| !path.is_empty() && path != ".")
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests;
