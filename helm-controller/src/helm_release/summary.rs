//! The conditions of a HelmRelease, and Ready as their summary (HC-EVT-001, HC-EVT-005 to HC-EVT-007).

use flux_api::helm::HelmRelease;
use flux_helm::DigestAlgorithm;
use flux_release::post_render::{common_metadata_digest, post_renderers_digest};
use flux_runtime::Run;
use flux_runtime::conditions::{ConditionType, Conditions, Status};

use super::settings;

/// Condition: whether the last installation or upgrade succeeded.
pub(super) const RELEASED: ConditionType = ConditionType::new("Released");
/// Condition: whether the tests of the release succeeded.
pub(super) const TEST_SUCCESS: ConditionType = ConditionType::new("TestSuccess");
/// Condition: whether a failed release was remediated.
pub(super) const REMEDIATED: ConditionType = ConditionType::new("Remediated");
/// Condition: whether the cluster has changed since the release was made.
pub(super) const DRIFTED: ConditionType = ConditionType::new("Drifted");

/// Computes Ready, and records the digests of what the release was made with besides the chart and the values. Tests that are
/// disabled leave no condition (HC-TEST-012).
pub(super) fn summarize(run: &mut Run<HelmRelease>, algorithm: DigestAlgorithm) {
    let object = run.object().clone();
    let tests = settings::tests_enabled(&object);
    if !tests {
        run.conditions.remove(TEST_SUCCESS);
    }
    let tests_count = tests && !settings::test_failures_ignored(&object);
    if let Some((kind, status)) = decisive(&run.conditions, tests_count) {
        run.set_ready_from(kind, status);
    }
    let (post_renderers, common_metadata) = observed_digests(&object, algorithm);
    run.status.observed_post_renderers_digest = some(post_renderers);
    run.status.observed_common_metadata_digest = some(common_metadata);
}

/// The digests of the post-renderers and of the common metadata; empty without (HC-ACT-042).
pub(super) fn observed_digests(
    object: &HelmRelease,
    algorithm: DigestAlgorithm,
) -> (String, String) {
    (
        post_renderers_digest(algorithm, &object.spec.post_renderers),
        common_metadata_digest(algorithm, object.spec.common_metadata.as_ref()),
    )
}

/// The condition that Ready follows, and the status of Ready: of those for the newest generation the first in order. What was
/// remediated is not ready.
fn decisive(conditions: &Conditions, tests_count: bool) -> Option<(ConditionType, Status)> {
    let order = [
        Some(REMEDIATED),
        tests_count.then_some(TEST_SUCCESS),
        Some(RELEASED),
    ];
    let mut best: Option<(i64, ConditionType, Status)> = None;
    for kind in order.into_iter().flatten() {
        let Some(condition) = conditions.get(kind) else {
            continue;
        };
        let generation = condition.observed_generation.unwrap_or_default();
        if best.is_none_or(|(newest, ..)| generation > newest) {
            best = Some((generation, kind, condition.status));
        }
    }
    let (_, kind, status) = best?;
    let status = if kind == REMEDIATED {
        Status::False
    } else {
        status
    };
    Some((kind, status))
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
