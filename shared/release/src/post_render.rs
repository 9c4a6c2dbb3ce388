//! The post-renderers of a HelmRelease: kustomize patches and images, common metadata, origin labels (HC-POST rows).

use std::collections::BTreeMap;

use flux_api::helm::PostRenderer as Step;
use flux_api::meta::{CommonMetadata, Image, Patch, Selector};
use flux_helm::{DigestAlgorithm, PostRenderer, to_go_json};
use flux_kustomize::{
    Allowance, Build, LoadRestriction, Options, Remotes, build_within, set_metadata,
};
use flux_tree::{Tree, TreePath};
use serde::Serialize;
use serde_json::{Value, json};

/// The group whose labels name the HelmRelease that an object comes from.
const ORIGIN: &str = "helm.toolkit.fluxcd.io";

/// The file with the rendered manifests, as it is named in errors.
const INPUT: &str = "helm-output.yaml";

/// The post-renderers of a HelmRelease, in upstream's order: each kustomize step, the common metadata, the origin labels
/// (HC-POST-001).
#[derive(Clone)]
pub struct PostRenderers {
    /// The kustomization of each step, as JSON.
    kustomizations: Vec<String>,
    common: Option<flux_kustomize::CommonMetadata>,
    origin: flux_kustomize::CommonMetadata,
    allowance: Allowance,
}

impl PostRenderers {
    /// For the HelmRelease `namespace`/`name`. The builds claim their memory from `allowance`, and end when it is
    /// cancelled.
    pub fn new(
        steps: &[Step],
        common: Option<&CommonMetadata>,
        (namespace, name): (&str, &str),
        allowance: Allowance,
    ) -> Self {
        let steps = steps.iter().filter_map(|step| step.kustomize.as_ref());
        let is_empty =
            |common: &&CommonMetadata| common.labels.is_empty() && common.annotations.is_empty();
        let common = common.filter(|common| !is_empty(common));
        Self {
            kustomizations: steps
                .map(|step| kustomization(&step.patches, &step.images))
                .collect(),
            common: common.map(|common| flux_kustomize::CommonMetadata {
                labels: common.labels.clone(),
                annotations: common.annotations.clone(),
            }),
            origin: flux_kustomize::CommonMetadata {
                labels: origin_labels(namespace, name),
                annotations: BTreeMap::new(),
            },
            allowance,
        }
    }
}

impl PostRenderer for PostRenderers {
    fn run(&self, manifests: &str) -> Result<String, String> {
        let mut manifests = manifests.to_owned();
        for kustomization in &self.kustomizations {
            manifests = kustomized(manifests, kustomization, &self.allowance)?;
        }
        for metadata in self.common.iter().chain([&self.origin]) {
            let set = set_metadata(&manifests, metadata, &self.allowance);
            manifests = set.map_err(|error| error.to_string())?.to_yaml();
        }
        Ok(manifests)
    }
}

/// The labels that name the HelmRelease on each object of its release (HC-POST-002, HC-CRD-005).
pub fn origin_labels(namespace: &str, name: &str) -> BTreeMap<String, String> {
    [("name", name), ("namespace", namespace)]
        .map(|(key, value)| (format!("{ORIGIN}/{key}"), value.to_owned()))
        .into()
}

/// Builds the manifests with a kustomization in a tree of its own (HC-POST-004, HC-POST-005).
fn kustomized(
    manifests: String,
    kustomization: &str,
    allowance: &Allowance,
) -> Result<String, String> {
    let mut tree = Tree::new();
    for (path, text) in [
        (INPUT, manifests),
        ("kustomization.yaml", kustomization.to_owned()),
    ] {
        let path = TreePath::new(path).map_err(|error| error.to_string())?;
        let inserted = tree.insert_file(path, text, false);
        inserted.map_err(|error| error.to_string())?;
    }
    let mut options = Options::default();
    options.load = LoadRestriction::None;
    let root = TreePath::root();
    let built = build_within(&tree, &root, &options, &Remotes::new(), allowance);
    match built.map_err(|error| error.to_string())? {
        Build::Done(output) => Ok(output.resources.to_yaml()),
        // Its only resource is a file, so nothing can be remote.
        Build::Needs(_) => Err("a post-renderer refers to a remote file".to_owned()),
    }
}

