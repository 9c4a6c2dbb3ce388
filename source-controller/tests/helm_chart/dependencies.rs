//! Charts of Git repositories whose dependencies are elsewhere.

use git_servers::{HttpGitServer, Repo};
use kind_tests::{HELM_REPOSITORY, Namespace, Result, ensure};
use registries::{Artifact, Registry};
use serde_json::json;

use crate::sources::chart_yaml;
use crate::{packed, plain, targets, world};

#[tokio::test]
async fn dependencies_are_added_from_where_they_are() -> Result {
    let registry = Registry::start();
    let server = HttpGitServer::builder().basic_auth("flux", "s3cret");
    let world = world(
        "chart-deps",
        kind_tests::controller::Settings::default(),
        server,
    )
    .await?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "basic"},
        "stringData": {"username": "flux", "password": "s3cret"}});
    world.namespace.apply(&secret.to_string()).await?;
    world.publish(&[("remote", "1.2.0"), ("remote", "2.0.0")])?;
    world.charts("charts", "secretRef: {name: basic}").await?;
    let chart = packed("packed", "3.0.0", &[]);
    registry.push("charts/packed", "3.0.0", &Artifact::helm(chart));

    let (http, oci) = (world.git.url("charts"), registry.repository("charts"));
    let dependencies = format!(
        "dependencies:
- {{name: common, version: ^1.0.0, repository: 'file://../../common'}}
- {{name: remote, version: 1.x, repository: '{http}/'}}
- {{name: remote, version: '>=2', repository: '{http}', alias: second}}
- {{name: packed, version: 3.0.0, repository: 'oci://{oci}/'}}
- {{name: vendored, version: 1.0.0}}
"
    );
    let nested = "dependencies: [{name: nested, version: 1.0.0, repository: 'file://../nested'}]\n";
    let repo = Repo::init(world.git.root(), "app");
    let commit = repo
        .commit("main")
        .file(
            "charts/web/Chart.yaml",
            chart_yaml("web", "1.0.0", &dependencies),
        )
        .file(
            "charts/web/charts/vendored/Chart.yaml",
            chart_yaml("vendored", "1.0.0", ""),
        )
        .file("common/Chart.yaml", chart_yaml("common", "1.5.0", nested))
        .file("nested/Chart.yaml", chart_yaml("nested", "1.0.0", ""))
        .message("first\n")
        .create();
    world
        .apply(
            "app",
            "app",
            "ref: {branch: main}, secretRef: {name: basic}",
        )
        .await?;
    world.pulled("app", &commit).await?;
    world
        .chart_of("web", "GitRepository", "app", "chart: charts/web")
        .await?;
    let object = world.revision("web", "1.0.0").await?;
    let chart = world.loaded(&object)?;
    let mut found: Vec<_> = chart
        .dependencies
        .iter()
        .map(|chart| format!("{}-{}", chart.name(), chart.metadata.version))
        .collect();
    found.sort_unstable();
    // SC-HCHART-061, SC-HCHART-063, SC-HCHART-065
    let want = [
        "common-1.5.0",
        "packed-3.0.0",
        "remote-1.2.0",
        "second-2.0.0",
        "vendored-1.0.0",
    ];
    ensure!(found == want, "{found:?}");
    // SC-HCHART-069: what a local dependency depends on is not added
    let common = chart
        .dependencies
        .iter()
        .find(|chart| chart.name() == "common");
    ensure!(
        common.is_some_and(|common| common.dependencies.is_empty()),
        "{chart:?}"
    );
    // SC-HCHART-066: one after the other; the index has another digest for each of them
    let downloads: Vec<_> = targets(&world.git)
        .into_iter()
        .filter(|target| target.contains(".tgz"))
        .collect();
    assert_eq!(
        downloads,
        ["/charts/remote-1.2.0.tgz", "/charts/remote-2.0.0.tgz"]
    );
    // SC-HCHART-067
    world
        .recorded(
            "web",
            "ResolvedDependencies",
            "resolved 4 chart dependencies",
        )
        .await?;
    // SC-HCHART-063: the stored index is used, and the credentials of the HelmRepository
    let indexes = world.git.requests();
    let indexes = indexes
        .iter()
        .filter(|request| request.target == "/charts/index.yaml");
    ensure!(indexes.count() == 1, "{:?}", world.git.requests());
    Ok(())
}

