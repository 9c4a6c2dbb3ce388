//! Charts of Git repositories and buckets.

use std::fs;

use flux_artifact::Algorithm;
use git_servers::{HttpGitServer, Repo};
use kind_tests::controller::Settings;
use kind_tests::{GIT_REPOSITORY, Kind, Result, ensure};
use serde_json::{Value, json};

use crate::support::{World, message};
use crate::{file, plain, world};

const BUCKET: Kind = Kind("source.toolkit.fluxcd.io/v1", "Bucket");

/// Chart.yaml of a chart.
pub(crate) fn chart_yaml(name: &str, version: &str, more: &str) -> String {
    format!("apiVersion: v2\nname: {name}\nversion: {version}\n{more}")
}

impl World {
    /// Applies a GitRepository, and waits until it has this commit.
    pub(crate) async fn git_source(&self, name: &str, repo: &str, commit: &str) -> Result {
        self.apply(name, repo, "ref: {branch: main}").await?;
        self.pulled(name, commit).await
    }

    /// Waits until a GitRepository has this commit.
    pub(crate) async fn pulled(&self, name: &str, commit: &str) -> Result {
        self.namespace
            .request_reconcile(GIT_REPOSITORY, name)
            .await?;
        let fits = |object: &Value| {
            object["status"]["artifact"]["revision"]
                .as_str()
                .is_some_and(|revision| revision.ends_with(commit))
        };
        self.namespace
            .wait(GIT_REPOSITORY, name, "has the commit", fits)
            .await?;
        Ok(())
    }

    /// A repository with a chart in `charts/web`.
    fn chart_repo(&self) -> (Repo, String) {
        let repo = Repo::init(self.git.root(), "app");
        let commit = repo
            .commit("main")
            .file("charts/web/Chart.yaml", chart_yaml("web", "6.1.0", ""))
            .file("charts/web/values.yaml", "a: 1\n")
            .file("charts/web/templates/a.yaml", "kind: A\n")
            .file("charts/web/.helmignore", "*.md\n")
            .file("charts/web/README.md", "read")
            .file("env/prod.yaml", "a: 2\n")
            .message("first\n")
            .create();
        (repo, commit)
    }
}

#[tokio::test]
async fn a_folder_is_packed() -> Result {
    let world = plain("chart-git").await?;
    let (repo, commit) = world.chart_repo();
    world.git_source("app", "app", &commit).await?;
    world
        .chart_of("web", "GitRepository", "app", "chart: ./charts/web")
        .await?;
    let object = world.revision("web", "6.1.0").await?;
    let chart = world.loaded(&object)?;
    let mut names: Vec<_> = chart.raw.iter().map(|file| file.name.as_str()).collect();
    names.sort_unstable();
    // SC-HCHART-048, SC-HCHART-075
    ensure!(
        names
            == [
                ".helmignore",
                "Chart.yaml",
                "templates/a.yaml",
                "values.yaml"
            ],
        "{names:?}"
    );
    let text = world
        .condition("web", "Ready", "True", "ChartPackageSucceeded")
        .await?;
    ensure!(
        text == "packaged 'web' chart with version '6.1.0'",
        "{text}"
    );

    // SC-HCHART-076: built anew, the chart is the same
    let again = json!({"spec": {"interval": "2h"}});
    world.namespace.merge(world.kind, "web", again).await?;
    let rebuilt = world.ready("web").await?;
    ensure!(
        rebuilt["status"]["artifact"]["digest"] == object["status"]["artifact"]["digest"],
        "{rebuilt}"
    );
    let told = world.told("web");
    ensure!(told.len() == 1, "{told:?}");

    // SC-HCHART-045: another revision of the source with the same version
    let second = repo
        .commit("main")
        .file("charts/web/templates/a.yaml", "kind: B\n")
        .create();
    world.pulled("app", &second).await?;
    let seen = |object: &Value| {
        let revision = object["status"]["observedSourceArtifactRevision"].as_str();
        revision.is_some_and(|revision| revision.ends_with(&second))
            && kind_tests::is_ready(object, "True")
    };
    let kept = world
        .namespace
        .wait(world.kind, "web", "has seen the commit", seen)
        .await?;
    ensure!(
        kept["status"]["artifact"] == rebuilt["status"]["artifact"],
        "{kept}"
    );

    // SC-HCHART-043
    let strategy = json!({"spec": {"reconcileStrategy": "Revision"}});
    world.namespace.merge(world.kind, "web", strategy).await?;
    let revision = format!("6.1.0+{}", &second[..12]);
    let object = world.revision("web", &revision).await?;
    ensure!(
        file(&world.loaded(&object)?, "templates/a.yaml") == "kind: B\n",
        "{object}"
    );
    let third = repo.commit("main").file("other", "x").create();
    world.pulled("app", &third).await?;
    // SC-HCHART-010
    world
        .revision("web", &format!("6.1.0+{}", &third[..12]))
        .await?;
    let values = json!({"spec": {"valuesFiles": ["env/prod.yaml"]}});
    world.namespace.merge(world.kind, "web", values).await?;
    // SC-HCHART-043, SC-HCHART-047
    let object = world
        .revision("web", &format!("6.1.0+{}.4", &third[..12]))
        .await?;
    ensure!(
        file(&world.loaded(&object)?, "values.yaml") == "a: 2\n",
        "{object}"
    );
    Ok(())
}

