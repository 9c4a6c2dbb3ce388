//! Actions that are interrupted or cannot start, and the newest record.

use flux_errors::chain;
use flux_helm::Status;
use kind_tests::{CONFIG_MAP, Doing as _, Kind, Result, SECRET, ensure};
use serde_json::json;

use crate::bench::{Bench, files};

const JOB: &str = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: job, annotations: {helm.sh/hook: pre-install}}\nspec:\n  template:\n    spec: {restartPolicy: Never, nodeSelector: {no: such-node}, containers: [{name: c, image: example.com/job}]}\n";

// HC-ACT-074
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_installation_is_marked_as_failed() -> Result {
    let ours = Bench::new("helm-shutdown", &files(&[("templates/job.yaml", JOB)])).await?;
    let action = ours.begin_install("{}").await?;
    let namespace = &ours.namespace;
    // The hook is running when the process is asked to end.
    let shutdown = async {
        let started = namespace
            .wait(Kind("batch/v1", "Job"), "job", "exists", |_| true)
            .await;
        started.map(drop).unwrap_or_default();
    };
    let (releaser, mut stored) = (ours.releaser(), |_: &flux_helm::Release| {});
    let never = std::future::pending();
    let performing = releaser.perform_until(action, &mut stored, never, shutdown);
    let performed = namespace.wait_for("it ends", performing).await?;
    let error = performed.result.err().map(|error| chain(&error));
    ensure!(error.as_deref() == Some("context canceled"), "{error:?}");
    let last = releaser
        .records()
        .last("web")
        .await
        .doing("reads the record")?;
    let last = last.unwrap_or_default();
    ensure!(last.status() == Status::Failed, "{}", last.status());
    let description = last.info.unwrap_or_default().description;
    ensure!(
        description == "Release \"web\" failed: context canceled",
        "{description}"
    );
    Ok(())
}

// HE-ENG-023
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_that_cannot_be_rendered_leaves_no_record() -> Result {
    let broken = "a: {{ fail \"no\" }}\n";
    let ours = Bench::new("helm-broken", &files(&[("templates/t.yaml", broken)])).await?;
    let failed = ours.try_install("{}", |_| {}).await;
    ensure!(failed.is_err(), "it was rendered");
    let history = ours.releaser().records().history("web").await?;
    ensure!(history.is_empty(), "there is a record");
    Ok(())
}

// HE-ACT-018
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_kind_in_the_record_blocks_upgrades() -> Result {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\n";
    let ours = Bench::new("helm-removed", &files(&[("templates/map.yaml", map)])).await?;
    let mut release = ours.install("{}").await?;
    release.manifest.push_str(
        "---\napiVersion: policy/v1beta1\nkind: PodSecurityPolicy\nmetadata: {name: p}\n",
    );
    let releaser = ours.releaser();
    releaser.records().update(&release).await?;
    let performed = ours
        .try_upgrade("{}", flux_helm::action::UpgradeOptions::default())
        .await?;
    let error = performed
        .result
        .err()
        .map(|error| chain(&error))
        .unwrap_or_default();
    ensure!(
        error.starts_with("unable to build kubernetes objects from current release manifest: "),
        "{error}"
    );
    let history = releaser.records().history("web").await?;
    ensure!(history.len() == 1, "a revision was stored");
    Ok(())
}

// HE-HOOK-014, FR-H-038
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_policies_of_hooks_are_harmless() -> Result {
    let hook = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map, annotations: {helm.sh/hook: pre-install, helm.sh/hook-output-log-policy: 'hook-succeeded,hook-failed'}}\n";
    let ours = Bench::new("helm-output", &files(&[("templates/map.yaml", hook)])).await?;
    let release = ours.install("{}").await?;
    ensure!(
        release.hooks[0].output_log_policies.len() == 2,
        "{:?}",
        release.hooks[0]
    );
    ensure!(release.status() == Status::Deployed, "{}", release.status());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_record_is_found_by_metadata() -> Result {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {a: {{ .Release.Revision | quote }}}\n";
    let ours = Bench::new("helm-newest", &files(&[("templates/map.yaml", map)])).await?;
    let records = ours.releaser().records().clone();
    ensure!(records.newest("web").await?.is_none(), "there is a record");
    ensure!(records.last("web").await?.is_none(), "there is a record");
    ours.install("{}").await?;
    for _ in 0..10 {
        ours.upgrade("{}").await?;
    }
    // HC-ACT-103: the tenth revision is newer than the ninth.
    let counter = ours.counter()?;
    let newest = records.newest("web").await?;
    let last = records.last("web").await?.unwrap_or_default();
    let requests = counter.requests()?;
    ensure!(
        newest.as_ref().map(|newest| newest.revision) == Some(11),
        "{newest:?}"
    );
    ensure!(
        last.revision == 11 && last.status() == Status::Deployed,
        "{}",
        last.revision
    );
    let reads: Vec<&str> = requests
        .iter()
        .map(|request| request.verb.as_str())
        .collect();
    ensure!(reads == ["list", "list", "get"], "{reads:?}");
    ensure!(
        records.newest("web").await? == newest,
        "an unchanged record has another version"
    );

    // HC-REL-006: a record that cannot be decoded does not count, nor one that was deleted
    let namespace = &ours.namespace;
    let broken = json!({ "data": { "release": "bm90IGEgcmVjb3Jk" } });
    namespace
        .merge(SECRET, "sh.helm.release.v1.web.v11", broken)
        .await?;
    ensure!(
        records.newest("web").await? != newest,
        "a changed record has the same version"
    );
    let last = records.last("web").await?.unwrap_or_default();
    ensure!(last.revision == 10, "{}", last.revision);
    namespace
        .delete(SECRET, "sh.helm.release.v1.web.v11")
        .await?;
    let last = records.last("web").await?.unwrap_or_default();
    ensure!(last.revision == 10, "{}", last.revision);
    ensure!(
        namespace.get(CONFIG_MAP, "map").await?.is_some(),
        "the object is gone"
    );
    Ok(())
}
