//! Builds objects from files: runs kustomize, fetches the remote bases it asks for, substitutes variables (KC-BLD, KC-SUB
//! rows).

mod job;
mod overlay;
mod prepared;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use flux_api::kustomize::{KustomizationSpec, SubstituteStrategy};
use flux_api::meta::GoDuration;
use flux_budget::{Budget, Claim, Exhausted};
use flux_cluster::Confidential;
use flux_kustomize::{Allowance, Output, RemoteBase, Remotes, Resource, flux, substitute};
use flux_runtime::panics;
use flux_sops::MasterKey;
use flux_tree::Tree;
pub(super) use prepared::{Owner, Prepared};

use self::job::{Job, Step};
use self::overlay::overlay;
use super::decryption::{Decryptor, Found, ObjectError, SourcesError, find_sources, object_needs};
use super::fetch::Files;
use super::remote_bases;
use super::variables::{Inputs, VariablesError};

/// How many times a build may ask for further remote bases.
const MAX_ROUNDS: usize = 32;
/// How many remote bases a build may have.
const MAX_BASES: usize = 1000;
/// The time limit on the computation of a build, without the time it waits for fetches. The engine's own limit on steps is
/// reached sooner, except on very slow machines.
const MAX_WORK: Duration = Duration::from_mins(2);
/// Bytes of an entry of a tree without its content. Each build has a tree of its own, with its root kustomization.
const TREE_ENTRY: u64 = 192;

/// The result of a build.
#[derive(Debug)]
pub(super) struct Built {
    /// The objects in the form in which they are applied.
    pub(super) prepared: Prepared,
    /// Digest of the manifests as text, as `sha256:<hex>` (KC-API-043).
    pub(super) digest: String,
    /// The texts in the objects that were substituted from values of Secrets (KC-SUB-009), or decrypted (KC-SOPS-017).
    pub(super) confidential: BTreeSet<String>,
    /// Those of them that name an object: in its name, namespace, kind or group.
    pub(super) identities: BTreeSet<String>,
    /// Whether the build used remote bases, so that it may change without a new revision.
    pub(super) from_elsewhere: bool,
    /// The memory claimed for the objects.
    claim: Arc<Claim>,
}

impl Built {
    /// The bytes claimed for the objects.
    pub(super) fn bytes(&self) -> u64 {
        self.claim.held()
    }

    /// Adds to what no message may show what was substituted from values of Secrets (KC-SUB-009). The memory of the copies is
    /// taken through `claim`.
    pub(super) fn confidential(
        &self,
        mut known: Confidential,
        claim: &Claim,
    ) -> Result<Confidential, Exhausted> {
        for text in &self.confidential {
            claim.take(Confidential::bytes(text.as_bytes()))?;
            known.add(text.as_bytes());
        }
        for text in &self.identities {
            claim.take(Confidential::bytes(text.as_bytes()))?;
            known.add_identity(text);
        }
        Ok(known)
    }

    /// An empty build that claims `bytes` of a budget.
    #[cfg(test)]
    pub(super) fn of_size(budget: &Budget, bytes: u64) -> Arc<Self> {
        let claim = budget.claim();
        claim.take(bytes).unwrap();
        Arc::new(Self {
            prepared: Prepared::default(),
            digest: String::new(),
            confidential: BTreeSet::new(),
            identities: BTreeSet::new(),
            from_elsewhere: false,
            claim: Arc::new(claim),
        })
    }
}

/// The inputs of a build.
#[derive(Clone, Copy)]
pub(super) struct BuildInputs<'i> {
    pub(super) spec: &'i KustomizationSpec,
    pub(super) files: &'i Files,
    /// Variables that could not be read are an error only if there is an object to substitute them in.
    pub(super) variables: Result<&'i Inputs, &'i Arc<VariablesError>>,
    /// What decrypts, if the object asks for it.
    pub(super) decryptor: Option<&'i Decryptor<'i>>,
    pub(super) owner: &'i Owner,
    /// Limit on the duration of the build.
    pub(super) timeout: Duration,
}

