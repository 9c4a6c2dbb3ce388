//! The built-in table of field specs, in the compact form that its regularities permit (KZ-FS-014 to KZ-FS-047).

use crate::config::FieldSpec;
use crate::id::Gvk;
use crate::transformer_config::{NameReference, TransformerConfig};

fn gvk(group: &str, version: &str, kind: &str) -> Gvk {
    Gvk {
        group: group.into(),
        version: version.into(),
        kind: kind.into(),
    }
}

fn spec(gvk: Gvk, path: &str, create: bool) -> FieldSpec {
    FieldSpec {
        gvk,
        path: path.into(),
        create,
    }
}

fn any(path: &str, create: bool) -> FieldSpec {
    spec(Gvk::default(), path, create)
}

fn of_kind(kind: &str, path: &str) -> FieldSpec {
    spec(gvk("", "", kind), path, false)
}

/// The path of the pod spec in a kind.
fn pod_spec(kind: &str) -> &'static str {
    match kind {
        "Pod" => "spec",
        "PodTemplate" => "template/spec",
        "CronJob" => "spec/jobTemplate/spec/template/spec",
        _ => "spec/template/spec",
    }
}

/// The whole table.
pub(crate) fn table() -> TransformerConfig {
    let mut common_labels = selectors();
    common_labels.extend(template_labels());
    TransformerConfig {
        name_prefix: vec![any("metadata/name", false)],
        name_suffix: vec![any("metadata/name", false)],
        namespace: vec![
            spec(gvk("", "", "Namespace"), "metadata/name", true),
            spec(
                gvk("apiregistration.k8s.io", "", "APIService"),
                "spec/service/namespace",
                true,
            ),
            spec(
                gvk("apiextensions.k8s.io", "", "CustomResourceDefinition"),
                "spec/conversion/webhook/clientConfig/service/namespace",
                false,
            ),
        ],
        common_labels,
        labels: Vec::new(),
        template_labels: template_labels(),
        common_annotations: common_annotations(),
        name_reference: name_references(),
        var_reference: var_references(),
        images: ["spec", "spec/template/spec"]
            .into_iter()
            .flat_map(|at| {
                [
                    "containers[]/image",
                    "initContainers[]/image",
                    "volumes[]/image/reference",
                ]
                .map(|path| any(&format!("{at}/{path}"), true))
            })
            .collect(),
        replicas: [
            "Deployment",
            "ReplicationController",
            "ReplicaSet",
            "StatefulSet",
        ]
        .map(|kind| spec(gvk("", "", kind), "spec/replicas", true))
        .into(),
    }
}

fn template_labels() -> Vec<FieldSpec> {
    let template = "spec/template/metadata/labels";
    vec![
        any("metadata/labels", true),
        spec(gvk("", "v1", "ReplicationController"), template, true),
        spec(gvk("", "", "Deployment"), template, true),
        spec(gvk("", "", "ReplicaSet"), template, true),
        spec(gvk("", "", "DaemonSet"), template, true),
        spec(gvk("apps", "", "StatefulSet"), template, true),
        spec(
            gvk("apps", "", "StatefulSet"),
            "spec/volumeClaimTemplates[]/metadata/labels",
            true,
        ),
        spec(gvk("batch", "", "Job"), template, true),
        spec(
            gvk("batch", "", "CronJob"),
            "spec/jobTemplate/metadata/labels",
            true,
        ),
        spec(
            gvk("batch", "", "CronJob"),
            "spec/jobTemplate/spec/template/metadata/labels",
            true,
        ),
    ]
}

fn selectors() -> Vec<FieldSpec> {
    let labels = "spec/selector/matchLabels";
    let mut specs = vec![
        spec(gvk("", "v1", "Service"), "spec/selector", true),
        spec(
            gvk("", "v1", "ReplicationController"),
            "spec/selector",
            true,
        ),
        spec(gvk("", "", "Deployment"), labels, true),
        spec(gvk("", "", "ReplicaSet"), labels, true),
        spec(gvk("", "", "DaemonSet"), labels, true),
        spec(gvk("apps", "", "StatefulSet"), labels, true),
        spec(gvk("batch", "", "Job"), labels, false),
        spec(
            gvk("batch", "", "CronJob"),
            "spec/jobTemplate/spec/selector/matchLabels",
            false,
        ),
        spec(gvk("policy", "", "PodDisruptionBudget"), labels, false),
    ];
    for path in [
        "spec/podSelector/matchLabels",
        "spec/ingress/from/podSelector/matchLabels",
        "spec/egress/to/podSelector/matchLabels",
    ] {
        specs.push(spec(
            gvk("networking.k8s.io", "", "NetworkPolicy"),
            path,
            false,
        ));
    }
    for kind in ["Deployment", "StatefulSet"] {
        for affinity in ["podAffinity", "podAntiAffinity"] {
            for place in [
                "preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm",
                "requiredDuringSchedulingIgnoredDuringExecution",
            ] {
                let path = format!(
                    "spec/template/spec/affinity/{affinity}/{place}/labelSelector/matchLabels"
                );
                specs.push(spec(gvk("apps", "", kind), &path, false));
            }
        }
        specs.push(spec(
            gvk("apps", "", kind),
            "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels",
            false,
        ));
    }
    specs
}

