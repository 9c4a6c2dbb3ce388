//! Unresponsive clusters, and records that the server rejects.

use flux_cluster::Cluster;
use flux_errors::chain;
use flux_helm::action::{
    InstallOptions, RollbackOptions, TestOptions, UninstallOptions, UpgradeOptions,
};
use flux_helm::{Release, Status};
use flux_release::{BeginError, FIELD_MANAGER, Options, Records, Releaser};
use kind_tests::{Result, SECRET, ensure, free_ports};

use crate::bench::{Bench, files};

// HE-ACT-001
#[tokio::test]
async fn an_unreachable_cluster_is_reported_before_other_errors() -> Result {
    let [port] = free_ports()?;
    let config = kube::Config::new(format!("http://127.0.0.1:{port}").parse()?);
    let cluster = Cluster::new(kube::Client::try_from(config)?, FIELD_MANAGER);
    let releaser = Releaser::new(cluster, "apps", Options::default());
    // The name is invalid, but the cluster is checked first.
    let install = releaser
        .install(InstallOptions::new("NO NAME", "apps"))
        .await
        .err();
    let told = install
        .as_ref()
        .map(|error| chain(error))
        .unwrap_or_default();
    let prefix = "cluster reachability check failed: kubernetes cluster unreachable: ";
    ensure!(
        told.starts_with(prefix) && told.len() > prefix.len(),
        "{told}"
    );
    let others: [Option<BeginError>; 4] = [
        releaser
            .upgrade("NO NAME", UpgradeOptions::default())
            .await
            .err(),
        releaser
            .rollback("NO NAME", &RollbackOptions::default())
            .await
            .err(),
        releaser
            .uninstall("NO NAME", UninstallOptions::default())
            .await
            .err(),
        releaser
            .test("NO NAME", &TestOptions::default())
            .await
            .err(),
    ];
    for error in others {
        let told = error.as_ref().map(|error| chain(error)).unwrap_or_default();
        let prefix = "kubernetes cluster unreachable: ";
        ensure!(
            told.starts_with(prefix) && told.len() > prefix.len(),
            "{told}"
        );
    }
    Ok(())
}

/// Incompressible text.
fn noise(bytes: usize) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'!' + ((state >> 33) % 90) as u8)
    };
    (0..bytes).map(|_| next()).collect()
}

#[tokio::test]
async fn rejected_records_are_reported_with_the_servers_message() -> Result {
    let bench = Bench::new("helm-records", &files(&[])).await?;
    let namespace = &bench.namespace;
    let records = bench.releaser();
    let records: &Records = records.records();
    let mut record = Release {
        name: "web".to_owned(),
        namespace: namespace.name().to_owned(),
        revision: 1,
        ..Release::default()
    };
    record.set_status(Status::PendingInstall, "x");
    let told = |result: Result<_, flux_release::RecordsError>| {
        let stored = |_: Option<flux_release::Newest>| "stored".to_owned();
        result.map_or_else(|error| chain(&error), stored)
    };
    record.labels.insert("team".to_owned(), "a".to_owned());
    // HE-REL-013, HC-REL-003: the first and the last write each set a time
    for stamp in ["createdAt", "modifiedAt"] {
        let stored = match stamp {
            "createdAt" => records.create(&record).await,
            _ => records.update(&record).await,
        };
        ensure!(told(stored) == "stored", "{stamp}");
        let secret = namespace.get(SECRET, "sh.helm.release.v1.web.v1").await?;
        let secret = secret.unwrap_or_default();
        let labels = secret["metadata"]["labels"].as_object();
        let labels: Vec<&str> = labels
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .collect();
        let mut wanted = vec![stamp, "name", "owner", "status", "team", "version"];
        wanted.sort_unstable();
        ensure!(labels == wanted, "{labels:?}");
        ensure!(secret["type"] == "helm.sh/release.v1", "{}", secret["type"]);
        // HC-REL-008
        let metadata = &secret["metadata"];
        ensure!(
            metadata["annotations"].is_null() && metadata["ownerReferences"].is_null(),
            "{metadata}"
        );
    }
    // HC-REL-005
    let twice = told(records.create(&record).await);
    ensure!(twice == "release: already exists", "{twice}");

    // HE-ACT-040, HC-REL-008, HC-REL-015
    for (bytes, want) in [
        (
            2_000_000,
            "Secret \"sh.helm.release.v1.web.v2\" is invalid: data: Too long: may not be more than 1048576 bytes",
        ),
        (6_000_000, "Request entity too large: limit is 3145728"),
    ] {
        let mut large = record.clone();
        large.revision = 2;
        large.manifest = noise(bytes);
        let error = told(records.create(&large).await);
        ensure!(
            error == format!("create: failed to create: {want}"),
            "{error}"
        );
        large.revision = 1;
        let error = told(records.update(&large).await);
        let want = want.replace("web.v2", "web.v1");
        ensure!(
            error == format!("update: failed to update: {want}"),
            "{error}"
        );
    }
    let mut missing = record.clone();
    missing.revision = 7;
    let error = told(records.update(&missing).await);
    ensure!(
        error == "update: failed to update: secrets \"sh.helm.release.v1.web.v7\" not found",
        "{error}"
    );

    // HC-REL-006: unreadable records are skipped in lists, and an error when requested individually
    namespace
        .apply("{apiVersion: v1, kind: Secret, type: helm.sh/release.v1, metadata: {name: sh.helm.release.v1.web.v3, labels: {name: web, owner: helm, version: '3'}}, stringData: {release: '%%'}}")
        .await?;
    let history = records.history("web").await?;
    ensure!(history.len() == 1 && history[0] == record, "{history:?}");
    let broken = records.get("web", 3).await.err();
    let broken = broken.map(|error| chain(&error)).unwrap_or_default();
    ensure!(
        broken.starts_with(
            "get: failed to decode data \"sh.helm.release.v1.web.v3\": release record is not base64"
        ),
        "{broken}"
    );
    ensure!(records.get("web", 4).await?.is_none(), "there is no fourth");
    records.delete("web", 1).await?;
    records.delete("web", 1).await?;
    ensure!(records.history("web").await?.is_empty(), "it is there");
    Ok(())
}

