//! The real flux command on every kind of source.

#[path = "support/servers.rs"]
mod servers;
mod support;

use std::process::Command;

use kind_tests::controller::Settings;
use kind_tests::{
    BUCKET, CONFIG_MAP, Cluster, Controller, GIT_REPOSITORY, HELM_CHART, HELM_REPOSITORY,
    KUSTOMIZATION, Kind, Namespace, OCI_REPOSITORY, Result, SHARD_LABEL, ensure, flux_cli,
};
use object_stores::{ACCESS_KEY, SECRET_KEY};
use serde_json::{Value, json};

use crate::servers::{APP, Servers};

const HELM_RELEASE: Kind = Kind("helm.toolkit.fluxcd.io/v2", "HelmRelease");

/// Runs flux in the namespace; what it prints, and whether it succeeds.
fn try_flux(namespace: &Namespace, arguments: &[&str]) -> Result<(bool, String)> {
    let output = Command::new(flux_cli::program()?)
        .args(arguments)
        .args(["--namespace", namespace.name(), "--timeout", "60s"])
        .env("KUBECONFIG", namespace.cluster().kubeconfig())
        .output()?;
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok((output.status.success(), text.concat()))
}

fn flux(namespace: &Namespace, arguments: &[&str]) -> Result<String> {
    let (succeeded, text) = try_flux(namespace, arguments)?;
    ensure!(succeeded, "flux {} failed:\n{text}", arguments.join(" "));
    Ok(text)
}

/// The cells of the row of a table that begins with this name.
fn row(table: &str, name: &str) -> Vec<String> {
    let line = table.lines().find(|line| {
        let first = line.split('\t').next().unwrap_or_default();
        first.trim() == name
    });
    // The command ends each row with a tab.
    let cells = line.unwrap_or_default().trim_end().split('\t');
    cells.map(|cell| cell.trim().to_owned()).collect()
}

/// The kinds: the word of the command, and how `flux get sources all` names an object of it.
const KINDS: [(Kind, &str, &str); 5] = [
    (GIT_REPOSITORY, "git", "gitrepository/app"),
    (OCI_REPOSITORY, "oci", "ocirepository/app"),
    (BUCKET, "bucket", "bucket/app"),
    (HELM_REPOSITORY, "helm", "helmrepository/app"),
    (HELM_CHART, "chart", "helmchart/app"),
];

/// A revision as the command shows it: hexadecimal digits are cut.
fn shown(object: &Value) -> String {
    let revision = object["status"]["artifact"]["revision"].as_str();
    let revision = revision.unwrap_or_default();
    match revision.rsplit_once(':') {
        Some((head, hex)) => format!("{head}:{}", hex.get(..8).unwrap_or(hex)),
        None => revision.to_owned(),
    }
}

