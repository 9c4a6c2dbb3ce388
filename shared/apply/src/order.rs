//! The order in which objects are applied.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use flux_cluster::{Object, ObjectId};

/// Kinds that come before all others, in this order (RT-SSA-006).
const FIRST: [&str; 23] = [
    "CustomResourceDefinition",
    "Namespace",
    "ClusterRole",
    "ClusterClass",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];

/// Kinds that come after all others, in this order: the objects that they validate have to exist first.
const LAST: [&str; 2] = [
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// The ranks of the kinds that have one. Sorting looks them up for each comparison.
static PLACES: LazyLock<HashMap<&str, usize>> = LazyLock::new(|| {
    let first = FIRST.iter().enumerate();
    let last = LAST.iter().enumerate();
    let last = last.map(|(place, kind)| (FIRST.len() + 1 + place, kind));
    (first.chain(last))
        .map(|(place, kind)| (*kind, place))
        .collect()
});

/// The rank of a kind.
fn rank(kind: &str) -> usize {
    PLACES.get(kind).copied().unwrap_or(FIRST.len())
}

/// The apply order within a stage; deletion uses the reverse (RT-SSA-006, RT-SSA-007).
pub fn apply_order(left: &ObjectId, right: &ObjectId) -> Ordering {
    let key = |id: &ObjectId| rank(&id.kind);
    key(left).cmp(&key(right)).then_with(|| left.cmp(right))
}

/// A part of a run that is finished before the next one starts (KC-SSA-009).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// CustomResourceDefinitions, Namespaces and ClusterRoles.
    Definitions,
    /// Kinds that end in `Class`.
    Classes,
    /// Kinds that the controller is configured with.
    Custom,
    /// Everything else.
    Resources,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Self; 4] = [
        Self::Definitions,
        Self::Classes,
        Self::Custom,
        Self::Resources,
    ];

    /// Whether the objects of the stage have to be ready before the next stage starts (KC-SSA-010).
    pub const fn is_waited_for(self) -> bool {
        matches!(self, Self::Definitions | Self::Classes)
    }

    /// The stage of an object.
    pub fn of(object: &Object, custom: &BTreeSet<GroupKind>) -> Self {
        let kind = object.kind().to_lowercase();
        let is_definition = object.is_crd()
            || (kind == "namespace" && object.api_version() == "v1")
            || (kind == "clusterrole"
                && object
                    .api_version()
                    .starts_with("rbac.authorization.k8s.io/"));
        let group_kind = GroupKind {
            group: object.group().to_owned(),
            kind: object.kind().to_owned(),
        };
        if is_definition {
            Self::Definitions
        } else if object.kind().ends_with("Class") {
            Self::Classes
        } else if custom.contains(&group_kind) {
            Self::Custom
        } else {
            Self::Resources
        }
    }
}

/// A kind of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKind {
    /// The group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
}

impl GroupKind {
    /// Parses a list such as `rbac.authorization.k8s.io/Role,ConfigMap`.
    pub fn parse_list(text: &str) -> BTreeSet<Self> {
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        items
            .map(|item| {
                let (group, kind) = item.split_once('/').unwrap_or(("", item));
                Self {
                    group: group.to_owned(),
                    kind: kind.to_owned(),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use flux_cluster::{Object, ObjectId};
    use serde_json::json;

    use super::{GroupKind, Stage, apply_order};

    fn object(api_version: &str, kind: &str) -> Object {
        Object::new(json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "x" } }))
            .unwrap()
    }

    // RT-SSA-005 KC-SSA-009
    #[test]
    fn objects_are_split_into_stages() {
        let custom = GroupKind::parse_list("rbac.authorization.k8s.io/Role, ConfigMap");
        for (api_version, kind, stage) in [
            (
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                Stage::Definitions,
            ),
            (
                "apiextensions.k8s.io/v1beta1",
                "customresourcedefinition",
                Stage::Definitions,
            ),
            ("v1", "Namespace", Stage::Definitions),
            ("x.io/v1", "Namespace", Stage::Resources),
            (
                "rbac.authorization.k8s.io/v1",
                "ClusterRole",
                Stage::Definitions,
            ),
            ("storage.k8s.io/v1", "StorageClass", Stage::Classes),
            ("x.io/v1", "AnyClass", Stage::Classes),
            ("x.io/v1", "Anyclass", Stage::Resources),
            ("rbac.authorization.k8s.io/v1", "Role", Stage::Custom),
            ("v1", "ConfigMap", Stage::Custom),
            ("x.io/v1", "ConfigMap", Stage::Resources),
            ("apps/v1", "Deployment", Stage::Resources),
        ] {
            assert_eq!(
                Stage::of(&object(api_version, kind), &custom),
                stage,
                "{api_version} {kind}"
            );
        }
        assert_eq!(
            Stage::of(&object("v1", "ConfigMap"), &BTreeSet::new()),
            Stage::Resources
        );
    }

    // KC-SSA-010
    #[test]
    fn definitions_and_classes_must_be_ready_before_the_next_stage() {
        let waited: Vec<Stage> = Stage::ALL
            .into_iter()
            .filter(|stage| stage.is_waited_for())
            .collect();
        assert_eq!(waited, [Stage::Definitions, Stage::Classes]);
    }

    // RT-SSA-006 KC-SSA-011
    #[test]
    fn objects_are_ordered_by_kind_then_by_group_namespace_and_name() {
        let id = |text: &str| ObjectId::from_inventory_id(text).unwrap();
        let in_order: Vec<ObjectId> = [
            "_crontabs_apiextensions.k8s.io_CustomResourceDefinition",
            "_apps__Namespace",
            "_view_rbac.authorization.k8s.io_ClusterRole",
            "_fast_storage.k8s.io_StorageClass",
            "_view_rbac.authorization.k8s.io_ClusterRoleBinding",
            "apps_sa__ServiceAccount",
            "apps_a__ConfigMap",
            "apps_b__ConfigMap",
            "beta_a__ConfigMap",
            "apps_a__Secret",
            "apps_a__Service",
            "apps_a_apps_Deployment",
            "apps_a_batch_CronJob",
            "apps_a_policy_PodDisruptionBudget",
            "apps_a__Pod",
            "apps_a_apps_DaemonSet",
            "apps_a_batch_Job",
            "apps_a_networking.k8s.io_Ingress",
            "_a_admissionregistration.k8s.io_MutatingWebhookConfiguration",
            "_a_admissionregistration.k8s.io_ValidatingWebhookConfiguration",
        ]
        .map(id)
        .into();
        // RT-SSA-007, KC-PRUNE-005: deletion uses the reverse of this order
        let mut sorted = in_order.clone();
        sorted.reverse();
        sorted.sort_by(apply_order);
        assert_eq!(sorted, in_order);
    }
}
