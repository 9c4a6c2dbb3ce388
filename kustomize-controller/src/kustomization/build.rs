//! From files to objects: the build, the remote bases that it asks for, the substitution (KC-BLD, KC-SUB rows).

mod cache;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cache::Cache;
use flux_api::kustomize::{Kustomization, SubstituteStrategy};
use flux_api::meta::GoDuration;
use flux_apply::{Object, parse};
use flux_budget::{Budget, Claim, Exhausted};
use flux_kustomize::{
    Allowance, Build, Options, Output, RemoteBase, Remotes, build_within, flux, memory_of,
    substitute,
};
use flux_runtime::panics;
use flux_runtime::queue::Key;
use flux_tree::{Tree, TreePath};
use flux_yaml::Value;
use sha2::{Digest, Sha256};

use super::remote;
use super::variables::{Inputs, VariablesError};

/// How often a build may ask for more bases.
const MAX_ROUNDS: usize = 32;
/// How many bases from elsewhere a build may have.
const MAX_BASES: usize = 1000;
/// The longest that the work on a build may take, what it waits for left out. The engine counts its steps and ends
/// sooner, but for a machine that is slower than most.
const MAX_WORK: Duration = Duration::from_mins(2);
/// What an entry of a tree takes, its content left out: a build has a tree of its own, with its root kustomization.
const TREE_ENTRY: u64 = 192;

/// What a build gives.
#[derive(Clone, Debug)]
pub(super) struct Built {
    /// The objects in build order.
    pub(super) objects: Vec<Object>,
    /// Of the manifests as text, as `sha256:<hex>` (KC-API-043).
    pub(super) digest: String,
    /// What the values of Secrets have become in them (KC-SUB-009).
    pub(super) confidential: BTreeSet<String>,
    /// The memory that the objects take.
    claim: Arc<Claim>,
}

impl Built {
    /// The memory that the objects take.
    fn bytes(&self) -> u64 {
        self.claim.held()
    }
}