/// Why a build failed. The texts are those of KC-BLD-029..031 and KC-SUB-009.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    /// The root kustomization could not be generated.
    #[error(transparent)]
    Generate(flux::GenerateError),
    /// kustomize failed.
    #[error("kustomize build failed")]
    Kustomize(#[source] flux_kustomize::Error),
    /// Remote bases nest deeper than `MAX_ROUNDS`.
    #[error("kustomize build failed: remote bases nest deeper than {MAX_ROUNDS} levels")]
    TooDeep,
    /// There are more remote bases than `MAX_BASES`.
    #[error("kustomize build failed: more than {MAX_BASES} remote bases")]
    TooMany,
    /// The memory budget is exhausted.
    #[error("kustomize build failed")]
    Memory(#[source] Exhausted),
    /// The build timed out.
    #[error("kustomize build failed: the build did not end within {}", shown(.0))]
    TimedOut(Duration),
    /// A file of the build could not be decrypted.
    #[error("error decrypting sources")]
    Sources(#[source] Box<SourcesError>),
    /// A built object could not be decrypted.
    #[error("decryption failed for '{object}'")]
    Decrypt {
        object: String,
        #[source]
        source: Box<ObjectError>,
    },
    /// A built document lacks apiVersion, kind or name.
    #[error("failed to decode Kubernetes apiVersion, kind and name from: {0}")]
    Incomplete(String),
    /// Substitution of variables failed.
    #[error("post build failed for '{object}'")]
    Substitute {
        object: String,
        #[source]
        source: substitute::ObjectError,
    },
    /// The variables could not be read. As upstream, this fails the build only at the first object that they may change.
    #[error("post build failed for '{object}'")]
    Variables {
        object: String,
        #[source]
        source: Arc<VariablesError>,
    },
    /// An object cannot be encoded as YAML.
    #[error("kustomize build failed: unable to write '{object}'")]
    Write {
        object: String,
        #[source]
        source: flux_yaml::Error,
    },
    /// The build panicked: a bug (KC-BLD-029).
    #[error("kustomize build failed: recovered from kustomize build panic: {0}")]
    Panicked(&'static str),
}

fn shown(timeout: &Duration) -> GoDuration {
    GoDuration::from(*timeout)
}

impl BuildError {
    /// The memory error, if that is why the build failed.
    pub(super) fn memory(&self) -> Option<Exhausted> {
        use flux_kustomize::Error::Memory;
        match self {
            Self::Memory(exhausted)
            | Self::Kustomize(Memory { exhausted, .. })
            | Self::Generate(flux::GenerateError::Bound(Memory { exhausted, .. })) => {
                Some(*exhausted)
            }
            Self::Substitute { source, .. } => source.memory(),
            Self::Variables { source, .. } => source.memory(),
            _ => None,
        }
    }

    /// Whether the build may succeed once other work has released its memory.
    pub(super) fn is_busy(&self) -> bool {
        self.memory()
            .is_some_and(|exhausted| !exhausted.is_too_large())
    }
}

/// Builds manifests.
pub(crate) struct Builder {
    remotes: remote_bases::Remotes,
    /// Whether remote bases may be fetched (KC-PROC-007).
    remote_bases: bool,
    /// Whether an undefined variable is an error (KC-PROC-032).
    strict: bool,
    budget: Budget,
}

/// Cancels the computation of a build when its future is dropped.
struct CancelOnDrop(Allowance);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Builder {
    pub(crate) fn new(
        remotes: remote_bases::Remotes,
        remote_bases: bool,
        strict: bool,
        budget: Budget,
    ) -> Self {
        Self {
            remotes,
            remote_bases,
            strict,
            budget,
        }
    }

    /// An empty claim on the memory that builds share, for the inputs of a run.
    pub(super) fn claim(&self) -> Claim {
        self.budget.claim()
    }

    /// Builds manifests within the time limit.
    pub(super) async fn build(&self, inputs: BuildInputs<'_>) -> Result<Built, BuildError> {
        let ended = tokio::time::timeout(inputs.timeout, self.rounds(inputs)).await;
        ended.unwrap_or(Err(BuildError::TimedOut(inputs.timeout)))
    }

    /// Runs kustomize repeatedly, fetching the remote bases it asks for, until it asks for no more.
    async fn rounds(&self, inputs: BuildInputs<'_>) -> Result<Built, BuildError> {
        let allowance = Allowance::new(Arc::new(self.budget.claim()));
        let _cancel = CancelOnDrop(allowance.clone());
        let post_build = inputs.spec.post_build.as_ref();
        let options = post_build.map(|post_build| substitute::SubstituteOptions {
            strict: self.strict,
            always: post_build.substitute_strategy == Some(SubstituteStrategy::Always),
        });
        let overlay = overlay(inputs.spec);
        let mut fetched = Fetched::default();
        let mut files = inputs.files.clone();
        let mut secrets = BTreeSet::new();
        if let Some(decryptor) = inputs.decryptor {
            let (bytes, read) = sources(&mut files, &overlay, decryptor, &allowance).await?;
            fetched.bytes += bytes;
            secrets = read;
        }
        for _ in 0..MAX_ROUNDS {
            let job = Job {
                files: files.clone(),
                overlay: overlay.clone(),
                known: fetched.bases.clone(),
                fetched: fetched.bytes,
                options,
                variables: inputs
                    .variables
                    .map(|inputs| inputs.variables.clone())
                    .map_err(Arc::clone),
                owner: inputs.owner.clone(),
                from_elsewhere: fetched.count > 0,
                decrypting: None,
                confidential: secrets.clone(),
                allowance: allowance.clone(),
            };
            match on_blocking_thread(move || job.run()).await? {
                Step::Built(rest) => return finish(*rest, inputs.decryptor).await,
                Step::Needs(bases) => {
                    self.fetch_bases(&mut fetched, bases, &allowance.shared_claim())
                        .await?;
                }
            }
        }
        Err(BuildError::TooDeep)
    }

    async fn fetch_bases(
        &self,
        fetched: &mut Fetched,
        bases: Vec<RemoteBase>,
        claim: &Arc<Claim>,
    ) -> Result<(), BuildError> {
        let before = claim.held();
        for base in bases {
            fetched.count += 1;
            if fetched.count > MAX_BASES {
                return Err(BuildError::TooMany);
            }
            match base {
                RemoteBase::File(url) => {
                    let content = self.remotes.file(&url, self.remote_bases, claim).await;
                    let content = content.map_err(BuildError::Memory)?;
                    fetched.bases.add_file(url, content);
                }
                RemoteBase::Repository(repository) => {
                    let checkout = self
                        .remotes
                        .repository(&repository, self.remote_bases, claim)
                        .await
                        .map_err(BuildError::Memory)?;
                    fetched.bases.add_repository(repository, checkout);
                }
                _ => {}
            }
        }
        fetched.bytes += claim.held().saturating_sub(before);
        Ok(())
    }
}

/// The remote bases that a build has fetched so far.
#[derive(Default)]
struct Fetched {
    bases: Remotes,
    count: usize,
    /// Bytes claimed for the bases.
    bytes: u64,
}

/// Decrypts the files that the build reads (KC-SOPS-002). Returns how many bytes they were claimed with, and the texts that
/// patches bring into objects of any kind.
async fn sources(
    files: &mut Files,
    overlay: &flux::Overlay,
    decryptor: &Decryptor<'_>,
    allowance: &Allowance,
) -> Result<(u64, BTreeSet<String>), BuildError> {
    let find = {
        let (files, overlay, allowance) = (files.clone(), overlay.clone(), allowance.clone());
        move || {
            let Files { tree, path } = &files;
            let prepared = flux::prepare_within(tree, path, &overlay, &allowance);
            let prepared = prepared.map_err(BuildError::Generate)?;
            Ok(find_sources(&prepared.tree, &prepared.dir))
        }
    };
    let Found {
        files: encrypted,
        error,
    } = on_blocking_thread(find).await?;
    let (mut bytes, mut secrets) = (0, BTreeSet::new());
    if !encrypted.is_empty() {
        let claim = allowance.claim();
        let mut tree = Tree::clone(&files.tree);
        let entries = tree.len() as u64 * TREE_ENTRY;
        claim.take(entries).map_err(BuildError::Memory)?;
        bytes += entries;
        for file in encrypted {
            let (path, is_patch) = (file.path.clone(), file.is_patch);
            let decrypted = decryptor.decrypt(file).await;
            let decrypted =
                decrypted.map_err(|error| BuildError::Sources(Box::new(error.into())))?;
            let size = decrypted.content.len() as u64;
            claim.take(size).map_err(BuildError::Memory)?;
            bytes += size;
            if is_patch {
                note(&mut secrets, decrypted.secrets);
            }
            // The file is there, so that it can be replaced.
            let _ = tree.insert_file(path, decrypted.content, false);
        }
        files.tree = Arc::new(tree);
    }
    match error {
        Some(error) => Err(BuildError::Sources(Box::new(error))),
        None => Ok((bytes, secrets)),
    }
}

fn note(secrets: &mut BTreeSet<String>, texts: Vec<Vec<u8>>) {
    let texts = texts.into_iter().map(String::from_utf8);
    secrets.extend(texts.filter_map(Result::ok));
}

/// Asks services for the keys that the built objects need, and finishes the build.
async fn finish(
    (mut job, output): (Job, Output),
    decryptor: Option<&Decryptor<'_>>,
) -> Result<Built, BuildError> {
    let Some(decryptor) = decryptor else {
        return on_blocking_thread(move || job.finish(output)).await;
    };
    let mut output = output;
    loop {
        let (ring, answers) = (decryptor.ring(), decryptor.answers().await);
        let (back, needed) = {
            let (ring, answers) = (ring.clone(), answers.clone());
            on_blocking_thread(move || {
                let objects = output.resources.iter();
                let needs = |object: &Resource| object_needs(object.value(), &ring, &answers);
                let needed: Vec<MasterKey> = objects.flat_map(needs).collect();
                Ok((output, needed))
            })
            .await?
        };
        output = back;
        if needed.is_empty() {
            job.decrypting = Some((ring, answers));
            job.from_elsewhere |= decryptor.used_services().await;
            return on_blocking_thread(move || job.finish(output)).await;
        }
        for key in needed {
            decryptor.ask(key).await;
        }
    }
}

/// Runs blocking work off the async threads. A panic becomes an error.
async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BuildError> + Send + 'static,
) -> Result<T, BuildError> {
    let work = tokio::task::spawn_blocking(work);
    let Ok(ended) = tokio::time::timeout(MAX_WORK, work).await else {
        return Err(BuildError::TimedOut(MAX_WORK));
    };
    ended.unwrap_or_else(|error| {
        let text = match error.try_into_panic() {
            Ok(panic) => panics::text(&*panic),
            Err(_) => "the work was given up",
        };
        Err(BuildError::Panicked(text))
    })
}