fn common_annotations() -> Vec<FieldSpec> {
    let template = "spec/template/metadata/annotations";
    let mut specs = vec![
        any("metadata/annotations", true),
        spec(gvk("", "v1", "ReplicationController"), template, true),
        spec(gvk("batch", "", "Job"), template, true),
        spec(
            gvk("batch", "", "CronJob"),
            "spec/jobTemplate/metadata/annotations",
            true,
        ),
        spec(
            gvk("batch", "", "CronJob"),
            "spec/jobTemplate/spec/template/metadata/annotations",
            true,
        ),
    ];
    for kind in ["Deployment", "ReplicaSet", "DaemonSet", "StatefulSet"] {
        specs.push(spec(gvk("", "", kind), template, true));
    }
    specs
}

/// KZ-FS-028 to KZ-FS-030
fn var_references() -> Vec<FieldSpec> {
    let mut specs = Vec::new();
    for kind in [
        "CronJob",
        "DaemonSet",
        "Deployment",
        "Job",
        "Pod",
        "ReplicaSet",
        "StatefulSet",
    ] {
        let at = pod_spec(kind);
        for containers in ["containers", "initContainers"] {
            for field in ["args", "command", "env/value", "volumeMounts/mountPath"] {
                specs.push(of_kind(kind, &format!("{at}/{containers}/{field}")));
            }
        }
        let nfs = match kind {
            "CronJob" => "spec/jobTemplate/spec/template/volumes/nfs/server".to_owned(),
            "StatefulSet" => "spec/volumeClaimTemplates/spec/nfs/server".to_owned(),
            _ => format!("{at}/volumes/nfs/server"),
        };
        specs.push(of_kind(kind, &nfs));
    }
    for (kind, path) in [
        ("Deployment", "spec/template/metadata/annotations"),
        ("Ingress", "spec/rules/host"),
        ("Ingress", "spec/tls/hosts"),
        ("Ingress", "spec/tls/secretName"),
        ("Service", "spec/ports/port"),
        ("Service", "spec/ports/targetPort"),
        ("PersistentVolume", "spec/nfs/server"),
    ] {
        specs.push(of_kind(kind, path));
    }
    specs.push(any("metadata/labels", false));
    specs.push(any("metadata/annotations", false));
    specs
}

/// The kinds whose pods may refer to ConfigMaps and Secrets.
const REFERRERS: [&str; 8] = [
    "Pod",
    "PodTemplate",
    "Deployment",
    "ReplicaSet",
    "DaemonSet",
    "StatefulSet",
    "Job",
    "CronJob",
];

/// The kinds whose pods may refer to other objects.
const OTHER_REFERRERS: [&str; 7] = [
    "Pod",
    "StatefulSet",
    "Deployment",
    "ReplicationController",
    "CronJob",
    "Job",
    "DaemonSet",
];

fn in_pods(kinds: &[&str], paths: &[&str]) -> Vec<FieldSpec> {
    let mut specs = Vec::new();
    for kind in kinds {
        for path in paths {
            let mut new = of_kind(kind, &format!("{}/{path}", pod_spec(kind)));
            // ConfigMaps and Secrets are only looked for in pods of the core group.
            if *kind == "Pod" && kinds.len() == REFERRERS.len() {
                new.gvk.version = "v1".into();
            }
            specs.push(new);
        }
    }
    specs
}

fn kinds(entries: &[(&str, &str)]) -> impl Iterator<Item = FieldSpec> {
    entries.iter().map(|(kind, path)| of_kind(kind, path))
}

