//! The Kustomization kind: from an artifact to objects on a cluster.

mod build;
mod clusters;
mod dependencies;
mod health;
mod history;
mod plan;
mod remote;
mod source;
mod variables;
pub(crate) mod watches;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flux_api::kustomize::{DeletionPolicy, Kustomization, KustomizationStatus};
use flux_api::meta::{GoDuration, ResourceInventory};
use flux_apply::ignore::IgnoreRules;
use flux_apply::managers::{Cleanup, FieldManager, Operation};
use flux_apply::normalise::normalise;
use flux_apply::order::GroupKind;
use flux_apply::{
    ChangeSet, Cluster, Memory, Metadata, Object, Options as ApplyOptions, PruneOptions,
    apply_in_stages, delete_all, inventory, is_encrypted_secret, wait_for_termination,
};
use flux_artifact::{FetchError, Fetcher, TreeCache};
use flux_runtime::conditions::{RECONCILING, STALLED};
use flux_runtime::controller::FINALIZER;
use flux_runtime::queue::Key;
use flux_runtime::{Failure, Outcome, Pace, Reconciler, Run, Settings};
use flux_tree::{Tree, TreePath};
use kube::ResourceExt;

pub(crate) use build::Cache as Builds;
pub(crate) use clusters::Clusters;
use plan::Timings;
pub(crate) use remote::Remotes;
use source::Resolved;
pub(crate) use source::{Access, Sources};

/// The group of the kind, which marks what it owns.
const GROUP: &str = "kustomize.toolkit.fluxcd.io";
/// The name under which objects are applied (KC-PROC-049).
pub(crate) const FIELD_MANAGER: &str = "kustomize-controller";
/// Routine runs between two that look at every object although nothing seems to have changed.
const FULL_PASS_EVERY: u32 = 10;

/// How the frame treats the kind.
pub(crate) const SETTINGS: Settings = Settings {
    name: "kustomization",
    finalizer: FINALIZER,
    owned: &["Healthy", "Ready", RECONCILING, STALLED],
    summary: None,
    begins_at_once: false,
    observes_suspended: false,
    stalled_is_error: true,
    measured: true,
    timeout: None,
};

/// What the flags say about every Kustomization.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) access: Access,
    pub(crate) requeue_dependency: Duration,
    pub(crate) default_service_account: String,
    pub(crate) remote_bases: bool,
    pub(crate) concurrent_ssa: usize,
    pub(crate) override_managers: Vec<String>,
    pub(crate) custom_stage: std::collections::BTreeSet<GroupKind>,
    pub(crate) strict_substitution: bool,
    pub(crate) fail_fast: bool,
    pub(crate) cancel_health_checks: bool,
    pub(crate) group_change_log: bool,
    pub(crate) migrate_api_version: bool,
    pub(crate) workload_identity: bool,
}

/// The reconciler of Kustomizations.
pub(crate) struct Kustomizations {
    pub(crate) policy: Policy,
    pub(crate) sources: Sources,
    pub(crate) fetcher: Fetcher,
    /// For artifacts of source-watcher, which outside a cluster is elsewhere (KC-PROC-043).
    pub(crate) watcher_fetcher: Fetcher,
    pub(crate) trees: TreeCache,
    pub(crate) clusters: Clusters,
    pub(crate) remotes: Remotes,
    pub(crate) builds: build::Cache,
    pub(crate) memories: Memories,
}

/// What is remembered of each Kustomization's objects.
#[derive(Default)]
pub(crate) struct Memories(Mutex<HashMap<Key, Remembered>>);

#[derive(Default)]
struct Remembered {
    memory: Memory,
    /// What the memory is of: other manifests or another identity start anew.
    of: String,
    routine_runs: u32,
}

impl Memories {
    /// Takes the memory for one run, emptied where a full pass is due. A run that fails before it puts it back loses it,
    /// and the next one looks at everything.
    fn take(&self, key: &Key, of: &str) -> Remembered {
        let mut remembered = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key)
            .unwrap_or_default();
        if remembered.of != of || remembered.routine_runs >= FULL_PASS_EVERY {
            remembered.memory.forget();
            remembered.routine_runs = 0;
            of.clone_into(&mut remembered.of);
        }
        remembered.routine_runs += 1;
        remembered
    }

    fn put(&self, key: Key, remembered: Remembered) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, remembered);
    }

    fn forget(&self, key: &Key) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

impl Reconciler for Kustomizations {
    type Kind = Kustomization;

    fn suspended(&self, object: &Kustomization) -> bool {
        object.spec.suspend
    }

