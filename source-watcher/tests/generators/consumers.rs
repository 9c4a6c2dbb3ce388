//! A chart of one source with the values of another, released by helm-controller.

use git_servers::{HttpGitServer, Repo};
use kind_tests::controller::Settings;
use kind_tests::{
    CONFIG_MAP, Cluster, Controller, EXTERNAL_ARTIFACT, GIT_REPOSITORY, HELM_RELEASE, Namespace,
    Result, ensure,
};
use serde_json::Value;

use crate::world::GENERATOR;

const CHART: [(&str, &str); 3] = [
    (
        "charts/app/Chart.yaml",
        "apiVersion: v2\nname: app\nversion: 1.0.0\n",
    ),
    ("charts/app/values.yaml", "replicas: 1\ncolour: grey\n"),
    (
        "charts/app/templates/map.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\ndata:\n  replicas: \"{{ .Values.replicas }}\"\n  colour: {{ .Values.colour }}\n",
    ),
];

fn commit(repo: &Repo, files: &[(&str, &str)]) {
    let mut commit = repo.commit("main");
    for (path, content) in files {
        commit = commit.file(path, content);
    }
    commit.create();
}

// SW-ART-065, SW-ART-006, SC-EXT-006
#[tokio::test]
async fn a_chart_with_values_of_another_repository_is_released() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "composed").await?;
    let git = HttpGitServer::start();
    let (charts, environments) = (
        Repo::init(git.root(), "charts.git"),
        Repo::init(git.root(), "environments.git"),
    );
    commit(&charts, &CHART);
    commit(&environments, &[("prod/values.yaml", "replicas: 3\n")]);
    let source = Controller::start("source-controller", &namespace, Settings::default()).await?;
    let at_source = source.artifact_address().unwrap_or_default();
    let settings = Settings::default()
        .env("SOURCE_CONTROLLER_LOCALHOST", &at_source)
        .flag("--storage-adv-addr=source-watcher.flux-system.svc.cluster.local.")
        .flag("--requeue-dependency=1s");
    let watcher = Controller::start("source-watcher", &namespace, settings).await?;
    let settings = Settings::default()
        .env(
            "SOURCE_WATCHER_LOCALHOST",
            watcher.artifact_address().unwrap_or_default(),
        )
        .flag("--feature-gates=ExternalArtifact=true")
        .flag("--requeue-dependency=1s");
    let _helm = Controller::start("helm-controller", &namespace, settings).await?;

    let yaml = format!(
        "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: charts}}
spec: {{url: {charts}, interval: 1h, ref: {{branch: main}}}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: environments}}
spec: {{url: {environments}, interval: 1h, ref: {{branch: main}}}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmChart
metadata: {{name: app}}
spec: {{chart: ./charts/app, interval: 1h, sourceRef: {{kind: GitRepository, name: charts}}}}
---
apiVersion: {version}
kind: {kind}
metadata: {{name: app}}
spec:
  sources:
  - {{alias: chart, kind: HelmChart, name: app}}
  - {{alias: env, kind: GitRepository, name: environments}}
  artifacts:
  - name: app-prod
    originRevision: '@env'
    copy:
    - {{from: '@chart/', to: '@artifact/'}}
    - {{from: '@env/prod/values.yaml', to: '@artifact/app/values.yaml', strategy: Merge}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: app}}
spec: {{interval: 1h, chartRef: {{kind: ExternalArtifact, name: app-prod}}}}
",
        charts = git.url("charts.git"),
        environments = git.url("environments.git"),
        version = GENERATOR.0,
        kind = GENERATOR.1,
    );
    namespace.apply(&yaml).await?;
    namespace.wait_ready(HELM_RELEASE, "app", "True").await?;
    let released = |replicas: &'static str| {
        move |map: &Value| map["data"]["replicas"] == replicas && map["data"]["colour"] == "grey"
    };
    let goal = "has the values of the environment";
    namespace
        .wait(CONFIG_MAP, "app", goal, released("3"))
        .await?;
    let before = namespace
        .get(EXTERNAL_ARTIFACT, "app-prod")
        .await?
        .unwrap_or_default();

    commit(&environments, &[("prod/values.yaml", "replicas: 5\n")]);
    namespace
        .request_reconcile(GIT_REPOSITORY, "environments")
        .await?;
    namespace
        .wait(CONFIG_MAP, "app", goal, released("5"))
        .await?;
    let after = namespace
        .get(EXTERNAL_ARTIFACT, "app-prod")
        .await?
        .unwrap_or_default();
    ensure!(
        before["status"]["artifact"]["digest"] != after["status"]["artifact"]["digest"],
        "{after:#}"
    );
    let upgraded = |release: &Value| {
        let history = release["status"]["history"].as_array();
        kind_tests::is_ready(release, "True") && history.is_some_and(|all| all[0]["version"] == 2)
    };
    namespace
        .wait(HELM_RELEASE, "app", "is upgraded", upgraded)
        .await?;

    // what no environment changes is released no second time
    commit(&environments, &[("README.md", "more")]);
    namespace
        .request_reconcile(GIT_REPOSITORY, "environments")
        .await?;
    let origin = |object: &Value| {
        object["status"]["artifact"]["metadata"]["org.opencontainers.image.revision"].clone()
    };
    let moved = |object: &Value| origin(object) != origin(&after);
    let moved = namespace
        .wait(EXTERNAL_ARTIFACT, "app-prod", "has seen the commit", moved)
        .await?;
    assert_eq!(
        moved["status"]["artifact"]["digest"],
        after["status"]["artifact"]["digest"]
    );
    let release = namespace
        .get(HELM_RELEASE, "app")
        .await?
        .unwrap_or_default();
    assert_eq!(release["status"]["history"][0]["version"], 2);
    Ok(())
}
