//! Running hooks on a cluster.

use std::time::Duration;

use flux_errors::chain;
use flux_helm::action::{TestOptions, UninstallOptions, UpgradeOptions, WaitStrategy};
use flux_helm::{HookPhase, Release, Status};
use kind_tests::{CONFIG_MAP, Failure, Kind, Result, ensure};

use crate::bench::{Bench, failure, files};

const JOB_KIND: Kind = Kind("batch/v1", "Job");
const POD: Kind = Kind("v1", "Pod");

fn hook(kind: &str, name: &str, events: &str, policy: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: {kind}\nmetadata:\n  name: {name}\n  annotations:\n    helm.sh/hook: {events}\n    helm.sh/hook-delete-policy: {policy}\n{spec}"
    )
}

fn job(name: &str, events: &str, policy: &str, extra: &str) -> String {
    let spec = format!(
        "spec:\n  backoffLimit: 0\n{extra}  template:\n    spec: {{restartPolicy: Never, containers: [{{name: c, image: example.com/job}}]}}\n"
    );
    hook("batch/v1\nkind: Job", name, events, policy, &spec)
}

fn map(name: &str, events: &str, policy: &str) -> String {
    hook(
        "v1\nkind: ConfigMap",
        name,
        events,
        policy,
        "data: {is: hook}\n",
    )
}

fn phases(release: &Release) -> Vec<(&str, HookPhase)> {
    let hooks = release.hooks.iter();
    hooks
        .map(|hook| (hook.name.as_str(), hook.last_run.phase))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hook_jobs_must_complete_and_other_hooks_are_ready_at_once() -> Result {
    let all = [
        job(
            "migrate",
            "pre-install,pre-upgrade",
            "before-hook-creation",
            "",
        ),
        map("note", "post-install", "hook-succeeded"),
        map("stays", "pre-install", "hook-failed"),
        map("last", "post-delete", "hook-failed"),
    ]
    .concat();
    let ours = Bench::new("helm-hooks", &files(&[("templates/hooks.yaml", &all)])).await?;
    let release = ours.install("{}").await?;
    let ran = phases(&release);
    ensure!(
        ran.iter()
            .all(|(name, phase)| (*phase == HookPhase::Succeeded) == (*name != "last")),
        "{ran:?}"
    );
    let first = ours
        .namespace
        .get(JOB_KIND, "migrate")
        .await?
        .unwrap_or_default();
    // HE-HOOK-010, HC-WAIT-009
    ensure!(first["status"]["succeeded"] == 1, "{first}");
    // HE-HOOK-015
    ensure!(
        first["metadata"]["labels"]["app.kubernetes.io/managed-by"].is_null(),
        "{first}"
    );
    // HE-HOOK-013
    ensure!(
        ours.namespace.get(CONFIG_MAP, "note").await?.is_none(),
        "note stays"
    );
    ensure!(
        ours.namespace.get(CONFIG_MAP, "stays").await?.is_some(),
        "stays went"
    );

    ours.upgrade("{}").await?;
    let second = ours
        .namespace
        .get(JOB_KIND, "migrate")
        .await?
        .unwrap_or_default();
    // HE-HOOK-006
    ensure!(
        second["metadata"]["uid"] != first["metadata"]["uid"],
        "the old Job was not deleted before the new one was created"
    );
    let gone = ours.uninstall(UninstallOptions::default()).await?;
    ensure!(gone.result.is_ok(), "{:?}", gone.result);
    // HE-HOOK-015: hooks are not deleted; HE-HOOK-016: the one of the stored record has run
    for (name, there) in [("stays", true), ("last", true)] {
        let found = ours.namespace.get(CONFIG_MAP, name).await?.is_some();
        ensure!(found == there, "{name} is there: {found}");
    }
    Ok(())
}

// HE-HOOK-010 HE-HOOK-011 HE-HOOK-012
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_hook_job_fails_the_release() -> Result {
    let nowhere = "  activeDeadlineSeconds: 1\n";
    let all = [
        map("a-first", "pre-install,pre-upgrade", "hook-succeeded"),
        job(
            "b-broken",
            "pre-install,pre-upgrade",
            "hook-failed",
            nowhere,
        )
        .replace(
            "restartPolicy",
            "nodeSelector: {no: such-node}, restartPolicy",
        ),
        map("c-never", "pre-install,pre-upgrade", "hook-failed"),
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: object}\n".to_owned(),
    ]
    .concat();
    let mut ours = Bench::new("helm-hook-fails", &files(&[("templates/all.yaml", &all)])).await?;
    let failed = ours.try_install("{}", |_| {}).await?;
    let error = failure(failed.result);
    let error = error.replace(ours.namespace.name(), "ns");
    ensure!(
        error
            == "failed pre-install: failed early due to stalled resources: [Job/ns/b-broken status: 'Failed']",
        "{error}"
    );
    let info = failed.release.info.clone().unwrap_or_default();
    ensure!(
        info.description.replace(ours.namespace.name(), "ns")
            == format!("Release \"web\" failed: {error}"),
        "{}",
        info.description
    );
    ensure!(
        phases(&failed.release)
            == [
                ("a-first", HookPhase::Succeeded),
                ("c-never", HookPhase::None),
                ("b-broken", HookPhase::Failed)
            ],
        "{:?}",
        phases(&failed.release)
    );
    for name in ["a-first", "c-never", "object"] {
        ensure!(
            ours.namespace.get(CONFIG_MAP, name).await?.is_none(),
            "{name}"
        );
    }
    ensure!(
        ours.namespace.get(JOB_KIND, "b-broken").await?.is_none(),
        "b-broken"
    );

    // With Helm 3's wait.
    ours.options.wait = WaitStrategy::Legacy;
    let purged = ours.uninstall(UninstallOptions::default()).await?;
    ensure!(purged.result.is_ok(), "{:?}", purged.result);
    let error = ours.install_error().await?;
    ensure!(
        error == "failed pre-install: job b-broken failed: DeadlineExceeded",
        "{error}"
    );
    ours.options.wait = WaitStrategy::Watcher;

    // One that runs longer than the timeout.
    let slow = job("slow", "pre-upgrade", "hook-failed", "").replace(
        "restartPolicy",
        "nodeSelector: {no: such-node}, restartPolicy",
    );
    ours.change(&files(&[("templates/all.yaml", &slow)]))?;
    ours.options.timeout = Duration::from_secs(1);
    let late = ours.try_upgrade("{}", UpgradeOptions::default()).await?;
    let error = failure(late.result);
    let error = error.replace(ours.namespace.name(), "ns");
    ensure!(
        error
            == "pre-upgrade hooks failed: timeout waiting for: [Job/ns/slow status: 'InProgress']",
        "{error}"
    );
    Ok(())
}

