//! A release from its installation to its removal.

use kind_tests::requests::Counter;
use kind_tests::{CONFIG_MAP, HELM_RELEASE, Result, SECRET, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, MAP, history};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_installed_upgraded_and_removed() -> Result {
    let bench = Bench::start("hr-life").await?;
    let ns = bench.namespace.name().to_owned();
    let digest = bench.push("1.0.0", &[("templates/map.yaml", MAP)]).await?;
    let chart =
        json!({"chartRef": {"kind": "OCIRepository", "name": "web"}, "values": {"text": "one"}});
    bench.release(chart).await?;
    // HC-EVT-008, HC-CHART-026
    let version = format!("1.0.0+{}", &digest[7..19]);
    let said = format!("Helm install succeeded for release {ns}/web.v1 with chart web@{version}");
    let object = bench.says("True", "InstallSucceeded", &said).await?;
    // HC-ACT-076, HC-ACT-077, HC-ACT-080
    ensure!(history(&object) == ["1 deployed install"], "{object}");
    let snapshot = &object["status"]["history"][0];
    ensure!(
        snapshot["ociDigest"] == digest && snapshot["apiVersion"] == "v2",
        "{snapshot}"
    );
    ensure!(
        snapshot["appVersion"] == "1.0.0" && snapshot["chartName"] == "web",
        "{snapshot}"
    );
    let status = &object["status"];
    // HC-ACT-028, HC-ACT-030, HC-ACT-098
    ensure!(status["storageNamespace"] == *ns, "{status}");
    ensure!(status["lastAttemptedRevision"] == *version, "{status}");
    ensure!(status["lastAttemptedRevisionDigest"] == *digest, "{status}");
    ensure!(
        status["lastAttemptedConfigDigest"] == snapshot["configDigest"],
        "{status}"
    );
    ensure!(
        status["lastAttemptedReleaseAction"] == "install",
        "{status}"
    );
    // HC-ACT-012
    ensure!(status["observedGeneration"] == 1, "{status}");
    ensure!(
        kind_tests::condition(&object, "Reconciling").is_none(),
        "{object}"
    );
    // HC-EVT-018
    ensure!(
        status["inventory"]["entries"]
            == json!([{"id": format!("{ns}_web-map__ConfigMap"), "v": "v1"}]),
        "{status}"
    );
    let map = bench
        .namespace
        .get(CONFIG_MAP, "web-map")
        .await?
        .unwrap_or_default();
    ensure!(
        map["data"] == json!({"version": version, "text": "one"}),
        "{map}"
    );
    // HC-POST-002
    let labels = &map["metadata"]["labels"];
    ensure!(
        labels["helm.toolkit.fluxcd.io/name"] == "web"
            && labels["helm.toolkit.fluxcd.io/namespace"] == *ns,
        "{labels}"
    );
    // HC-EVT-012
    let event = bench.event("InstallSucceeded", &said).await?;
    let metadata = &event["metadata"];
    ensure!(
        metadata["helm.toolkit.fluxcd.io/revision"] == *version,
        "{event}"
    );
    ensure!(
        metadata["helm.toolkit.fluxcd.io/oci-digest"] == *digest,
        "{event}"
    );
    ensure!(
        metadata["helm.toolkit.fluxcd.io/app-version"] == "1.0.0",
        "{event}"
    );
    ensure!(
        metadata["helm.toolkit.fluxcd.io/token"] == snapshot["configDigest"],
        "{event}"
    );

    // HC-EVT-009, HC-ACT-040
    let values =
        json!({"chartRef": {"kind": "OCIRepository", "name": "web"}, "values": {"text": "two"}});
    bench.release(values).await?;
    let said = format!("Helm upgrade succeeded for release {ns}/web.v2 with chart web@{version}");
    let object = bench.says("True", "UpgradeSucceeded", &said).await?;
    ensure!(
        history(&object) == ["2 deployed upgrade", "1 superseded "],
        "{:?}",
        history(&object)
    );
    ensure!(bench.text().await? == "two", "the values");
    // HC-ACT-016, HC-CHART-033
    let moved = bench
        .push(
            "1.0.0",
            &[("templates/map.yaml", &format!("# moved\n{MAP}"))],
        )
        .await?;
    let version = format!("1.0.0+{}", &moved[7..19]);
    let said = format!("web.v3 with chart web@{version}");
    bench.says("True", "UpgradeSucceeded", &said).await?;
    bench
        .wait_revisions(&[(1, "superseded"), (2, "superseded"), (3, "deployed")])
        .await?;

    // HC-UNI-001, HC-UNI-009
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    ensure!(
        bench.namespace.get(CONFIG_MAP, "web-map").await?.is_none(),
        "the map stays"
    );
    ensure!(bench.revisions().await?.is_empty(), "records stay");
    bench
        .event("UninstallSucceeded", "Helm uninstall succeeded for release")
        .await?;
    bench.events.check()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_release_is_left_alone() -> Result {
    let bench = Bench::installed("hr-idle", json!({})).await?;
    bench.run().await?;
    let before = bench.get().await?;
    let events = bench.events.events().len();
    let counter = Counter::start(bench.namespace.cluster(), bench.helm.user())?;
    // HC-ACT-015: the change of a label is no reason to run
    let label = json!({"metadata": {"labels": {"note": "x"}}});
    bench.namespace.merge(HELM_RELEASE, "web", label).await?;
    let after = bench.run().await?;
    let requests = counter.requests()?;
    // The metadata of the record, that no record follows it, and that the request is handled.
    // HC-ACT-104, HC-REMOTE-012: neither records nor kinds are read again
    let seen: Vec<String> = requests
        .iter()
        .map(|request| format!("{} {}", request.verb, request.resource))
        .collect();
    ensure!(
        seen == ["get secrets", "get secrets", "patch helmreleases/status"],
        "{requests:#?}"
    );
    // HC-EVT-023, HC-DRIFT-001: and nothing was compared, since no mode asks for it
    ensure!(bench.events.events().len() == events, "an event");
    let settled = |object: &Value| {
        let mut status = object["status"].clone();
        status["lastHandledReconcileAt"] = Value::Null;
        status
    };
    ensure!(settled(&before) == settled(&after), "{before} {after}");
    bench.wait_revisions(&[(1, "deployed")]).await
}

// HC-ACT-032, HC-ACT-047, HC-ACT-005
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn annotations_and_suspension_are_respected() -> Result {
    let bench = Bench::installed("hr-force", json!({})).await?;
    let annotate = async |token: &str, also: &str| {
        let annotations = json!({"reconcile.fluxcd.io/requestedAt": token, also: token});
        let patch = json!({"metadata": {"annotations": annotations}});
        bench.namespace.merge(HELM_RELEASE, "web", patch).await?;
        let done = |object: &Value| object["status"]["lastHandledReconcileAt"] == token;
        let goal = "handles the request";
        bench.namespace.wait(HELM_RELEASE, "web", goal, done).await
    };
    let forced = annotate("1", "reconcile.fluxcd.io/forceAt").await?;
    ensure!(forced["status"]["lastHandledForceAt"] == "1", "{forced}");
    bench
        .wait_revisions(&[(1, "superseded"), (2, "deployed")])
        .await?;
    let reset = annotate("2", "reconcile.fluxcd.io/resetAt").await?;
    ensure!(reset["status"]["lastHandledResetAt"] == "2", "{reset}"); // HC-ACT-031
    bench
        .wait_revisions(&[(1, "superseded"), (2, "deployed")])
        .await?;

    bench
        .release(json!({"suspend": true, "values": {"text": "later"}}))
        .await?;
    let suspended = |object: &Value| object["status"]["observedGeneration"] == 2;
    let object = bench
        .namespace
        .wait(HELM_RELEASE, "web", "is observed", suspended)
        .await?;
    ensure!(history(&object)[0] == "2 deployed upgrade", "{object}");
    ensure!(bench.text().await? == "default", "it was upgraded");
    // HC-UNI-002
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    ensure!(
        bench.namespace.get(CONFIG_MAP, "web-map").await?.is_some(),
        "the map went"
    );
    let names = bench.namespace.names(SECRET).await?;
    ensure!(
        names.iter().any(|name| name.ends_with("web.v2")),
        "{names:?}"
    );
    Ok(())
}

// HC-ACT-023, HC-ACT-025, HC-ACT-026
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_release_replaces_the_former_one() -> Result {
    let bench = Bench::installed("hr-moved", json!({})).await?;
    let ns = bench.namespace.name().to_owned();
    bench.release(json!({"releaseName": "site"})).await?;
    let said = format!("Helm install succeeded for release {ns}/site.v1");
    let object = bench.says("True", "InstallSucceeded", &said).await?;
    ensure!(history(&object) == ["1 deployed install"], "{object}");
    ensure!(
        bench.namespace.get(CONFIG_MAP, "web-map").await?.is_none(),
        "the former map stays"
    );
    ensure!(
        bench.namespace.get(CONFIG_MAP, "site-map").await?.is_some(),
        "no map"
    );
    ensure!(
        bench.revisions().await?.is_empty(),
        "the former records stay"
    );
    bench
        .event("UninstallSucceeded", &format!("{ns}/web.v1"))
        .await?;
    Ok(())
}