#[tokio::test]
async fn values_files_are_below_the_root_of_the_source() -> Result {
    let world = plain("chart-git-values").await?;
    let (_, commit) = world.chart_repo();
    world.git_source("app", "app", &commit).await?;
    let spec = "chart: charts/web, valuesFiles: [charts/web/values.yaml, ../../env/gone.yaml]";
    world.chart_of("web", "GitRepository", "app", spec).await?;
    // SC-HCHART-047
    let text = world
        .condition("web", "BuildFailed", "True", "ValuesFilesError")
        .await?;
    ensure!(
        text == "values files merge error: no values file found at path '/env/gone.yaml' (reference '../../env/gone.yaml')",
        "{text}"
    );
    world
        .condition("web", "Stalled", "True", "ValuesFilesError")
        .await?;
    let ignored = json!({"spec": {"ignoreMissingValuesFiles": true}});
    world.namespace.merge(world.kind, "web", ignored).await?;
    // SC-HCHART-072: the values were merged from the same text, so that nothing is counted as changed
    let object = world.revision("web", "6.1.0+2").await?;
    ensure!(
        object["status"]["observedValuesFiles"].is_null(),
        "{object}"
    );
    let all = json!({"spec": {"valuesFiles": ["charts/web/values.yaml", "env/prod.yaml", "env/gone.yaml"]}});
    world.namespace.merge(world.kind, "web", all).await?;
    let object = world.revision("web", "6.1.0+3").await?;
    // SC-HCHART-074
    ensure!(
        object["status"]["observedValuesFiles"]
            == json!(["charts/web/values.yaml", "env/prod.yaml"]),
        "{object}"
    );
    Ok(())
}

// SC-HCHART-041, SC-HCHART-042, SC-HCHART-044
#[tokio::test]
async fn a_chart_that_appears_later_is_found() -> Result {
    let world = plain("chart-git-later").await?;
    let (repo, commit) = world.chart_repo();
    world.git_source("app", "app", &commit).await?;
    for (name, chart, want) in [
        (
            "later",
            "charts/later",
            "stat /charts/later: no such file or directory",
        ),
        (
            "no-chart",
            "env",
            "open /env/Chart.yaml: no such file or directory",
        ),
        (
            "absolute",
            "/charts/web",
            "local chart reference path is expected to be relative",
        ),
        ("text", "env/prod.yaml", "gzip: invalid header"),
    ] {
        let spec = format!("chart: {chart}");
        world.chart_of(name, "GitRepository", "app", &spec).await?;
        let text = world
            .condition(name, "FetchFailed", "True", "InvalidChartReference")
            .await?;
        ensure!(text == format!("invalid chart reference: {want}"), "{text}");
        world
            .condition(name, "Stalled", "True", "InvalidChartReference")
            .await?;
    }
    let second = repo
        .commit("main")
        .file("charts/later/Chart.yaml", chart_yaml("later", "1.0.0", ""))
        .create();
    world.pulled("app", &second).await?;
    world.revision("later", "1.0.0").await?;
    Ok(())
}

// SC-HCHART-046, SC-HCHART-049
#[tokio::test]
async fn an_archive_in_the_source_is_copied() -> Result {
    let world = plain("chart-git-archive").await?;
    let repo = Repo::init(world.git.root(), "app");
    let wanted =
        "dependencies: [{name: gone, version: 1.0.0, repository: 'https://127.0.0.1:1'}]\n";
    let chart = flux_chart::Chart::from_files(vec![
        flux_chart::File::new("Chart.yaml", chart_yaml("web", "1.0.0", wanted)),
        flux_chart::File::new("values.yaml", "a: 1\n"),
    ])?;
    let archive = chart.package()?;
    let commit = repo
        .commit("main")
        .file("web.tgz", &archive)
        .file("values.yaml", "a: 2\n")
        .message("first\n")
        .create();
    world
        .apply("app", "app", "ref: {branch: main}, ignore: ''")
        .await?;
    world.pulled("app", &commit).await?;
    world
        .chart_of("web", "GitRepository", "app", "chart: web.tgz")
        .await?;
    let object = world.revision("web", "1.0.0").await?;
    ensure!(world.archive(&object)? == archive, "another archive");
    world
        .condition("web", "Ready", "True", "ChartPullSucceeded")
        .await?;
    let values = json!({"spec": {"valuesFiles": ["values.yaml", "./values.yaml"]}});
    world.namespace.merge(world.kind, "web", values).await?;
    let object = world.revision("web", "1.0.0+2").await?;
    let loaded = world.loaded(&object)?;
    ensure!(file(&loaded, "values.yaml") == "a: 2\n", "{object}");
    ensure!(loaded.dependencies.is_empty(), "{object}");
    Ok(())
}

