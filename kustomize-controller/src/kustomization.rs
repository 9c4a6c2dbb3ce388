//! The Kustomization kind: from an artifact to objects on a cluster.

mod apply;
mod build;
mod clusters;
mod dependencies;
mod health;
mod history;
mod inventory;
mod memories;
mod plan;
mod prune;
mod remote;
mod source;
mod variables;
pub(crate) mod watches;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use build::Builder;
pub(crate) use clusters::Clusters;
use flux_api::kustomize::Kustomization;
use flux_api::meta::GoDuration;
use flux_apply::Confidential;
use flux_apply::inventory::of as inventory_of;
use flux_apply::order::GroupKind;
use flux_artifact::{FetchError, Fetcher, TreeCache};
use flux_runtime::policy::{Stalls, Start, SuspendedStatus, Suspension};
use flux_runtime::queue::Key;
use flux_runtime::{Failure, Outcome, Pace, Reconciler, Run, Settings};
use flux_tree::{Tree, TreePath};
use kube::ResourceExt;
pub(crate) use memories::Memories;
use plan::Timings;
pub(crate) use remote::Remotes;
use source::Resolved;
pub(crate) use source::{Access, Sources};
pub(crate) use variables::Configs;

/// The group of the kind, which marks what it owns.
const GROUP: &str = "kustomize.toolkit.fluxcd.io";
/// The name under which objects are applied (KC-PROC-049).
pub(crate) const FIELD_MANAGER: &str = "kustomize-controller";

/// How the frame treats the kind.
pub(crate) const SETTINGS: Settings = Settings {
    conditions: &[health::HEALTHY],
    start: Start::ByReconciler,
    suspension: Suspension {
        message: "Reconciliation is suspended for this object",
        status: SuspendedStatus::ObservedIfReady,
    },
    stalls: Stalls::Fail,
    ..Settings::new("kustomization")
};

/// What the flags say about every Kustomization.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) access: Access,
    pub(crate) requeue_dependency: Duration,
    pub(crate) default_service_account: String,
    pub(crate) concurrent_ssa: usize,
    pub(crate) override_managers: Vec<String>,
    pub(crate) custom_stage: std::collections::BTreeSet<GroupKind>,
    pub(crate) fail_fast: bool,
    /// Whether health checks read the objects of a kind together even where they are few (KC-PROC-030).
    pub(crate) health_by_kind: bool,
    pub(crate) cancel_health_checks: bool,
    pub(crate) group_change_log: bool,
    pub(crate) migrate_api_version: bool,
    pub(crate) workload_identity: bool,
}

/// The reconciler of Kustomizations.
pub(crate) struct Kustomizations {
    pub(crate) policy: Policy,
    pub(crate) sources: Sources,
    pub(crate) configs: Configs,
    pub(crate) fetcher: Fetcher,
    /// For artifacts of source-watcher, which outside a cluster is elsewhere (KC-PROC-043).
    pub(crate) watcher_fetcher: Fetcher,
    pub(crate) trees: TreeCache,
    pub(crate) clusters: Clusters,
    pub(crate) builder: Builder,
    pub(crate) memories: Memories,
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
        self.builder.forget(key);
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
            .map_err(|error| failed("ReconciliationFailed")(error.into()))?
            .within(timings.timeout);
        let variables = variables::of(run, &self.configs).await.map_err(Arc::new);
        let built = self
            .builder
            .build(
                run.key(),
                object,
                &source.artifact.digest,
                &tree,
                &path,
                variables.as_ref(),
                timings.timeout,
            )
            .await
            .map_err(|error| {
                // Other runs have the memory that this one needs: sooner or later they give it back.
                let pace = if error.is_busy() {
                    Pace::BackOff
                } else {
                    Pace::Exactly(timings.retry)
                };
                Failure::retry("BuildFailed", Failed::from(error), pace)
            })?;
        let mut confidential = confidential(variables.as_ref().ok());
        for text in &built.confidential {
            confidential.add(text.as_bytes());
        }
        let cluster = cluster.masking(confidential);
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
        let found = run.status.inventory.clone();
        inventory::reserve(run, &cluster, &built.objects, timings).await?;
        let applied = self.apply(run, object, &cluster, &built, source).await;
        let applied = applied.map_err(|error| {
            run.status.inventory.clone_from(&found); // KC-SSA-033
            failed("ReconciliationFailed")(error)
        })?;

        let before = found.unwrap_or_default();
        let after = inventory_of(&applied);
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

    /// The files of the artifact, from memory where another run has had them (KC-SRC-007..010). The download ends within
    /// `spec.timeout`, whatever the server does.
    async fn fetch(&self, source: &Resolved, timings: &Timings) -> Result<Arc<Tree>, Failure> {
        let artifact = &source.artifact;
        let fetcher = if artifact.url.contains("//source-watcher") {
            &self.watcher_fetcher
        } else {
            &self.fetcher
        };
        let failed = |error| fetch_failure(error, timings, self.policy.requeue_dependency);
        let digest = Fetcher::digest(&artifact.digest)
            .map_err(|error| failed(Arc::new(FetchError::from(error))))?;
        let load = {
            let (fetcher, url, digest) = (fetcher.clone(), artifact.url.clone(), digest.clone());
            move || {
                let (fetcher, url, digest) = (fetcher.clone(), url.clone(), digest.clone());
                async move { fetcher.fetch(&url, &digest).await }
            }
        };
        let fetch = self.trees.get(&artifact.url, &digest, load);
        if let Ok(fetched) = tokio::time::timeout(timings.timeout, fetch).await {
            fetched.map_err(failed)
        } else {
            let message = format!(
                "failed to download archive: GET {}: context deadline exceeded",
                flux_http::shown_text(&artifact.url)
            );
            let pace = Pace::Exactly(timings.retry);
            Err(Failure::retry("ArtifactFailed", message, pace))
        }
    }
}

/// What follows an artifact that could not be fetched.
fn fetch_failure(error: Arc<FetchError>, timings: &Timings, recheck: Duration) -> Failure {
    let pace = match &*error {
        FetchError::NotFound => {
            // KC-SRC-008: the source is being built anew
            let message = format!(
                "Source is not ready, artifact not found, retrying in {}",
                GoDuration::from(recheck)
            );
            return Failure::waiting("ArtifactFailed", message, recheck);
        }
        // Other reconciles give their memory back soon.
        FetchError::Memory(exhausted) if exhausted.is_too_large() => {
            Pace::Exactly(timings.interval)
        }
        FetchError::Memory(_) => Pace::BackOff,
        _ => Pace::Exactly(timings.retry),
    };
    Failure::retry("ArtifactFailed", error, pace)
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The values of Secrets that went into the objects: no message may show them (KC-SUB-009).
fn confidential(variables: Option<&variables::Inputs>) -> Confidential {
    let mut confidential = Confidential::default();
    let inputs = variables.into_iter();
    for value in inputs.flat_map(|inputs| inputs.variables.secret_values()) {
        confidential.add(value);
    }
    confidential
}

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
