//! From files to objects: the build, the remote bases that it asks for, the substitution (KC-BLD, KC-SUB rows).

#[cfg(test)]
mod overlay_test;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use flux_api::kustomize::{Kustomization, SubstituteStrategy};
use flux_apply::{Object, parse};
use flux_kustomize::{Build, Options, Output, RemoteBase, Remotes, flux, substitute};
use flux_runtime::queue::Key;
use flux_tree::{Tree, TreePath};
use flux_yaml::Value;
use sha2::{Digest, Sha256};

use super::remote;
use super::variables::{Inputs, VariablesError};

/// How often a build may ask for more bases.
const MAX_ROUNDS: usize = 32;

/// What a build gives.
#[derive(Clone, Debug)]
pub(super) struct Built {
    /// The objects in build order.
    pub(super) objects: Vec<Object>,
    /// Of the manifests as text, as `sha256:<hex>` (KC-API-043).
    pub(super) digest: String,
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
    Panicked(String),
}

/// The last build of each Kustomization, by what went into it: an unchanged input is not built again.
#[derive(Default)]
struct Cache(Mutex<HashMap<Key, (String, Arc<Built>)>>);

impl Cache {
    fn get(&self, key: &Key, of: &str) -> Option<Arc<Built>> {
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached
            .get(key)
            .filter(|(inputs, _)| inputs == of)
            .map(|(_, built)| built.clone())
    }

    fn put(&self, key: Key, of: String, built: Arc<Built>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, (of, built));
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
}

impl Builder {
    pub(crate) fn new(elsewhere: remote::Remotes, remote_bases: bool, strict: bool) -> Self {
        Self {
            cache: Cache::default(),
            elsewhere,
            remote_bases,
            strict,
        }
    }

    /// Forgets the build of an object that is gone.
    pub(crate) fn forget(&self, key: &Key) {
        let mut cached = self.cache.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached.remove(key);
    }

    /// Builds the manifests of `object` from `path` of `tree`, whose digest is `artifact`. Variables that could not be read
    /// are an error only where there is an object to substitute.
    pub(super) async fn build(
        &self,
        key: Key,
        object: &Kustomization,
        artifact: &str,
        tree: &Arc<Tree>,
        path: &TreePath,
        variables: Result<&Inputs, &Arc<VariablesError>>,
    ) -> Result<Arc<Built>, BuildError> {
        let overlay = overlay(object);
        let inputs = variables
            .ok()
            .map(|variables| fingerprint(artifact, path, object, variables));
        if let Some(inputs) = &inputs
            && let Some(built) = self.cache.get(&key, inputs)
        {
            return Ok(built);
        }
        let mut remotes = Remotes::new();
        let mut from_elsewhere = false;
        for _ in 0..MAX_ROUNDS {
            let (tree, path, overlay, known) =
                (tree.clone(), path.clone(), overlay.clone(), remotes.clone());
            let build = move || {
                let prepared =
                    flux::prepare(&tree, &path, &overlay).map_err(BuildError::Generate)?;
                flux_kustomize::build(&prepared.tree, &prepared.dir, &Options::flux(), &known)
                    .map_err(BuildError::Kustomize)
            };
            match beside(build).await? {
                Build::Done(output) => {
                    let finished = self.finish(object, output, variables)?;
                    let finished = Arc::new(finished);
                    // What came from elsewhere may change without a new revision.
                    if !from_elsewhere && let Some(inputs) = inputs {
                        self.cache.put(key, inputs, finished.clone());
                    }
                    return Ok(finished);
                }
                Build::Needs(bases) => {
                    from_elsewhere = true;
                    self.fetch_bases(&mut remotes, bases).await;
                }
            }
        }
        Err(BuildError::TooDeep)
    }

    async fn fetch_bases(&self, remotes: &mut Remotes, bases: Vec<RemoteBase>) {
        for base in bases {
            match base {
                RemoteBase::File(url) => {
                    let content = self.elsewhere.file(&url, self.remote_bases).await;
                    remotes.add_file(url, content);
                }
                RemoteBase::Repository(repository) => {
                    let checkout = self
                        .elsewhere
                        .repository(&repository, self.remote_bases)
                        .await;
                    remotes.add_repository(repository, checkout);
                }
                _ => {}
            }
        }
    }

    /// Substitutes variables object by object and takes the objects apart (KC-BLD-031..034, KC-SUB-001..003).
    fn finish(
        &self,
        object: &Kustomization,
        output: Output,
        variables: Result<&Inputs, &Arc<VariablesError>>,
    ) -> Result<Built, BuildError> {
        let options =
            object
                .spec
                .post_build
                .as_ref()
                .map(|post_build| substitute::SubstituteOptions {
                    strict: self.strict,
                    always: post_build.substitute_strategy == Some(SubstituteStrategy::Always),
                });
        let mut manifests = String::new();
        let mut values: Vec<serde_json::Value> = Vec::new();
        for resource in output.resources {
            let incomplete = [resource.api_version(), resource.kind(), resource.name()]
                .iter()
                .any(|part| part.is_empty());
            if incomplete {
                return Err(BuildError::Incomplete(format!("{resource:?}")));
            }
            let name = resource.name().to_owned();
            let kind = gvk(resource.api_version(), resource.kind());
            let mut value = resource.into_value();
            if let Some(options) = options
                && !substitute::is_disabled(&value)
            {
                let variables = variables.map_err(|source| BuildError::Variables {
                    object: format!("{kind}/{name}"),
                    source: source.clone(),
                })?;
                let substituted =
                    substitute::substitute_object(&value, &variables.variables, options);
                let substituted = substituted.map_err(|source| BuildError::Substitute {
                    object: format!("{kind}/{name}"),
                    source,
                })?;
                if let Some(substituted) = substituted {
                    value = substituted;
                }
            }
            if !manifests.is_empty() {
                manifests.push_str("---\n");
            }
            let text = flux_yaml::sigs::to_string(&value).map_err(|source| BuildError::Write {
                object: format!("{kind}/{name}"),
                source,
            })?;
            manifests.push_str(&text);
            values.push(to_json(value));
        }
        let digest = format!(
            "sha256:{}",
            hex::encode(Sha256::digest(manifests.as_bytes()))
        );
        Ok(Built {
            objects: parse::objects(values),
            digest,
        })
    }
}

/// Does work that takes a while beside the tasks that wait, and turns a panic into an error.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BuildError> + Send + 'static,
) -> Result<T, BuildError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            let text = match error.try_into_panic() {
                Ok(panic) => panic
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_default(),
                Err(error) => error.to_string(),
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
