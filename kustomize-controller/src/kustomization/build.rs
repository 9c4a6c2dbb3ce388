//! From files to objects: the build, the remote bases that it asks for, the substitution (KC-BLD, KC-SUB rows).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use flux_api::kustomize::{Kustomization, SubstituteStrategy};
use flux_apply::{Object, parse};
use flux_kustomize::{Build, Options, Output, RemoteBase, Remotes, flux, substitute};
use flux_runtime::queue::Key;
use flux_tree::{Tree, TreePath};
use flux_yaml::Value;
use sha2::{Digest, Sha256};

use super::Kustomizations;
use super::variables::Inputs;

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
    /// An object cannot be written as YAML.
    #[error("kustomize build failed: unable to write '{object}'")]
    Write {
        object: String,
        #[source]
        source: flux_yaml::Error,
    },
    /// The worker that built ended early.
    #[error("recovered from kustomize build panic")]
    Panicked(#[source] tokio::task::JoinError),
}

/// The last build of each Kustomization, by what went into it: an unchanged input is not built again.
#[derive(Default)]
pub(crate) struct Cache(Mutex<HashMap<Key, (String, Arc<Built>)>>);

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

    /// Forgets the build of an object that is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

/// A digest of objects, to tell sets of them apart.
pub(super) fn digest_of(objects: &[Object]) -> String {
    let mut hasher = Sha256::new();
    for object in objects {
        hasher.update(serde_json::to_vec(object.fields()).unwrap_or_default());
        hasher.update(b"\n");
    }
    hex::encode(hasher.finalize())
}

impl Kustomizations {
    /// Builds the manifests of `object` from `path` of `tree`, whose digest is `artifact`.
    pub(super) async fn build(
        &self,
        key: Key,
        object: &Kustomization,
        artifact: &str,
        tree: &Arc<Tree>,
        path: &TreePath,
        variables: &Inputs,
    ) -> Result<Arc<Built>, BuildError> {
        let overlay = overlay(object);
        let inputs = fingerprint(artifact, path, object, variables);
        if let Some(built) = self.builds.get(&key, &inputs) {
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
            let built = tokio::task::spawn_blocking(build)
                .await
                .map_err(BuildError::Panicked)??;
            match built {
                Build::Done(output) => {
                    let finished = self.finish(object, output, variables)?;
                    let finished = Arc::new(finished);
                    // What came from elsewhere may change without a new revision.
                    if !from_elsewhere {
                        self.builds.put(key, inputs, finished.clone());
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
                    let content = self.remotes.file(&url, self.policy.remote_bases).await;
                    remotes.add_file(url, content);
                }
                RemoteBase::Repository(repository) => {
                    let checkout = self
                        .remotes
                        .repository(&repository, self.policy.remote_bases)
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
        variables: &Inputs,
    ) -> Result<Built, BuildError> {
        let options =
            object
                .spec
                .post_build
                .as_ref()
                .map(|post_build| substitute::SubstituteOptions {
                    strict: self.policy.strict_substitution,
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
            if let Some(options) = options {
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

/// What the spec adds to the root kustomization (KC-BLD-008..018).
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

/// Names all that goes into a build. Variables may be secret: only their digest counts.
fn fingerprint(
    artifact: &str,
    path: &TreePath,
    object: &Kustomization,
    variables: &Inputs,
) -> String {
    let mut hasher = Sha256::new();
    let spec = serde_json::to_vec(&object.spec).unwrap_or_default();
    for part in [
        artifact.as_bytes(),
        path.as_str().as_bytes(),
        &spec,
        variables.digest.as_bytes(),
    ] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
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
