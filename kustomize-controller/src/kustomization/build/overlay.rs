//! The fields of a Kustomization's spec that are added to its root kustomization.

use flux_api::kustomize::KustomizationSpec;
use flux_api::meta::{Image, Patch, Selector};
use flux_kustomize::flux;

/// The fields of the spec that are added to the root kustomization (KC-BLD-008 to KC-BLD-016).
pub(super) fn overlay(spec: &KustomizationSpec) -> flux::Overlay {
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let selector = |selector: &Selector| flux::Selector {
        group: text(&selector.group),
        version: text(&selector.version),
        kind: text(&selector.kind),
        name: text(&selector.name),
        namespace: text(&selector.namespace),
        label_selector: text(&selector.label_selector),
        annotation_selector: text(&selector.annotation_selector),
    };
    let patch = |patch: &Patch| flux::Patch {
        patch: patch.patch.clone(),
        target: patch.target.as_ref().map(selector),
    };
    let image = |image: &Image| flux::Image {
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
