//! The objects of every kind that one implementation hands to the other.

use kind_tests::{
    ARTIFACT_GENERATOR, BUCKET, GIT_REPOSITORY, HELM_CHART, HELM_RELEASE, HELM_REPOSITORY,
    IMAGE_POLICY, IMAGE_REPOSITORY, IMAGE_UPDATE_AUTOMATION, KUSTOMIZATION, Kind, OCI_REPOSITORY,
    RECEIVER, SHARD_LABEL,
};

use crate::takeover;

/// Where the servers are that the objects name.
pub(super) struct Addresses {
    pub(super) git: String,
    /// Of the Helm repository with an index.
    pub(super) charts: String,
    /// Of the chart in a registry.
    pub(super) oci_chart: String,
    /// The image that is scanned.
    pub(super) image: String,
    /// The endpoint of the bucket.
    pub(super) store: String,
    pub(super) sink: String,
}

/// The objects of the controller that take requests, in a namespace of this name.
pub(super) fn of(controller: &str, namespace: &str) -> Vec<(Kind, String)> {
    let [packed, indexed] = ["packed", "indexed"].map(|name| format!("{namespace}-{name}"));
    let objects: &[(Kind, &str)] = match controller {
        "source-controller" => &[
            (GIT_REPOSITORY, "app"),
            (OCI_REPOSITORY, "chart"),
            (HELM_REPOSITORY, "charts"),
            (BUCKET, "public"),
            (HELM_CHART, &packed),
            (HELM_CHART, &indexed),
        ],
        "kustomize-controller" => &[
            (KUSTOMIZATION, "app"),
            (KUSTOMIZATION, "part"),
            (KUSTOMIZATION, "bucket"),
        ],
        "helm-controller" => &[
            (HELM_RELEASE, "rel"),
            (HELM_RELEASE, "packed"),
            (HELM_RELEASE, "indexed"),
        ],
        "notification-controller" => &[(RECEIVER, "hook")],
        "image-reflector-controller" => &[(IMAGE_REPOSITORY, "app"), (IMAGE_POLICY, "app")],
        "image-automation-controller" => &[(IMAGE_UPDATE_AUTOMATION, "app")],
        _ => &[(ARTIFACT_GENERATOR, "parts")],
    };
    let named = objects.iter();
    named
        .map(|(kind, name)| (*kind, (*name).to_owned()))
        .collect()
}

/// The files of a chart, which applies a ConfigMap.
pub(super) fn chart(name: &str) -> [(&'static str, String); 2] {
    [
        (
            "Chart.yaml",
            format!("apiVersion: v2\nname: {name}\nversion: 0.1.0\n"),
        ),
        (
            "templates/map.yaml",
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: from-{name}}}\ndata: {{a: b}}\n"
            ),
        ),
    ]
}

pub(super) fn manifests(at: &Addresses) -> String {
    let told = [
        "GitRepository",
        "OCIRepository",
        "HelmRepository",
        "HelmChart",
        "Bucket",
        "Kustomization",
        "HelmRelease",
        "ImageRepository",
        "ImagePolicy",
        "ImageUpdateAutomation",
        "ArtifactGenerator",
    ];
    let objects = takeover::objects(&at.git, &at.oci_chart, &at.sink, &told);
    let Addresses {
        charts,
        image,
        store,
        ..
    } = at;
    format!(
        "{objects}---
{{apiVersion: v1, kind: Secret, metadata: {{name: hook}}, stringData: {{token: t0ken}}}}
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Receiver
metadata: {{name: hook}}
spec: {{type: generic, secretRef: {{name: hook}}, interval: 1h, resources: [{{kind: GitRepository, name: app}}]}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {{name: charts}}
spec: {{interval: 1h, url: '{charts}'}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: Bucket
metadata: {{name: public}}
spec: {{interval: 1h, endpoint: '{store}', bucketName: public, insecure: true}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: part}}
spec: {{interval: 1h, path: ./, prune: true, targetNamespace: ${{namespace}}, sourceRef: {{kind: ExternalArtifact, name: part}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: bucket}}
spec: {{interval: 1h, path: ./, prune: true, targetNamespace: ${{namespace}}, sourceRef: {{kind: Bucket, name: public}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: packed}}
spec:
  interval: 1h
  chart:
    metadata: {{labels: {{{SHARD_LABEL}: ${{namespace}}}}}}
    spec: {{chart: ./charts/packed, interval: 1h, sourceRef: {{kind: GitRepository, name: app}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: indexed}}
spec:
  interval: 1h
  chart:
    metadata: {{labels: {{{SHARD_LABEL}: ${{namespace}}}}}}
    spec: {{chart: indexed, version: 0.1.x, interval: 1h, sourceRef: {{kind: HelmRepository, name: charts}}}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {{name: app}}
spec: {{image: '{image}', interval: 1h, insecure: true}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {{name: app}}
spec: {{imageRepositoryRef: {{name: app}}, policy: {{semver: {{range: 1.0.x}}}}}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageUpdateAutomation
metadata: {{name: app}}
spec:
  interval: 1h
  sourceRef: {{kind: GitRepository, name: app}}
  git: {{commit: {{author: {{name: flux, email: flux@example.com}}}}, checkout: {{ref: {{branch: main}}}}, push: {{branch: main}}}}
  update: {{path: ./deploy, strategy: Setters}}
---
apiVersion: source.extensions.fluxcd.io/v1beta1
kind: ArtifactGenerator
metadata: {{name: parts}}
spec:
  sources: [{{alias: app, kind: GitRepository, name: app}}]
  artifacts: [{{name: part, copy: [{{from: '@app/parts/**', to: '@artifact/'}}]}}]
"
    )
}
