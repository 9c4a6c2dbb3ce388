//! Installation and upgrade (HC-ACT-089 to HC-ACT-099).

use std::time::Instant;

use flux_api::helm::{CRDsPolicy, HelmRelease};
use flux_api::meta::GoDuration;
use flux_helm::action::{Action, ApplyMethod, Draft, InstallOptions, UpgradeOptions};
use flux_helm::{ParsedChart, Release, RenderError, Rendered, TypeMismatch, reuse_values};
use flux_release::{BeginError, CrdPolicy, DefinitionsError, Options, Releaser, now};
use flux_runtime::Run;
use flux_runtime::conditions::Status;

use super::super::decision::Step;
use super::super::logs::Logs;
use super::super::metadata::{metadata, of_snapshot};
use super::super::pass::{ActionFailed, Pass};
use super::super::reason::HelmReleaseReason as R;
use super::super::release::timeout;
use super::super::settings::{self, Attempt};
use super::super::snapshot::{self, full_name, is_tested, latest, versioned_chart};
use super::super::summary::{RELEASED, REMEDIATED, TEST_SUCCESS, summarize};
use super::super::{counters, inventory};
use super::render::render;
use super::{failure_reason, succeeded, success_reason};

/// Why an attempt failed before its action could start.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotStarted {
    /// HC-CRD-002
    #[error(
        "invalid CRD upgrade policy '{0}', valid values are 'Skip', 'Create' or 'CreateReplace'"
    )]
    Policy(String),
    /// HC-ACT-095
    #[error("failed to apply CustomResourceDefinitions")]
    Definitions(#[source] DefinitionsError),
    #[error("failed to apply CustomResourceDefinitions: failed to process chart dependencies")]
    Dependencies(#[source] TypeMismatch),
    #[error(transparent)]
    Begin(#[from] BeginError),
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The cluster's discovery failed.
    #[error("could not get apiVersions from Kubernetes")]
    Capabilities(#[source] flux_cluster::RequestError),
}

/// Installs or upgrades the release.
///
/// # Errors
/// Nothing was stored: only a retry helps, and the failure does not count (HC-ACT-065, HC-ACT-069).
pub(in super::super) async fn make(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
    attempt: Attempt,
) -> Result<(), ActionFailed> {
    let started = Instant::now();
    run.status.last_attempted_release_action = Some(attempt.action());
    if attempt == Attempt::Install {
        run.status.history.clear(); // HC-ACT-077
    }
    run.conditions.remove(TEST_SUCCESS);
    run.conditions.remove(REMEDIATED);
    let logs = Logs::default();
    let started_action = start(pass, attempt, &logs).await;
    pass.tools.charts.keep(&pass.loaded);
    let mut newest = None;
    let (stored, result) = match started_action {
        Ok((releaser, action)) => {
            let performed = pass.perform(run, &releaser, action).await;
            newest = performed.newest;
            (performed.stored, performed.result)
        }
        Err(error) => (Vec::new(), Err(pass.failed(&error))),
    };
    run.status.last_attempted_release_action_duration = Some(GoDuration::from(started.elapsed()));
    let algorithm = pass.tools.policy.digests;
    let action = attempt.action();
    let history = &mut run.status.history;
    let digest = &pass.loaded.oci_digest;
    snapshot::record(history, &stored, algorithm, action.as_str(), digest);
    if let Some(last) = stored.last() {
        pass.remember(run, newest, last);
        take_inventory(pass, run, last).await;
    }
    let result = match result {
        Ok(()) => {
            report_success(pass, run, attempt);
            Ok(())
        }
        Err(error) => {
            report_failure(pass, run, attempt, &error, &logs);
            if stored.is_empty() {
                Err(error)
            } else {
                attempt.count_failure(&mut run.status);
                Ok(())
            }
        }
    };
    summarize(run, algorithm);
    result
}

/// Applies the chart's definitions, checks that the action may start, renders the chart, and starts the action.
async fn start(
    pass: &Pass<'_>,
    attempt: Attempt,
    logs: &Logs,
) -> Result<(Releaser, Action), NotStarted> {
    match attempt {
        Attempt::Install => start_install(pass, logs).await,
        Attempt::Upgrade => start_upgrade(pass, logs).await,
    }
}

async fn start_install(pass: &Pass<'_>, logs: &Logs) -> Result<(Releaser, Action), NotStarted> {
    let object = &pass.object;
    let helm3 = pass.tools.policy.helm3_defaults;
    let spec = object.spec.install.clone().unwrap_or_default();
    let method = settings::install_method(object, helm3);
    let options = Options {
        timeout: timeout(object, Step::Install).to_std(),
        wait: settings::wait_strategy(object, spec.disable_wait, helm3),
        wait_for_jobs: !spec.disable_wait_for_jobs,
        take_ownership: !spec.disable_take_ownership,
        ..Options::default()
    };
    let releaser = pass.releaser(logs, &options);
    definitions(pass, &releaser, spec.crds.as_ref(), method).await?;
    let has_target = object.spec.target_namespace.as_ref();
    let install = releaser.install(InstallOptions {
        replace: spec.replace,
        // HC-ACT-092
        create_namespace: spec.create_namespace && has_target.is_some_and(|name| !name.is_empty()),
        disable_hooks: spec.disable_hooks,
        apply_method: method,
        ..InstallOptions::new(&*pass.name, &*pass.namespace)
    });
    let install = install.await?;
    let chart = pass.loaded.chart.clone();
    let rendered = render(
        pass,
        &releaser,
        chart,
        pass.values.clone(),
        (install.revision(), false),
        spec.disable_schema_validation,
    );
    let rendered = rendered.await?;
    let draft = Draft::new(pass.loaded.chart.chart(), pass.values.clone(), rendered);
    Ok((releaser, install.start(draft, now())))
}

async fn start_upgrade(pass: &Pass<'_>, logs: &Logs) -> Result<(Releaser, Action), NotStarted> {
    let object = &pass.object;
    let helm3 = pass.tools.policy.helm3_defaults;
    let spec = object.spec.upgrade.clone().unwrap_or_default();
    let options = Options {
        timeout: timeout(object, Step::Upgrade).to_std(),
        wait: settings::wait_strategy(object, spec.disable_wait, helm3),
        wait_for_jobs: !spec.disable_wait_for_jobs,
        take_ownership: !spec.disable_take_ownership,
        force: spec.force, // without effect where objects are applied server-side (HC-ACT-094)
        ..Options::default()
    };
    let releaser = pass.releaser(logs, &options);
    let upgrade = releaser.upgrade(
        &pass.name,
        UpgradeOptions {
            disable_hooks: spec.disable_hooks,
            apply_method: settings::later_method(spec.server_side_apply.as_ref()),
            cleanup_on_fail: spec.cleanup_on_fail,
            max_history: settings::max_history(object),
            ..UpgradeOptions::default()
        },
    );
    let upgrade = upgrade.await?;
    definitions(pass, &releaser, spec.crds.as_ref(), upgrade.method()).await?;
    let (mut chart, mut values) = (pass.loaded.chart.clone(), pass.values.clone());
    if spec.preserve_values {
        let mut with_old = chart.chart().clone();
        values = reuse_values(upgrade.base(), &mut with_old, &values);
        chart = ParsedChart::new(with_old);
    }
    let rendered: Rendered = render(
        pass,
        &releaser,
        chart.clone(),
        values.clone(),
        (upgrade.revision(), true),
        spec.disable_schema_validation,
    )
    .await?;
    let draft = Draft::new(chart.chart(), values, rendered);
    Ok((releaser, upgrade.start(draft, now())))
}

/// Applies the definitions in the chart's `crds` folders (HC-CRD rows).
async fn definitions(
    pass: &Pass<'_>,
    releaser: &Releaser,
    policy: Option<&CRDsPolicy>,
    method: ApplyMethod,
) -> Result<(), NotStarted> {
    let policy = match policy {
        Some(CRDsPolicy::Other(other)) if other.is_empty() => CrdPolicy::Create,
        Some(CRDsPolicy::Skip) => CrdPolicy::Skip,
        None | Some(CRDsPolicy::Create) => CrdPolicy::Create, // HC-CRD-001
        Some(CRDsPolicy::CreateReplace) => CrdPolicy::CreateReplace,
        Some(CRDsPolicy::Other(other)) => return Err(NotStarted::Policy(other.clone())),
    };
    let chart = &pass.loaded.chart;
    if chart.chart().crds().is_empty() {
        return Ok(());
    }
    let crds = chart.definitions(&pass.values);
    let crds = crds.map_err(NotStarted::Dependencies)?;
    let origin = (&*pass.key.namespace, &*pass.key.name);
    let applied = releaser
        .apply_definitions(&crds, policy, method, origin)
        .await;
    let applied = applied.map_err(NotStarted::Definitions)?;
    if !applied.ignored.is_empty() {
        // HC-CRD-004
        let kv = serde_json::json!({"nonCRDs": applied.ignored}).to_string();
        tracing::info!(
            kv,
            "warning: ignoring non-CRD resources found in the chart's crds/ directory; the crds/ directory is reserved for CustomResourceDefinition objects only, please move these resources to templates/ in the chart. if the chart is public, please open an issue in the upstream repository to have this fixed"
        );
    }
    Ok(())
}

/// Lists the objects of a record in the status (HC-EVT-018).
pub(super) async fn take_inventory(pass: &Pass<'_>, run: &mut Run<HelmRelease>, record: &Release) {
    let crds = pass.loaded.chart.chart().crds();
    match inventory::of_release(&pass.target.cluster, record, &crds).await {
        Ok(inventory) => {
            if !inventory.warnings.is_empty() {
                let warnings = inventory.warnings.join("; ");
                run.warn(R::NamespaceCheckSkipped, warnings, &[].into());
            }
            run.status.inventory = Some(inventory.resources);
        }
        Err(error) => {
            let error = pass.failed(&error);
            let message = format!("failed to build inventory for {}: {error}", pass.key);
            run.warn(R::InventoryBuildFailed, message, &[].into());
        }
    }
}

/// Reports that the attempt succeeded (HC-EVT-008, HC-EVT-009, HC-TEST-002, HC-ACT-070).
fn report_success(pass: &Pass<'_>, run: &mut Run<HelmRelease>, attempt: Attempt) {
    let Some(current) = latest(&run.status.history).cloned() else {
        return;
    };
    report_made(pass, run, attempt, &current);
}

/// Reports the release of a snapshot as made.
pub(super) fn report_made(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
    attempt: Attempt,
    current: &flux_api::helm::ReleaseSnapshot,
) {
    let (reason, message) = (success_reason(attempt), succeeded(attempt, current));
    run.conditions
        .set(RELEASED, Status::True, reason, &*message);
    if settings::tests_enabled(&pass.object) && !is_tested(current) {
        let pending = format!(
            "Helm release {} with chart {} is awaiting tests",
            full_name(current),
            versioned_chart(current)
        );
        run.conditions
            .set(TEST_SUCCESS, Status::Unknown, R::AwaitingTests, pending);
    }
    let default = pass.tools.policy.default_to_retry;
    if attempt.retry_interval(&pass.object, default).is_some() {
        counters::clear(&mut run.status);
    }
    run.event(reason, message, &of_snapshot(current));
}

/// Reports that the attempt failed (HC-EVT-011, HC-EVT-013, HC-ACT-069).
fn report_failure(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
    attempt: Attempt,
    error: &ActionFailed,
    logs: &Logs,
) {
    let chart = &pass.loaded.chart.chart().metadata;
    let message = format!(
        "Helm {} failed for release {}/{} with chart {}@{}: {error}",
        attempt.word(),
        pass.namespace,
        settings::full_release_name(&pass.object),
        chart.name,
        chart.version
    );
    counters::count_failure(&mut run.status);
    let reason = failure_reason(attempt);
    run.conditions
        .set(RELEASED, Status::False, reason, &*message);
    let about = metadata(
        &chart.version,
        &pass.config_digest,
        &chart.app_version,
        &pass.loaded.oci_digest,
    );
    let key = &pass.key;
    let logged = logs.behind(&message);
    let confidential = pass.target.cluster.confidential();
    let logged = super::super::pass::masked(confidential, key, logged);
    run.warn(reason, logged, &about);
}
