//! Charts that the real helm command packs and pushes, what it reads of ours, and what flux prints.

use std::path::Path;
use std::process::{Command, Output};

use git_servers::Repo;
use kind_tests::helm_cli::{self, Helm};
use kind_tests::{Result, ensure, flux_cli};
use registries::Registry;

use crate::plain;
use crate::sources::chart_yaml;

fn run(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output()?;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    ensure!(status.success(), "{command:?} ended with {status}:\n{text}");
    Ok(text)
}

fn write(folder: &Path, path: &str, text: &str) -> Result {
    let path = folder.join(path);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, text)?;
    Ok(())
}

// SC-HCHART-030, SC-HCHART-075
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_packs_pushes_and_reads_charts() -> Result {
    let registry = Registry::start();
    let world = plain("chart-helm").await?;
    let helm = helm_cli::program(Helm::V4)?;
    let folder = world.namespace.folder().join("chart");
    write(&folder, "web/Chart.yaml", &chart_yaml("web", "1.0.0", ""))?;
    write(&folder, "web/values.yaml", "a: 1\n")?;
    write(
        &folder,
        "web/templates/a.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Values.a }}-{{ .Chart.Version }}'}\n",
    )?;
    run(Command::new(&helm)
        .current_dir(&folder)
        .args(["package", "web"]))?;
    let archive = folder.join("web-1.0.0.tgz");
    run(Command::new(&helm)
        .arg("push")
        .arg(&archive)
        .arg(format!("oci://{}/charts", registry.backend()))
        .arg("--plain-http"))?;
    std::fs::copy(&archive, world.git.root().join("web-1.0.0.tgz"))?;
    run(Command::new(&helm)
        .args(["repo", "index"])
        .arg(world.git.root()))?;

    world.charts("http", "").await?;
    let url = registry.repository("charts");
    world
        .repository(
            "oci",
            &format!("type: oci, url: 'oci://{url}', interval: 1h"),
        )
        .await?;
    let packed = std::fs::read(&archive)?;
    for name in ["http", "oci"] {
        world.chart(name, name, "chart: web").await?;
        let object = world.revision(name, "1.0.0").await?;
        ensure!(world.archive(&object)? == packed, "{name}: another archive");
    }

    // What is packed here, Helm loads and renders.
    let repo = Repo::init(world.git.root(), "app");
    let dependency =
        "dependencies: [{name: common, version: 1.x, repository: 'file://../common'}]\n";
    let commit = repo
        .commit("main")
        .file("web/Chart.yaml", chart_yaml("web", "2.0.0", dependency))
        .file("web/values.yaml", "a: 1\n")
        .file(
            "web/templates/a.yaml",
            std::fs::read(folder.join("web/templates/a.yaml"))?,
        )
        .file("common/Chart.yaml", chart_yaml("common", "1.0.0", ""))
        .file("prod.yaml", "a: prod\n")
        .message("first\n")
        .create();
    world.git_source("app", "app", &commit).await?;
    let spec = "chart: web, valuesFiles: [prod.yaml]";
    world.chart_of("git", "GitRepository", "app", spec).await?;
    let object = world.revision("git", "2.0.0+1").await?;
    let stored = folder.join("stored.tgz");
    std::fs::write(&stored, world.archive(&object)?)?;
    let shown = run(Command::new(&helm).args(["show", "chart"]).arg(&stored))?;
    ensure!(shown.contains("version: 2.0.0+1"), "{shown}");
    let listed = run(Command::new(&helm)
        .args(["dependency", "list"])
        .arg(&stored))?;
    ensure!(listed.contains("unpacked"), "{listed}");
    let rendered = run(Command::new(&helm).args(["template", "x"]).arg(&stored))?;
    ensure!(rendered.contains("prod-2.0.0+1"), "{rendered}");
    Ok(())
}

// SC-HCHART-007
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flux_shows_and_reconciles_charts() -> Result {
    let world = plain("chart-flux").await?;
    world.publish(&[("web", "1.0.0")])?;
    world.charts("charts", "").await?;
    world.chart("web", "charts", "chart: web").await?;
    world.revision("web", "1.0.0").await?;
    let namespace = world.namespace.name().to_owned();
    let kubeconfig = world.namespace.cluster().kubeconfig().to_owned();
    let flux = |arguments: &[&str]| -> Result<String> {
        run(Command::new(flux_cli::program()?)
            .args(arguments)
            .arg(format!("--namespace={namespace}"))
            .arg(format!("--kubeconfig={}", kubeconfig.display())))
    };
    let listed = flux(&["get", "sources", "chart"])?;
    ensure!(
        listed.contains("pulled 'web' chart with version '1.0.0'"),
        "{listed}"
    );
    let reconciled = flux(&["reconcile", "source", "chart", "web"])?;
    ensure!(
        reconciled.contains("fetched revision 1.0.0"),
        "{reconciled}"
    );
    Ok(())
}