fn kustomization(patches: &[Patch], images: &[Image]) -> String {
    let patches: Vec<Value> = patches
        .iter()
        .map(|patch| {
            let mut fields = json!({ "patch": patch.patch });
            if let Some(target) = &patch.target {
                fields["target"] = selector(target);
            }
            fields
        })
        .collect();
    let images: Vec<Value> = images
        .iter()
        .map(|image| {
            present([
                ("name", Some(&image.name)),
                ("newName", image.new_name.as_ref()),
                ("newTag", image.new_tag.as_ref()),
                ("digest", image.digest.as_ref()),
            ])
        })
        .collect();
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [INPUT],
        "patches": patches,
        "images": images,
    });
    kustomization.to_string()
}

fn selector(selector: &Selector) -> Value {
    present([
        ("group", selector.group.as_ref()),
        ("version", selector.version.as_ref()),
        ("kind", selector.kind.as_ref()),
        ("name", selector.name.as_ref()),
        ("namespace", selector.namespace.as_ref()),
        ("labelSelector", selector.label_selector.as_ref()),
        ("annotationSelector", selector.annotation_selector.as_ref()),
    ])
}

/// The fields that are set.
fn present<const N: usize>(fields: [(&str, Option<&String>); N]) -> Value {
    let set = fields.into_iter().filter_map(|(key, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some((key.to_owned(), Value::from(value.as_str())))
    });
    Value::Object(set.collect())
}

/// The digest of `spec.postRenderers`; empty without any (HC-ACT-042).
pub fn post_renderers_digest(algorithm: DigestAlgorithm, steps: &[Step]) -> String {
    if steps.is_empty() {
        return String::new();
    }
    let steps: Vec<GoStep<'_>> = steps.iter().map(GoStep::of).collect();
    digest(algorithm, &steps)
}

/// The digest of `spec.commonMetadata`; empty if the field is not set (HC-ACT-042).
pub fn common_metadata_digest(
    algorithm: DigestAlgorithm,
    common: Option<&CommonMetadata>,
) -> String {
    common.map_or_else(String::new, |common| digest(algorithm, common))
}

/// The digest of a value as Go's JSON encoder writes it, with its line break.
fn digest<T: Serialize + ?Sized>(algorithm: DigestAlgorithm, value: &T) -> String {
    to_go_json(value).map_or_else(
        |_| String::new(),
        |mut text| {
            text.push(b'\n');
            algorithm.digest(&text)
        },
    )
}

/// A step with its fields in the order of Go's type.
#[derive(Serialize)]
struct GoStep<'s> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kustomize: Option<GoKustomize<'s>>,
}

#[derive(Serialize)]
struct GoKustomize<'s> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    patches: Vec<GoPatch<'s>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<GoImage<'s>>,
}

#[derive(Serialize)]
struct GoPatch<'s> {
    patch: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<GoSelector<'s>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GoSelector<'s> {
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'s str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'s str,
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'s str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'s str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'s str,
    #[serde(skip_serializing_if = "str::is_empty")]
    annotation_selector: &'s str,
    #[serde(skip_serializing_if = "str::is_empty")]
    label_selector: &'s str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GoImage<'s> {
    name: &'s str,
    #[serde(skip_serializing_if = "str::is_empty")]
    new_name: &'s str,
    #[serde(skip_serializing_if = "str::is_empty")]
    new_tag: &'s str,
    #[serde(skip_serializing_if = "str::is_empty")]
    digest: &'s str,
}

impl<'s> GoStep<'s> {
    fn of(step: &'s Step) -> Self {
        let kustomize = step.kustomize.as_ref().map(|kustomize| GoKustomize {
            patches: kustomize.patches.iter().map(GoPatch::of).collect(),
            images: kustomize.images.iter().map(GoImage::of).collect(),
        });
        Self { kustomize }
    }
}

impl<'s> GoPatch<'s> {
    fn of(patch: &'s Patch) -> Self {
        Self {
            patch: &patch.patch,
            target: patch.target.as_ref().map(|target| GoSelector {
                group: text(target.group.as_ref()),
                version: text(target.version.as_ref()),
                kind: text(target.kind.as_ref()),
                namespace: text(target.namespace.as_ref()),
                name: text(target.name.as_ref()),
                annotation_selector: text(target.annotation_selector.as_ref()),
                label_selector: text(target.label_selector.as_ref()),
            }),
        }
    }
}

impl<'s> GoImage<'s> {
    fn of(image: &'s Image) -> Self {
        Self {
            name: &image.name,
            new_name: text(image.new_name.as_ref()),
            new_tag: text(image.new_tag.as_ref()),
            digest: text(image.digest.as_ref()),
        }
    }
}

fn text(text: Option<&String>) -> &str {
    text.map(String::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
