//! Public charts, released by the controller and read by the real helm.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use kind_tests::helm_cli::{Helm, program};
use kind_tests::{
    CONFIG_MAP, DEPLOYMENT, Failure, HELM_CHART, HELM_RELEASE, Kind, Result, SECRET, ensure,
    is_ready,
};
use serde_json::{Value, json};

use crate::bench::{Bench, history};

/// Charts of the conformance data whose objects all have a namespace, so that tests do not meet in them.
const CHARTS: [&str; 26] = [
    "alertmanager",
    "alertmanager-snmp-notifier",
    "jiralert",
    "podinfo",
    "prom-label-proxy",
    "prometheus-blackbox-exporter",
    "prometheus-conntrack-stats-exporter",
    "prometheus-consul-exporter",
    "prometheus-couchdb-exporter",
    "prometheus-druid-exporter",
    "prometheus-elasticsearch-exporter",
    "prometheus-fastly-exporter",
    "prometheus-ipmi-exporter",
    "prometheus-json-exporter",
    "prometheus-kafka-exporter",
    "prometheus-memcached-exporter",
    "prometheus-modbus-exporter",
    "prometheus-mongodb-exporter",
    "prometheus-mysql-exporter",
    "prometheus-nats-exporter",
    "prometheus-nginx-exporter",
    "prometheus-pgbouncer-exporter",
    "prometheus-pingdom-exporter",
    "prometheus-pushgateway",
    "prometheus-redis-exporter",
    "prometheus-sql-exporter",
];

/// Runs a program, and returns what it prints.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure::new(format!("{command:?}: {error}")))
}

/// Unpacks the charts below a folder.
fn unpack(folder: &Path) -> Result<PathBuf> {
    let archive =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../kind-tests/conformance/helm/charts.tar.gz");
    let mut tar = Command::new("tar");
    output(tar.arg("xzf").arg(archive).arg("-C").arg(folder))?;
    Ok(folder.join("charts"))
}

/// The kinds and names in a stream of documents.
fn objects(manifest: &str) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let (documents, end) = flux_chart::documents(manifest.as_bytes());
    end?;
    for document in documents {
        let object = flux_yaml::sigs::yaml_to_json(document)?;
        let object = flux_yaml::json::to_string(&object, flux_yaml::json::Escape::Plain)?;
        let object: Value = serde_json::from_str(&object)?;
        if object["kind"].is_string() {
            found.insert(format!("{} {}", object["kind"], object["metadata"]["name"]));
        }
    }
    Ok(found)
}

async fn released(bench: &Bench, name: &str, revision: usize) -> Result<Value> {
    let wanted = format!("{revision} deployed ");
    let at = |object: &Value| {
        is_ready(object, "True")
            && history(object)
                .first()
                .is_some_and(|first| first.starts_with(&wanted))
            && kind_tests::condition(object, "Reconciling").is_none()
    };
    let goal = format!("is released as revision {revision}");
    bench.namespace.wait(HELM_RELEASE, name, &goal, at).await
}

// HC-REL-010, HC-REL-011
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn public_charts_are_released_as_helm_renders_them() -> Result {
    let bench = Bench::start("hr-charts").await?;
    let ns = bench.namespace.name().to_owned();
    let folder = tempfile::tempdir()?;
    let charts = unpack(folder.path())?;
    let spec = |name: &str, round: &str| {
        json!({"chartRef": {"name": name}, "install": {"disableWait": true},
            "upgrade": {"disableWait": true}, "uninstall": {"disableWait": true},
            "commonMetadata": {"labels": {"round": round}}})
    };
    for name in CHARTS {
        let packed = folder.path().join(format!("{name}.tgz"));
        let mut tar = Command::new("tar");
        let tar = tar.arg("czf").arg(&packed).arg("-C").arg(&charts);
        output(tar.arg(name))?;
        let archive = std::fs::read(&packed)?;
        let file = format!("{name}.tgz");
        let artifact = bench.artifacts.put_bytes(&file, "1.0.0", archive);
        bench.serve(HELM_CHART, name, &artifact).await?;
        bench.release_named(name, spec(name, "one")).await?;
    }
    for name in CHARTS {
        released(&bench, name, 1).await?;
        bench.release_named(name, spec(name, "two")).await?;
    }
    let helm = program(Helm::V4)?;
    for name in CHARTS {
        let object = released(&bench, name, 2).await?;
        let mut template = Command::new(&helm);
        let template = template.arg("template").arg(name).arg(charts.join(name));
        let theirs = output(template.args(["--namespace", &ns, "--skip-tests", "--no-hooks"]))?;
        let mut get = Command::new(&helm);
        let get = get
            .args(["get", "manifest", name, "--namespace", &ns])
            .env("KUBECONFIG", bench.namespace.cluster().kubeconfig());
        let ours = output(get)?;
        let (ours, theirs) = (objects(&ours)?, objects(&theirs)?);
        ensure!(
            ours == theirs && !ours.is_empty(),
            "{name}: {ours:?} {theirs:?}"
        );
        let listed = object["status"]["inventory"]["entries"].as_array();
        ensure!(listed.map(Vec::len) == Some(ours.len()), "{name}: {object}");
    }
    for name in CHARTS {
        bench.namespace.delete(HELM_RELEASE, name).await?;
    }
    for name in CHARTS {
        bench.namespace.wait_gone(HELM_RELEASE, name).await?;
    }
    for kind in [
        DEPLOYMENT,
        Kind("apps/v1", "DaemonSet"),
        Kind("apps/v1", "StatefulSet"),
        Kind("v1", "Service"),
        Kind("rbac.authorization.k8s.io/v1", "Role"),
        SECRET,
    ] {
        let left = bench.namespace.names(kind).await?;
        ensure!(left.is_empty(), "{}: {left:?}", kind.1);
    }
    let left = bench.namespace.names(CONFIG_MAP).await?;
    ensure!(left == ["kube-root-ca.crt"], "{left:?}");
    Ok(())
}