fn name_references() -> Vec<NameReference> {
    let mut references = Vec::new();
    for kind in [
        "Deployment",
        "ReplicationController",
        "ReplicaSet",
        "StatefulSet",
    ] {
        references.push(NameReference {
            target: gvk("", "", kind),
            referrers: vec![of_kind(
                "HorizontalPodAutoscaler",
                "spec/scaleTargetRef/name",
            )],
        });
    }
    let to = |target: Gvk, referrers: Vec<FieldSpec>| NameReference { target, referrers };
    references.push(to(gvk("", "v1", "ConfigMap"), to_config_maps()));
    references.push(to(gvk("", "v1", "Secret"), to_secrets()));
    references.push(to(gvk("", "v1", "Service"), to_services()));
    let rbac = "rbac.authorization.k8s.io";
    let binding = |kind, path| spec(gvk(rbac, "", kind), path, false);
    references.push(to(
        gvk(rbac, "", "Role"),
        vec![binding("RoleBinding", "roleRef/name")],
    ));
    references.push(to(
        gvk(rbac, "", "ClusterRole"),
        vec![
            binding("RoleBinding", "roleRef/name"),
            binding("ClusterRoleBinding", "roleRef/name"),
        ],
    ));
    let mut accounts = vec![
        binding("RoleBinding", "subjects"),
        binding("ClusterRoleBinding", "subjects"),
    ];
    accounts.extend(in_pods(&OTHER_REFERRERS, &["serviceAccountName"]));
    references.push(to(gvk("", "v1", "ServiceAccount"), accounts));
    references.push(to(
        gvk("", "v1", "PersistentVolumeClaim"),
        in_pods(
            &OTHER_REFERRERS,
            &["volumes/persistentVolumeClaim/claimName"],
        ),
    ));
    references.push(to(
        gvk("", "v1", "PersistentVolume"),
        kinds(&[
            ("PersistentVolumeClaim", "spec/volumeName"),
            ("ClusterRole", "rules/resourceNames"),
        ])
        .collect(),
    ));
    references.push(to(
        gvk("storage.k8s.io", "v1", "StorageClass"),
        kinds(&[
            ("PersistentVolume", "spec/storageClassName"),
            ("PersistentVolumeClaim", "spec/storageClassName"),
            (
                "StatefulSet",
                "spec/volumeClaimTemplates/spec/storageClassName",
            ),
        ])
        .collect(),
    ));
    references.push(to(
        gvk("scheduling.k8s.io", "v1", "PriorityClass"),
        in_pods(&OTHER_REFERRERS, &["priorityClassName"]),
    ));
    // KZ-FS-046: no object has this group
    references.push(to(
        gvk("networking.k8s.io/v1", "v1", "IngressClass"),
        vec![of_kind("Ingress", "spec/ingressClassName")],
    ));
    let admission = "admissionregistration.k8s.io";
    references.push(to(
        gvk(admission, "", "ValidatingAdmissionPolicy"),
        vec![spec(
            gvk(admission, "", "ValidatingAdmissionPolicyBinding"),
            "spec/policyName",
            false,
        )],
    ));
    references
}

fn to_config_maps() -> Vec<FieldSpec> {
    let mut specs = in_pods(
        &REFERRERS,
        &[
            "volumes/configMap/name",
            "volumes/projected/sources/configMap/name",
            "containers/env/valueFrom/configMapKeyRef/name",
            "initContainers/env/valueFrom/configMapKeyRef/name",
            "containers/envFrom/configMapRef/name",
            "initContainers/envFrom/configMapRef/name",
        ],
    );
    specs.extend(kinds(&[
        ("Node", "spec/configSource/configMap"),
        ("Role", "rules/resourceNames"),
        ("ClusterRole", "rules/resourceNames"),
        (
            "Ingress",
            r"metadata/annotations/nginx.ingress.kubernetes.io\/fastcgi-params-configmap",
        ),
    ]));
    specs
}

fn to_secrets() -> Vec<FieldSpec> {
    let mut specs = in_pods(
        &REFERRERS,
        &[
            "volumes/secret/secretName",
            "volumes/projected/sources/secret/name",
            "containers/env/valueFrom/secretKeyRef/name",
            "initContainers/env/valueFrom/secretKeyRef/name",
            "containers/envFrom/secretRef/name",
            "initContainers/envFrom/secretRef/name",
            "imagePullSecrets/name",
        ],
    );
    specs.extend(kinds(&[
        ("Ingress", "spec/tls/secretName"),
        (
            "Ingress",
            r"metadata/annotations/ingress.kubernetes.io\/auth-secret",
        ),
        (
            "Ingress",
            r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-secret",
        ),
        (
            "Ingress",
            r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-tls-secret",
        ),
        ("ServiceAccount", "imagePullSecrets/name"),
        ("StorageClass", "parameters/secretName"),
        ("StorageClass", "parameters/adminSecretName"),
        ("StorageClass", "parameters/userSecretName"),
        ("StorageClass", "parameters/secretRef"),
        ("Role", "rules/resourceNames"),
        ("ClusterRole", "rules/resourceNames"),
        ("PersistentVolume", "spec/azureFile/secretName"),
    ]));
    specs.push(spec(
        gvk("serving.knative.dev", "v1", "Service"),
        "spec/template/spec/containers/env/valueFrom/secretKeyRef/name",
        false,
    ));
    specs
}

fn to_services() -> Vec<FieldSpec> {
    let mut specs = vec![spec(
        gvk("apps", "", "StatefulSet"),
        "spec/serviceName",
        false,
    )];
    specs.extend(kinds(&[
        ("Ingress", "spec/rules/http/paths/backend/serviceName"),
        ("Ingress", "spec/backend/serviceName"),
        ("Ingress", "spec/rules/http/paths/backend/service/name"),
        ("Ingress", "spec/defaultBackend/service/name"),
    ]));
    specs.push(spec(
        gvk("apiregistration.k8s.io", "", "APIService"),
        "spec/service/name",
        false,
    ));
    for kind in [
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
    ] {
        specs.push(spec(
            gvk("admissionregistration.k8s.io", "", kind),
            "webhooks/clientConfig/service",
            false,
        ));
    }
    specs
}