// HE-HOOK-008 HE-HOOK-009 HE-KUBE-011
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_do_not_adopt_existing_objects() -> Result {
    let hook = map("taken", "pre-install", "hook-succeeded");
    let mut ours = Bench::new("helm-hook-taken", &files(&[("templates/hook.yaml", &hook)])).await?;
    let there = "{apiVersion: v1, kind: ConfigMap, metadata: {name: taken}, data: {is: another's}}";
    ours.namespace.apply(there).await?;
    let our = ours.install_error().await?;
    ensure!(
        our.starts_with("failed pre-install: warning: Hook pre-install web/templates/hook.yaml failed: conflict occurred while applying object ns/taken /v1, Kind=ConfigMap: Apply failed with 1 conflict: "),
        "{our}"
    );
    let purged = ours.uninstall(UninstallOptions::default()).await?;
    ensure!(purged.result.is_ok(), "{:?}", purged.result);
    let theirs = ours.helm_error(&["install", "web"])?;
    ensure!(our == theirs, "{our}\n{theirs}");

    // Client-side it is created, and so must not exist.
    let purged = ours.uninstall(UninstallOptions::default()).await?;
    ensure!(purged.result.is_ok(), "{:?}", purged.result);
    ours.method = flux_helm::action::ApplyMethod::ClientSide;
    let our = ours.install_error().await?;
    ensure!(
        our == "failed pre-install: warning: Hook pre-install web/templates/hook.yaml failed: configmaps \"taken\" already exists",
        "{our}"
    );
    Ok(())
}

// HE-ACT-039 HE-HOOK-010 HE-HOOK-017
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_is_a_pod_that_succeeds() -> Result {
    let pod = |name: &str| {
        let spec =
            "spec: {restartPolicy: Never, containers: [{name: c, image: example.com/test}]}\n";
        hook("v1\nkind: Pod", name, "test", "before-hook-creation", spec)
    };
    let all = [pod("passes"), pod("fails")].concat();
    let ours = Bench::new("helm-test", &files(&[("templates/tests.yaml", &all)])).await?;
    ours.install("{}").await?;
    for (name, phase, result) in [
        ("passes", "Succeeded", Ok(())),
        (
            "fails",
            "Failed",
            Err(
                "failed early due to stalled resources: [Pod/ns/fails status: 'Failed']".to_owned(),
            ),
        ),
    ] {
        let options = TestOptions {
            include: vec![name.to_owned()],
            exclude: Vec::new(),
        };
        let action = ours.releaser().test("web", &options).await;
        let action = action.map_err(|error| Failure::new(chain(&error)))?;
        let (performed, ended) = tokio::join!(ours.perform(action), async {
            let is_up = |pod: &serde_json::Value| pod["status"]["phase"] == "Running";
            ours.namespace.wait(POD, name, "runs", is_up).await?;
            let status = serde_json::json!({"phase": phase});
            ours.namespace.set_status(POD, name, status).await
        });
        ended?;
        let performed = performed?;
        let told = performed
            .result
            .map_err(|error| chain(&error).replace(ours.namespace.name(), "ns"));
        ensure!(told == result, "{name}: {told:?}");
        let record = ours
            .releaser()
            .records()
            .get("web", 1)
            .await?
            .unwrap_or_default();
        ensure!(record.status() == Status::Deployed, "{}", record.status());
        let hook = record.hooks.iter().find(|hook| hook.name == name);
        let told = hook.map(|hook| format!("{:?}", hook.last_run.phase));
        ensure!(told.as_deref() == Some(phase), "{name}: {told:?}");
    }
    Ok(())
}

// HE-HOOK-008
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hooks_of_an_uninstallation_are_applied_server_side() -> Result {
    let hooks = [
        map("before", "pre-install", "hook-failed"),
        map("after", "post-delete", "hook-failed"),
    ]
    .concat();
    let mut ours = Bench::new("helm-hook-method", &files(&[("templates/h.yaml", &hooks)])).await?;
    ours.method = flux_helm::action::ApplyMethod::ClientSide;
    ours.install("{}").await?;
    let gone = ours.uninstall(UninstallOptions::default()).await?;
    ensure!(gone.result.is_ok(), "{:?}", gone.result);
    for (name, operation) in [("before", "Update"), ("after", "Apply")] {
        let live = ours.namespace.get(CONFIG_MAP, name).await?;
        let live = live.unwrap_or_default();
        let managed = &live["metadata"]["managedFields"][0];
        ensure!(
            managed["operation"] == operation && managed["manager"] == "helm-controller",
            "{name}: {managed}"
        );
    }
    Ok(())
}
