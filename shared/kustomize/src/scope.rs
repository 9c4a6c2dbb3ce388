//! Scopes of kinds: cluster or namespace (KZ-ID-006 to KZ-ID-010).

use std::cell::Cell;
use std::collections::HashMap;

use crate::id::Gvk;

/// Certainly cluster-scoped: group, its versions, its kinds.
const CLUSTER_SCOPED: &[(&str, &[&str], &[&str])] = &[
    (
        "",
        &["v1"],
        &[
            "ComponentStatus",
            "Namespace",
            "Node",
            "NodeProxyOptions",
            "PersistentVolume",
        ],
    ),
    (
        "admissionregistration.k8s.io",
        &["v1", "v1beta1"],
        &[
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
        ],
    ),
    (
        "apiextensions.k8s.io",
        &["v1", "v1beta1"],
        &["CustomResourceDefinition"],
    ),
    (
        "apiregistration.k8s.io",
        &["v1", "v1beta1"],
        &["APIService"],
    ),
    (
        "certificates.k8s.io",
        &["v1", "v1beta1"],
        &["CertificateSigningRequest"],
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        &["v1beta1"],
        &["FlowSchema", "PriorityLevelConfiguration"],
    ),
    ("networking.k8s.io", &["v1", "v1beta1"], &["IngressClass"]),
    ("node.k8s.io", &["v1", "v1beta1"], &["RuntimeClass"]),
    ("policy", &["v1beta1"], &["PodSecurityPolicy"]),
    (
        "rbac.authorization.k8s.io",
        &["v1", "v1beta1"],
        &["ClusterRole", "ClusterRoleBinding"],
    ),
    ("scheduling.k8s.io", &["v1", "v1beta1"], &["PriorityClass"]),
    (
        "storage.k8s.io",
        &["v1", "v1beta1"],
        &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"],
    ),
];

/// Namespaced in the built-in table, whatever a user's schema says.
const NAMESPACED: &[(&str, &[&str], &[&str])] = &[
    (
        "",
        &["v1"],
        &[
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "PersistentVolumeClaim",
            "Pod",
            "PodAttachOptions",
            "PodExecOptions",
            "PodPortForwardOptions",
            "PodProxyOptions",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
            "ServiceProxyOptions",
        ],
    ),
    (
        "apps",
        &["v1"],
        &[
            "ControllerRevision",
            "DaemonSet",
            "Deployment",
            "ReplicaSet",
            "StatefulSet",
        ],
    ),
    (
        "autoscaling",
        &["v1"],
        &["HorizontalPodAutoscaler", "Scale"],
    ),
    (
        "autoscaling",
        &["v2beta1", "v2beta2"],
        &["HorizontalPodAutoscaler"],
    ),
    ("batch", &["v1"], &["CronJob", "Job"]),
    ("batch", &["v1beta1"], &["CronJob"]),
    ("coordination.k8s.io", &["v1", "v1beta1"], &["Lease"]),
    ("discovery.k8s.io", &["v1", "v1beta1"], &["EndpointSlice"]),
    ("events.k8s.io", &["v1", "v1beta1"], &["Event"]),
    ("extensions", &["v1beta1"], &["Ingress"]),
    ("networking.k8s.io", &["v1"], &["Ingress", "NetworkPolicy"]),
    ("networking.k8s.io", &["v1beta1"], &["Ingress"]),
    ("policy", &["v1", "v1beta1"], &["PodDisruptionBudget"]),
    (
        "rbac.authorization.k8s.io",
        &["v1", "v1beta1"],
        &["Role", "RoleBinding"],
    ),
    ("storage.k8s.io", &["v1beta1"], &["CSIStorageCapacity"]),
];

fn listed(table: &[(&str, &[&str], &[&str])], gvk: &Gvk) -> bool {
    table.iter().any(|(group, versions, kinds)| {
        *group == gvk.group
            && versions.contains(&gvk.version.as_str())
            && kinds.contains(&gvk.kind.as_str())
    })
}

/// The scopes of all known kinds: the built-in table, and additions from the user's OpenAPI document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scopes {
    custom: HashMap<Gvk, bool>,
    /// Whether a kind that is not in the table was looked up.
    asked: Cell<bool>,
}

impl Scopes {
    /// Adds the scope of a kind from a path of an OpenAPI document: one namespaced path makes it namespaced.
    pub(crate) fn add(&mut self, gvk: Gvk, namespaced: bool) {
        let known = self.custom.entry(gvk).or_insert(namespaced);
        *known |= namespaced;
    }

    /// Whether the kind is certainly cluster-scoped. Unknown kinds count as namespaced.
    pub(crate) fn is_cluster_scoped(&self, gvk: &Gvk) -> bool {
        if listed(CLUSTER_SCOPED, gvk) {
            return true;
        }
        if self.custom.is_empty() && self.asked.get() || listed(NAMESPACED, gvk) {
            return false;
        }
        self.asked.set(true);
        self.custom.get(gvk) == Some(&false)
    }

    /// Whether a kind that is not in the table was ever looked up.
    pub(crate) fn asked_for_unknown(&self) -> bool {
        self.asked.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_kinds_count_as_namespaced() {
        let scopes = Scopes::default();
        for (api_version, kind, cluster) in [
            // KZ-ID-007
            ("v1", "Namespace", true),
            ("v1", "ConfigMap", false),
            // KZ-ID-008
            ("rbac.authorization.k8s.io/v1beta1", "ClusterRole", true),
            // KZ-ID-009
            ("policy/v1beta1", "PodSecurityPolicy", true),
            ("policy/v1", "PodSecurityPolicy", false),
            // KZ-ID-010
            ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", false),
            (
                "admissionregistration.k8s.io/v1",
                "ValidatingAdmissionPolicy",
                false,
            ),
            // KZ-ID-006
            ("example.com/v1", "ClusterThing", false),
        ] {
            assert_eq!(
                scopes.is_cluster_scoped(&Gvk::new(api_version, kind)),
                cluster,
                "{kind}"
            );
        }
    }

    #[test]
    fn a_schema_adds_kinds_but_changes_none() {
        // KZ-OAPI-006
        let mut scopes = Scopes::default();
        scopes.add(Gvk::new("example.com/v1", "Realm"), false);
        scopes.add(Gvk::new("example.com/v1", "Room"), false);
        scopes.add(Gvk::new("example.com/v1", "Room"), true);
        scopes.add(Gvk::new("v1", "ConfigMap"), false);
        assert!(scopes.is_cluster_scoped(&Gvk::new("example.com/v1", "Realm")));
        assert!(!scopes.is_cluster_scoped(&Gvk::new("example.com/v1", "Room")));
        assert!(!scopes.is_cluster_scoped(&Gvk::new("v1", "ConfigMap")));
    }
}
