//! The CustomResourceDefinitions, generated from the types.

use kube::CustomResourceExt;
use schemars::JsonSchema;
use serde_json::{Value, json};

use crate::schema::structural;
use crate::{extensions, helm, image, kustomize, legacy, notification, source};

/// A CustomResourceDefinition and the name of the file that holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// `<group>_<plural>.yaml`.
    pub file_name: String,
    /// The object, as it is sent to the API server.
    pub object: Value,
}

/// The definition of every kind, with its older versions.
pub fn definitions() -> Vec<Definition> {
    vec![
        define::<source::GitRepository, source::GitRepositorySpec>(&with_default_status::<
            source::GitRepositoryStatus,
        >()),
        define::<source::OCIRepository, source::OCIRepositorySpec>(&with_default_status::<
            source::OCIRepositoryStatus,
        >()),
        define::<source::HelmRepository, source::HelmRepositorySpec>(&with_default_status::<
            source::HelmRepositoryStatus,
        >()),
        define::<source::HelmChart, source::HelmChartSpec>(&with_default_status::<
            source::HelmChartStatus,
        >()),
        define::<source::Bucket, source::BucketSpec>(&with_default_status::<source::BucketStatus>()),
        define::<source::ExternalArtifact, source::ExternalArtifactSpec>(&Status::Reported(
            structural::<source::ExternalArtifactStatus>(),
        )),
        define::<kustomize::Kustomization, kustomize::KustomizationSpec>(&with_default_status::<
            kustomize::KustomizationStatus,
        >()),
        define::<helm::HelmRelease, helm::HelmReleaseSpec>(&with_default_status::<
            helm::HelmReleaseStatus,
        >()),
        define::<notification::Provider, notification::ProviderSpec>(&Status::Absent),
        define::<notification::Alert, notification::AlertSpec>(&Status::Absent),
        define::<notification::Receiver, notification::ReceiverSpec>(&with_default_status::<
            notification::ReceiverStatus,
        >()),
        define::<image::ImageRepository, image::ImageRepositorySpec>(&with_default_status::<
            image::ImageRepositoryStatus,
        >()),
        define::<image::ImagePolicy, image::ImagePolicySpec>(&with_default_status::<
            image::ImagePolicyStatus,
        >()),
        define::<image::ImageUpdateAutomation, image::ImageUpdateAutomationSpec>(
            &with_default_status::<image::ImageUpdateAutomationStatus>(),
        ),
        define::<extensions::ArtifactGenerator, extensions::ArtifactGeneratorSpec>(
            &Status::Reported(structural::<extensions::ArtifactGeneratorStatus>()),
        ),
    ]
}

/// What a kind's status looks like.
enum Status {
    Absent,
    Reported(Value),
}

/// A status whose default is `observedGeneration: -1` until a controller has reconciled the object (KC-API-005,
/// SC-PROC-103): without it, tools take a new object without conditions for a ready one.
fn with_default_status<T: JsonSchema>() -> Status {
    let mut schema = structural::<T>();
    schema["default"] = json!({ "observedGeneration": -1 });
    Status::Reported(schema)
}

fn define<K: CustomResourceExt, Spec: JsonSchema>(status: &Status) -> Definition {
    let crd = K::crd();
    let group = crd.spec.group.clone();
    let plural = crd.spec.names.plural.clone();
    let kind = crd.spec.names.kind.clone();
    let mut object = serde_json::to_value(crd).unwrap_or_default();

    let mut spec = structural::<Spec>();
    let description = spec["description"].take();
    spec["description"] = json!("What is wanted.");
    let mut root = json!({
        "type": "object",
        "description": description,
        "properties": {
            "apiVersion": { "type": "string", "description": "Group and version of this object's form." },
            "kind": { "type": "string", "description": "Kind of the object." },
            "metadata": { "type": "object" },
            "spec": spec,
        },
    });
    if let Some(rules) = spec_rules(&kind) {
        root["x-kubernetes-validations"] = rules;
    }
    let mut subresources = json!({});
    if let Status::Reported(schema) = status {
        root["properties"]["status"] = schema.clone();
        subresources["status"] = json!({});
    }

    let current = &mut object["spec"]["versions"][0];
    current["schema"] = json!({ "openAPIV3Schema": root });
    current["subresources"] = subresources;
    let current = current.clone();
    if let Some(versions) = object["spec"]["versions"].as_array_mut() {
        versions.extend(legacy::versions(&plural, &kind, &current));
    }
    object["spec"]["names"]["listKind"] = json!(format!("{kind}List"));
    // Variable substitution skips the definitions (KC-API-003, SC-PROC-101).
    object["metadata"]["annotations"] =
        json!({ "kustomize.toolkit.fluxcd.io/substitute": "disabled" });
    Definition {
        file_name: format!("{group}_{plural}.yaml"),
        object,
    }
}

/// Validation rules over a whole object, for kinds whose schema has no `required` because upstream's definition uses
/// CEL rules instead (SC-OCI-085).
fn spec_rules(kind: &str) -> Option<Value> {
    let required = |field: &str| {
        json!({
            "rule": format!("has(self.spec) && has(self.spec.{field})"),
            "message": format!("spec.{field} is required"),
        })
    };
    (kind == "OCIRepository").then(|| json!([required("url"), required("interval")]))
}