    async fn reconcile(&self, run: &mut Run<Kustomization>) -> Result<Outcome, Failure> {
        let object = run.object().clone();
        let timings = Timings::of(&object);
        plan::refuse_unsupported(&object, self.policy.workload_identity)?;
        let source = self
            .sources
            .resolve(&object, self.policy.access, self.policy.requeue_dependency)
            .await?;
        let revision = source.artifact.revision.clone();
        let metadata = metadata_of(&source);
        if let Err(failure) =
            dependencies::ready(run, &revision, self.policy.requeue_dependency).await
        {
            let wait = GoDuration::from(self.policy.requeue_dependency);
            let message = format!("Dependencies do not meet ready condition, retrying in {wait}");
            run.event("DependencyNotReady", message, &metadata);
            return Err(failure);
        }

        let mut entry = None;
        let result = self
            .bring_about(run, &object, &source, &timings, &mut entry)
            .await;
        if let Some(entry) = entry {
            let status = match &result {
                Ok(()) => Some("ReconciliationSucceeded"),
                Err(failure) => Some(failure.reason).filter(|reason| {
                    matches!(
                        *reason,
                        "ReconciliationFailed" | "PruneFailed" | "HealthCheckFailed"
                    )
                }),
            };
            if let Some(status) = status {
                let took = run.elapsed();
                history::record(
                    &mut run.status.history,
                    &entry,
                    status,
                    took,
                    jiff::Timestamp::now(),
                );
            }
        }
        result.map_err(|failure| Failure {
            metadata: metadata.clone(),
            ..failure
        })?;

        let message = format!(
            "Reconciliation finished in {}, next run in {}",
            GoDuration::from(run.elapsed()),
            GoDuration::from(timings.interval)
        );
        tracing::info!(revision, "{message}");
        let mut metadata = metadata;
        metadata.insert("commit_status", "update".to_owned()); // KC-EVT-004
        run.event("ReconciliationSucceeded", message, &metadata);
        Ok(Outcome::ready(
            "ReconciliationSucceeded",
            format!("Applied revision: {revision}"),
            timings.interval,
        ))
    }

    async fn finalize(&self, run: &mut Run<Kustomization>) -> Result<(), Failure> {
        let object = run.object().clone();
        if plan::deletes_objects(&object) {
            self.delete_objects(run, &object).await?;
        }
        Ok(())
    }

    fn forget(&self, key: &Key) {
        self.memories.forget(key);
        self.builds.forget(key);
    }
}

/// What events tell of a source (KC-EVT-003).
fn metadata_of(source: &Resolved) -> BTreeMap<&'static str, String> {
    let mut metadata = BTreeMap::from([("revision", source.artifact.revision.clone())]);
    metadata.extend(
        source
            .origin_revision
            .clone()
            .map(|revision| ("originRevision", revision)),
    );
    metadata
}

fn owner_labels(object: &Kustomization) -> Vec<(String, String)> {
    vec![
        (format!("{GROUP}/name"), object.name_any()),
        (
            format!("{GROUP}/namespace"),
            object.namespace().unwrap_or_default(),
        ),
    ]
}

/// The selector of all objects that belong to a Kustomization.
fn owner_selector(object: &Kustomization) -> String {
    let labels: Vec<String> = owner_labels(object)
        .into_iter()
        .map(|(label, value)| format!("{label}={value}"))
        .collect();
    labels.join(",")
}

/// Objects that are left alone (KC-SSA-015), and those that are not pruned (KC-PRUNE-006).
fn exclusions(prune: bool) -> Vec<(String, String)> {
    let mark = |name: &str, value: &str| (format!("{GROUP}/{name}"), value.to_owned());
    let mut marks = vec![mark("reconcile", "disabled"), mark("ssa", "Ignore")];
    if prune {
        marks.push(mark("prune", "disabled"));
    }
    marks
}

impl Kustomizations {
    /// The steps of a run, once its source and its dependencies are there. `entry` is set as soon as the manifests are
    /// known, for the history.
    async fn bring_about(
        &self,
        run: &mut Run<Kustomization>,
        object: &Kustomization,
        source: &Resolved,
        timings: &Timings,
        entry: &mut Option<history::Entry>,
    ) -> Result<(), Failure> {
        let revision = &source.artifact.revision;
        let failed = |reason: &'static str| {
            move |error: Failed| Failure::retry(reason, error, Pace::Exactly(timings.retry))
        };
        let step = |doing: &str| {
            format!(
                "{doing} for revision {revision} with a timeout of {}",
                GoDuration::from(timings.timeout)
            )
        };
        if run.status.last_applied_revision.as_ref() != Some(revision) {
            run.hurry();
        }

        run.unready("Reconciliation in progress");
        run.progress(step("Fetching manifests")).await?;
        let tree = self.fetch(source, timings).await?;
        let path =
            build_path(&tree, object.spec.path.as_deref()).map_err(failed("ArtifactFailed"))?;

