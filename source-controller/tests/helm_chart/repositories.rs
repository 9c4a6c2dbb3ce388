//! Charts of repositories over HTTP.

#![expect(clippy::disallowed_methods, reason = "a test names its own objects")]

use git_servers::{Authority, HttpGitServer};
use kind_tests::controller::Settings;
use kind_tests::{HELM_REPOSITORY, Result, SHARD_LABEL, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{message, progress};
use crate::{file, plain, targets, world};

#[tokio::test]
async fn a_chart_is_stored_as_it_is() -> Result {
    let world = plain("chart-http").await?;
    world.publish(&[("web", "1.0.0"), ("web", "1.1.0"), ("web", "2.0.0-rc.1")])?;
    world.charts("charts", "").await?;
    world.chart("web", "charts", "chart: web").await?;
    // SC-HCHART-002, SC-HCHART-022: the highest version that is no pre-release
    let object = world.ready("web").await?;
    let (status, namespace) = (&object["status"], world.namespace.name());
    let artifact = &status["artifact"];
    // SC-HCHART-086
    ensure!(artifact["revision"] == "1.1.0", "{status}");
    // SC-ART-003
    let path = format!("helmchart/{namespace}/web/web-1.1.0.tgz");
    ensure!(artifact["path"] == path.as_str(), "{status}");
    // SC-HCHART-030: the digest of the index, which is wrong, is not compared
    let served = std::fs::read(world.git.root().join("web-1.1.0.tgz"))?;
    ensure!(world.archive(&object)? == served, "another archive");
    // SC-ART-009, SC-ART-010
    let url = status["url"].as_str().unwrap_or_default();
    ensure!(
        url.ends_with(&format!("/helmchart/{namespace}/web/latest.tar.gz")),
        "{url}"
    );
    // SC-HCHART-089
    ensure!(status["observedChartName"] == "web", "{status}");
    // SC-HCHART-006, SC-HCHART-015
    let source = world.namespace.get(HELM_REPOSITORY, "charts").await?;
    let source = source.unwrap_or_default();
    let revision = &source["status"]["artifact"]["revision"];
    ensure!(
        status["observedSourceArtifactRevision"] == *revision,
        "{status}"
    );
    // SC-HCHART-081, SC-HCHART-086
    let summary = "pulled 'web' chart with version '1.1.0'";
    for kind in ["Ready", "ArtifactInStorage"] {
        let text = world
            .condition("web", kind, "True", "ChartPullSucceeded")
            .await?;
        ensure!(text == summary, "{text}");
    }
    // SC-HCHART-087, SC-PROC-085
    let told = world.told("web");
    ensure!(
        told == [("ChartPullSucceeded".to_owned(), summary.to_owned())],
        "{told:?}"
    );
    // SC-HCHART-026, SC-HREPO-028
    let requests = world.git.requests();
    let download = &requests[1];
    ensure!(
        download.target == "/charts/web-1.1.0.tgz"
            && download.user_agent.as_deref() == Some("Helm/4.3")
            && download.authorization.is_none(),
        "{requests:?}"
    );

    // SC-HCHART-032, SC-PROC-087: nothing is downloaded again
    world.reconcile("web").await?;
    let words = "artifact up-to-date with remote revision: '1.1.0'";
    world.recorded("web", "ArtifactUpToDate", words).await?;
    ensure!(targets(&world.git).len() == 2, "{:?}", targets(&world.git));
    // SC-HCHART-032: a new generation is built again
    let exact = json!({"spec": {"version": "1.1.0"}});
    world.namespace.merge(world.kind, "web", exact).await?;
    world.ready("web").await?;
    ensure!(targets(&world.git).len() == 3, "{:?}", targets(&world.git));
    Ok(())
}

// SC-HCHART-010, SC-HCHART-011, SC-HCHART-080
#[tokio::test]
async fn a_new_index_wakes_its_charts() -> Result {
    let settings = Settings::default().telling_progress();
    let world = world("chart-wake", settings, HttpGitServer::builder()).await?;
    world.publish(&[("web", "1.0.0")])?;
    world.charts("charts", "").await?;
    world.chart("web", "charts", "chart: web").await?;
    let spec = "chart: web, version: '1.0.x'";
    world.chart("other", "charts", spec).await?;
    for name in ["web", "other"] {
        world.ready(name).await?;
    }
    world.publish(&[("web", "1.0.0"), ("web", "1.1.0")])?;
    let moved = |object: &Value| {
        object["status"]["artifact"]["revision"] == "1.1.0" && kind_tests::is_ready(object, "True")
    };
    let seen = Box::pin(world.history("web", world.refresh("charts"), moved)).await?;
    let summary = "pulled 'web' chart with version '1.1.0'";
    let outdated = seen.iter().any(|object| {
        message(object, "ArtifactOutdated") == summary
            && message(object, "Reconciling") == format!("building artifact: {summary}")
    });
    ensure!(outdated, "{:?}", progress(&seen));
    let last = seen.last().cloned().unwrap_or_default();
    ensure!(message(&last, "ArtifactOutdated").is_empty(), "{last}");
    // the other one saw the index, too, and kept its chart
    let revision = last["status"]["observedSourceArtifactRevision"].clone();
    let has_seen = |object: &Value| object["status"]["observedSourceArtifactRevision"] == revision;
    let other = world
        .namespace
        .wait(world.kind, "other", "has seen the index", has_seen)
        .await?;
    ensure!(
        other["status"]["artifact"]["revision"] == "1.0.0",
        "{other}"
    );
    Ok(())
}

#[tokio::test]
async fn values_files_are_merged_into_the_chart() -> Result {
    let world = plain("chart-values").await?;
    world.publish(&[("web", "1.0.0+build")])?;
    let files = [
        ("values.yaml", "a: 1 # comment\nb: {x: 1}\n"),
        ("prod.yaml", "b: {w: 2}\n"),
        ("templates/a.yaml", "kind: A\n"),
    ];
    let archive = crate::packed("web", "1.0.0+build", &files);
    std::fs::write(world.git.root().join("web-1.0.0+build.tgz"), archive)?;
    world.charts("charts", "").await?;
    let spec = "chart: web, valuesFiles: [values.yaml, prod.yaml]";
    world.chart("web", "charts", spec).await?;
    // SC-HCHART-031: the generation replaces the build metadata
    let object = world.revision("web", "1.0.0+1").await?;
    let chart = world.loaded(&object)?;
    // SC-HCHART-070, SC-HCHART-071, SC-HCHART-072
    let values = file(&chart, "values.yaml");
    ensure!(values == "a: 1\nb:\n  w: 2\n  x: 1\n", "{values}");
    ensure!(file(&chart, "templates/a.yaml") == "kind: A\n", "{chart:?}");
    ensure!(chart.metadata.version == "1.0.0+1", "{chart:?}");
    let text = world
        .condition("web", "Ready", "True", "ChartPackageSucceeded")
        .await?;
    let summary = "packaged 'web' chart with version '1.0.0+1' and merged values files [values.yaml prod.yaml]";
    ensure!(text == summary, "{text}");
    // SC-HCHART-074
    ensure!(
        object["status"]["observedValuesFiles"].is_null(),
        "{object}"
    );

    let missing = json!({"spec": {"valuesFiles": ["gone.yaml", "prod.yaml"]}});
    world.namespace.merge(world.kind, "web", missing).await?;
    let text = world
        .condition("web", "BuildFailed", "True", "ValuesFilesError")
        .await?;
    ensure!(
        text == "values files merge error: failed to merge chart values: no values file found at path 'gone.yaml'",
        "{text}"
    );
    // SC-HCHART-084
    world
        .condition("web", "Stalled", "True", "ValuesFilesError")
        .await?;
    let ignored = json!({"spec": {"ignoreMissingValuesFiles": true}});
    world.namespace.merge(world.kind, "web", ignored).await?;
    let object = world.revision("web", "1.0.0+3").await?;
    ensure!(
        object["status"]["observedValuesFiles"] == json!(["prod.yaml"]),
        "{object}"
    );
    // SC-HCHART-032: the same files are told of a chart that is kept
    let object = world.reconcile("web").await?;
    let text = message(&object, "Ready");
    ensure!(
        text.ends_with("and merged values files [prod.yaml]"),
        "{text}"
    );
    // SC-HCHART-031: the default alone changes nothing
    let default = json!({"spec": {"valuesFiles": ["values.yaml"]}});
    world.namespace.merge(world.kind, "web", default).await?;
    world.revision("web", "1.0.0+build").await?;
    Ok(())
}

#[tokio::test]
async fn credentials_are_sent_to_the_repository_only() -> Result {
    let authority = Authority::new();
    let cdn = HttpGitServer::builder().files("/cdn").start();
    let server = HttpGitServer::builder()
        .tls(&authority)
        .basic_auth("flux", "s3cret")
        .redirect("/charts/moved", &cdn.url("cdn"));
    let world = world("chart-auth", Settings::default(), server).await?;
    for (name, data) in [
        ("ca", json!({"ca.crt": authority.pem()})),
        ("basic", json!({"username": "flux", "password": "s3cret"})),
        ("wrong", json!({"username": "flux", "password": "x"})),
    ] {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        world.namespace.apply(&secret.to_string()).await?;
    }
    world.publish(&[("web", "1.0.0"), ("far", "1.0.0"), ("moved", "1.0.0")])?;
    let index = world.git.root().join("index.yaml");
    let text = std::fs::read_to_string(&index)?;
    let text = text.replace("'far-1.0.0.tgz'", &format!("'{}'", cdn.url("cdn/far.tgz")));
    let text = text.replace("'moved-1.0.0.tgz'", "'moved/moved.tgz'");
    std::fs::write(&index, text)?;
    for name in ["far", "moved"] {
        let archive = std::fs::read(world.git.root().join(format!("{name}-1.0.0.tgz")))?;
        std::fs::write(cdn.root().join(format!("{name}.tgz")), archive)?;
    }
    let spec = "certSecretRef: {name: ca}, secretRef: {name: basic}";
    world.charts("charts", spec).await?;
    for name in ["web", "far", "moved"] {
        world
            .chart(name, "charts", &format!("chart: {name}"))
            .await?;
        world.ready(name).await?;
    }
    let own = world.git.requests();
    // SC-HREPO-029
    ensure!(
        own.iter().all(|request| request.authorization.is_some()),
        "{own:?}"
    );
    let others = cdn.requests();
    ensure!(
        others.len() == 2 && others.iter().all(|request| request.authorization.is_none()),
        "{others:?}"
    );
    let all = json!({"spec": {"passCredentials": true}});
    world
        .namespace
        .merge(HELM_REPOSITORY, "charts", all)
        .await?;
    world
        .namespace
        .wait_ready(HELM_REPOSITORY, "charts", "True")
        .await?;
    let again = json!({"spec": {"version": "1.0.0"}});
    world.namespace.merge(world.kind, "far", again).await?;
    world.ready("far").await?;
    let others = cdn.requests();
    // SC-HREPO-029
    ensure!(others[2].authorization.is_some(), "{others:?}");

    // SC-HCHART-028, SC-HCHART-085
    let wrong = json!({"spec": {"secretRef": {"name": "wrong"}}});
    world
        .namespace
        .merge(HELM_REPOSITORY, "charts", wrong)
        .await?;
    let again = json!({"spec": {"interval": "2h"}});
    world.namespace.merge(world.kind, "web", again).await?;
    let text = world
        .condition("web", "FetchFailed", "True", "Unknown")
        .await?;
    let want = format!(
        "unknown build error: failed to authenticate with the Helm repository: chart pull error: failed to download chart for remote reference: failed to fetch {}/web-1.0.0.tgz : 401 Unauthorized",
        world.git.url("charts")
    );
    ensure!(text == want, "{text}");
    world
        .recorded(
            "web",
            "AuthenticationFailed",
            "failed to authenticate with the Helm repository: chart pull error",
        )
        .await?;
    Ok(())
}

// SC-PROC-057, SC-ART-045, SC-PROC-088
#[tokio::test]
async fn a_suspended_chart_is_left_alone_and_a_deleted_one_cleaned_up() -> Result {
    let world = plain("chart-delete").await?;
    world.publish(&[("web", "1.0.0")])?;
    world.charts("charts", "").await?;
    world.chart("web", "charts", "chart: web").await?;
    let before = world.ready("web").await?;
    let suspend = json!({"spec": {"suspend": true, "version": "0.1.0"}});
    world.namespace.merge(world.kind, "web", suspend).await?;
    let after = world.reconcile("web").await?;
    ensure!(
        after["status"]["artifact"] == before["status"]["artifact"],
        "{after}"
    );
    ensure!(
        world.stored("web").contains(&"web-1.0.0.tgz".to_owned()),
        "{:?}",
        world.stored("web")
    );
    world.namespace.delete(world.kind, "web").await?;
    world.namespace.wait_gone(world.kind, "web").await?;
    ensure!(world.stored("web").is_empty(), "{:?}", world.stored("web"));
    Ok(())
}

// FR-H-083: it is a new revision, as upstream, but no chart of it is
#[tokio::test]
async fn an_index_that_differs_only_in_its_time_changes_no_chart() -> Result {
    let world = plain("chart-stamp").await?;
    world.publish(&[("web", "1.0.0")])?;
    world.charts("charts", "").await?;
    world.chart("web", "charts", "chart: web").await?;
    let before = world.revision("web", "1.0.0").await?;
    let file = world.git.root().join("index.yaml");
    let index = std::fs::read_to_string(&file)?;
    std::fs::write(&file, format!("{index}generated: 2026-01-02T03:04:05Z\n"))?;
    world.refresh("charts").await?;
    let source = world.namespace.get(HELM_REPOSITORY, "charts").await?;
    let revision = source.unwrap_or_default()["status"]["artifact"]["revision"].clone();
    ensure!(
        before["status"]["observedSourceArtifactRevision"] != revision,
        "{revision}"
    );
    let has_seen = |object: &Value| object["status"]["observedSourceArtifactRevision"] == revision;
    let object = world
        .namespace
        .wait(world.kind, "web", "has seen the index", has_seen)
        .await?;
    ensure!(
        object["status"]["artifact"] == before["status"]["artifact"],
        "{object}"
    );
    let downloads = targets(&world.git)
        .into_iter()
        .filter(|target| target.contains(".tgz"));
    assert_eq!(downloads.count(), 1);
    assert_eq!(world.told("web").len(), 1, "{:?}", world.told("web"));
    Ok(())
}

// FR-H-086, SC-HCHART-010: a version that the index does not have yet stalls, and is pulled as soon as the index has it
#[tokio::test]
async fn a_version_is_awaited_in_the_index() -> Result {
    let world = plain("chart-early").await?;
    world.publish(&[("web", "1.0.0")])?;
    world.charts("charts", "").await?;
    world
        .chart("web", "charts", "chart: web, version: 1.1.0")
        .await?;
    world
        .condition("web", "Stalled", "True", "InvalidChartReference")
        .await?;
    world.publish(&[("web", "1.0.0"), ("web", "1.1.0")])?;
    world.refresh("charts").await?;
    world.revision("web", "1.1.0").await?;
    Ok(())
}

// SC-HCHART-008: an object as helm-controller writes it for a HelmRelease, which owns the spec and the labels
#[tokio::test]
async fn charts_of_helm_releases_are_left_as_they_are() -> Result {
    let world = plain("chart-release").await?;
    world.publish(&[("web", "1.0.0")])?;
    world.charts("charts", "").await?;
    let name = format!("{}-web", world.namespace.name());
    let spec = json!({
        "chart": "web", "version": "*", "sourceRef": {"kind": "HelmRepository", "name": "charts"}, "interval": "1h0m0s",
        "reconcileStrategy": "ChartVersion", "valuesFiles": ["values.yaml"], "ignoreMissingValuesFiles": true});
    let labels = json!({
        "helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": world.namespace.name(),
        SHARD_LABEL: world.namespace.name()});
    let object = json!({
        "apiVersion": world.kind.0, "kind": world.kind.1, "metadata": {"name": name, "labels": labels}, "spec": spec});
    let params = PatchParams::apply("helm-controller").force();
    let api = world.namespace.api(world.kind).await?;
    let patch = Patch::Apply(&object);
    api.patch(&name, &params, &patch).await?;
    let ready = world.revision(&name, "1.0.0").await?;
    ensure!(
        ready["spec"] == spec && ready["metadata"]["labels"] == labels,
        "{ready}"
    );
    // A second apply of the same changes nothing, so that it triggers no run.
    let again = api.patch(&name, &params, &patch).await?;
    let version = again.metadata.resource_version.unwrap_or_default();
    ensure!(
        ready["metadata"]["resourceVersion"] == version.as_str(),
        "{ready}"
    );
    let managers = ready["metadata"]["managedFields"].as_array().cloned();
    let of_spec = managers
        .unwrap_or_default()
        .into_iter()
        .filter(|entry| !entry["fieldsV1"]["f:spec"].is_null());
    let owners: Vec<_> = of_spec.map(|entry| entry["manager"].clone()).collect();
    assert_eq!(owners, ["helm-controller"]);
    Ok(())
}
