//! Artifacts that the real flux and helm commands push, and what flux prints of them.

use std::path::Path;
use std::process::{Command, Output};

use kind_tests::helm_cli::{self, Helm};
use kind_tests::{Result, ensure, flux_cli};
use registries::Registry;

use crate::world::{World, files};

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

// RT-ART-020, SC-OCI-009, SC-OCI-068
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_flux_command_pushes_is_published_and_shown() -> Result {
    let world = World::start("oci-flux", Registry::start()).await?;
    let folder = world.namespace.folder().join("manifests");
    write(&folder, "app/web.yaml", "kind: Service\n")?;
    let target = format!("oci://{}/org/app:v1.0.0", world.registry.backend());
    let pushed = run(Command::new(flux_cli::program()?)
        .args(["push", "artifact", &target, "--insecure-registry"])
        .arg(format!("--path={}", folder.display()))
        .args(["--source=https://git/app", "--revision=main@sha1:0c4f"]))?;
    ensure!(pushed.contains("artifact successfully pushed"), "{pushed}");
    world.apply("app", "ref: {tag: v1.0.0}").await?;
    let object = world.ready("app").await?;
    assert_eq!(
        world.files(&object).await?,
        files(&[("app/web.yaml", "kind: Service\n")])
    );
    let told = world.told("app");
    ensure!(
        told[0]
            .1
            .ends_with(", origin source 'https://git/app', origin revision 'main@sha1:0c4f'"),
        "{told:?}"
    );

    let table = run(Command::new(flux_cli::program()?)
        .args([
            "get",
            "sources",
            "oci",
            "--namespace",
            world.namespace.name(),
        ])
        .env("KUBECONFIG", world.namespace.cluster().kubeconfig()))?;
    let line = table.lines().find(|line| line.starts_with("app"));
    let cells: Vec<_> = line
        .unwrap_or_default()
        .trim_end()
        .split('\t')
        .map(str::trim)
        .collect();
    let revision = object["status"]["artifact"]["revision"]
        .as_str()
        .unwrap_or_default();
    let short = revision
        .get(.."v1.0.0@sha256:".len() + 8)
        .unwrap_or_default();
    let stored = format!("stored artifact for digest '{short}'");
    assert_eq!(cells, ["app", short, "False", "True", &stored], "{table}");

    // RT-ANN-001
    let told = run(Command::new(flux_cli::program()?)
        .args([
            "reconcile",
            "source",
            "oci",
            "app",
            "--namespace",
            world.namespace.name(),
        ])
        .env("KUBECONFIG", world.namespace.cluster().kubeconfig()))?;
    ensure!(
        told.contains(&format!("fetched revision {revision}")),
        "{told}"
    );
    Ok(())
}

// SC-OCI-047, SC-OCI-063
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_helm_command_pushes_is_published() -> Result {
    let world = World::start("oci-helm", Registry::start()).await?;
    let folder = world.namespace.folder().join("chart");
    write(
        &folder,
        "app/Chart.yaml",
        "apiVersion: v2\nname: app\nversion: 1.2.3+up4\n",
    )?;
    write(&folder, "app/templates/a.yaml", "kind: ConfigMap\n")?;
    let helm = helm_cli::program(Helm::V4)?;
    run(Command::new(&helm)
        .args(["package", "app"])
        .current_dir(&folder))?;
    let target = format!("oci://{}/org", world.registry.backend());
    run(Command::new(&helm)
        .args(["push", "app-1.2.3+up4.tgz", &target, "--plain-http"])
        .current_dir(&folder))?;
    let media_type = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
    world
        .apply(
            "app",
            &format!("ref: {{semver: '>=1.0.0'}}, layerSelector: {{mediaType: {media_type}, operation: copy}}"),
        )
        .await?;
    let object = world.ready("app").await?;
    let revision = object["status"]["artifact"]["revision"]
        .as_str()
        .unwrap_or_default();
    ensure!(revision.starts_with("1.2.3_up4@sha256:"), "{object}");
    let paths = world.files(&object).await?.into_keys();
    let paths: Vec<_> = paths.collect();
    ensure!(paths.contains(&"app/Chart.yaml".to_owned()), "{paths:?}");
    Ok(())
}