// SC-HCHART-092
#[tokio::test]
async fn a_file_of_a_folder_may_not_be_too_large() -> Result {
    let settings = Settings::default().flag("--helm-chart-file-max-size=60");
    let world = world("chart-git-large", settings, HttpGitServer::builder()).await?;
    let (repo, _) = world.chart_repo();
    let commit = repo
        .commit("main")
        .file("charts/web/files/large", "x".repeat(61))
        .create();
    world.git_source("app", "app", &commit).await?;
    world
        .chart_of("web", "GitRepository", "app", "chart: charts/web")
        .await?;
    let text = world
        .condition("web", "BuildFailed", "True", "ChartPackageError")
        .await?;
    ensure!(
        text == "chart package error: failed to load files from /charts/web/: cannot load file files/large as file size (61) exceeds limit (60)",
        "{text}"
    );
    Ok(())
}

// SC-HCHART-014, SC-HCHART-017, SC-HCHART-043: the Bucket's artifact is in the storage, put there by the test
#[tokio::test]
async fn a_chart_of_a_bucket() -> Result {
    let world = plain("chart-bucket").await?;
    let namespace = world.namespace.name().to_owned();
    let bucket = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "Bucket", "metadata": {"name": "files"},
        "spec": {"interval": "1h", "endpoint": "127.0.0.1:1", "bucketName": "files", "suspend": true}});
    world.namespace.apply(&bucket.to_string()).await?;
    let spec = "chart: web, reconcileStrategy: Revision";
    world.chart_of("web", "Bucket", "files", spec).await?;
    let text = world
        .condition("web", "FetchFailed", "True", "NoSourceArtifact")
        .await?;
    ensure!(
        text == "no artifact available for Bucket source 'files'",
        "{text}"
    );
    let mut tree = flux_tree::Tree::new();
    let path = flux_tree::TreePath::new("web/Chart.yaml")?;
    tree.insert_file(path, chart_yaml("web", "1.0.0", ""), false)?;
    let archive = flux_artifact::pack_tree(&tree, |_, _| false, Vec::new())?;
    let path = format!("bucket/{namespace}/files/a.tar.gz");
    let file = world.storage().join(&path);
    fs::create_dir_all(file.parent().unwrap_or(&file))?;
    fs::write(&file, &archive)?;
    let digest = Algorithm::Sha256.digest(&archive).to_string();
    let status = json!({"artifact": {"path": path, "url": format!("http://127.0.0.1/{path}"), "digest": digest,
        "revision": format!("sha256:{}", "0123456789abcdef".repeat(4)), "lastUpdateTime": "2026-01-01T00:00:00Z"}});
    world.namespace.set_status(BUCKET, "files", status).await?;
    // SC-HCHART-010
    let object = world.revision("web", "1.0.0+0123456789ab").await?;
    ensure!(message(&object, "FetchFailed").is_empty(), "{object}");
    Ok(())
}

// The recovery is told with the reason of the build (SC-PROC-085, SC-PROC-086, SC-HCHART-087).
#[tokio::test]
async fn a_recovery_is_told() -> Result {
    let world = plain("chart-recovery").await?;
    world.publish(&[("web", "1.0.0")])?;
    world.charts("charts", "").await?;
    world.chart("web", "charts", "chart: web").await?;
    world.ready("web").await?;
    let gone = json!({"spec": {"chart": "gone"}});
    world.namespace.merge(world.kind, "web", gone).await?;
    world
        .condition("web", "Stalled", "True", "InvalidChartReference")
        .await?;
    let back = json!({"spec": {"chart": "web"}});
    world.namespace.merge(world.kind, "web", back).await?;
    world.ready("web").await?;
    let told = world.told("web");
    let reasons: Vec<_> = told.iter().map(|(reason, _)| reason.as_str()).collect();
    ensure!(
        reasons
            == [
                "ChartPullSucceeded",
                "InvalidChartReference",
                "ChartPullSucceeded"
            ],
        "{told:?}"
    );

    Ok(())
}
