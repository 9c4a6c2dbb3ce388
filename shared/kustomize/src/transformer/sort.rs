//! Sorts the output (KZ-SORT rows).

use std::collections::HashMap;

use crate::config::{LegacySortOptions, SortOptions};
use crate::error::{Context, Result};
use crate::id::{Gvk, ResId};
use crate::resmap::ResMap;
use crate::state::State;

/// KZ-SORT-005
const FIRST: [&str; 22] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];

/// KZ-SORT-006
const LAST: [&str; 2] = [
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// The rank of a kind: negative ones come first, positive ones last.
pub(crate) fn kind_rank(kind: &str) -> i64 {
    let place = |list: &[&str]| list.iter().position(|other| *other == kind);
    if let Some(at) = place(&FIRST) {
        at as i64 - FIRST.len() as i64
    } else if let Some(at) = place(&LAST) {
        at as i64 + 1
    } else {
        0
    }
}

/// Sorts by a kustomization's `sortOptions`.
pub(crate) fn sort(options: &SortOptions, map: &mut ResMap, state: &State<'_>) -> Result<()> {
    match (options.order.as_str(), &options.legacy) {
        ("legacy", legacy) => sort_legacy(legacy.as_ref(), map, state),
        ("fifo", None) => Ok(()),
        // KZ-SORT-002
        ("fifo", Some(_)) => Err(
            "the field 'sortOptions.legacySortOptions' is set but the selected sort order is 'fifo', not 'legacy'"
                .into(),
        ),
        // KZ-SORT-001
        _ => Err("the field 'sortOptions.order' must be one of [fifo, legacy]".into()),
    }
}

/// Sorts by kind, then by text.
pub(crate) fn sort_legacy(
    options: Option<&LegacySortOptions>,
    map: &mut ResMap,
    state: &State<'_>,
) -> Result<()> {
    // KZ-SORT-007: a kind in both lists comes last.
    let ranks: Option<HashMap<&str, i64>> = options.map(|options| {
        let first = options.first.iter().enumerate();
        let last = options.last.iter().enumerate();
        first
            .map(|(at, kind)| (kind.as_str(), at as i64 - options.first.len() as i64))
            .chain(last.map(|(at, kind)| (kind.as_str(), at as i64 + 1)))
            .collect()
    });
    let rank = |kind: &str| match &ranks {
        Some(ranks) => ranks.get(kind).copied().unwrap_or_default(),
        None => kind_rank(kind),
    };
    let scopes = state.scopes();
    let mut keyed: Vec<_> = std::mem::take(map.list_mut())
        .into_iter()
        .map(|resource| {
            let id = resource.current(scopes).id.clone();
            (
                rank(&id.gvk.kind),
                id.gvk.sort_text(),
                text(&id),
                id.gvk,
                resource,
            )
        })
        .collect();
    keyed.sort_by(|a, b| {
        a.0.cmp(&b.0)
            .then_with(|| {
                // KZ-SORT-009
                let order = a.1.cmp(&b.1);
                if is_namespace_pair(&a.3, &b.3) {
                    order.reverse()
                } else {
                    order
                }
            })
            .then_with(|| a.2.cmp(&b.2))
    });
    map.list_mut()
        .extend(keyed.into_iter().map(|(.., resource)| resource));
    map.require_unique(state)
        .context(|| "SortOrderTransformer: Failed to append to resources".into())
}

fn is_namespace_pair(a: &Gvk, b: &Gvk) -> bool {
    a.kind == "Namespace" && b.kind == "Namespace" && (a.group.is_empty() || b.group.is_empty())
}

/// KZ-SORT-008
fn text(id: &ResId) -> String {
    let or = |text: &str, absent: &str| {
        if text.is_empty() {
            absent.to_owned()
        } else {
            text.to_owned()
        }
    };
    format!(
        "{}|{}|{}",
        id.gvk,
        or(&id.namespace, "~X"),
        or(&id.name, "~N")
    )
}