        run.status.last_attempted_revision = Some(revision.clone());
        run.progress(step("Building manifests")).await?;
        let cluster = self
            .clusters
            .acting_as(object, &self.policy.default_service_account)
            .map_err(|error| failed("ReconciliationFailed")(error.into()))?;
        let variables = variables::of(run)
            .await
            .map_err(|error| failed("BuildFailed")(error.into()))?;
        let built = self
            .build(
                run.key(),
                object,
                &source.artifact.digest,
                &tree,
                &path,
                &variables,
            )
            .await
            .map_err(|error| failed("BuildFailed")(error.into()))?;
        let mut revisions = BTreeMap::from([("revision".to_owned(), revision.clone())]);
        revisions.extend(
            source
                .origin_revision
                .clone()
                .map(|revision| ("originRevision".to_owned(), revision)),
        );
        *entry = Some(history::Entry {
            digest: built.digest.clone(),
            metadata: revisions,
        });

        run.progress(step("Detecting drift")).await?;
        let applied = self
            .apply(run, object, &cluster, &built.objects, source)
            .await;
        let applied = applied.map_err(failed("ReconciliationFailed"))?;

        let before = run.status.inventory.take().unwrap_or_default();
        let after = inventory::of(&applied);
        run.status.inventory = Some(after.clone());
        self.prune(run, object, &cluster, &before, &after, source)
            .await
            .map_err(|(reason, error)| failed(reason)(error))?;

        health::check(
            self,
            run,
            object,
            &cluster,
            &applied,
            &built.objects,
            source,
            timings,
        )
        .await?;