/// Why there are no manifests. The texts are those of KC-BLD-029..031 and KC-SUB-009.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    /// The root kustomization could not be made.
    #[error(transparent)]
    Generate(flux::GenerateError),
    /// kustomize refuses.
    #[error("kustomize build failed")]
    Kustomize(#[source] flux_kustomize::Error),
    /// The bases have bases have bases.
    #[error("kustomize build failed: remote bases nest deeper than {MAX_ROUNDS} levels")]
    TooDeep,
    /// There are too many bases.
    #[error("kustomize build failed: more than {MAX_BASES} remote bases")]
    TooMany,
    /// What the build needs is more than there is.
    #[error("kustomize build failed")]
    Memory(#[source] Exhausted),
    /// The build has not ended in time.
    #[error("kustomize build failed: the build did not end within {}", shown(.0))]
    TimedOut(Duration),
    /// An object is none.
    #[error("failed to decode Kubernetes apiVersion, kind and name from: {0}")]
    Incomplete(String),
    /// The variables do not fit.
    #[error("post build failed for '{object}'")]
    Substitute {
        object: String,
        #[source]
        source: substitute::ObjectError,
    },
    /// The variables could not be read. As in upstream, nobody needs them before the first object that they may change.
    #[error("post build failed for '{object}'")]
    Variables {
        object: String,
        #[source]
        source: Arc<VariablesError>,
    },
    /// An object cannot be written as YAML.
    #[error("kustomize build failed: unable to write '{object}'")]
    Write {
        object: String,
        #[source]
        source: flux_yaml::Error,
    },
    /// The build met a defect of ours (KC-BLD-029).
    #[error("kustomize build failed: recovered from kustomize build panic: {0}")]
    Panicked(&'static str),
}

fn shown(timeout: &Duration) -> GoDuration {
    GoDuration::from(*timeout)
}

impl BuildError {
    /// What memory there was, where there was not enough.
    pub(super) fn memory(&self) -> Option<Exhausted> {
        use flux_kustomize::Error::Memory;
        match self {
            Self::Memory(exhausted)
            | Self::Kustomize(Memory { exhausted, .. })
            | Self::Generate(flux::GenerateError::Bound(Memory { exhausted, .. })) => {
                Some(*exhausted)
            }
            Self::Substitute { source, .. } => source.memory(),
            _ => None,
        }
    }

    /// Whether the build may well succeed once other work is done.
    pub(super) fn is_busy(&self) -> bool {
        self.memory()
            .is_some_and(|exhausted| !exhausted.is_too_large())
    }
}

/// Builds manifests, and keeps the last build of each Kustomization.
pub(crate) struct Builder {
    cache: Cache,
    elsewhere: remote::Remotes,
    /// Whether bases may be fetched from elsewhere (KC-PROC-007).
    remote_bases: bool,
    /// Whether a variable that is not set is an error (KC-PROC-032).
    strict: bool,
    budget: Budget,
}

/// Ends a build that nobody waits for any more.
struct CancelOnDrop(Allowance);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Builder {
    pub(crate) fn new(
        elsewhere: remote::Remotes,
        remote_bases: bool,
        strict: bool,
        budget: Budget,
    ) -> Self {
        Self {
            cache: Cache::new(&budget),
            elsewhere,
            remote_bases,
            strict,
            budget,
        }
    }

    /// Forgets the build of an object that is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.cache.forget(key);
    }

    /// Builds the manifests of `object` from `path` of `tree`, whose digest is `artifact`, within `timeout`. Variables that
    /// could not be read are an error only where there is an object to substitute.
    #[expect(
        clippy::too_many_arguments,
        reason = "a build has that many inputs, and each is named where it comes from"
    )]
    pub(super) async fn build(
        &self,
        key: Key,
        object: &Kustomization,
        artifact: &str,
        tree: &Arc<Tree>,
        path: &TreePath,
        variables: Result<&Inputs, &Arc<VariablesError>>,
        timeout: Duration,
    ) -> Result<Arc<Built>, BuildError> {
        let inputs = variables
            .ok()
            .map(|variables| fingerprint(artifact, path, object, variables));
        if let Some(inputs) = &inputs
            && let Some(built) = self.cache.get(&key, inputs)
        {
            return Ok(built);
        }
        let attempt = || {
            let rounds = self.rounds(object, tree, path, variables);
            async move {
                let ended = tokio::time::timeout(timeout, rounds).await;
                ended.unwrap_or(Err(BuildError::TimedOut(timeout)))
            }
        };
        let result = match attempt().await {
            // What others have built may be built again when it is wanted.
            Err(error) if error.is_busy() && self.cache.clear() => attempt().await,
            result => result,
        };
        let (built, from_elsewhere) = result?;
        // What came from elsewhere may change without a new revision.
        if !from_elsewhere && let Some(inputs) = inputs {
            self.cache.put(key, inputs, built.clone());
        }
        Ok(built)
    }

    /// Builds, fetching what is asked for, until there is nothing more to ask for. Tells whether anything was fetched.
    async fn rounds(
        &self,
        object: &Kustomization,
        tree: &Arc<Tree>,
        path: &TreePath,
        variables: Result<&Inputs, &Arc<VariablesError>>,
    ) -> Result<(Arc<Built>, bool), BuildError> {
        let allowance = Allowance::new(Arc::new(self.budget.claim()));
        let _cancel = CancelOnDrop(allowance.clone());
        let post_build = object.spec.post_build.as_ref();
        let options = post_build.map(|post_build| substitute::SubstituteOptions {
            strict: self.strict,
            always: post_build.substitute_strategy == Some(SubstituteStrategy::Always),
        });
        let overlay = overlay(object);
        let mut fetched = Fetched::default();
        for _ in 0..MAX_ROUNDS {
            let job = Job {
                tree: tree.clone(),
                path: path.clone(),
                overlay: overlay.clone(),
                known: fetched.bases.clone(),
                fetched: fetched.bytes,
                options,
                variables: variables
                    .map(|inputs| inputs.variables.clone())
                    .map_err(Arc::clone),
                allowance: allowance.clone(),
            };
            match beside(move || job.run()).await? {
                Step::Built(built) => return Ok((Arc::new(built), fetched.count > 0)),
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
                    let content = self.elsewhere.file(&url, self.remote_bases, claim).await;
                    let content = content.map_err(BuildError::Memory)?;
                    fetched.bases.add_file(url, content);
                }
                RemoteBase::Repository(repository) => {
                    let checkout = self
                        .elsewhere
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

/// What a build has got from elsewhere so far.
#[derive(Default)]
struct Fetched {
    bases: Remotes,
    count: usize,
    /// What the bases take.
    bytes: u64,
}

/// What a round comes to.
enum Step {
    Built(Built),
    Needs(Vec<RemoteBase>),
}

/// The work of one round, which has all that it takes.
struct Job {
    tree: Arc<Tree>,
    path: TreePath,
    overlay: flux::Overlay,
    known: Remotes,
    /// What the bases take that are known.
    fetched: u64,
    options: Option<substitute::SubstituteOptions>,
    variables: Result<substitute::Variables, Arc<VariablesError>>,
    allowance: Allowance,
}

impl Job {
    fn run(self) -> Result<Step, BuildError> {
        let claim = self.allowance.claim();
        let entries = self.tree.len() as u64 * TREE_ENTRY;
        claim.take(entries).map_err(BuildError::Memory)?;
        let prepared = flux::prepare_within(&self.tree, &self.path, &self.overlay, &self.allowance)
            .map_err(BuildError::Generate)?;
        let build = build_within(
            &prepared.tree,
            &prepared.dir,
            &Options::flux(),
            &self.known,
            &self.allowance,
        );
        drop(prepared);
        claim.give_back(entries);
        match build.map_err(BuildError::Kustomize)? {
            Build::Needs(bases) => Ok(Step::Needs(bases)),
            Build::Done(output) => self.finish(output).map(Step::Built),
        }
    }

    /// Substitutes variables object by object and takes the objects apart (KC-BLD-031..034, KC-SUB-001..003).
    fn finish(self, output: Output) -> Result<Built, BuildError> {
        let claim = self.allowance.claim();
        drop(self.known);
        claim.give_back(self.fetched);
        let mut digest = Sha256::new();
        let mut values: Vec<serde_json::Value> = Vec::new();
        let mut memory = 0;
        let mut confidential = BTreeSet::new();
        for resource in output.resources {
            let incomplete = [resource.api_version(), resource.kind(), resource.name()]
                .iter()
                .any(|part| part.is_empty());
            if incomplete {
                return Err(BuildError::Incomplete(format!("{resource:?}")));
            }
            let object = || {
                let kind = gvk(resource.api_version(), resource.kind());
                format!("{kind}/{}", resource.name())
            };
            let mut substituted = None;
            if let Some(options) = self.options
                && !substitute::is_disabled(resource.value())
            {
                let variables = self.variables.as_ref();
                let variables = variables.map_err(|source| BuildError::Variables {
                    object: object(),
                    source: source.clone(),
                })?;
                substituted = substitute::substitute_object_within(
                    resource.value(),
                    variables,
                    options,
                    &self.allowance,
                )
                .map_err(|source| BuildError::Substitute {
                    object: object(),
                    source,
                })?;
                if let Some(after) = &substituted {
                    let before = resource.value();
                    confidential.extend(substitute::secret_texts(before, after, variables));
                }
            }
            let is_secret = resource.kind() == "Secret";
            let object = object();
            let value = substituted.unwrap_or_else(|| resource.into_value());
            memory += memory_of(&value);
            if !values.is_empty() {
                digest.update("---\n");
            }
            let text = flux_yaml::sigs::to_string(&value).map_err(|source| BuildError::Write {
                object,
                source: if is_secret {
                    source.without_text()
                } else {
                    source
                },
            })?;
            digest.update(text.as_bytes());
            values.push(to_json(value));
        }
        memory += confidential
            .iter()
            .map(|text| text.len() as u64)
            .sum::<u64>();
        // From here on it is what the build gives that counts.
        match memory.checked_sub(claim.held()) {
            Some(more) => claim.take(more).map_err(BuildError::Memory)?,
            None => claim.give_back(claim.held() - memory),
        }
        Ok(Built {
            objects: parse::objects(values),
            digest: format!("sha256:{}", hex::encode(digest.finalize())),
            confidential,
            claim: self.allowance.shared_claim(),
        })
    }
}

/// Does work that takes a while beside the tasks that wait, and turns a panic into an error.
async fn beside<T: Send + 'static>(
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

/// What the spec adds to the root kustomization (KC-BLD-008 to KC-BLD-016).
fn overlay(object: &Kustomization) -> flux::Overlay {
    let spec = &object.spec;
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let selector = |selector: &flux_api::meta::Selector| flux::Selector {
        group: text(&selector.group),
        version: text(&selector.version),
        kind: text(&selector.kind),
        name: text(&selector.name),
        namespace: text(&selector.namespace),
        label_selector: text(&selector.label_selector),
        annotation_selector: text(&selector.annotation_selector),
    };
    let patch = |patch: &flux_api::meta::Patch| flux::Patch {
        patch: patch.patch.clone(),
        target: patch.target.as_ref().map(selector),
    };
    let image = |image: &flux_api::meta::Image| flux::Image {
        name: image.name.clone(),
        new_name: text(&image.new_name),
        new_tag: text(&image.new_tag),
        digest: text(&image.digest),
    };
    flux::Overlay {
        target_namespace: set(&spec.target_namespace),
        name_prefix: set(&spec.name_prefix),
        name_suffix: set(&spec.name_suffix),
        patches: spec.patches.iter().map(patch).collect(),
        components: spec.components.clone(),
        ignore_missing_components: spec.ignore_missing_components,
        images: spec.images.iter().map(image).collect(),
        build_metadata: spec
            .build_metadata
            .iter()
            .map(|item| item.as_str().to_owned())
            .collect(),
        ..flux::Overlay::default()
    }
}

/// Names all that goes into a build: the generation stands for the spec. Variables may be secret: only their digest counts.
fn fingerprint(
    artifact: &str,
    path: &TreePath,
    object: &Kustomization,
    variables: &Inputs,
) -> String {
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    format!("{uid} {generation} {artifact} {} {path}", variables.digest)
}

/// A kind as kustomize names it: `Deployment.v1.apps`, `ConfigMap.v1.[noGrp]`.
fn gvk(api_version: &str, kind: &str) -> String {
    match api_version.split_once('/') {
        Some((group, version)) => format!("{kind}.{version}.{group}"),
        None => format!("{kind}.{api_version}.[noGrp]"),
    }
}

/// The value as the API server's client has it. Numbers beyond what JSON can hold do not come out of a build.
fn to_json(value: Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => value.into(),
        Value::Int(value) => value.into(),
        Value::Uint(value) => value.into(),
        Value::Float(value) => value.into(),
        Value::String(value) => value.into(),
        Value::Seq(items) => items.into_iter().map(to_json).collect(),
        Value::Map(map) => map
            .into_iter()
            .map(|(key, value)| (key, to_json(value)))
            .collect(),
    }
}