// HE-ACT-040 HE-REL-017
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_applied_if_the_record_cannot_be_stored() -> Result {
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: map}}\n# {}\n",
        noise(700_000).replace(['{', '}'], "x")
    );
    let ours = Bench::new("helm-too-large", &files(&[("templates/map.yaml", &text)])).await?;
    let our = ours.install_error().await?;
    ensure!(
        our == "create: failed to create: Secret \"sh.helm.release.v1.web.v1\" is invalid: data: Too long: may not be more than 1048576 bytes",
        "{our}"
    );
    let theirs = ours.helm_error(&["install", "web"])?;
    ensure!(theirs.ends_with(&our), "{theirs}");
    let map = ours.namespace.get(kind_tests::CONFIG_MAP, "map").await?;
    ensure!(map.is_none(), "it was applied");
    Ok(())
}

// FR-H-010
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_as_large_as_helms_and_have_no_subcharts() -> Result {
    let dashboards = noise(900_000);
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\n";
    let alone = files(&[
        ("templates/map.yaml", map),
        ("dashboards/a.json", &dashboards),
    ]);
    let mut ours = Bench::new("helm-packaged", &alone).await?;
    let our = ours.install_error().await?;
    let too_long = "data: Too long: may not be more than 1048576 bytes";
    ensure!(our.ends_with(too_long), "{our}");
    let theirs = ours.helm_error(&["install", "web"])?;
    ensure!(theirs.ends_with(&our), "{theirs}");
    // The same as a dependency of a chart without anything of its own.
    let wrapped = [
        (
            "Chart.yaml",
            "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{name: a, version: 1.x, repository: ''}]\n",
        ),
        (
            "charts/a/Chart.yaml",
            "apiVersion: v2\nname: a\nversion: 1.0.0\n",
        ),
        ("charts/a/templates/map.yaml", map),
        ("charts/a/dashboards/a.json", &dashboards),
    ];
    ours.change(&wrapped)?;
    ours.install("{}").await?;
    // One that nearly fits does so with either.
    let text = noise(400_000);
    let nearly = files(&[("templates/map.yaml", map), ("dashboards/a.json", &text)]);
    let ours = Bench::new("helm-nearly", &nearly).await?;
    let theirs = Bench::new("helm-nearly-helm", &nearly).await?;
    ours.install("{}").await?;
    let output = theirs.helm(&["install", "web"])?;
    ensure!(output.status.success(), "{output:?}");
    let mut sizes = Vec::new();
    for bench in [&ours, &theirs] {
        let record = bench
            .namespace
            .get(SECRET, "sh.helm.release.v1.web.v1")
            .await?;
        let record = record.unwrap_or_default();
        sizes.push(record["data"]["release"].as_str().map_or(0, str::len));
    }
    // The two compressors choose differently, by a few bytes in a thousand.
    let is_as_small = sizes[0] <= sizes[1] + sizes[1] / 500;
    ensure!(sizes[0] > 500_000 && is_as_small, "{sizes:?}");
    Ok(())
}