// SC-HCHART-068
#[tokio::test]
async fn dependencies_that_cannot_be_added_are_retried() -> Result {
    let world = plain("chart-deps-failed").await?;
    world.publish(&[("remote", "1.2.0")])?;
    let http = world.git.url("charts");
    let repo = Repo::init(world.git.root(), "app");
    let cases = [
        // SC-HCHART-061
        (
            "local",
            "repository: 'file://../gone'".to_owned(),
            "failed to add local dependency 'sub': no chart found at '/gone' (reference 'file://../gone')".to_owned(),
        ),
        // SC-HCHART-062
        (
            "alias",
            "repository: '@stable'".to_owned(),
            "failed to add remote dependency 'sub': aliased repository dependency is not supported: @stable/".to_owned(),
        ),
        // SC-HCHART-063: without a HelmRepository its index is downloaded
        (
            "remote",
            format!("repository: '{http}'"),
            format!("failed to add remote dependency 'sub': failed to get chart 'sub' version '1.0.0' from '{http}': no chart name found"),
        ),
    ];
    let mut commit = repo.commit("main");
    for (name, repository, _) in &cases {
        let dependencies = format!("dependencies: [{{name: sub, version: 1.0.0, {repository}}}]\n");
        let text = chart_yaml(name, "1.0.0", &dependencies);
        commit = commit.file(&format!("{name}/Chart.yaml"), text);
    }
    let commit = commit.message("first\n").create();
    world.git_source("app", "app", &commit).await?;
    for (name, _, want) in cases {
        let spec = format!("chart: {name}");
        world.chart_of(name, "GitRepository", "app", &spec).await?;
        let text = world
            .condition(name, "BuildFailed", "True", "DependencyBuildError")
            .await?;
        ensure!(text == format!("dependency build error: {want}"), "{text}");
        world
            .condition(name, "Reconciling", "True", "ProgressingWithRetry")
            .await?;
    }
    Ok(())
}

// FR-H-088: what is in another namespace is another tenant's
#[tokio::test]
async fn repositories_of_other_namespaces_lend_no_credentials() -> Result {
    let server = HttpGitServer::builder().basic_auth("flux", "s3cret");
    let settings = kind_tests::controller::Settings::default();
    let world = world("chart-deps-tenant", settings, server).await?;
    world.publish(&[("remote", "1.2.0")])?;
    let http = world.git.url("charts");
    let other = Namespace::create(world.namespace.cluster(), "chart-deps-other").await?;
    for namespace in [other.name(), world.namespace.name()] {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "basic", "namespace": namespace},
            "stringData": {"username": "flux", "password": "s3cret"}});
        world.namespace.apply(&secret.to_string()).await?;
    }
    let repository = |namespace: &str, url: &str| {
        json!({"apiVersion": HELM_REPOSITORY.0, "kind": HELM_REPOSITORY.1,
            "metadata": {"name": "charts", "namespace": namespace},
            "spec": {"url": url, "interval": "1h", "secretRef": {"name": "basic"}}})
        .to_string()
    };
    world
        .namespace
        .apply(&repository(other.name(), &http))
        .await?;
    other.wait_ready(HELM_REPOSITORY, "charts", "True").await?;

    let dependencies =
        format!("dependencies: [{{name: remote, version: 1.x, repository: '{http}'}}]\n");
    let repo = Repo::init(world.git.root(), "app");
    let text = chart_yaml("web", "1.0.0", &dependencies);
    let commit = repo
        .commit("main")
        .file("web/Chart.yaml", text)
        .message("first\n")
        .create();
    world
        .apply(
            "app",
            "app",
            "ref: {branch: main}, secretRef: {name: basic}",
        )
        .await?;
    world.pulled("app", &commit).await?;
    world
        .chart_of("web", "GitRepository", "app", "chart: web")
        .await?;
    let text = world
        .condition("web", "BuildFailed", "True", "DependencyBuildError")
        .await?;
    ensure!(text.ends_with("401 Unauthorized"), "{text}");

    // SC-HCHART-064: in the own namespace the slash at the end does not matter
    let own = repository(world.namespace.name(), &format!("{http}/"));
    world.namespace.apply(&own).await?;
    world
        .namespace
        .wait_ready(HELM_REPOSITORY, "charts", "True")
        .await?;
    world.namespace.request_reconcile(world.kind, "web").await?;
    world.revision("web", "1.0.0").await?;
    Ok(())
}
