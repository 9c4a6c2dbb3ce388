//! Applies the built objects to the cluster (KC-SSA rows).

use std::collections::HashSet;
use std::sync::Arc;

use flux_api::kustomize::Kustomization;
use flux_apply::ignore::{IgnoreError, IgnoreRules};
use flux_apply::{ChangeSet, Failed, Memory, Options, Watched, apply_in_stages};
use flux_cluster::managers::{Cleanup, FieldManager, Operation};
use flux_cluster::{Cluster, ObjectId};
use flux_runtime::Run;

use super::build::Prepared;
use super::owner::{self, FIELD_MANAGER, mark};
use super::plan::Plan;
use super::reason::KustomizationReason;

/// Why objects were not applied.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    #[error(
        "{0} is SOPS encrypted, configuring decryption is required for this secret to be reconciled"
    )]
    Encrypted(ObjectId),
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
    /// Boxed, since it carries the changes made so far.
    #[error(transparent)]
    Apply(Box<Failed>),
}

impl From<Failed> for ApplyError {
    fn from(failed: Failed) -> Self {
        Self::Apply(Box::new(failed))
    }
}

/// What is known of the objects before they are read.
pub(super) struct Known<'k> {
    /// Knows their states without a request.
    pub(super) watched: Option<Arc<dyn Watched>>,
    /// Those that no earlier run has applied.
    pub(super) new: HashSet<ObjectId>,
    /// The states in which the last run has left them.
    pub(super) memory: &'k mut Memory,
}

/// Applies the built objects and emits an event that lists the changes.
pub(super) async fn apply(
    run: &Run<Kustomization>,
    plan: &Plan<'_>,
    cluster: &Cluster,
    prepared: &Prepared,
    known: Known<'_>,
) -> Result<ChangeSet, ApplyError> {
    let options = Options {
        watched: known.watched,
        new: known.new,
        ..options(plan)?
    };
    let applied = apply_in_stages(cluster, &prepared.objects, &options, known.memory).await?;
    if !applied.changes.is_empty() {
        tracing::info!(
            revision = plan.revision(),
            kv = change_log(&applied, plan.policy.group_change_log),
            "server-side apply completed"
        );
    }
    let lines = applied.changed_lines();
    if !lines.is_empty() {
        // KC-EVT-002: the current reason of Ready
        run.event(KustomizationReason::Progressing, lines, &plan.metadata);
    }
    Ok(applied)
}

/// Refuses Secrets that are still SOPS-encrypted.
pub(super) fn check_encryption(cluster: &Cluster, prepared: &Prepared) -> Result<(), ApplyError> {
    match &prepared.encrypted {
        Some(id) => Err(ApplyError::Encrypted(cluster.confidential().shown(id))),
        None => Ok(()),
    }
}

fn options(plan: &Plan<'_>) -> Result<Options, IgnoreError> {
    let policy = plan.policy;
    let take = |prefix: &str, operation| FieldManager {
        prefix: prefix.to_owned(),
        exact: false,
        operation,
    };
    let mut managers = vec![
        take("kubectl", Operation::Apply),
        take("kubectl", Operation::Update),
        take("before-first-apply", Operation::Update),
        take(FIELD_MANAGER, Operation::Update),
    ];
    for manager in &policy.override_managers {
        managers.extend([
            take(manager, Operation::Apply),
            take(manager, Operation::Update),
        ]);
    }
    let merged = vec![mark("ssa", "Merge")];
    // KC-SSA-045: a wrong match would change ownership before anything is checked
    let early = policy.early_override_managers.iter();
    let early = early.flat_map(|manager| {
        [Operation::Apply, Operation::Update].map(|operation| FieldManager {
            prefix: manager.clone(),
            exact: true,
            operation,
        })
    });
    Ok(Options {
        early_takeover: Cleanup {
            managers: early.collect(),
            exclusions: merged.clone(),
            ..Cleanup::default()
        },
        force: plan.spec().force,
        force_selector: vec![mark("force", "enabled")],
        exclusions: owner::not_applied(),
        if_not_present: vec![mark("ssa", "IfNotPresent")],
        custom_stage: policy.custom_stage.clone(),
        // Fields and annotations of kubectl, earlier versions of Flux and its predecessor (KC-SSA-023, KC-SSA-024)
        cleanup: Cleanup {
            annotations: [
                "kubectl.kubernetes.io/last-applied-configuration",
                "kustomize.toolkit.fluxcd.io/checksum",
                "fluxcd.io/sync-checksum",
            ]
            .map(str::to_owned)
            .to_vec(),
            labels: vec!["fluxcd.io/sync-gc-mark".to_owned()],
            managers,
            exclusions: merged,
        },
        migrate_api_version: policy.migrate_api_version,
        ignore: IgnoreRules::compile(&plan.spec().ignore)?,
        concurrency: policy.concurrent_ssa,
        known_by: Some(plan.selector()),
        ..Options::default()
    })
}

/// The changes as text for the log: one line per object, or grouped by action (KC-SSA-036).
fn change_log(changes: &ChangeSet, grouped: bool) -> String {
    let mut output = serde_json::Map::new();
    for change in &changes.changes {
        let action = change.action.as_str();
        if grouped {
            let group = output
                .entry(action)
                .or_insert_with(|| serde_json::json!([]));
            if let Some(group) = group.as_array_mut() {
                group.push(change.id.to_string().into());
            }
        } else {
            output.insert(change.id.to_string(), action.into());
        }
    }
    serde_json::json!({ "output": output }).to_string()
}
