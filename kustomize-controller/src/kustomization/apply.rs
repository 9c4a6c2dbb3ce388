//! The objects on their way to the cluster (KC-SSA rows).

use flux_api::kustomize::Kustomization;
use flux_apply::ignore::IgnoreRules;
use flux_apply::managers::{Cleanup, FieldManager, Operation};
use flux_apply::normalise::normalise;
use flux_apply::{
    ChangeSet, Cluster, Metadata, Object, Options as ApplyOptions, apply_in_stages,
    is_encrypted_secret,
};
use flux_runtime::Run;
use kube::ResourceExt;

use super::build::Built;
use super::source::Resolved;
use super::{
    FIELD_MANAGER, Failed, GROUP, Kustomizations, clusters, exclusions, metadata_of, owner_labels,
    owner_selector,
};

impl Kustomizations {
    /// Applies what was built and tells of what changed.
    pub(super) async fn apply(
        &self,
        run: &mut Run<Kustomization>,
        object: &Kustomization,
        cluster: &Cluster,
        built: &Built,
        source: &Resolved,
    ) -> Result<ChangeSet, Failed> {
        if let Some(secret) = built
            .objects
            .iter()
            .find(|object| is_encrypted_secret(object) && !is_decryption_disabled(object))
        {
            return Err(format!(
                "{} is SOPS encrypted, configuring decryption is required for this secret to be reconciled",
                secret.id()
            )
            .into());
        }
        let objects = prepare(built.objects.clone(), object);
        let options = self.apply_options(object)?;
        // The labels of the owner and the common metadata follow from the object and its generation.
        let of = format!(
            "{} {} {} {}",
            object.uid().unwrap_or_default(),
            run.generation(),
            clusters::account(object, &self.policy.default_service_account).unwrap_or_default(),
            built.digest
        );
        let key = run.key();
        let mut remembered = self.memories.take(&key, &of);
        let applied = apply_in_stages(cluster, objects, &options, &mut remembered.memory).await;
        self.memories.put(key, remembered);
        let applied = applied?;

        if !applied.changes.is_empty() {
            let revision = &source.artifact.revision;
            tracing::info!(
                revision,
                kv = change_log(&applied, self.policy.group_change_log),
                "server-side apply completed"
            );
        }
        let lines = applied.changed_lines();
        if !lines.is_empty() {
            run.event("Progressing", lines, &metadata_of(source)); // KC-EVT-002: the reason that Ready has now
        }
        Ok(applied)
    }

    fn apply_options(&self, object: &Kustomization) -> Result<ApplyOptions, Failed> {
        let mark = |name: &str, value: &str| vec![(format!("{GROUP}/{name}"), value.to_owned())];
        let take = |prefix: &str, operation| FieldManager {
            prefix: prefix.to_owned(),
            operation,
        };
        let mut managers = vec![
            take("kubectl", Operation::Apply),
            take("kubectl", Operation::Update),
            take("before-first-apply", Operation::Update),
            take(FIELD_MANAGER, Operation::Update),
        ];
        for manager in &self.policy.override_managers {
            managers.extend([
                take(manager, Operation::Apply),
                take(manager, Operation::Update),
            ]);
        }
        Ok(ApplyOptions {
            force: object.spec.force,
            force_selector: mark("force", "enabled"),
            exclusions: exclusions(false),
            if_not_present: mark("ssa", "IfNotPresent"),
            custom_stage: self.policy.custom_stage.clone(),
            // What kubectl, earlier versions of Flux and its predecessor left behind (KC-SSA-023, KC-SSA-024)
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
                exclusions: mark("ssa", "Merge"),
            },
            migrate_api_version: self.policy.migrate_api_version,
            ignore: IgnoreRules::compile(&object.spec.ignore)?,
            concurrency: self.policy.concurrent_ssa,
            known_by: Some(owner_selector(object)),
        })
    }
}

/// The objects as they are applied: normalised, with the owner's labels and the common metadata (KC-SSA-001..007).
fn prepare(mut objects: Vec<Object>, owner: &Kustomization) -> Vec<Object> {
    let labels = owner_labels(owner);
    for object in &mut objects {
        object.set_metadata(
            Metadata::Labels,
            labels.iter().map(|(key, value)| (key, value)),
        );
        normalise(object);
        if let Some(common) = &owner.spec.common_metadata {
            for (part, map) in [
                (Metadata::Labels, &common.labels),
                (Metadata::Annotations, &common.annotations),
            ] {
                object.set_metadata(part, map);
            }
        }
    }
    objects
}

/// Whether an object says that it is meant to stay encrypted (KC-SOPS-013).
fn is_decryption_disabled(object: &Object) -> bool {
    let mark = object
        .metadata(Metadata::Annotations)
        .and_then(|annotations| annotations.get(&format!("{GROUP}/decrypt")));
    mark.and_then(serde_json::Value::as_str)
        .is_some_and(|value| value.eq_ignore_ascii_case("disabled"))
}

/// The changes for the log: by object, or by what was done (KC-SSA-036).
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

#[cfg(test)]
mod tests {
    use flux_api::kustomize::KustomizationSpec;
    use serde_json::json;

    use super::*;

    #[test]
    fn common_metadata_comes_last_and_stays_on_the_surface() {
        // KC-SSA-001, KC-SSA-002, KC-API-020, RT-SSA-004
        let spec = json!({"interval": "1m", "prune": true, "sourceRef": {"kind": "Bucket", "name": "b"},
            "commonMetadata": {"labels": {"team": "new", (format!("{GROUP}/name")): "theirs"}, "annotations": {"a": "b"}}});
        let spec: KustomizationSpec = serde_json::from_value(spec).unwrap();
        let mut owner = Kustomization::new("app", spec);
        owner.metadata.namespace = Some("ns".into());
        let pods = json!({"metadata": {"labels": {"app": "web"}}});
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"team": "old", "own": "x"}},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": pods}});
        let prepared = prepare(vec![Object::new(object).unwrap()], &owner);
        let object = &prepared[0];
        let labels = json!({"team": "new", "own": "x", (format!("{GROUP}/name")): "theirs", (format!("{GROUP}/namespace")): "ns"});
        assert_eq!(object.at(&["metadata", "labels"]), Some(&labels));
        assert_eq!(
            object.at(&["metadata", "annotations"]),
            Some(&json!({"a": "b"}))
        );
        let inner = ["spec", "template", "metadata", "labels"];
        assert_eq!(object.at(&inner), Some(&json!({"app": "web"})));
        let selector = ["spec", "selector", "matchLabels"];
        assert_eq!(object.at(&selector), Some(&json!({"app": "web"})));
    }
}