/// Creates an object of each kind, which the command waits for.
fn create(namespace: &Namespace, servers: &Servers) -> Result {
    let label = format!("--label={SHARD_LABEL}={}", namespace.name());
    let (git, charts) = (servers.git.url("app.git"), servers.git.url("charts/small"));
    let oci = format!("oci://{}", servers.registry.repository(APP));
    let store = servers.store.address().to_string();
    for arguments in [
        &["git", "app", "--branch=main", "--url", &git][..],
        &["oci", "app", "--tag=latest", "--url", &oci],
        &[
            "bucket",
            "app",
            "--bucket-name=app",
            "--insecure",
            "--region=us-east-1",
            "--access-key",
            ACCESS_KEY,
            "--secret-key",
            SECRET_KEY,
            "--endpoint",
            &store,
        ],
        &["helm", "app", "--url", &charts],
        &["chart", "app", "--source=HelmRepository/app", "--chart=web"],
        &["helm", "static", "--url=oci://127.0.0.1:1/charts"],
    ] {
        let all = [&["create", "source"], arguments, &["--interval=1h", &label]].concat();
        // DI-ACT-009
        flux(namespace, &all)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flux_creates_shows_changes_and_deletes_sources() -> Result {
    let Some(servers) = Servers::start().await else {
        return Ok(());
    };
    servers.publish("1.0.0", "one").await?;
    let namespace = Namespace::create(&Cluster::shared().await?, "cli-sources").await?;
    let settings = Settings::default();
    let _controller = Controller::start("source-controller", &namespace, settings).await?;
    create(&namespace, &servers)?;

    // DI-GET-001, DI-GET-004
    let all = flux(&namespace, &["get", "sources", "all"])?;
    for (kind, word, name) in KINDS {
        let object = namespace.wait_ready(kind, "app", "True").await?;
        let cells = row(&all, name);
        ensure!(
            cells.get(1..4) == Some(&[shown(&object), "False".into(), "True".into()][..]),
            "{word}: {cells:?}\n{all}"
        );
        let one = flux(&namespace, &["get", "sources", word])?;
        ensure!(row(&one, "app").get(1..) == cells.get(1..), "{one}");
    }
    let cells = row(&all, "helmrepository/static");
    ensure!(
        cells.get(3..) == Some(&["True".to_owned(), "Helm repository is Ready".to_owned()][..]),
        "{cells:?}"
    );

    // DI-ACT-001, DI-ACT-005
    servers.publish("2.0.0", "two").await?;
    for (kind, word, _) in KINDS {
        let told = flux(&namespace, &["reconcile", "source", word, "app"])?;
        let object = namespace.wait_ready(kind, "app", "True").await?;
        let revision = object["status"]["artifact"]["revision"].as_str();
        let want = format!("fetched revision {}", revision.unwrap_or_default());
        ensure!(told.contains(&want), "{want}: {told}");
    }
    let chart = namespace.get(HELM_CHART, "app").await?.unwrap_or_default();
    assert_eq!(chart["status"]["artifact"]["revision"], "2.0.0");
    // DI-ACT-002
    let told = flux(&namespace, &["reconcile", "source", "helm", "static"])?;
    ensure!(
        told.contains("reconciliation not supported by the object"),
        "{told}"
    );

    // DI-ACT-006
    for (kind, word, _) in KINDS {
        flux(&namespace, &["suspend", "source", word, "app"])?;
        let table = flux(&namespace, &["get", "sources", word])?;
        ensure!(
            row(&table, "app").get(2).is_some_and(|cell| cell == "True"),
            "{table}"
        );
        let (succeeded, text) = try_flux(&namespace, &["reconcile", "source", word, "app"])?;
        ensure!(
            !succeeded && text.contains("resource is suspended"),
            "{text}"
        );
        let told = flux(&namespace, &["resume", "source", word, "app"])?;
        ensure!(told.contains("fetched revision"), "{told}");
        namespace.wait_ready(kind, "app", "True").await?;
    }

    // DI-ACT-012: what is exported makes the same object again
    for (kind, word, _) in KINDS {
        let text = flux(&namespace, &["export", "source", word, "app"])?;
        let exported: Value = serde_saphyr::from_str(text.trim_start_matches("---"))?;
        let object = namespace.get(kind, "app").await?.unwrap_or_default();
        ensure!(exported["status"].is_null(), "{text}");
        ensure!(
            exported["apiVersion"] == kind.0 && exported["kind"] == kind.1,
            "{text}"
        );
        for (field, value) in object["spec"].as_object().into_iter().flatten() {
            // The command writes durations in its own way, and leaves out what is false.
            if ["interval", "timeout"].contains(&field.as_str()) || *value == json!(false) {
                continue;
            }
            ensure!(exported["spec"][field] == *value, "{word} {field}: {text}");
        }
    }

    // DI-GET-011, DI-GET-012, DI-GET-014
    for (kind, ..) in KINDS {
        let of = format!("{}/app", kind.1);
        let events = flux(&namespace, &["events", "--for", &of])?;
        ensure!(events.contains("Normal"), "{of}: {events}");
    }
    let stats = flux(&namespace, &["stats"])?;
    let cells = row(&stats, "GitRepository/v1");
    let counts = if cells.is_empty() || cells[0].is_empty() {
        row(&stats, "GitRepository")
    } else {
        cells
    };
    ensure!(counts.get(1).is_some_and(|count| count == "1"), "{stats}");

    traced(&namespace).await?;

    // DI-ACT-008
    for (kind, word, _) in KINDS.into_iter().rev() {
        flux(&namespace, &["delete", "source", word, "app", "--silent"])?;
        namespace.wait_gone(kind, "app").await?;
    }
    Ok(())
}

/// What comes of each source is traced back to it. The objects of other controllers are as those would write them.
async fn traced(namespace: &Namespace) -> Result {
    // The command shows no Buckets.
    for kind in [GIT_REPOSITORY, OCI_REPOSITORY] {
        let object = namespace.get(kind, "app").await?.unwrap_or_default();
        let revision = object["status"]["artifact"]["revision"].clone();
        let name = kind.1.to_lowercase();
        let applied = json!({
            "apiVersion": KUSTOMIZATION.0, "kind": KUSTOMIZATION.1, "metadata": {"name": name},
            "spec": {"interval": "1h", "prune": true, "path": "./", "sourceRef": {"kind": kind.1, "name": "app"}}});
        namespace.apply(&applied.to_string()).await?;
        let status = json!({"lastAppliedRevision": revision, "conditions": [{"type": "Ready", "status": "True",
            "reason": "ReconciliationSucceeded", "message": "Applied", "lastTransitionTime": "2026-01-02T03:04:05Z"}]});
        namespace.set_status(KUSTOMIZATION, &name, status).await?;
        let labels = json!({
            "kustomize.toolkit.fluxcd.io/name": name, "kustomize.toolkit.fluxcd.io/namespace": namespace.name()});
        let traced = trace(namespace, &name, &labels).await?;
        // DI-GET-015
        for line in [
            format!("{}: ", kind.1),
            revision.as_str().unwrap_or_default().to_owned(),
            "Last reconciled at".to_owned(),
        ] {
            ensure!(traced.contains(&line), "{line}: {traced}");
        }
    }

    let release = json!({
        "apiVersion": HELM_RELEASE.0, "kind": HELM_RELEASE.1, "metadata": {"name": "release"},
        "spec": {"interval": "1h", "chart": {"spec": {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "app"}}}}});
    namespace.apply(&release.to_string()).await?;
    let status = json!({"helmChart": format!("{}/app", namespace.name()), "conditions": [{"type": "Ready", "status": "True",
        "reason": "InstallSucceeded", "message": "Installed", "lastTransitionTime": "2026-01-02T03:04:05Z"}]});
    namespace
        .set_status(HELM_RELEASE, "release", status)
        .await?;
    let labels = json!({"helm.toolkit.fluxcd.io/name": "release", "helm.toolkit.fluxcd.io/namespace": namespace.name()});
    let traced = trace(namespace, "release", &labels).await?;
    for line in ["HelmRelease: ", "HelmRepository: ", "HelmChart: ", "2.0.0"] {
        ensure!(traced.contains(line), "{line}: {traced}");
    }
    Ok(())
}

/// Traces a ConfigMap with these labels.
async fn trace(namespace: &Namespace, name: &str, labels: &Value) -> Result<String> {
    let object = json!({"apiVersion": CONFIG_MAP.0, "kind": CONFIG_MAP.1, "metadata": {"name": name, "labels": labels}});
    namespace.apply(&object.to_string()).await?;
    flux(namespace, &["trace", "configmap", name])
}