        run.status.last_applied_revision = Some(revision.clone());
        run.status
            .last_applied_origin_revision
            .clone_from(&source.origin_revision);
        Ok(())
    }

    /// The files of the artifact, from memory where another run has had them (KC-SRC-007..010).
    async fn fetch(&self, source: &Resolved, timings: &Timings) -> Result<Arc<Tree>, Failure> {
        let artifact = &source.artifact;
        let fetcher = if artifact.url.contains("//source-watcher") {
            &self.watcher_fetcher
        } else {
            &self.fetcher
        };
        let digest = Fetcher::digest(&artifact.digest).map_err(FetchError::from);
        let tree = match digest {
            Ok(digest) => {
                self.trees
                    .get(&digest, || fetcher.fetch(&artifact.url, &digest))
                    .await
            }
            Err(error) => Err(error),
        };
        tree.map_err(|error| match error {
            FetchError::NotFound => {
                // KC-SRC-008: the source is being built anew
                let recheck = self.policy.requeue_dependency;
                let message = format!(
                    "Source is not ready, artifact not found, retrying in {}",
                    GoDuration::from(recheck)
                );
                Failure::waiting("ArtifactFailed", message, recheck)
            }
            error => Failure::retry("ArtifactFailed", error, Pace::Exactly(timings.retry)),
        })
    }

    async fn apply(
        &self,
        run: &mut Run<Kustomization>,
        object: &Kustomization,
        cluster: &Cluster,
        built: &[Object],
        source: &Resolved,
    ) -> Result<ChangeSet, Failed> {
        if let Some(secret) = built
            .iter()
            .find(|object| is_encrypted_secret(object) && !is_decryption_disabled(object))
        {
            return Err(format!(
                "{} is SOPS encrypted, configuring decryption is required for this secret to be reconciled",
                secret.id()
            )
            .into());
        }
        let objects = prepare(built.to_vec(), object);
        let options = self.apply_options(object)?;
        let of = format!(
            "{} {} {}",
            run.generation(),
            cluster_identity(object, &self.policy),
            build::digest_of(&objects)
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

    /// Deletes what earlier runs applied and this one did not (KC-PRUNE-003..010). What could not be deleted stays in the
    /// inventory.
    async fn prune(
        &self,
        run: &mut Run<Kustomization>,
        object: &Kustomization,
        cluster: &Cluster,
        before: &ResourceInventory,
        after: &ResourceInventory,
        source: &Resolved,
    ) -> Result<(), (&'static str, Failed)> {
        let stale = inventory::stale(before, after)
            .map_err(|error| ("ReconciliationFailed", error.into()))?;
        if !object.spec.prune || stale.is_empty() {
            return Ok(());
        }
        // Should this process die while it deletes, the next one must find both in the inventory.
        let mut both = after.clone();
        inventory::keep_survivors(&mut both, &stale, &ChangeSet::default());
        run.status.inventory = Some(both);
        run.patch_now()
            .await
            .map_err(|failure| ("PruneFailed", Failed::from(failure.cause.to_string())))?;

        let options = PruneOptions {
            owned_by: owner_labels(object),
            exclusions: exclusions(true),
        };
        let pruned = delete_all(cluster, &stale, &options).await;
        let mut inventory = after.clone();
        if pruned.error.is_some() {
            inventory::keep_survivors(&mut inventory, &stale, &pruned.changes);
        }
        run.status.inventory = Some(inventory);
        if let Some(error) = pruned.error {
            return Err(("PruneFailed", error.into()));
        }
        if !pruned.changes.changes.is_empty() {
            tracing::info!("garbage collection completed: {}", pruned.changes);
            run.event(
                "Progressing",
                pruned.changes.to_string(),
                &metadata_of(source),
            );
        }
        Ok(())
    }

    /// Deletes the objects of a Kustomization that is itself being deleted (KC-PRUNE-014..021).
    async fn delete_objects(
        &self,
        run: &mut Run<Kustomization>,
        object: &Kustomization,
    ) -> Result<(), Failure> {
        let status = run.status.clone();
        let metadata = last_metadata(&status);
        let reason = last_reason(&run.conditions);
        // Ids that cannot be read are an error in a normal run; here they would keep the object for ever (KC-PRUNE-022).
        let objects = inventory::list(&status.inventory.unwrap_or_default()).unwrap_or_default();

        let account = self
            .clusters
            .account_exists(object, &self.policy.default_service_account)
            .await;
        if !account
            .map_err(|error| Failure::retry("PruneFailed", error, Pace::BackOff).quietly())?
        {
            let ids: Vec<String> = objects
                .iter()
                .map(|tracked| tracked.id.to_string())
                .collect();
            let message = format!("unable to prune objects: \n{}", ids.join("\n"));
            tracing::error!(
                error = "skipping pruning, failed to find account to impersonate",
                "{message}"
            );
            run.warn(reason, message, &metadata);
            return Ok(());
        }
        let cluster = self
            .clusters
            .acting_as(object, &self.policy.default_service_account);
        let cluster = cluster
            .map_err(|error| Failure::retry("PruneFailed", error, Pace::BackOff).quietly())?;
        let options = PruneOptions {
            owned_by: owner_labels(object),
            exclusions: exclusions(true),
        };
        let pruned = delete_all(&cluster, &objects, &options).await;
        if let Some(error) = pruned.error {
            run.warn(reason, "pruning for deleted resource failed", &metadata);
            return Err(Failure::retry("PruneFailed", error, Pace::BackOff).quietly());
        }
        if pruned.changes.changes.is_empty() {
            return Ok(());
        }
        run.event(reason, pruned.changes.to_string(), &metadata);
        if object.spec.deletion_policy == Some(DeletionPolicy::WaitForTermination) {
            let timeout = Timings::of(object).timeout;
            let waited = run
                .idle(wait_for_termination(&cluster, &pruned.changes, timeout))
                .await;
            if let Err(error) = waited {
                let message = "failed to wait for resources termination";
                tracing::error!(error = error.to_string(), "{message}");
                run.warn(reason, message, &metadata);
            }
        }
        Ok(())
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The folder to build, kept below the root of the artifact (KC-SRC-014, KC-SRC-015).
fn build_path(tree: &Tree, path: Option<&str>) -> Result<TreePath, Failed> {
    let path = TreePath::root().join_clamped(path.unwrap_or_default())?;
    let resolved = tree.resolve(&path)?;
    if !tree.is_dir(&resolved) && !tree.is_file(&resolved) {
        return Err(format!(
            "kustomization path not found: stat {path}: no such file or directory"
        )
        .into());
    }
    Ok(resolved)
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

fn cluster_identity(object: &Kustomization, policy: &Policy) -> String {
    clusters::account(object, &policy.default_service_account).unwrap_or_default()
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

/// What events tell of the revision that was last applied.
fn last_metadata(status: &KustomizationStatus) -> BTreeMap<&'static str, String> {
    let mut metadata = BTreeMap::new();
    metadata.extend(
        status
            .last_applied_revision
            .clone()
            .map(|revision| ("revision", revision)),
    );
    metadata.extend(
        status
            .last_applied_origin_revision
            .clone()
            .map(|revision| ("originRevision", revision)),
    );
    metadata
}

/// The reason of Ready as one of the closed set, for an event of the deletion (KC-PRUNE-021).
fn last_reason(conditions: &flux_runtime::conditions::Conditions) -> &'static str {
    const REASONS: [&str; 13] = [
        "ReconciliationSucceeded",
        "ReconciliationFailed",
        "ArtifactFailed",
        "BuildFailed",
        "PruneFailed",
        "HealthCheckFailed",
        "HealthCheckCanceled",
        "DependencyNotReady",
        "AccessDenied",
        "InvalidCELExpression",
        "FeatureGateDisabled",
        "Progressing",
        "DirectoryCreationFailed",
    ];
    let reason = conditions
        .get("Ready")
        .map(|ready| ready.reason.as_str())
        .unwrap_or_default();
    REASONS
        .into_iter()
        .find(|known| *known == reason)
        .unwrap_or("info")
}
